"""Features of a run, read by name as in a notebook."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import feature
from ff_assets.core.errors import (
    DataError,
    DefinitionError,
    LeakError,
    Location,
    PolicyViolation,
)
from ff_assets.core.policy import Governance
from ff_assets.core.project import Project
from ff_assets.notebook import Features
from ff_assets_tests.projects import review, sentiment_stage, small_project
from ff_assets_tests.running import WholeRun

pytestmark = pytest.mark.xdist_group("whole")

HERE = Location("notebook", 1)


@feature(entity=review)
def shouts(marks: Any) -> Any:
    """No target uses it."""
    return marks * 2


@pytest.fixture
def features(whole: WholeRun, spark: SparkSession) -> Features:
    return Features(whole.project, whole.home.store, lambda: spark)


def read(
    features: Features,
    name: str,
    variant: str | None = None,
    cell: str | None = None,
    *,
    training: bool = True,
) -> DataFrame:
    return features.read(name, variant, cell, training, False, HERE)


def read_many(features: Features, names: list[str], spine: Any, **how: Any) -> Any:
    given = {"variant": None, "target": None, "training": True} | how
    return features.read_many(names, spine, **given, location=HERE)


def test_a_stored_feature_is_read_as_it_is_of_a_cell(
    features: Features, whole: WholeRun, spark: SparkSession
) -> None:
    variant = next(v for v in whole.flow.variants if v.label == "tfidf")
    stored = whole.stored(spark, variant)
    for cell in ("train", "test", None):
        rows = read(features, "sentiment", "sentiment[tfidf]", cell, training=cell == "test")
        assert rows.columns == ["review_id", "sentiment", "cell"]
        keys = {k for k in whole.rows if cell in (None, whole.cell_of(k))}
        found = rows.collect()
        assert {row["review_id"]: row["sentiment"] for row in found} == {
            key: stored[key]["sentiment"] for key in keys
        }
        assert len(found) == len(keys)
        assert all(row["cell"] == whole.cell_of(row["review_id"]) for row in found)


def test_variants_differ_and_views_are_computed(features: Features, whole: WholeRun) -> None:
    tfidf, hashes = (read(features, "signals", v).head() for v in ("tfidf", "hashed"))
    assert tfidf["signals"].size != hashes["signals"].size == 33
    found = features.read("marks", None, None, True, True, HERE)
    assert isinstance(found, pd.DataFrame)
    assert dict(zip(found["review_id"], found["marks"], strict=True)) == {
        key: row["text"].count("!") for key, row in whole.rows.items()
    }


def test_a_feature_that_no_target_uses_is_computed(features: Features, whole: WholeRun) -> None:
    given = Project(whole.project.sources, (*whole.project.stages, shouts), whole.project.targets)
    rows = read(Features(given, features.store, features.spark), "shouts", cell="test").collect()
    assert {row["review_id"]: row["shouts"] for row in rows} == {
        key: 2 * row["text"].count("!")
        for key, row in whole.rows.items()
        if whole.cell_of(key) == "test"
    }


def test_no_such_cell(features: Features) -> None:
    with pytest.raises(DefinitionError, match=r"(?s)no cell 'validation'.+existing names"):
        read(features, "marks", cell="validation")


def test_what_no_run_has_made_is_not_made_by_reading(features: Features, whole: WholeRun) -> None:
    before = sorted(features.store.root.rglob("_record.json"))
    changed = {"sentiment": sentiment_stage(reg_param=0.5)}
    other = small_project(whole.project.sources[0], replaced=changed)
    with pytest.raises(DataError, match=r"(?s)models/sentiment.+ff run sentiment"):
        read(Features(other, features.store, features.spark), "sentiment", cell="test")
    assert sorted(features.store.root.rglob("_record.json")) == before


def test_a_training_set_keeps_each_row_of_the_spine(features: Features, whole: WholeRun) -> None:
    labels = read(features, "is_positive", cell="train")
    given = labels.withColumn("weight", F.lit(2)).unionByName(
        labels.limit(2).withColumn("weight", F.lit(3))
    )
    names = ["text_vector", "marks"]
    found = read_many(features, names, given, variant="tfidf", target="sentiment")
    assert isinstance(found, DataFrame)
    assert found.columns == ["review_id", "is_positive", "weight", *names, "cell"]
    rows = found.collect()
    assert len(rows) == given.count()
    vectors = {
        row["review_id"]: row["text_vector"]
        for row in read(features, "text_vector", "tfidf", "train").collect()
    }
    for row in rows:
        assert row["marks"] == whole.rows[row["review_id"]]["text"].count("!")
        assert row["text_vector"] == vectors[row["review_id"]]

    again = read_many(features, names, labels.toPandas(), variant="tfidf")
    assert list(again["review_id"]) == [row["review_id"] for row in labels.collect()]
    assert list(again["text_vector"]) == [vectors[key] for key in again["review_id"]]


def test_what_saw_the_labels_of_its_rows_is_refused(features: Features) -> None:
    train = read(features, "is_positive", cell="train")
    with pytest.raises(LeakError) as refused:
        read_many(features, ["severity", "marks"], train, variant="tfidf", target="sentiment")
    assert refused.value.code == "OOF_REQUIRED"
    assert "`severity[tfidf]`, which has seen the labels of the same rows" in str(refused.value)
    shown = read_many(features, ["severity"], train, variant="tfidf", training=False)
    assert shown.where("severity is null").count() == 0


@pytest.mark.parametrize("cell", ["train", None])
def test_a_prediction_on_the_rows_of_its_fit_is_for_looking_only(
    features: Features, cell: str | None
) -> None:
    with pytest.raises(LeakError) as refused:
        read(features, "severity", "tfidf", cell)
    assert refused.value.code == "IN_SAMPLE"
    assert "`severity[tfidf]` was fitted on the labels of the same rows" in str(refused.value)
    assert "notebook:1" in str(refused.value)
    assert read(features, "severity", "tfidf", cell, training=False).head() is not None
    assert read(features, "severity", "tfidf", "test").head() is not None


def test_what_the_policy_keeps_out_of_notebooks_is_not_read(
    features: Features, whole: WholeRun
) -> None:
    (given,) = whole.project.sources
    project = replace(
        whole.project,
        sources=(replace(given, sensitivity={"text": ["pii"], "review_id": ["pseudonym"]}),),
        governance=Governance(deny={"pii": ["notebooks/*_vector"], "pseudonym": ["notebooks/*"]}),
    )
    governed = Features(project, features.store, features.spark)
    spine = pd.DataFrame({"review_id": [5]})
    with pytest.raises(PolicyViolation) as refused:
        read_many(governed, ["text_vector"], spine, variant="tfidf", training=False)
    assert "path: reviews.text -> tokens" in str(refused.value)
    assert "-> notebooks/text_vector" in str(refused.value)
    # The rows are the notebook's own, or they are given with their key.
    assert len(read_many(governed, ["marks"], spine, training=False)) == 1
    with pytest.raises(PolicyViolation, match="`pseudonym` would reach notebooks/marks"):
        read(governed, "marks", cell="test")


def test_unknown_keys_are_null_and_counted(features: Features) -> None:
    spine = pd.DataFrame({"review_id": [5, -1, 7]}, index=["a", "b", "c"])
    with pytest.warns(UserWarning, match="1 of 3 rows"):
        found = read_many(features, ["marks"], spine, training=False)
    assert list(found.index) == ["a", "b", "c"]
    assert list(found["marks"].isna()) == [False, True, False]
    with pytest.raises(DataError, match="is a double, in the store a bigint"):
        read_many(features, ["marks"], spine.astype(float), training=False)
