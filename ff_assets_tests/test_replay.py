"""Replay: published predictions are made again from what was stored, and compared bit for bit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from ff_assets.cli.ledger import data_left
from ff_assets.cli.replay import NothingPublished, ReplayReport, replay
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.published import Published, latest, published
from ff_assets.engine.same_rows import Difference, difference
from ff_assets.registry.runs import MlflowRuns
from ff_assets_tests.projects import reviews, write_rows
from ff_assets_tests.running import Home, WholeRun
from ff_assets_tests.test_predictions import move, only, put

pytestmark = pytest.mark.xdist_group("whole")


def again(
    home: Home, project: Project, spark: Callable[[], SparkSession], **asked: Any
) -> ReplayReport:
    runs = MlflowRuns(home.tracking_uri, None, "ff_assets")
    given = {"target": "sentiment", "alias": "production", "at": None, "version": None} | asked
    return replay(infer(project), runs, home.store, spark, **given, say=lambda _: None)


def told(report: ReplayReport) -> str:
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        report.print(console)
    return capture.get()


def no_spark() -> SparkSession:
    raise AssertionError("Spark was asked for")


@dataclass(frozen=True)
class Later:
    """The whole project at a later time: another version serves, on other data.

    Attributes:
        project: the present one.
        first: what was predicted before, by `version`.
        path: of the table that it was made from.
    """

    whole: WholeRun
    project: Project
    version: int
    first: Published
    path: Path
    spark: SparkSession

    def replay(self, **asked: Any) -> ReplayReport:
        given = {"version": self.version} | asked
        return again(self.whole.home, self.project, lambda: self.spark, **given)


@pytest.fixture(scope="module")
def later(
    whole: WholeRun, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Later]:
    home = whole.home
    version = move(whole, "sentiment[tfidf]", "production")
    made = only(home.predict(whole.project, "sentiment", "production"), PATH)
    every = published(home.store, "sentiment", "production", version)
    (first,) = (each for each in every if str(each.path) == made["path"])
    other = move(whole, "sentiment[hashed]", "production")
    rows = [row | {"text": f"{row['text']} awful"} for row in list(whole.rows.values())[:150]]
    file = write_rows(tmp_path_factory.mktemp("later") / "reviews.parquet", rows)
    project = replace(whole.project, sources=(reviews(file, version="2"),))
    made = only(home.predict(project, "sentiment", "production"), PATH)
    assert (made["model_version"], made["dagster/row_count"]) == (other, 25)
    put(home, "sentiment", "production", version)  # and back again
    (made_from,) = first.made_from
    path = home.store.table_path(made_from.sources["reviews"])
    yield Later(whole, project, version, first, path, spark)
    home.client.delete_registered_model_alias("sentiment", "production")


PATH = "predictions/sentiment/production"


def test_after_a_rollback_and_with_new_data_it_is_the_same_to_the_last_bit(later: Later) -> None:
    store = later.whole.home.store
    before = {path for path in store.root.parent.rglob("*") if path.is_file()}
    report = later.replay()

    assert (report.exit_code, report.outcome) == (0, "identical")
    assert report.predictions.path == later.first.path
    assert "identical: 50 rows, bit for bit" in told(report)
    assert {path for path in store.root.parent.rglob("*") if path.is_file()} == before
    other = later.replay(version=None)  # the last that was published is of the other version
    assert (other.outcome, other.as_dict()["version"] != later.version) == ("identical", True)
    assert other.replayed.difference is not None
    assert other.replayed.difference.rows == 25

    put(later.whole.home, "sentiment", "production", later.version)
    used = only(later.whole.home.predict(later.whole.project, "sentiment", "production"), PATH)
    assert used["reused"]
    now = later.replay(version=None)  # used again, it is what counts, though it is the older one
    assert (now.outcome, now.as_dict()["version"]) == ("identical", later.version)
    seconds = later.first.time.replace(microsecond=0)  # as the ledger prints it
    assert latest((later.first,), seconds) == later.first


def test_a_value_that_was_edited_is_found(later: Later) -> None:
    file = next(f for f in later.first.path.glob("*.parquet") if pq.read_metadata(f).num_rows)
    table = pq.read_table(file)
    values = table["sentiment"].to_pylist()
    keys = table["review_id"].to_pylist()
    edited = [1.0 - values[0], *values[1:]]
    changed = table.set_column(
        table.schema.get_field_index("sentiment"), "sentiment", pa.array(edited)
    )
    checksum = file.with_name(f".{file.name}.crc")
    kept = file.read_bytes(), checksum.read_bytes()
    checksum.unlink()
    pq.write_table(changed, file)
    try:
        report = later.replay()
    finally:
        file.write_bytes(kept[0])
        checksum.write_bytes(kept[1])

    assert (report.exit_code, report.outcome) == (1, "different")
    found = report.as_dict()["compared"]
    assert (found["rows"], found["changed"], found["columns"]) == (50, 1, {"sentiment": 1})
    (example,) = found["examples"]
    assert example == {
        "key": str(keys[0]),
        "column": "sentiment",
        "before": str(edited[0]),
        "again": str(values[0]),
    }
    assert "what was published was edited" in told(report).replace("\n", " ")


def test_without_the_rows_of_then_it_says_so(later: Later) -> None:
    store = later.whole.home.store
    (there,) = data_left(store, {"production": later.first})
    hidden = later.path.with_name("hidden")
    later.path.rename(hidden)
    try:
        report = again(later.whole.home, later.project, no_spark, version=later.version)
        (gone,) = data_left(store, {"production": later.first})
    finally:
        hidden.rename(later.path)

    assert (report.exit_code, report.outcome) == (1, "not reproducible")
    assert "reviews: its rows of that time (version 1 of its data) are not in the" in told(report)
    assert there.passed
    assert not gone.passed
    assert "not stored any more: reviews." in gone.detail


def test_what_was_not_published_cannot_be_replayed(later: Later) -> None:
    with pytest.raises(NothingPublished, match="at or before") as error:
        later.replay(at=later.first.time - timedelta(days=1))
    assert "the first ones are of" in error.value.why
    with pytest.raises(NothingPublished) as error:
        later.replay(version=99)
    assert error.value.why == "the store has none."
    assert latest((later.first,), later.first.time - timedelta(seconds=1)) is None


def test_rows_are_compared_by_every_bit(spark: SparkSession, tmp_path: Path) -> None:
    names = "key bigint, number double, weights array<double>"
    nan = float("nan")
    sides = {
        "before": [(1, 0.0, [nan]), (2, nan, [0.1]), (3, None, None), (4, 0.1, []), (0, 1.0, [])],
        "again": [
            (2, nan, [0.1]),
            (1, -0.0, [nan]),
            (3, None, []),
            (4, 0.1 + 2**-56, []),
            (6, 1.0, []),
        ],
    }
    for side, rows in sides.items():
        spark.createDataFrame(rows, names).write.parquet(str(tmp_path / side))
    columns = ["number", "weights"]

    def compared(before: str, again: str, **tags: list[str]) -> Difference:
        folders = tmp_path / before, tmp_path / again
        return difference(spark, *folders, "key", columns, lambda name: tags.get(name, []))

    found = compared("before", "again")
    assert (found.rows, found.lost, found.added, found.changed) == (5, 1, 1, 3)
    assert found.columns == {"number": 2, "weights": 1}
    shown = [(each.key, each.column, each.before, each.again) for each in found.examples]
    assert shown == [
        ("0", "", "a row", "no row"),
        ("1", "number", "0.0", "-0.0"),
        ("3", "weights", "null", "[]"),
    ]
    masked = compared("before", "again", key=["pseudonym"], number=["pii", "health"])
    shown = [(each.key, each.before, each.again) for each in masked.examples]
    assert shown == [
        ("(masked: pseudonym)", "a row", "no row"),
        ("(masked: pseudonym)", "(masked: health, pii)", "(masked: health, pii)"),
        ("(masked: pseudonym)", "null", "[]"),
    ]
    same = compared("again", "again")
    assert (same.rows, same.is_none) == (5, True)
