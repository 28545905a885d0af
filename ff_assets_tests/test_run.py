"""One command from declared stages to honest metrics and registered models, in one run."""

import re

import dagster as dg
import numpy as np
import pytest
from pyspark.sql import SparkSession
from sklearn import metrics as sk

from ff_assets.core.instance import Variant
from ff_assets.core.steps import CELLS, Kind, Step, steps_of
from ff_assets.engine.plan import Inventory
from ff_assets_tests.running import WholeRun

pytestmark = pytest.mark.xdist_group("whole")


@pytest.fixture(params=["sentiment[tfidf]", "severity[hashed]"])
def variant(request: pytest.FixtureRequest, whole: WholeRun) -> Variant:
    return next(v for v in whole.flow.variants if v.name == request.param)


def name_of(step: Step) -> str:
    return "/".join(step.path)


def test_every_asset_is_made_for_both_cells_in_one_run(whole: WholeRun) -> None:
    expected = {
        name_of(step): set(CELLS if step.has_cells else [""]) for step in steps_of(whole.flow)
    }

    assert whole.ran.success
    assert {name: set(cells) for name, cells in whole.ran.assets.items()} == expected
    assert len(expected) == 36
    assert whole.ran.computed == set(expected)


def test_metadata_says_what_was_made_of_what(whole: WholeRun) -> None:
    inventory = Inventory(whole.flow, whole.fingerprints, whole.home.store)
    rows = {cell: sum(whole.cell_of(key) == cell for key in whole.rows) for cell in CELLS}
    assert min(rows.values()) > 40

    for step in steps_of(whole.flow):
        for cell, metadata in whole.ran.assets[name_of(step)].items():
            assert metadata["fingerprint"] == inventory.fingerprint(step)
            assert metadata["data_version"] == metadata["fingerprint"]
            assert metadata["seconds"] >= 0
            if step.has_cells:
                assert metadata["dagster/row_count"] == rows[cell], step
    source = whole.ran.assets["sources/reviews"]["train"]
    rated = sum(
        row["is_positive"] is not None and whole.cell_of(key) == "train"
        for key, row in whole.rows.items()
    )
    assert source["rows_with_is_positive"] == rated < source["rows_with_is_severe"] == rows["train"]


def test_each_asset_is_recorded_as_soon_as_it_is_whole(whole: WholeRun) -> None:
    """Before anything that reads it begins, and not when the op ends."""
    began, ended, recorded = {}, {}, {}
    for position, entry in enumerate(whole.ran.events):
        if entry.asset_materialization is not None:
            name = "/".join(entry.asset_materialization.asset_key.path)
            recorded.setdefault(name, []).append((position, entry.timestamp))
        elif not entry.is_dagster_event and entry.user_message.startswith("▶ "):
            began[entry.user_message.removeprefix("▶ ")] = position
        elif not entry.is_dagster_event and entry.user_message.startswith("■ "):
            ended[entry.user_message[2:].partition(":")[0]] = (position, entry.user_message)

    steps = steps_of(whole.flow)
    assert set(began) == set(ended) == {step.name for step in steps}
    for step in steps:
        end, text = ended[step.name]
        mine = [position for position, _ in recorded[name_of(step)]]
        assert began[step.name] < end < min(mine)
        assert re.search(r", \d+\.\d s$|: \d+\.\d s$", text)
        if step.has_cells:
            assert re.search(r"train \d+ rows, test \d+ rows", text)
        for parent in step.parents():
            assert max(p for p, _ in recorded[name_of(parent)]) < began[step.name]
    last = whole.ran.events[-1].timestamp
    assert recorded["sources/reviews"][0][1] < last - 1
    assert whole.ran.events[-1].dagster_event_type is dg.DagsterEventType.RUN_SUCCESS


def test_one_session_serves_the_whole_run(whole: WholeRun) -> None:
    assert sum("Spark session ready" in message for message in whole.ran.messages) == 1
    assert sum("9 fits" in message for message in whole.ran.messages) == 1


def test_metrics_are_those_of_scikit_learn_on_exactly_the_test_rows(
    whole: WholeRun, spark: SparkSession, variant: Variant
) -> None:
    label, stored = variant.target.label, whole.stored(spark, variant)
    assert set(stored) == set(whole.rows)
    evaluation = whole.ran.assets[name_of(Step(Kind.EVALUATION, variant))][""]

    for cell in CELLS:
        keys = [k for k in sorted(stored) if whole.cell_of(k) == cell]
        assert {stored[key]["cell"] for key in keys} == {cell}
        rated = [key for key in keys if whole.rows[key][label] is not None]
        truth = np.array([whole.rows[key][label] for key in rated])
        predicted = np.array([stored[key][variant.target.outputs[0]] for key in rated])
        positive = np.array([stored[key]["_probability"][1] for key in rated])
        assert evaluation[f"rows_{cell}"] == len(rated)
        for name, value in {
            "auc": sk.roc_auc_score(truth, positive),
            "auc_pr": sk.average_precision_score(truth, positive),
            "log_loss": sk.log_loss(truth, positive),
            "brier": sk.brier_score_loss(truth, positive),
            "accuracy": sk.accuracy_score(truth, predicted),
            "f1": sk.f1_score(truth, predicted),
        }.items():
            assert evaluation[f"{name}_{cell}"] == pytest.approx(value, abs=1e-9), (name, cell)
            assert (f"{name}_{cell}_low" in evaluation) is (cell == "test")
    assert evaluation["auc_test_low"] < evaluation["auc_test"] < evaluation["auc_test_high"]


def test_rows_without_a_label_keep_their_cell_and_are_not_measured(
    whole: WholeRun, spark: SparkSession
) -> None:
    variant = whole.flow.variants_of("sentiment")[0]
    unrated = {key for key, row in whole.rows.items() if row["is_positive"] is None}
    stored = whole.stored(spark, variant)

    assert {stored[key]["cell"] for key in unrated} == {"train", "test"}
    evaluation = whole.ran.assets[name_of(Step(Kind.EVALUATION, variant))][""]
    assert evaluation["rows_train"] + evaluation["rows_test"] == len(whole.rows) - len(unrated)


def test_mlflow_has_one_run_with_one_nested_run_per_variant(whole: WholeRun) -> None:
    client, ran = whole.home.client, whole.ran
    (experiment,) = (e for e in client.search_experiments() if e.name == "ff_assets")
    (parent,) = client.search_runs(
        [experiment.experiment_id], f"tags.dagster_run_id = '{ran.run_id}'"
    )
    nested = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )

    assert parent.info.status == "FINISHED"
    assert {run.info.status for run in nested} == {"FINISHED"}
    by_id = {run.info.run_id: run for run in nested}
    assert len(by_id) == len(whole.flow.variants) == 4
    for variant in whole.flow.variants:
        registration = ran.assets[name_of(Step(Kind.REGISTRATION, variant))][""]
        evaluation = ran.assets[name_of(Step(Kind.EVALUATION, variant))][""]
        run = by_id[registration["mlflow_run_id"]]
        assert run.data.tags["ff.dagster_run_id"] == ran.run_id
        assert run.data.tags["ff.variant"] == variant.name
        assert run.data.tags["ff.asset_key"] == name_of(Step(Kind.REGISTRATION, variant))
        measured = {
            name: value
            for name, value in evaluation.items()
            if re.fullmatch(r"\w+_(train|test)(_low|_high)?", name)
            and not name.startswith(("rows_", "unlabelled_"))
        }
        assert len(measured) == 6 * 4 + 1  # the calibration error has no interval
        assert run.data.metrics == pytest.approx(measured)
        version = client.get_model_version(variant.target.name, str(registration["version"]))
        assert version.run_id == run.info.run_id
        assert version.tags["ff.variant"] == variant.name
        assert version.tags["ff.dagster_run_id"] == ran.run_id
        assert version.tags["ff.fingerprint"] == registration["fingerprint"]


def test_mlflow_has_the_parameters_of_every_stage(whole: WholeRun) -> None:
    variant = next(v for v in whole.flow.variants if v.name == "severity[tfidf]")
    registration = whole.ran.assets[name_of(Step(Kind.REGISTRATION, variant))][""]

    params = whole.home.client.get_run(registration["mlflow_run_id"]).data.params

    assert params == {
        "tokens.stage": "RegexTokenizer",
        "tokens.pattern": r"\W+",
        "term_counts.stage": "CountVectorizer",
        "tfidf.stage": "IDF",
        "marks.stage": "marks()",
        "indexes.stage": "StringIndexer",
        "topic.stage": "KMeans",
        "topic.k": "3",
        "topic.seed": "1",
        "topic.maxIter": "3",
        "profile.stage": "VectorAssembler",
        "severity.stage": "GBTClassifier",
        "severity.maxIter": "2",
        "severity.maxDepth": "3",
        "severity.seed": "1",
    }


def test_variants_share_what_they_agree_on(whole: WholeRun) -> None:
    names = set(whole.ran.assets)
    assert {"features/tokens", "features/marks", "models/indexes_model"} <= names
    assert sum(name.startswith("features/profile") for name in names) == 2


def test_a_second_run_reuses_everything_without_spark(whole: WholeRun) -> None:
    again = whole.home.run(whole.project)

    assert again.success
    assert not again.asked_for_spark
    assert again.computed == set()
    assert {n: c["fingerprint"] for n, m in again.assets.items() for c in m.values()} == {
        n: c["fingerprint"] for n, m in whole.ran.assets.items() for c in m.values()
    }
