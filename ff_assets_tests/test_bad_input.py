"""Bad input is named: what is wrong, where it is declared, why, and what to do about it."""

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import IDF, IDFModel, StringIndexer, VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import Target, feature, stage
from ff_assets.core.project import Project
from ff_assets.core.split import HashSplit
from ff_assets_tests.projects import (
    Row,
    counts,
    hashed,
    make_rows,
    marks,
    review,
    reviews,
    sentiment_stage,
    sentiment_target,
    signals,
    small_project,
    tokens,
    write_rows,
)
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("small")

ROWS = make_rows(120)
CELL = {row["review_id"]: HashSplit().cell(row["review_id"]) for row in ROWS}
EVALUATION = "evaluations/sentiment_evaluation"


def refused(ran: Ran, kind: str, what: str, declared: str) -> dict[str, Any]:
    """The one error of a run, if it says all that it has to.

    Args:
        what: is part of what it says.
        declared: is part of the line of the declaration that it points to.
    """
    assert not ran.success
    (error,) = ran.errors
    assert error["error"] == kind
    assert what in error["what"]
    assert error["why"]
    assert error["fix"]
    lines = [linecache.getline(place["file"], place["line"]) for place in error["where"]]
    assert any(declared in line for line in lines), lines
    assert error["what"] in ran.failure
    for place in error["where"]:
        assert f"{Path(place['file']).name}:{place['line']}" in ran.failure
    return error


def left_in_staging(home: Home) -> list[Path]:
    return list((home.store_root / "staging").iterdir())


# Sources ------------------------------------------------------------------------------------------

Change = Callable[[DataFrame], object]


def raises(rows: DataFrame) -> object:
    raise OSError("the disk is gone")


SOURCES: dict[str, tuple[Change, str, str]] = {
    "lacks a column": (
        lambda rows: rows.withColumnRenamed("text", "texts"),
        "lacks the column `text`",
        "texts",
    ),
    "lacks the key": (lambda rows: rows.drop("review_id"), "lacks the column `review_id`", "key"),
    "wrong type": (
        lambda rows: rows.withColumn("text", F.length("text")),
        "gives `text` as int, not string",
        "declared type",
    ),
    "type of the key": (
        lambda rows: rows.withColumn("review_id", F.col("review_id") / 2),
        "has a key of type double",
        "split",
    ),
    "null key": (
        lambda rows: rows.withColumn(
            "review_id", F.when(F.col("review_id") >= 3, F.col("review_id"))
        ),
        "has 3 of 120 rows with a null `review_id`",
        "cell",
    ),
    "duplicate key": (
        lambda rows: rows.withColumn("review_id", F.greatest("review_id", F.lit(2))),
        "has 2 rows whose `review_id` occurred before",
        "2 (3 times)",
    ),
    "empty": (lambda rows: rows.limit(0), "is empty", "no rows"),
    "empty test": (
        lambda rows: rows.where(F.col("review_id").isin([k for k in CELL if CELL[k] == "train"])),
        "leaves the cell test empty",
        "train",
    ),
    "raises": (raises, "cannot be loaded", "OSError: the disk is gone"),
    "no frame": (lambda rows: rows.toPandas(), "loads no DataFrame", "returned DataFrame"),
    "nothing": (lambda rows: None, "loads no DataFrame", "NoneType"),
    "no file": (
        lambda rows: rows.sparkSession.read.parquet("/nowhere/rows.parquet"),
        "cannot be loaded",
        "/nowhere/rows.parquet",
    ),
    "fails when it is read": (
        lambda rows: rows.withColumn("text", F.raise_error(F.lit("no such page")).cast("string")),
        "cannot be read",
        "no such page",
    ),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("bad") / "reviews.parquet", ROWS)


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_is_not_what_it_declares(home: Home, file: Path, case: str) -> None:
    change, what, why = SOURCES[case]

    def load(spark: SparkSession) -> object:
        return change(spark.read.parquet(str(file)))

    ran = home.run(small_project(reviews(file, load=load)))

    error = refused(ran, "DataError", f"source `reviews` {what}", 'Source("reviews"')
    assert why in error["why"]
    assert ran.assets == {}
    assert left_in_staging(home) == []
    assert not list(home.store_root.glob("tables/*"))


def test_a_source_that_has_to_be_read_to_know_its_version(home: Home, file: Path) -> None:
    def load(spark: SparkSession) -> DataFrame:
        return spark.read.parquet(str(file)).limit(0)

    ran = home.run(small_project(reviews(file, load=load, version=None)))

    refused(ran, "DataError", "source `reviews` is empty", 'Source("reviews"')
    assert ran.assets == {}


def test_a_version_that_cannot_be_stated(home: Home, file: Path) -> None:
    def version() -> str:
        raise FileNotFoundError("no snapshot")

    ran = home.run(small_project(reviews(file, version=version)))

    error = refused(ran, "DataError", "cannot state the version", 'Source("reviews"')
    assert "FileNotFoundError: no snapshot" in error["why"]
    assert ran.assets == {}
    assert not ran.asked_for_spark


@pytest.mark.parametrize(
    ("version", "why"), [(lambda: None, "None"), (lambda: "", "an empty text"), ("", "empty text")]
)
def test_a_version_that_is_nothing(home: Home, file: Path, version: Any, why: str) -> None:
    """It would stand for all data that ever come."""
    ran = home.run(small_project(reviews(file, version=version)))

    error = refused(ran, "DataError", "cannot state the version", 'Source("reviews"')
    assert why in error["why"]


# Labels -------------------------------------------------------------------------------------------

severity = stage(
    LogisticRegression,
    featuresCol="signals",
    labelCol="is_severe",
    predictionCol="severity",
    maxIter=2,
)
severity_target = Target("severity", outputs=["severity"], label="is_severe", task="binary")


def run_with_labels(home: Home, folder: Path, change: Callable[[Row], Row]) -> Ran:
    """Two targets, of which the first has its label changed."""
    file = write_rows(folder / "reviews.parquet", map(change, ROWS))
    project = Project(
        sources=(reviews(file),),
        stages=(tokens, hashed, marks, signals, sentiment_stage(), severity),
        targets=(sentiment_target(), severity_target),
    )
    wanted = ["models/sentiment_model", "features/sentiment", EVALUATION]
    wanted += ["registry/sentiment_registered", "evaluations/severity_evaluation"]
    return home.run(project, only=wanted)


def in_cell(cell: str, label: float | None) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        return {**row, "is_positive": label} if CELL[row["review_id"]] == cell else row

    return change


def test_no_label_in_train(home: Home, tmp_path: Path) -> None:
    ran = run_with_labels(home, tmp_path, in_cell("train", None))

    error = refused(ran, "StageError", "`sentiment` cannot be fitted", "stage(")
    assert "no row of train has the label `is_positive`" in error["what"]
    assert set(ran.assets) == {"evaluations/severity_evaluation"}


def test_no_label_in_test(home: Home, tmp_path: Path) -> None:
    ran = run_with_labels(home, tmp_path, in_cell("test", None))

    refused(ran, "NoMetric", "`sentiment` has no metric on test", "return Target(")
    assert set(ran.assets) == {"evaluations/severity_evaluation"}


def test_one_class_in_test(home: Home, tmp_path: Path) -> None:
    ran = run_with_labels(home, tmp_path, in_cell("test", 1.0))

    error = refused(ran, "NoMetric", "`sentiment` has no metric on test", "return Target(")
    assert "1" in error["what"] + error["why"]
    assert error["code"] == "NO_METRIC"
    assert set(ran.assets) == {"evaluations/severity_evaluation"}  # nothing was fitted for it


# Stages -------------------------------------------------------------------------------------------


class Unlucky(IDF):
    """An estimator whose fit fails."""

    def _fit(self, dataset: DataFrame) -> IDFModel:
        raise RuntimeError("no luck today\nnor tomorrow")


def test_an_estimator_that_fails_leaves_other_variants_whole(home: Home, file: Path) -> None:
    unlucky = stage(Unlucky, inputCol="term_counts", outputCol="text_vector").named("unlucky")

    ran = home.run(
        small_project(reviews(file), added=(counts, unlucky)),
        only=[
            "features/term_counts",
            "evaluations/sentiment__hashed_evaluation",
            "evaluations/sentiment__unlucky_evaluation",
            "features/signals__unlucky",
        ],
    )

    error = refused(ran, "StageError", "`unlucky` cannot be fitted", "unlucky = stage(")
    assert "RuntimeError: no luck today" in error["why"]
    assert set(ran.assets) == {
        "features/term_counts",
        "evaluations/sentiment__hashed_evaluation",
    }
    assert left_in_staging(home) == []


def with_broken_rows(folder: Path) -> Path:
    broken = [{**r, "language": None} if r["review_id"] % 10 == 0 else r for r in ROWS]
    return write_rows(folder / "reviews.parquet", broken)


def test_a_stage_that_drops_rows(home: Home, tmp_path: Path) -> None:
    index = stage(
        StringIndexer, inputCol="language", outputCol="language_index", handleInvalid="skip"
    )
    target = sentiment_target(keep=["language_index"])
    project = small_project(reviews(with_broken_rows(tmp_path)), added=(index,), target=target)

    ran = home.run(project, only=["features/language_index", EVALUATION])

    error = refused(ran, "StageError", "`language_index` made", "index = stage(")
    assert 'handleInvalid="keep"' in error["fix"]
    assert set(ran.assets) == {EVALUATION}


def test_a_view_that_drops_rows_is_named_itself(home: Home, tmp_path: Path) -> None:
    @feature(entity=review)
    def length(language: Column) -> Column:
        return F.length(language).cast("double")

    dropping = stage(
        VectorAssembler,
        inputCols=["text_vector", "length"],
        outputCol="signals",
        handleInvalid="skip",
    )
    project = small_project(
        reviews(with_broken_rows(tmp_path)), replaced={"signals": dropping, "marks": length}
    )

    ran = home.run(project, only=["features/sentiment"])

    refused(ran, "StageError", "made", "dropping = stage(")


def test_a_function_that_raises(home: Home, file: Path) -> None:
    @feature(entity=review)
    def marks(text: Column) -> Column:
        raise ValueError("no such mark")

    ran = home.run(
        small_project(reviews(file), replaced={"marks": marks}),
        only=["features/tokens", "features/marks", "features/sentiment"],
    )

    error = refused(ran, "StageError", "`marks` cannot be applied", "feature(")
    assert "ValueError: no such mark" in error["why"]
    assert set(ran.assets) == {"features/tokens"}


def test_a_function_that_raises_is_named_by_what_reads_it_too(home: Home, file: Path) -> None:
    @feature(entity=review)
    def marks(text: Column) -> Column:
        raise ValueError("no such mark")

    ran = home.run(
        small_project(reviews(file), replaced={"marks": marks}), only=["features/sentiment"]
    )

    refused(ran, "StageError", "`marks` cannot be applied", "feature(")


def test_a_function_that_gives_no_column(home: Home, file: Path) -> None:
    @feature(entity=review)
    def marks(text: Column) -> Column:
        return 3  # type: ignore[return-value]

    ran = home.run(small_project(reviews(file), replaced={"marks": marks}))

    error = refused(ran, "StageError", "`marks` cannot be applied", "feature(")
    assert "marks returned 3 (int), not a pyspark Column" in error["why"]


# The places where results go ----------------------------------------------------------------------


def test_mlflow_that_does_not_answer(home: Home, file: Path) -> None:
    ran = home.run(small_project(reviews(file)), tracking_uri="http://127.0.0.1:9")

    assert not ran.success
    (error,) = ran.errors
    assert error["error"] == "MlflowUnavailable"
    assert "http://127.0.0.1:9" in error["what"]
    assert error["fix"]
    assert EVALUATION in ran.assets
    assert "registry/sentiment_registered" not in ran.assets

    mended = home.run(small_project(reviews(file)))
    assert mended.success
    assert mended.computed == {"registry/sentiment_registered"}

    gone_again = home.run(small_project(reviews(file)), tracking_uri="http://127.0.0.1:9")
    assert [error["error"] for error in gone_again.errors] == ["MlflowUnavailable"]
    assert gone_again.computed == set()
    assert EVALUATION in gone_again.assets


def test_a_store_that_cannot_be_written(home: Home, file: Path) -> None:
    home.store_root.write_text("a file is in the way")

    ran = home.run(small_project(reviews(file)))

    (error,) = ran.errors
    assert error["error"] == "StoreError"
    assert str(home.store_root) in error["what"]
    assert "FF_HOME" in error["fix"]
    assert ran.assets == {}


def test_a_record_that_is_corrupt(home: Home, file: Path) -> None:
    project = small_project(reviews(file))
    assert home.run(project, only=["sources/reviews"]).success
    (record,) = home.store_root.glob("tables/*/cell=train/_record.json")
    for content in ("", '{"fingerprint": "f00d"', "{}"):
        record.write_text(content)

        ran = home.run(project, only=["sources/reviews"])

        (error,) = ran.errors
        assert error["error"] == "StoreError"
        assert str(record) in error["what"]
        assert "delete" in error["fix"]
        assert ran.assets == {}
