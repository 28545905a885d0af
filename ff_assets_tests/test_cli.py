"""`ff` in a project of its own: what it prints, how it ends, and when it starts no Spark."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ff_assets import Entity, Source, Target
from ff_assets.cli.run import Ran
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.settings import PROJECT_ROOT
from ff_assets_tests.projects import make_rows, write_rows
from ff_assets_tests.running import QUICK_JAVA

pytestmark = pytest.mark.xdist_group("cli")

FLOW = """
    from pathlib import Path

    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import HashingTF, RegexTokenizer

    from ff_assets import Entity, Source, Target, stage

    FILE = Path(__file__).with_name("reviews.parquet")
    review = Entity("review", key="review_id")
    reviews = Source(
        "reviews",
        entity=review, owner="team:nlp",
        load=lambda spark: spark.read.parquet(str(FILE)),
        features={"text": "string", "is_positive": "double"},
        labels=["is_positive"],
        version=lambda: str(FILE.stat().st_mtime_ns),
    )
    tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens")
    vector = stage(HashingTF, inputCol="tokens", outputCol="vector", numFeatures=32)
    sentiment = stage(
        LogisticRegression,
        featuresCol="vector",
        labelCol="is_positive",
        predictionCol="sentiment",
        maxIter=2,
    )
    target = Target(
        "sentiment", outputs=["sentiment"], label="is_positive", task="binary", owner="team:nlp"
    )
"""


TEXT = {"text": "string"}


@dataclass(frozen=True)
class Fork:
    """The template with a flow of its own, as a team has it."""

    root: Path

    def write_flow(self, text: str, name: str = "reviews") -> Path:
        path = self.root / "ff_assets" / "flows" / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        return path

    @property
    def environment(self) -> dict[str, str]:
        gone = ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in gone}
        return {**kept, "FF_HOME": str(self.root / ".ff"), "JDK_JAVA_OPTIONS": QUICK_JAVA}

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "ff.py", *arguments],
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ff(self, *arguments: str, **environment: str) -> "Ended":
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=240)
        return Ended(process.returncode, out, err)

    def without_java(self) -> Mapping[str, str]:
        """An environment where whoever starts a Java leaves a trace, and gets none."""
        trap = self.root / "trap"
        (trap / "bin").mkdir(parents=True, exist_ok=True)
        java = trap / "bin" / "java"
        java.write_text(f"#!/bin/sh\ntouch {self.root}/java-was-started\nexit 1\n")
        java.chmod(0o755)
        return {"JAVA_HOME": str(trap), "PATH": f"{trap}/bin:{os.environ['PATH']}"}

    @property
    def java_was_started(self) -> bool:
        return (self.root / "java-was-started").exists()


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def make_fork(root: Path) -> Fork:
    shutil.copytree(
        PROJECT_ROOT / "ff_assets",
        root / "ff_assets",
        ignore=_no_part_of_a_fork,
    )
    shutil.copy(PROJECT_ROOT / "dagster.yaml", root)
    # What the installed command consists of; beside the fork's own code, so that it is run.
    (root / "ff.py").write_text("from ff_assets.cli import main\n\nmain()\n")
    fork = Fork(root)
    fork.write_flow(FLOW)
    write_rows(root / "ff_assets" / "flows" / "reviews.parquet", make_rows(120))
    return fork


def _no_part_of_a_fork(folder: str, names: list[str]) -> set[str]:
    """The flows that the template ships, and caches."""
    shipped = {*names} - {"__init__.py"} if Path(folder).name == "flows" else set()
    return shipped | {"__pycache__"}


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    return make_fork(tmp_path)


@pytest.fixture(scope="module")
def run_twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fork, Ended, tuple[Ended, Ended]]:
    """A fork whose flow was planned, and then run by two processes at the same time."""
    fork = make_fork(tmp_path_factory.mktemp("fork"))
    planned = fork.ff("plan", "--json", **fork.without_java())
    # Dagster and MLflow have no tables yet: the two begin with those.
    shutil.rmtree(fork.root / ".ff", ignore_errors=True)
    processes = [fork.start("run", "--json") for _ in range(2)]
    one, two = (
        Ended(process.wait(), out, err)
        for process in processes
        for out, err in [process.communicate(timeout=240)]
    )
    return fork, planned, (one, two)


@pytest.fixture(scope="module")
def ran_fork(run_twice: tuple[Fork, Ended, tuple[Ended, Ended]]) -> tuple[Fork, Ended, Ended]:
    """The fork, the plan before, and one of the runs."""
    fork, planned, (_, two) = run_twice
    return fork, planned, two


STEPS = [
    "sources/reviews",
    "features/tokens",
    "features/vector",
    "models/sentiment",
    "features/sentiment",
    "evaluations/sentiment",
    "registry/sentiment",
    "leaderboards/sentiment",
]


def test_before_the_first_run_everything_is_planned(ran_fork: tuple[Fork, Ended, Ended]) -> None:
    _, planned, _ = ran_fork
    assert planned.code == 0
    assert planned.json["variants"] == ["sentiment"]
    assert planned.json["steps"] == [{"step": step, "state": "compute"} for step in STEPS]
    assert (planned.json["fits"], planned.json["spark"]) == (1, True)


def test_a_run_says_what_its_variants_are_worth(ran_fork: tuple[Fork, Ended, Ended]) -> None:
    _, _, ran = ran_fork
    assert ran.code == 0, ran.err
    assert ran.json["status"] == "SUCCESS"
    assert ran.json["failure"] == ""
    (row,) = ran.json["variants"]
    assert row["variant"] == "sentiment"
    assert row["metric"] == "auc"
    assert row["interval"][0] < row["value"] < row["interval"][1]
    assert row["registered"].startswith("models:/sentiment/")
    assert row["steps"] == row["computed"] + row["reused"] == len(STEPS) - 1  # no leaderboard


def test_two_runs_at_the_same_time_share_everything(
    run_twice: tuple[Fork, Ended, tuple[Ended, Ended]],
) -> None:
    """From the first table of Dagster and MLflow to the last result."""
    fork, _, ended = run_twice
    for each in ended:
        assert each.code == 0, each.err
    one, two = ([(v["value"], v["interval"]) for v in each.json["variants"]] for each in ended)
    assert one == two
    assert list((fork.root / ".ff" / "store" / "staging").iterdir()) == []


def test_after_it_nothing_is_left_to_do_and_no_java_is_started(
    ran_fork: tuple[Fork, Ended, Ended],
) -> None:
    fork, _, ran = ran_fork

    planned = fork.ff("plan", "sentiment", "--json", **fork.without_java())
    again = fork.ff("run", "sentiment", **fork.without_java())

    assert planned.code == again.code == 0, again.err
    assert {step["state"] for step in planned.json["steps"]} == {"reuse"}
    assert planned.json["fits"] == 0
    assert planned.json["spark"] is False
    for_people = fork.ff("plan", **fork.without_java()).out
    assert for_people.count("if MLflow still has it") == 1  # the one registration
    assert "all reused" in again.out
    assert f"{ran.json['variants'][0]['value']:.4f}" in again.out
    assert "■ models/sentiment: reused" in again.err
    assert not fork.java_was_started


def test_an_edit_is_planned_as_what_depends_on_it(ran_fork: tuple[Fork, Ended, Ended]) -> None:
    fork, _, _ = ran_fork
    fork.write_flow(FLOW.replace("numFeatures=32", "numFeatures=64"))
    try:
        planned = fork.ff("plan", "--json")
    finally:
        fork.write_flow(FLOW)

    states = {step["step"]: step["state"] for step in planned.json["steps"]}
    assert [step for step in STEPS if states[step] == "reuse"] == STEPS[:2]


def test_what_hangs_on_data_that_were_not_read_is_unknown(
    ran_fork: tuple[Fork, Ended, Ended],
) -> None:
    """Whether it can be reused; what hangs on other data is planned as ever."""
    fork, _, _ = ran_fork
    more = """
        other = Source("other", entity=review, load=len, features={"line": "x"}, owner="team:nlp")
        other_tokens = stage(RegexTokenizer, inputCol="line", outputCol="other_tokens")
        other_target = Target("other_target", outputs=["other_tokens"], owner="team:nlp")
    """
    fork.write_flow(textwrap.dedent(FLOW) + textwrap.dedent(more))
    try:
        planned = fork.ff("plan", "--json")
    finally:
        fork.write_flow(FLOW)

    states = {step["step"]: step["state"] for step in planned.json["steps"]}
    assert {step for step in states if states[step] == "reuse"} == set(STEPS)
    assert {step for step in states if states[step] == "unknown"} == {
        "sources/other",
        "features/other_tokens",
        "registry/other_target",
    }


def test_a_look_that_fails_is_a_finding(fork: Fork) -> None:
    """The fork has no pins, and a package's metadata are gone."""
    (fork.root / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "version = metadata.version\n"
        "def without_pandas(name):\n"
        "    if name == 'pandas':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "metadata.version = without_pandas\n"
    )
    (fork.root / "mlflow.py").write_text("raise OSError('half installed')\n")
    broken = fork.ff("doctor", "--json", PYTHONPATH=str(fork.root))
    whole = fork.ff("doctor", "--json", SPARK_REMOTE="local[2]")

    found = {finding["name"]: finding for finding in broken.json["findings"]}
    assert broken.code == 1
    assert found["packages"]["ok"] is False
    assert found["packages"]["found"] == "pandas is not installed"
    assert found["MLflow"]["ok"] is False
    assert "OSError: half installed" in found["MLflow"]["found"]
    found = {finding["name"]: finding for finding in whole.json["findings"]}
    assert found["packages"]["ok"] is True
    assert "pyspark 4." in found["packages"]["found"]
    assert "not needed" not in found["Java"]["found"]  # the server is on this machine


def test_a_step_is_reused_if_all_of_its_cells_are() -> None:
    flow = infer(
        Project(
            (Source("texts", entity=Entity("text", key="text_id"), load=len, features=TEXT),),
            (),
            (Target("texts", outputs=["text"]),),
        )
    )
    ran = Ran(flow, ("texts",))
    for seconds, reused in ((7.0, True), (2.0, False), (3.0, False)):
        ran.add(dg.AssetKey(["sources", "texts"]), {"seconds": seconds, "reused": reused})
    for seconds in (5.0, 6.0):
        ran.add(dg.AssetKey(["registry", "texts_registered"]), {"seconds": seconds, "reused": True})

    (row,) = ran.as_dict()["variants"]
    assert (row["computed"], row["reused"], row["seconds"]) == (1, 1, 3.0)


def test_check_counts_what_is_declared(ran_fork: tuple[Fork, Ended, Ended]) -> None:
    fork, _, _ = ran_fork
    checked = fork.ff("check", "--json", **fork.without_java())

    assert checked.code == 0
    assert checked.json["ok"] is True
    assert checked.json["targets"] == {"sentiment": ["sentiment"]}
    assert not fork.java_was_started


def test_a_wrong_declaration_is_shown_the_same_everywhere(fork: Fork) -> None:
    path = fork.write_flow(FLOW.replace('inputCol="tokens"', 'inputCol="tokenz"'))
    number = next(n for n, t in enumerate(path.read_text().splitlines(), 1) if "vector = " in t)

    checked = fork.ff("check")
    as_json = fork.ff("check", "--json")
    loaded = subprocess.run(
        [sys.executable, "-c", "import ff_assets.definitions"],
        cwd=fork.root,
        env=fork.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.code == as_json.code == 1
    assert loaded.returncode != 0
    assert f"ff_assets/flows/reviews.py:{number}" in checked.err
    assert "UnreachableOutput" in checked.err
    assert "nearest existing names: tokens" in checked.err
    error = as_json.json
    assert error["error"] == "UnreachableOutput"
    assert {"file": str(path), "line": number}.items() <= error["where"][-1].items()
    message = checked.err[checked.err.index(error["what"]) :].strip()
    assert message in loaded.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["plan", "sentimant"], 1, "nearest existing names: sentiment"),
        (["run", "sentimant", "--json"], 1, "nearest existing names: sentiment"),
        (["why", "sentimant"], 1, "nearest existing names: sentiment"),
        (["why"], 2, "Missing argument"),
        (["run", "--fast"], 2, "No such option"),
        (["rum"], 2, "No such command"),
    ],
)
def test_wrong_usage(
    ran_fork: tuple[Fork, Ended, Ended], arguments: list[str], code: int, said: str
) -> None:
    ended = ran_fork[0].ff(*arguments)
    assert ended.code == code
    assert said in ended.out + ended.err
    assert "Traceback" not in ended.err


def test_a_run_that_fails_says_why_and_ends_with_1(fork: Fork) -> None:
    fork.write_flow(FLOW.replace("str(FILE.stat().st_mtime_ns)", "str(FILE.parent / 0)"))

    for_people, for_scripts = fork.ff("run"), fork.ff("run", "--json")

    assert for_people.code == for_scripts.code == 1
    assert for_scripts.json["status"] == "FAILURE"
    for text in (for_people.out, for_scripts.json["failure"]):
        assert "source `reviews` cannot state the version of its data." in text
        assert "ff_assets/flows/reviews.py:" in text
        assert "TypeError: unsupported operand" in text


def test_an_interrupted_run_is_cancelled_and_ends_with_130(fork: Fork) -> None:
    process = fork.start("run", "--json")
    try:
        staging = fork.root / ".ff" / "store" / "staging"
        while not any(staging.glob("run-*/*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 130
        assert json.loads(out)["status"] == "CANCELED"
        assert list(staging.iterdir()) == []
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
