"""Sources: where the rows of an entity go under each split, and data that must not pass."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, HashSplit, Source, TimeSplit
from ff_assets.core.cells import BUCKET, CELL, TEST, TRAIN
from ff_assets.core.errors import DataError, DefinitionError
from ff_assets.core.split import Split, bucket
from ff_assets.engine.regions import bucket_column, cell_column
from ff_assets.engine.source_checks import StagedSource, checked
from ff_assets.engine.sources import stage_source
from ff_assets.engine.store import Staging, Store

pytestmark = pytest.mark.xdist_group("small")

household = Entity("household", key="household_id")
basket = Entity(
    "basket", key="basket_id", parent=household, foreign_key="household_id", time="bought_at"
)
item = Entity("item", key="item_id", parent=basket, foreign_key="basket_id")

COLUMNS = "basket_id bigint, household_id string, bought_at timestamp, amount double"
BY_TIME = TimeSplit("2017-10-01", embargo="30d", start="2017-03-01")
NEW_YEAR = datetime(2017, 1, 1, 12, tzinfo=UTC)

Load = Callable[[SparkSession], DataFrame]


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with Store(tmp_path / "store").staging() as staging:
        yield staging


def baskets(load: Load, **given: Any) -> Source:
    features = {"amount": "double"}
    given = {"labels": ["amount"], "version": "1", **given}
    return Source("baskets", entity=basket, load=load, features=features, **given)


def some_rows(count: int = 400) -> list[tuple[int, str, datetime, float | None]]:
    """Baskets of 40 households over the year, a third of them without a label."""
    draw = random.Random(5)
    return [
        (
            number,
            f"h{draw.randrange(40)}",
            NEW_YEAR + timedelta(days=draw.randrange(365), seconds=draw.randrange(40_000)),
            None if number % 3 == 0 else draw.random(),
        )
        for number in range(count)
    ]


def of_rows(rows: list[Any], columns: str = COLUMNS) -> Load:
    return lambda spark: spark.createDataFrame(rows, columns)


def stored(source: StagedSource) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(source.directory).to_pylist()
    return rows


# Where rows go ------------------------------------------------------------------------------------


def test_baskets_go_where_their_household_goes(spark: SparkSession, staging: Staging) -> None:
    rows = some_rows()
    split = HashSplit()

    made = stage_source(baskets(of_rows(rows)), split, spark, staging)

    found = {row["basket_id"]: row for row in stored(made)}
    assert len(found) == len(rows)
    for number, owner, bought_at, amount in rows:
        row = found[number]
        assert (row["household_id"], row["amount"]) == (owner, amount)
        assert row["bought_at"].replace(tzinfo=UTC) == bought_at
        assert (row[BUCKET], row[CELL]) == (bucket(owner, split.salt), split.cell(owner))
    cells = {owner: split.cell(owner) for _, owner, *_ in rows}
    assert made.groups == Counter(cells.values())
    assert made.rows == Counter(cells[owner] for _, owner, *_ in rows)
    assert made.labels == {
        "amount": Counter(cells[owner] for _, owner, _, amount in rows if amount is not None)
    }
    assert made.buckets == Counter(bucket(owner, split.salt) for _, owner, *_ in rows)
    assert list(made.columns) == ["basket_id", "household_id", "bought_at", "amount"]


def test_a_grandchild_goes_where_the_root_goes(spark: SparkSession, staging: Staging) -> None:
    rows = [(n, n % 50, n % 17) for n in range(200)]
    load = of_rows(rows, "item_id int, basket_id int, household_id int")
    source = Source("items", entity=item, load=load, features={}, version="1")

    made = stage_source(source, HashSplit(), spark, staging)

    assert all(row[CELL] == HashSplit().cell(row["household_id"]) for row in stored(made))
    assert made.groups == Counter(HashSplit().cell(n) for n in range(17))


def test_a_time_split_keeps_its_embargo_and_what_is_before_its_start_with_train(
    spark: SparkSession, staging: Staging
) -> None:
    rows = some_rows()

    made = stage_source(baskets(of_rows(rows)), BY_TIME, spark, staging)

    def region(day: date) -> str:
        if day >= date(2017, 10, 1):
            return TEST
        return TRAIN if date(2017, 3, 1) <= day < date(2017, 9, 1) else "neither"

    days = {number: bought_at.date() for number, _, bought_at, _ in rows}
    for row in stored(made):
        day = days[row["basket_id"]]
        assert row[BUCKET] == BY_TIME.bucket(day)
        assert row[CELL] == (TEST if region(day) == TEST else TRAIN)
    counts = Counter(region(day) for day in days.values())
    assert made.rows == {TRAIN: counts[TRAIN] + counts["neither"], TEST: counts[TEST]}
    assert made.buckets == Counter(BY_TIME.bucket(day) for day in days.values())
    for cell in (TRAIN, TEST):
        inside = [row for row in rows if region(row[2].date()) == cell]
        assert made.groups[cell] == len({owner for _, owner, *_ in inside})
        assert made.labels["amount"][cell] == sum(amount is not None for *_, amount in inside)


@pytest.mark.parametrize("sql_type", ["date", "timestamp", "timestamp_ntz"])
@pytest.mark.parametrize("split", [BY_TIME, TimeSplit(date(2017, 2, 28))], ids=["gaps", "plain"])
def test_days_are_the_same_in_spark_and_python(
    spark: SparkSession, sql_type: str, split: TimeSplit
) -> None:
    draw = random.Random(11)
    moments = [NEW_YEAR + timedelta(days=draw.randrange(-900, 900)) for _ in range(200)]
    moments += [datetime(2017, 10, 1, tzinfo=UTC), datetime(2017, 9, 30, 23, 59, 59, tzinfo=UTC)]
    moments += [datetime(1900, 1, 1, tzinfo=UTC), datetime(2900, 1, 1, tzinfo=UTC)]
    frame = spark.createDataFrame([(m,) for m in moments] + [(None,)], "at timestamp")
    at = F.col("at").cast(sql_type)

    rows = frame.select("at", bucket_column(at, split), cell_column(at, split)).collect()

    for moment, (_, position, cell) in zip(moments, rows, strict=False):
        assert position == split.bucket(moment.date())
        assert cell == (TEST if split.bits(TEST) >> position & 1 else TRAIN)
    assert tuple(rows[-1]) == (None, None, None)


# Digests ------------------------------------------------------------------------------------------


def test_digests_tell_which_rows_belong_where(spark: SparkSession, staging: Staging) -> None:
    """Sources of one entity are joined by its key alone, so all else has to agree."""
    rows = some_rows(120)
    moved = [(n, f"{o}x" if n == 7 else o, at, a) for n, o, at, a in rows]
    later = [(n, o, at + timedelta(microseconds=n == 7), a) for n, o, at, a in rows]
    changed = [(n, o, at, 9.0 if n == 7 else a) for n, o, at, a in rows]

    def made(rows: list[Any], split: Split | None = None) -> StagedSource:
        source = baskets(of_rows(rows), version=None)
        return stage_source(source, split or HashSplit(), spark, staging)

    first = made(rows)
    assert made(rows[::-1]).keys == first.keys == made(changed).keys
    assert made(moved).keys != first.keys
    assert made(later).keys != first.keys
    assert made(rows[::-1]).content == first.content != made(changed).content
    assert made(rows, BY_TIME).content == first.content  # the data did not change


# Refusals -----------------------------------------------------------------------------------------

Change = Callable[[DataFrame], DataFrame]


def without(column: str) -> Change:
    """The first three rows lack a value."""
    return lambda rows: rows.withColumn(column, F.when(F.col("basket_id") >= 3, F.col(column)))


def with_keys(*keys: str) -> Change:
    """The first rows get these keys."""

    def change(rows: DataFrame) -> DataFrame:
        key = F.col("basket_id")
        given = F.try_element_at(F.array(*map(F.lit, keys)), (key + 1).cast("int"))
        return rows.withColumn("basket_id", F.coalesce(given, key.cast("string")))

    return change


OWNER = some_rows()[5][1]
ELSEWHERE = next(f"x{n}" for n in range(99) if HashSplit().cell(f"x{n}") != HashSplit().cell(OWNER))
REFUSED: dict[str, tuple[Split, Change, str, str]] = {
    "lacks its foreign key": (
        HashSplit(),
        lambda rows: rows.withColumnRenamed("household_id", "household"),
        "lacks the column `household_id`",
        "declared foreign key; nearest existing names: household",
    ),
    "lacks its time": (
        HashSplit(),
        lambda rows: rows.drop("bought_at"),
        "lacks the column `bought_at`",
        "declared time",
    ),
    "type of a foreign key": (
        HashSplit(),
        lambda rows: rows.withColumn("household_id", F.lit(1.0)),
        "has a foreign key of type double",
        "text",
    ),
    "type of a time": (
        HashSplit(),
        lambda rows: rows.withColumn("bought_at", F.lit("2017-01-01")),
        "has a time of type string",
        "in order",
    ),
    "null foreign key": (
        HashSplit(),
        without("household_id"),
        "has 3 of 400 rows with a null `household_id`",
        "no side of the split",
    ),
    "null time": (
        HashSplit(),
        without("bought_at"),
        "has 3 of 400 rows with a null `bought_at`",
        "before nor after",
    ),
    "null time in a time split": (
        BY_TIME,
        without("bought_at"),
        "has 3 of 400 rows with a null `bought_at`",
        "before nor after",
    ),
    "white space": (
        HashSplit(),
        with_keys(" 12", "13\t", "\u00a013", "alone "),
        "has values of `basket_id` that look alike",
        "' 12' and '12', '13' and '13\\t' and '\\xa013'; each text is a key of its own",
    ),
    "a number with a fraction": (
        HashSplit(),
        with_keys("12.0", "13.5", " 13.50"),
        "has values of `basket_id` that look alike",
        "'12' and '12.0'; each",
    ),
    "white space in a foreign key": (
        BY_TIME,
        lambda rows: rows.withColumn(
            "household_id", F.when(F.col("basket_id") < 3, "h1 ").otherwise(F.col("household_id"))
        ),
        "has values of `household_id` that look alike",
        "'h1' and 'h1 '",
    ),
    "one key in two cells": (
        HashSplit(),
        lambda rows: rows.union(
            rows.limit(1).select(F.lit(5), F.lit(ELSEWHERE), "bought_at", "amount")
        ),
        "has 1 rows whose `basket_id` occurred before",
        "5 (2 times, in test and train)",
    ),
    "one key on two days": (
        BY_TIME,
        lambda rows: rows.union(
            rows.limit(1).select(F.lit(5), "household_id", F.lit(NEW_YEAR), "amount")
        ),
        "has 1 rows whose `basket_id` occurred before",
        "5 (2 times",
    ),
    "nothing after the cutoff": (
        BY_TIME,
        lambda rows: rows.where("bought_at < '2017-10-01'"),
        "leaves the cell test empty",
        "test begins on 2017-10-01, and train ends 30 days before",
    ),
    "nothing before but the embargo": (
        BY_TIME,
        lambda rows: rows.where("bought_at >= '2017-09-01' or bought_at < '2017-03-01'"),
        "leaves the cell train empty",
        "belong to neither cell; test begins",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_must_not_pass(spark: SparkSession, staging: Staging, case: str) -> None:
    split, change, what, why = REFUSED[case]
    source = baskets(lambda spark: change(of_rows(some_rows())(spark)))

    with pytest.raises(DataError) as caught:
        stage_source(source, split, spark, staging)

    error = caught.value
    assert f"source `baskets` {what}" in error.what
    assert why in error.why
    assert error.fix
    assert ("source 'baskets'", source.location) in error.where


def test_keys_that_are_written_alike_but_mean_other_things_pass(
    spark: SparkSession, staging: Staging
) -> None:
    """A zero in front is part of a number such as a postcode, and a lone blank harms nobody."""
    load = of_rows(some_rows())
    source = baskets(lambda spark: with_keys("007", "+12", "v1.0", " lone")(load(spark)))

    made = stage_source(source, HashSplit(), spark, staging)

    assert sum(made.rows.values()) == 400
    assert {"007", "7", "+12", "12", " lone"} <= {row["basket_id"] for row in stored(made)}


def test_an_entity_without_time_cannot_be_split_by_time(
    spark: SparkSession, staging: Staging
) -> None:
    def load(spark: SparkSession) -> DataFrame:
        raise AssertionError("nothing is read")

    source = Source("households", entity=household, load=load, features={}, version="1")

    with pytest.raises(DefinitionError, match="cannot be split by time: `household`") as caught:
        stage_source(source, BY_TIME, spark, staging)

    assert [thing for thing, _ in caught.value.where] == [
        "source 'households'",
        "entity 'household'",
        "TimeSplit(...)",
    ]


@pytest.mark.parametrize("split", [HashSplit(), BY_TIME], ids=["by key", "by time"])
def test_rows_that_are_stored_elsewhere_than_they_belong(
    spark: SparkSession, staging: Staging, split: Split
) -> None:
    source = baskets(of_rows(some_rows()))
    made = stage_source(source, split, spark, staging)
    rows = spark.read.parquet(str(made.directory))
    moved = F.when(F.col("basket_id") == 7, (F.col(BUCKET) + 1) % 1000).otherwise(F.col(BUCKET))
    swapped = F.when(F.col("basket_id") != 7, F.col(CELL)).when(F.col(CELL) == TEST, TRAIN)

    assert checked(source, split, rows, made.directory) == made
    for column, wrong in ((BUCKET, moved), (CELL, F.coalesce(swapped, F.lit(TEST)))):
        with pytest.raises(DataError, match="has 1 of 400 rows on a wrong side of the split"):
            checked(source, split, rows.withColumn(column, wrong), made.directory)
