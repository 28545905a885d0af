"""Aggregates, compared with an implementation that is slow and obviously right."""

import math
import random
import statistics
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, Stage, aggregate, aggregates
from ff_assets.core.cells import BUCKET, CELL
from ff_assets.core.operations import FUNCTIONS, AggregateOperation, Function, Measure
from ff_assets.engine.aggregates import aggregate as aggregated

pytestmark = pytest.mark.xdist_group("small")

household = Entity("household", key="household_id")
basket = Entity(
    "basket", key="basket_id", parent=household, foreign_key="household_id", time="happened_at"
)
offer = Entity(
    "offer", key="offer_id", parent=household, foreign_key="household_id", time="happened_at"
)
item = Entity("item", key="item_id", parent=basket, foreign_key="basket_id")

Row = dict[str, Any]
START = datetime(2017, 5, 1)
FEATURES = {"amount": "double", "count": "int", "department": "string"}
MEASURES: dict[str, Sequence[Function]] = {
    "amount": FUNCTIONS,
    "count": ["sum", "count_distinct"],
    "department": ["count"],
}

# Slow and obviously right -------------------------------------------------------------------------


def expected(row: Row, events: Sequence[Row], operation: AggregateOperation) -> Row:
    """A row's measures, one event after the other."""
    of, to, over = operation.of, operation.to, operation.over
    mine = [e for e in events if str(e[of.key_of(over)]) == str(row[to.key_of(over)])]
    return {m.output: _measured(m, row, mine, operation) for m in operation.measures}


def _measured(measure: Measure, row: Row, events: list[Row], operation: AggregateOperation) -> Any:
    counted = []
    for event in events:
        if operation.point_in_time:
            then, now = _moments(event[str(operation.of.time)], row[str(operation.to.time)])
            if then >= now - operation.gap:
                continue
            if measure.window is not None and then < now - measure.window:
                continue
        if measure.where is not None and event[measure.where[0]] != measure.where[1]:
            continue
        if event[measure.inputs[0]] is not None:
            counted.append(event)
    values = [event[measure.inputs[0]] for event in counted]
    match measure.function:
        case "sum":
            return math.fsum(values)
        case "count":
            return float(len(values))
        case "count_distinct":
            return float(len(set(values)))
        case "mean":
            return statistics.fmean(values) if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "stddev":
            return statistics.stdev(values) if len(values) > 1 else None
        case "recency":
            if not values:
                return None
            pairs = [
                _moments(e[str(operation.of.time)], row[str(operation.to.time)]) for e in counted
            ]
            return min((now - then) / timedelta(days=1) for then, now in pairs)
    raise AssertionError(measure)


def _moments(event: date, row: date) -> tuple[date, date]:
    """Both as dates if one is none but a date: then nobody knows which came first on a day."""
    if isinstance(event, datetime) and isinstance(row, datetime):
        return event, row
    return tuple(date(moment.year, moment.month, moment.day) for moment in (event, row))  # type: ignore[return-value]


# Random data --------------------------------------------------------------------------------------


def moment(draw: random.Random, kind: str) -> date:
    """On a coarse grid, so that ties and the edges of windows are common."""
    at = START + timedelta(hours=6 * draw.randrange(60), microseconds=draw.choice([0, 0, 0, 1]))
    return at.date() if kind == "date" else at


def some_events(draw: random.Random, kind: str, households: int, count: int) -> list[Row]:
    return [
        {
            "basket_id": number,
            "household_id": draw.randrange(households),
            "happened_at": moment(draw, kind),
            "amount": draw.choice([None, draw.uniform(-9, 9), round(draw.uniform(0, 3)) * 1.0]),
            "count": draw.choice([None, 0, 1, 2, 2]),
            "department": draw.choice([None, "grocery", "drug store", "Grocery"]),
        }
        for number in range(count)
    ]


def some_offers(draw: random.Random, kind: str, households: int, count: int) -> list[Row]:
    return [
        {
            "offer_id": f"o{number}",
            "household_id": draw.randrange(households),
            "happened_at": moment(draw, kind),
            BUCKET: draw.randrange(1000),
            CELL: draw.choice(["train", "test"]),
        }
        for number in range(count)
    ]


def frame(spark: SparkSession, rows: Sequence[Row], columns: str) -> DataFrame:
    """The named columns of rows. Times are made without time zone, then brought to their type."""
    names = [column.split()[0] for column in columns.split(", ")]
    plain = columns.replace(" timestamp,", " timestamp_ntz,")
    made = spark.createDataFrame([[row[name] for name in names] for row in rows], plain)
    types = dict(column.split() for column in columns.split(", "))
    return made.select(*(F.col(name).cast(types[name]) for name in names))


def check(made: DataFrame, rows: Sequence[Row], events: Sequence[Row], stage: Stage) -> None:
    """Every row is there once, as it was, with the measures that are expected."""
    operation = stage.operation
    assert isinstance(operation, AggregateOperation)
    structure = [*operation.to.columns, BUCKET, CELL]
    assert made.columns == [*structure, *stage.outputs]
    zoneless = [
        F.col(name).cast("timestamp_ntz").alias(name) if kind == "timestamp" else F.col(name)
        for name, kind in made.dtypes
    ]
    found = made.select(*zoneless).collect()
    key = operation.to.key
    assert len(found) == len(rows)
    by_key = {row[key]: row.asDict() for row in found}
    for row in rows:
        got = by_key[row[key]]
        assert {name: got[name] for name in structure} == {name: row[name] for name in structure}
        for name, value in expected(row, events, operation).items():
            assert got[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (name, row)


HOUSEHOLDS = f"household_id int, {BUCKET} int, {CELL} string"
OFFERS = f"offer_id string, household_id int, happened_at {{}}, {BUCKET} int, {CELL} string"
BASKETS = "basket_id int, household_id int, happened_at {}"
READ = "amount double, count int, department string"
PLAIN = {name: name for name in FEATURES}


def operation(stage: Stage) -> AggregateOperation:
    assert isinstance(stage.operation, AggregateOperation)
    return stage.operation


@pytest.mark.parametrize(
    ("kind", "row_kind", "seed"),
    [
        ("timestamp", "timestamp", 1),
        ("timestamp_ntz", "timestamp", 2),
        ("date", "date", 3),
        ("date", "timestamp", 4),
        ("timestamp", "date", 5),
    ],
)
def test_measures_of_what_was_before(
    spark: SparkSession, kind: str, row_kind: str, seed: int
) -> None:
    """Every function, with windows and pivots; some households have no baskets, some no offers."""
    draw = random.Random(seed)
    events = some_events(draw, kind, 30, 500)
    offers = some_offers(draw, row_kind, 40, 150)
    stage = aggregates(
        "rfm",
        of=basket,
        to=offer,
        measures=MEASURES,
        windows=["1d", "5d", "36h"],
        pivot={"department": ["grocery", "drug store"]},
    )
    physical = {"amount": "offer_id", "count": "_bucket", "department": "at"}
    renamed = [{**e, **{c: e[f] for f, c in physical.items()}} for e in events]
    columns = BASKETS.format(kind) + ", offer_id double, _bucket int, at string"

    made = aggregated(
        frame(spark, renamed, columns),
        frame(spark, offers, OFFERS.format(row_kind)),
        operation(stage),
        physical,  # columns that are called as those of rows
    )

    check(made, offers, events, stage)


def test_measures_of_all_that_was_before(spark: SparkSession) -> None:
    draw = random.Random(6)
    events, offers = some_events(draw, "", 10, 200), some_offers(draw, "", 12, 60)
    stage = aggregates("rfm", of=basket, to=offer, measures=MEASURES)
    of = frame(spark, events, f"{BASKETS.format('timestamp')}, {READ}")
    rows = frame(spark, offers, OFFERS.format("timestamp"))

    check(aggregated(of, rows, operation(stage), PLAIN), offers, events, stage)
    nothing = aggregated(of.limit(0), rows, operation(stage), PLAIN)
    check(nothing, offers, [], stage)


TIMELESS = {name: [f for f in FUNCTIONS if f != "recency"] for name in ("amount", "count")}


def test_measures_of_a_household(spark: SparkSession) -> None:
    """A household has no time: all of its baskets count."""
    draw = random.Random(7)
    events = some_events(draw, "", 30, 200)
    # Keys of another type than the foreign keys have are the same keys by their text.
    households = [{"household_id": str(n), BUCKET: n, CELL: "train"} for n in range(40)]
    stage = aggregates("total", of=basket, to=household, measures=TIMELESS)

    made = aggregated(
        frame(spark, events, f"{BASKETS.format('timestamp')}, {READ}"),
        frame(spark, households, HOUSEHOLDS.replace("int", "string", 1)),
        operation(stage),
        PLAIN,
    )

    check(made, households, events, stage)


def test_measures_of_grandchildren(spark: SparkSession) -> None:
    """Items of baskets, for baskets, and for offers to the same household."""
    draw = random.Random(8)
    baskets = [{**e, BUCKET: 1, CELL: "test"} for e in some_events(draw, "", 12, 60)]
    items = [
        {**draw.choice(baskets), "item_id": n, "amount": draw.choice([None, draw.random()])}
        for n in range(300)
    ]
    offers = some_offers(draw, "", 15, 80)
    of = frame(spark, items, f"item_id int, basket_id int, household_id int, {READ}")
    to_basket = aggregates("of_basket", of=item, to=basket, measures=TIMELESS)
    to_offer = aggregates("of_offer", of=item, to=offer, measures=TIMELESS)

    rows = frame(spark, baskets, f"{BASKETS.format('date')}, {BUCKET} int, {CELL} string")
    dated = [{**b, "happened_at": b["happened_at"].date()} for b in baskets]
    check(aggregated(of, rows, operation(to_basket), PLAIN), dated, items, to_basket)
    rows = frame(spark, offers, OFFERS.format("timestamp"))
    check(aggregated(of, rows, operation(to_offer), PLAIN), offers, items, to_offer)


@pytest.mark.parametrize(("kind", "gap"), [("timestamp", "0d"), ("date", "0d"), ("date", "2d")])
def test_measures_of_earlier_rows_of_the_same_entity(
    spark: SparkSession, kind: str, gap: str
) -> None:
    """What the household did before, without the row itself and others of its time."""
    draw = random.Random(11)
    rows = [{**e, BUCKET: 1, CELL: "test"} for e in some_events(draw, kind, 12, 150)]
    stage = aggregates(
        "lag", of=basket, to=basket, measures=MEASURES, windows=["3d", "8d"], gap=gap
    )
    columns = f"{BASKETS.format(kind)}, {BUCKET} int, {CELL} string, {READ}"
    both = frame(spark, rows, columns)

    check(aggregated(both, both, operation(stage), PLAIN), rows, rows, stage)


# Functions of one's own ---------------------------------------------------------------------------


@aggregate(of=basket, to=offer, window="2d")
def spread(amount: Column, count: Column) -> Column:
    return F.struct(
        F.max(amount) - F.min(amount),
        F.count(amount),
        F.sum(F.when(count > 1, amount)),
        F.last(amount, ignorenulls=True),
    )


def test_a_function_of_ones_own(spark: SparkSession) -> None:
    draw = random.Random(9)
    events, offers = some_events(draw, "", 20, 300), some_offers(draw, "", 25, 80)

    made = aggregated(
        frame(spark, events, f"{BASKETS.format('timestamp')}, {READ}"),
        frame(spark, offers, OFFERS.format("timestamp")),
        operation(spread),
        {"amount": "amount", "count": "count"},
    )

    found = {row["offer_id"]: tuple(row["spread"]) for row in made.collect()}
    assert len(found) == len(offers)
    for offer_row in offers:
        now = offer_row["happened_at"]
        mine = [
            e
            for e in sorted(events, key=lambda e: (e["happened_at"], e["basket_id"]))
            if e["household_id"] == offer_row["household_id"]
            and now - timedelta(days=2) <= e["happened_at"] < now
            and e["amount"] is not None
        ]
        amounts = [e["amount"] for e in mine]
        several = [e["amount"] for e in mine if (e["count"] or 0) > 1]
        assert found[offer_row["offer_id"]] == (
            pytest.approx(max(amounts) - min(amounts)) if amounts else None,
            len(amounts),
            pytest.approx(sum(several)) if several else None,
            amounts[-1] if amounts else None,
        )


def test_a_function_that_returns_no_column(spark: SparkSession) -> None:
    @aggregate(of=basket, to=offer)
    def forgotten(amount: Column) -> Column:
        F.sum(amount)  # type: ignore[return]

    with pytest.raises(TypeError, match=r"`forgotten` returned NoneType.*F.max\(amount\)"):
        aggregated(
            frame(spark, [], f"{BASKETS.format('date')}, {READ}"),
            frame(spark, [], OFFERS.format("date")),
            operation(forgotten),
            {"amount": "amount"},
        )


def test_the_sum_of_words(spark: SparkSession) -> None:
    stage = aggregates("rfm", of=basket, to=offer, measures={"department": ["sum"]})

    with pytest.raises(TypeError, match="`sum` is of numbers, but `department` is of type string"):
        aggregated(
            frame(spark, [], f"{BASKETS.format('date')}, {READ}"),
            frame(spark, [], OFFERS.format("date")),
            operation(stage),
            PLAIN,
        )


# Equal data, equal features -----------------------------------------------------------------------


def test_sums_do_not_depend_on_where_rows_lie(spark: SparkSession) -> None:
    """An audit compares predictions bit by bit, and fractions add up otherwise in other orders."""
    draw = random.Random(10)
    events = [
        {**e, "amount": draw.uniform(-1, 1) * 10.0 ** draw.randrange(-6, 7)}
        for e in some_events(draw, "", 3, 900)
    ]
    offers = some_offers(draw, "", 3, 12)
    stage = aggregates("rfm", of=basket, to=offer, measures={"amount": ["sum", "mean", "stddev"]})
    rows = frame(spark, offers, OFFERS.format("timestamp")).coalesce(1)

    def made(seed: int) -> list[Any]:
        random.Random(seed).shuffle(events)
        of = frame(spark, events, f"{BASKETS.format('timestamp')}, {READ}").repartition(seed)
        return aggregated(of, rows, operation(stage), PLAIN).orderBy("offer_id").collect()

    assert made(1) == made(3) == made(7)
