"""Rows of a `scoring` loader: the store has what belongs to them, and bad ones are refused."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, Source, Target, aggregates, feature, stage
from ff_assets.core.errors import DataError
from ff_assets.core.project import Project
from ff_assets.engine.scoring_rows import ScoringRows
from ff_assets_tests.running import Home, Ran
from ff_assets_tests.test_predictions import exact, put, read
from ff_assets_tests.test_replay import again as replayed

pytestmark = pytest.mark.xdist_group("scoring rows")

customer = Entity("customer", key="customer_id")
order = Entity(
    "order", key="order_id", parent=customer, foreign_key="customer_id", time="ordered_at"
)
offer = Entity(
    "offer", key="review_id", parent=customer, foreign_key="customer_id", time="offered_at"
)

NEW = 1000  # what is added to the key of an offer that is offered again
PATH = "predictions/taken/staging"


def at(day: int) -> datetime:
    return datetime(2026, 1, 1, 12) + timedelta(days=day)


def load_customers(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(
        [(n, float(n % 7)) for n in range(40)], "customer_id bigint, age double"
    )


def load_orders(spark: SparkSession) -> DataFrame:
    rows = [(n, n % 40, at(n % 30), float(n % 11)) for n in range(200)]
    return spark.createDataFrame(
        rows, "order_id bigint, customer_id bigint, ordered_at timestamp, amount double"
    )


OFFERS = "review_id bigint, customer_id bigint, offered_at timestamp, channel double, taken double"


def offers_now() -> list[tuple[Any, ...]]:
    return [(n, n % 40, at(10 + n % 20), float(n % 3), float(n % 2)) for n in range(80)]


def load_offers(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(offers_now(), OFFERS)


@feature(entity=offer)
def older(age: Column, channel: Column) -> Column:
    return age + channel


@feature(entity=offer)
def spent(amount_sum: Column) -> Column:
    """Kept, and no part of the model."""
    return F.round(amount_sum)


def project(score: Callable[[SparkSession], DataFrame]) -> Project:
    sources = (
        Source(
            "customers",
            entity=customer,
            load=load_customers,
            features={"age": "double"},
            version="1",
        ),
        Source(
            "orders", entity=order, load=load_orders, features={"amount": "double"}, version="1"
        ),
        Source(
            "offers",
            entity=offer,
            load=load_offers,
            features={"channel": "double", "taken": "double"},
            labels=["taken"],
            version="1",
            scoring=score,
        ),
    )
    rfm = aggregates("rfm", of=order, to=offer, measures={"amount": ["sum", "count"]})
    vector = stage(
        VectorAssembler,
        inputCols=["older", "amount_sum", "amount_count", "channel"],
        outputCol="vector",
    )
    model = stage(
        LogisticRegression,
        featuresCol="vector",
        labelCol="taken",
        predictionCol="will_take",
        maxIter=3,
    )
    target = Target(
        "taken",
        outputs=["will_take"],
        keep=["channel", "age", "older", "spent"],
        label="taken",
        task="binary",
    )
    return Project(sources=sources, stages=(rfm, older, spent, vector, model), targets=(target,))


def scoring(rows: list[tuple[Any, ...]]) -> Project:
    """The project, to which these are given to be scored."""
    columns = OFFERS.rpartition(",")[0]
    return project(lambda spark: spark.createDataFrame(rows, columns))


@dataclass(frozen=True)
class Fitted:
    """The project, fitted and with its model in staging."""

    home: Home
    spark: SparkSession

    def score(self, rows: list[tuple[Any, ...]]) -> Ran:
        """Predict rows of (key, customer, time, channel), without the label."""
        return self.home.predict(scoring(rows), "taken")


@pytest.fixture(scope="module")
def fitted(spark: SparkSession, new_home: Callable[[], Home]) -> Fitted:
    home = new_home()
    ran = home.run(project(load_offers))
    assert ran.success, ran.failure
    put(home, "taken", "staging", ran.assets["registry/taken_registered"][""]["version"])
    return Fitted(home, spark)


def again() -> list[tuple[Any, ...]]:
    """The offers of the source once more, as new ones."""
    return [(row[0] + NEW, *row[1:4]) for row in offers_now()]


def test_a_new_offer_is_scored_as_the_same_one_was_before(fitted: Fitted) -> None:
    ran = fitted.score(again())
    assert ran.success, ran.failure
    made = ran.assets[PATH][""]
    rows = read(fitted.spark, made)

    stored = {}
    for table in (fitted.home.store_root / "tables").iterdir():
        for row in fitted.spark.read.parquet(str(table)).collect():
            if "will_take" in row:
                stored[row["review_id"]] = row
    assert set(rows) == {key + NEW for key in stored}
    assert len(stored) == 80
    for key, row in stored.items():
        assert exact(rows[key + NEW]["probability"]) == exact(row["_probability"])
        assert rows[key + NEW]["will_take"] == row["will_take"]
        new = rows[key + NEW]
        assert new["older"] == new["age"] + new["channel"]
        assert new["age"] == float(key % 40 % 7)
    assert len({row["spent"] for row in rows.values()}) > 5
    assert len({exact(row["probability"]) for row in rows.values()}) > 20

    reordered = fitted.score(again()[::-1])
    assert reordered.assets[PATH][""]["reused"]
    assert reordered.assets[PATH][""]["path"] == made["path"]

    fewer = fitted.score(again()[1:])
    assert fewer.assets[PATH][""]["dagster/row_count"] == 79
    assert fewer.assets[PATH][""]["path"] != made["path"]


def test_no_rows_make_an_empty_table(fitted: Fitted) -> None:
    ran = fitted.score([])
    assert ran.success, ran.failure
    assert read(fitted.spark, ran.assets[PATH][""]) == {}


BAD = {
    "a key twice": ([again()[0]], "1 rows whose `review_id` occurred before"),
    "no key": ([(None, 1, at(12), 0.0)], "1 of 81 rows with a null `review_id`"),
    "no time": ([(1, 1, None, 0.0)], "1 of 81 rows with a null `offered_at`"),
    "an unknown customer": ([(1, 77, at(12), 0.0)], "belong to no row of `customers`"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused(fitted: Fitted, name: str) -> None:
    rows, words = BAD[name]
    before = sorted(fitted.home.kept.glob("predictions/**/_record.json"))
    ran = fitted.score([*again(), *rows])

    assert not ran.success
    assert words in ran.failure
    assert sorted(fitted.home.kept.glob("predictions/**/_record.json")) == before


@pytest.mark.parametrize("key", ["12.0", " 12", "12\u00a0", "12\t"])
def test_keys_that_look_alike_are_refused(fitted: Fitted, tmp_path: Path, key: str) -> None:
    plane = Entity("plane", key="tail_number")
    given = fitted.spark.createDataFrame([("12",), (key,), ("13",)], "tail_number string")
    rows = ScoringRows(Source("planes", plane, lambda spark: given, {}), given)
    rows.observed.write.parquet(str(tmp_path / "written"))

    with pytest.raises(DataError, match="has values of `tail_number` that look alike"):
        rows.check(tmp_path / "written", 3)


def test_rows_of_a_loader_are_replayed_if_it_still_gives_them(fitted: Fitted) -> None:
    ran = fitted.score(again())
    assert ran.success, ran.failure

    asked = {"target": "taken", "alias": "staging"}
    same = replayed(fitted.home, scoring(again()[::-1]), lambda: fitted.spark, **asked)
    other = replayed(fitted.home, scoring(again()[1:]), lambda: fitted.spark, **asked)
    assert same.replayed.difference is not None
    assert (same.outcome, same.replayed.difference.rows) == ("identical", 80)
    assert other.outcome == "not reproducible"
    (missing,) = other.replayed.missing
    assert missing.startswith("offers: the `scoring` loader gives other rows than then")
