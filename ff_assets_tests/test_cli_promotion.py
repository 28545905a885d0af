"""`ff promote`, `ff rollback` and `ff ledger`: what they print, and how they end."""

import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ff_assets.cli import main, project
from ff_assets_tests.registries import PRODUCTION, Registry, sqlite

pytestmark = pytest.mark.xdist_group("promotion")

FLOW = """
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import HashingTF, RegexTokenizer

    from ff_assets import Entity, Source, Target, stage

    reviews = Source(
        "reviews",
        entity=Entity("review", key="review_id"),
        load=lambda spark: spark.read.parquet("nowhere"),
        features={"text": "string", "is_positive": "double"},
        labels=["is_positive"],
        version="1",
        owner="team:tests",
    )
    tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens")
    vector = stage(HashingTF, inputCol="tokens", outputCol="vector", numFeatures=32)
    sentiment = stage(
        LogisticRegression, featuresCol="vector", labelCol="is_positive", predictionCol="sentiment"
    )
    targets = [
        Target(name, outputs=["sentiment"], label="is_positive", task="binary", owner="team:tests")
        for name in ("promoted", "refused", "raced", "outside", "early", "broken")
    ]
"""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with sqlite(tmp_path_factory.mktemp("mlflow")) as registry:
        yield registry


@pytest.fixture
def flow_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one flow module of a project."""
    package = tmp_path / "team_flows"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "reviews.py").write_text(textwrap.dedent(FLOW))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(project, "FLOWS", "team_flows")
    for name in [name for name in sys.modules if name.startswith("team_flows")]:
        monkeypatch.delitem(sys.modules, name)
    return package / "reviews.py"


@pytest.fixture
def ff(
    store: Registry,
    flow_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("FF_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ff", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return run


def test_promote_rollback_and_their_ledger(store: Registry, ff: Command) -> None:
    for variant in ("promoted[a]", "promoted[a]", "promoted[b]"):
        store.register("promoted", variant=variant, outputs={"sentiment": "double"})
    to = ("--to", "production")

    unclear = ff("promote", "promoted", *to, "--reason", "x")
    assert unclear.code == 1
    assert "3 (promoted[b]), 2 (promoted[a])" in unclear.err
    assert "--variant 'promoted[b]'" in unclear.err
    both = ff("promote", "promoted", *to, "--reason", "x", "--variant", "v", "--version", "1")
    assert (both.code, "not both" in both.err) == (2, True)
    done = ff("promote", "promoted", "--variant", "promoted[a]", *to, "--reason", "[bold] first")
    assert done.code == 0
    assert "production of promoted: none → 2 (promoted[a]), entry 1 of the ledger" in done.out
    assert "ok  signature" in done.out
    told = ff("promote", "promoted", "--version", "3", *to, "--reason", "better", "--json").json
    assert (told["from"], told["to"], told["why"], told["override"]) == (2, 3, "better", "")
    gates = [gate["name"] for gate in told["gates"]]
    judged = ["certificate", "model", "signature", "floor of auc", "not worse"]
    assert gates == [*judged, "calibration"]
    assert [gate["passed"] for gate in told["gates"]] == [*[True] * 5, None]
    back = ff("rollback", "promoted", "--reason", "slow")
    assert (back.code, "production of promoted: 3 → 2" in back.out) == (0, True)
    assert store.holder("promoted") == 2

    shown = ff("ledger", "promoted")
    assert shown.code == 0
    rows = [line.split() for line in shown.out.splitlines() if "→" in line]
    assert [row[3:7] for row in rows] == [
        ["production", "none", "→", "2"],
        ["production", "2", "→", "3"],
        ["production", "3", "→", "2"],
    ]
    assert "[bold] first" in shown.out
    assert "back: slow" in shown.out
    assert "production: version 2 (promoted[a]) since" in shown.out
    assert "staging: no version" in shown.out
    plain = ff("ledger", "promoted", "--json").json
    assert plain["aliases"] == {"production": 2, "staging": None}
    assert [(move["from"], move["to"]) for move in plain["moves"]] == [(None, 2), (2, 3), (3, 2)]


def test_failed_gates_end_with_1_and_an_override_is_shown(store: Registry, ff: Command) -> None:
    store.register("refused", inputs={"words": "string"})
    promote = ("promote", "refused", "--to", "staging", "--reason", "x")

    refused = ff(*promote)
    assert refused.code == 1
    assert refused.err.startswith("GateFailed: version 1 of refused (refused) did not pass")
    assert "signature: it reads 'words', which scoring does not give." in refused.err
    plain = ff(*promote, "--json")
    assert (plain.code, plain.json["error"]) == (1, "GateFailed")
    assert [gate["passed"] for gate in plain.json["gates"]] == [True, True, False, True, True, None]
    done = ff(*promote, "--override", "scoring is elsewhere")
    assert (done.code, "overridden: scoring is elsewhere" in done.out) == (0, True)
    shown = " ".join(ff("ledger", "refused").out.split())
    assert "signature overridden: scoring is elsewhere" in shown


def test_what_is_not_in_order_is_told(
    store: Registry, ff: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        store.register("outside")
    assert ff("ledger", "outside").out.splitlines() == [
        "production: no version",
        "staging: no version",
    ]
    store.client.set_registered_model_alias("outside", PRODUCTION, "1")
    assert "none → 1" in ff("ledger", "outside").out
    assert "production: version 1, put there outside ff" in ff("ledger", "outside").out
    store.other("outside", 2, "dies before it moves").ended()

    shown = ff("ledger", "outside").out
    assert "under way: try 2" in shown
    late = ff("promote", "outside", "--version", "3", "--to", "production", "--reason", "x")
    assert (late.code, "Overtaken: other is moving" in late.err) == (1, True)
    store.client.set_model_version_tag("outside.moves", "1", "ff.move", "{}")
    assert "deleted or edited in MLflow: entry 1 of outside.moves" in ff("ledger", "outside").out


def test_the_ledger_at_a_time(store: Registry, ff: Command) -> None:
    store.register("early")
    ff("promote", "early", "--to", "production", "--reason", "first")

    before = ff("ledger", "early", "--at", "2020-07-01")
    assert before.code == 0
    assert "production at 2020-07-01 00:00:00 UTC: no version\n  until" in before.out
    assert ", promotion by " in before.out
    future = ff("ledger", "early", "--at", f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}")
    assert (future.code, "is in the future" in future.err) == (2, True)
    store.artifact("early", 1, "certificate.json").write_text("{}")
    (moved,) = ff("ledger", "early", "--json").json["moves"]
    now = moved["latest"][:19]  # as it is printed
    assert now.replace("T", " ") in ff("ledger", "early").out
    there = ff("ledger", "early", "--at", now)
    assert f"production at {now[:10]} {now[11:19]} UTC: version 1" in there.out
    assert "predictions of version 1 cannot be made again" in there.out
    plain = ff("ledger", "early", "--at", now, "--json").json
    assert plain["at"]["production"]["versions"] == [1]
    assert not plain["reproducible"]["1"]["is_so"]


def test_a_rollback_and_a_ledger_need_no_declarations(
    store: Registry, ff: Command, flow_file: Path
) -> None:
    for version in ("1", "2"):
        store.register("broken", outputs={"sentiment": "double"})
        why = ("--version", version, "--to", "production", "--reason", "x")
        assert ff("promote", "broken", *why).code == 0
    flow_file.write_text("this is no Python")
    for name in [name for name in sys.modules if name.startswith("team_flows")]:
        del sys.modules[name]

    assert ff("promote", "broken", *why).code == 1
    assert ff("rollback", "broken", "--reason", "2 broke the flow").code == 0
    assert ff("ledger", "broken").code == 0
    assert store.holder("broken") == 1
    missing = ff("ledger", "brokem")
    assert missing.code == 1
    assert "nearest existing names: broken" in missing.err
    assert "`ff run brokem`" in missing.err  # nobody knows what is declared


def test_a_name_that_nothing_has_is_not_advised_to_be_run(store: Registry, ff: Command) -> None:
    for command in ("ledger", "hypotheses"):
        wrong, declared = ff(command, "outsid"), ff(command, "raced")
        assert (wrong.code, declared.code) == (1, 1)
        assert "nearest existing names: outside" in wrong.err
        assert "the name may be wrong" in wrong.err
        assert "ff run" not in wrong.err
        assert "ff run raced" in declared.err


def test_without_a_model_behind_the_alias_predict_ends_well(ff: Command) -> None:
    shown = ff("predict", "raced", "--alias", "staging")
    told = ff("predict", "raced", "--json")
    unknown = ff("predict", "race")

    assert (shown.code, told.code, unknown.code) == (0, 0, 1), shown.err
    assert "promote one with: ff promote raced --to staging" in shown.err
    assert "no model is staging for raced: nothing was predicted" in shown.out
    assert (told.json["status"], told.json["alias"], told.json["rows"]) == (
        "SUCCESS",
        "production",
        None,
    )
    assert "there is no target `race`" in unknown.err
