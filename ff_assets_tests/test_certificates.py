"""Certificates of a real run: where they are shown, what they block, and how test wears."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ff_assets import Entity, HashSplit, Source, Target, TimeSplit
from ff_assets.core.certificate import claims, verify
from ff_assets.core.flow import infer
from ff_assets.core.instance import Variant
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS
from ff_assets.engine.certify import certify
from ff_assets.engine.store import Record, Store
from ff_assets.engine.wear import Wear, note_read
from ff_assets_tests.core.founding import action, customer, label_free, order, people, target
from ff_assets_tests.core.stubs import estimator, load, transformer
from ff_assets_tests.projects import reviews, sentiment_stage, sentiment_target, small_project
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("small")

EVALUATION = "evaluations/sentiment_evaluation"
REGISTERED = "registry/sentiment_registered"
UNMEASURED = "registry/scored_registered"


def project(path: Path, reg_param: float = 0.01) -> Project:
    """A cross-fitted prediction of which test and one fold are certified, and one not measured."""
    measured = small_project(
        reviews(path, version="certificates"),
        replaced={"sentiment": sentiment_stage(reg_param).cross_fit(2)},
        target=sentiment_target(certify=["test", "fold_1"]),
    )
    scored = Target("scored", outputs=["sentiment"])
    return Project(measured.sources, measured.stages, (*measured.targets, scored))


@pytest.fixture(scope="module")
def first(new_home: Callable[[], Home], reviews_file: Path) -> tuple[Home, Ran]:
    home = new_home()
    ran = home.run(project(reviews_file))
    assert ran.success, ran.failure
    return home, ran


def test_the_evaluation_shows_its_certificates(first: tuple[Home, Ran]) -> None:
    shown = first[1].assets[EVALUATION][""]
    found = shown["certificate"]

    verify(found)
    assert next(name for name in shown if name != "data_version") == "honest"
    assert shown["honest"] == found["sentence"]
    assert shown["honest"] == (
        f"Honest: none of the {shown['rows_test']} evaluated reviews was used to fit the model "
        "behind this score."
    )
    assert (shown["grade"], shown["certificate_digest"]) == ("A", found["digest"])
    assert found["metrics"]["auc"]["value"] == shown["auc_test"]
    assert found["evaluation"] == shown["fingerprint"]
    assert found["evaluated"]["rows"] == found["evaluated"]["groups"] == shown["rows_test"]
    assert found["evaluated"]["unlabelled"] > 0
    model = first[1].assets["models/sentiment_model"][""]
    assert found["chain"][-1]["fingerprint"] == model["fingerprint"]
    assert found["data"] == {
        "reviews": first[1].assets["sources/reviews"]["train"]["fingerprint"],
    }
    assert any("is stored in the bucket" in check for check in found["checks"])
    assert any("each fit was given were counted" in check for check in found["checks"])
    assert not any("found its" in check for check in found["checks"])  # there is one entity only
    rows = shown["provenance"].splitlines()
    assert len(rows) == 2 + len(found["chain"])
    assert rows[-1] == (
        "| sentiment | fold_0: 400-799; fold_1: 0-399; all: train (0-799) | train (0-799) | "
        "train (0-799) | clean |"
    )


def test_a_fold_is_certified_only_if_it_is_asked_for(first: tuple[Home, Ran]) -> None:
    shown = first[1].assets[EVALUATION][""]

    assert shown["rows_fold_0"] > 0  # shown as a diagnostic
    assert "honest_fold_0" not in shown
    fold = shown["certificate_fold_1"]
    verify(fold)
    assert fold["evaluated"]["buckets"] == [[400, 799]]
    assert fold["evaluated"]["rows"] == shown["rows_fold_1"]
    assert fold["metrics"]["auc"]["value"] == shown["auc_fold_1"]
    assert fold["metrics"]["auc"]["low"] is not None
    assert fold["reads"] is None


def test_run_and_version_carry_the_certificate(first: tuple[Home, Ran]) -> None:
    home, ran = first
    found, registered = ran.assets[EVALUATION][""], ran.assets[REGISTERED][""]
    client = home.client

    run = client.get_run(registered["mlflow_run_id"])
    version = client.get_model_version("sentiment", str(registered["version"]))

    for tags in (run.data.tags, version.tags):
        assert tags["honest.sentence"] == found["honest"]
        assert tags["honest.grade"] == "A"
        assert tags["honest.certificate"] == found["certificate_digest"]
    folder = Path(run.info.artifact_uri)
    logged = json.loads((folder / "certificate.json").read_text())
    verify(logged)
    assert logged == found["certificate"]
    fold = json.loads((folder / "certificate_fold_1.json").read_text())
    assert fold == found["certificate_fold_1"]


def test_what_is_not_measured_says_that_it_has_no_certificate(first: tuple[Home, Ran]) -> None:
    home, ran = first
    version = home.client.get_model_version("scored", str(ran.assets[UNMEASURED][""]["version"]))
    assert version.tags["honest.sentence"].startswith("No certificate: the target has no label")
    assert "honest.certificate" not in version.tags


def test_a_reused_evaluation_reads_nothing_and_a_new_one_is_counted(
    first: tuple[Home, Ran], reviews_file: Path
) -> None:
    home, before = first

    def shown(ran: Ran) -> tuple[int, int, str]:
        assert ran.success, ran.failure
        made = ran.assets[EVALUATION][""]
        return made["test_reads"], made["test_reads_by_variants"], made["certificate_digest"]

    assert shown(before)[:2] == (1, 1)
    assert before.assets[EVALUATION][""]["certificate"]["reads"] == {"reads": 1, "variants": 1}
    again = home.run(project(reviews_file))
    assert again.computed == set()
    assert shown(again) == shown(before)
    other = home.run(project(reviews_file, reg_param=0.5), only=[EVALUATION], cells=[])
    assert shown(other)[:2] == (2, 1)


def without_certificate(details: dict[str, Any]) -> None:
    del details["certificates"]["test"]


def upgraded(details: dict[str, Any]) -> None:
    details["certificates"]["fold_1"]["grade"] = "A+"


def embellished(details: dict[str, Any]) -> None:
    details["cells"]["test"]["metrics"]["auc"]["value"] = 0.999


def test_what_has_no_certificate_that_holds_is_not_registered(
    first: tuple[Home, Ran], reviews_file: Path
) -> None:
    home, _ = first
    edited = project(reviews_file, reg_param=0.1)
    made = home.run(edited, only=[EVALUATION], cells=[])
    record = home.store.note_path("evaluations", made.assets[EVALUATION][""]["fingerprint"])
    whole = record.read_text()

    for edit, code in (
        (without_certificate, "NO_CERTIFICATE"),
        (upgraded, "CERTIFICATE_EDITED"),
        (embellished, "CERTIFICATE_FOREIGN"),
    ):
        changed = json.loads(whole)
        edit(changed["details"])
        record.write_text(json.dumps(changed))
        ran = home.run(edited, only=[REGISTERED], cells=[])
        assert not ran.success
        (error,) = ran.errors
        assert (error["error"], error["code"]) == ("CertificateError", code)
        assert f"[{code}]" in ran.failure
        assert str(record) in error["fix"]

    record.unlink()  # as the error says
    ran = home.run(edited, only=[REGISTERED], cells=[])
    assert ran.success, ran.failure
    assert json.loads(record.read_text())["details"]["wear"]["reads"] >= 3


# Checks


def test_only_checks_that_were_made_are_listed(tmp_path: Path) -> None:
    """Of two entities, one of which has two sources; their records are all that is there."""
    ages = Source("ages", entity=customer, load=load, features={"size": "double"}, version="1")
    other = Source("other", entity=customer, load=load, features={"rank": "double"}, version="1")
    both = transformer("both", ["size", "rank"])
    model = estimator("action", ["both", "age"], label="bought")
    flow = infer(Project((people(order), ages, other), (both, model), (target(),)))
    (variant,) = flow.variants
    (claim,) = claims(flow)[variant]
    prints = {instance: instance.name for instance in variant.instances}
    store = Store(tmp_path)
    measured = {"rows": 9, "unlabelled": 0, "groups": 5, "metrics": {}}

    def checks() -> str:
        made = certify((claim,), {"test": measured}, Wear(1, 1), "e1", prints, store)
        return " ".join(made["test"]["checks"])

    def record(folder: Path, **details: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = Record("f", 0.0, rows=5, details=details)
        (folder / "_record.json").write_text(json.dumps(asdict(kept)))

    assert "Every order has found its customer." in checks()
    assert "names the same" not in checks()
    assert "hold the same keys" not in checks()
    assert "each fit was given" not in checks()
    for keys in ("l", "k"):
        for cell in CELLS:
            record(store.table_path("ages") / f"cell={cell}", keys="k")
            record(store.table_path("other") / f"cell={cell}", keys=keys)
        same = "The sources ages, other hold the same keys, foreign keys and times." in checks()
        assert same is (keys == "k")
    for last in (999, 799):
        observed = {"rows": 7, "buckets": [[0, 3], [5, last]]}
        record(store.model_path("action"), observed={"": observed})
        assert ("each fit was given" in checks()) is (last == 799)


# Wear


(VARIANT,) = infer(Project((people(),), (label_free, action), (target(),))).variants

READER = """
import json, sys, time
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.store import Store
from ff_assets.engine.wear import note_read
from ff_assets_tests.core.founding import action, label_free, people, target
from pathlib import Path
root, name = sys.argv[1:]
(variant,) = infer(Project((people(),), (label_free, action), (target(),))).variants
store = Store(Path(root))
(Path(root) / name).touch()
while len([*Path(root).glob("?")]) < 3:
    time.sleep(0.001)  # until all are there
print(json.dumps([note_read(store, variant, f"{name}-{i}").reads for i in range(50)]))
"""


def test_every_read_of_several_processes_is_counted_once(tmp_path: Path) -> None:
    def read(name: str) -> list[int]:
        done = subprocess.run(
            [sys.executable, "-c", READER, str(tmp_path), name],
            capture_output=True,
            text=True,
            check=True,
        )
        counted: list[int] = json.loads(done.stdout)
        return counted

    with ThreadPoolExecutor(3) as pool:
        counted = list(pool.map(read, "abc"))

    assert sorted(count for counts in counted for count in counts) == list(range(1, 151))
    assert all(counts == sorted(counts) for counts in counted)


def test_rows_and_labels_wear_for_themselves(tmp_path: Path) -> None:
    store = Store(tmp_path)
    targets = (
        target(),
        target(name="same_label"),
        target(name="other_label", label="churned"),
    )
    flow = infer(Project((people(),), (label_free, action), targets))
    mine, same, other = flow.variants

    assert note_read(store, mine, "e1") == Wear(1, 1)
    assert note_read(store, mine, "e2") == Wear(2, 1)
    assert note_read(store, same, "e3") == Wear(3, 2)
    assert note_read(store, other, "e4") == Wear(1, 1)


dated = Entity("customer", key="customer_id", time="at")


def divided(split: HashSplit | TimeSplit) -> Variant:
    project = Project((people(dated),), (label_free, action), (target(),), split=split)
    (variant,) = infer(project).variants
    return variant


def cut(**cells: range) -> Variant:
    return divided(HashSplit(cells=cells))


def test_no_other_division_makes_a_fresh_test_of_rows_that_were_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    two = cut(train=range(800), test=range(800, 1000))
    three = cut(train=range(700), validation=range(700, 800), test=range(800, 1000))
    shifted = cut(train=range(801), test=range(801, 1000))
    mirrored = cut(train=range(200, 1000), test=range(200))

    assert note_read(store, two, "e1") == Wear(1, 1)
    assert note_read(store, three, "e2") == Wear(2, 1)
    assert note_read(store, shifted, "e3") == Wear(3, 1)
    assert note_read(store, mirrored, "e4") == Wear(1, 1)
    assert note_read(store, divided(HashSplit("another")), "e5") == Wear(5, 1)
    assert note_read(store, divided(TimeSplit("2017-10-01")), "e6") == Wear(6, 1)
    assert note_read(store, divided(TimeSplit("2017-10-02")), "e7") == Wear(7, 1)


def test_a_line_that_a_killed_process_left_counts_as_a_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    note_read(store, VARIANT, "e1")
    (reads,) = (store.kept / "reads").glob("*.jsonl")
    with reads.open("a") as file:
        file.write('{"at": 17')

    assert note_read(store, VARIANT, "e2") == Wear(3, 1)
    assert note_read(store, VARIANT, "e3") == Wear(4, 1)
