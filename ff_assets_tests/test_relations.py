"""Entities that belong together, aggregates and time splits, through a whole run."""

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column
from pyspark.sql import functions as F

from ff_assets import Entity, Source, Target, TimeSplit, aggregate, aggregates, feature, stage
from ff_assets.core.cells import TEST, TRAIN
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.split import HashSplit
from ff_assets_tests.running import Home

pytestmark = pytest.mark.xdist_group("relations")

household = Entity("household", key="household_id")
basket = Entity(
    "basket", key="basket_id", parent=household, foreign_key="household_id", time="bought_at"
)
offer = Entity(
    "offer", key="offer_id", parent=household, foreign_key="household_id", time="offered_at"
)
START = date(2017, 1, 1)

Row = dict[str, Any]
SCHEMAS = {
    "households": pa.schema({"household_id": pa.string(), "size": pa.float64()}),
    "baskets": pa.schema(
        {
            "basket_id": pa.int64(),
            "household_id": pa.string(),
            "bought_at": pa.date32(),
            "amount": pa.float64(),
        }
    ),
    "offers": pa.schema(
        {
            "offer_id": pa.int64(),
            "household_id": pa.string(),
            "offered_at": pa.date32(),
            "redeemed": pa.float64(),
        }
    ),
}


def make_rows() -> dict[str, list[Row]]:
    draw = random.Random(4)

    def day() -> date:
        return START + timedelta(days=draw.randrange(300))

    households = [{"household_id": f"h{n}", "size": float(n % 5)} for n in range(120)]
    baskets = [
        {
            "basket_id": n,
            "household_id": f"h{draw.randrange(110)}",  # the last ones have none
            "bought_at": day(),
            "amount": float(draw.randrange(1, 90)),
        }
        for n in range(1500)
    ]
    offers = [
        {
            "offer_id": n,
            "household_id": f"h{draw.randrange(120)}",
            "offered_at": day(),
            "redeemed": float(draw.random() < 0.4),
        }
        for n in range(900)
    ]
    return {"households": households, "baskets": baskets, "offers": offers}


ROWS = make_rows()


def source(
    folder: Path, name: str, entity: Entity, features: dict[str, str], label: str = ""
) -> Source:
    path = folder / f"{name}.parquet"
    return Source(
        name,
        entity=entity,
        load=lambda spark: spark.read.parquet(str(path)),
        features=features,
        labels=[label] if label else [],
        version=name,
    )


@feature(entity=basket)
def spent(amount: Column) -> Column:
    """A feature of the finer entity, on the way to an aggregate."""
    return amount * 2


@aggregate(of=basket, to=household)
def total(spent: Column) -> Column:
    """Of all times."""
    return F.coalesce(F.sum(spent), F.lit(0.0))


recent = aggregates(
    "recent", of=basket, to=offer, measures={"amount": ["sum", "count"]}, windows=["30d"]
)
behaviour = stage(VectorAssembler, inputCols=["size", "total"], outputCol="behaviour")
segment = stage(KMeans, featuresCol="behaviour", predictionCol="segment", k=3, seed=1)
profile = stage(
    VectorAssembler, inputCols=["segment", "size", "amount_sum_30d"], outputCol="profile"
)
redemption = stage(
    LogisticRegression, featuresCol="profile", labelCol="redeemed", predictionCol="redemption"
)
by_key = Target("by_key", outputs=["redemption"], label="redeemed", task="binary")

dated = stage(
    VectorAssembler, inputCols=["amount_sum_30d", "amount_count_30d"], outputCol="dated_profile"
)
later = stage(
    LogisticRegression, featuresCol="dated_profile", labelCol="redeemed", predictionCol="later"
)
SPLIT = TimeSplit("2017-08-01", embargo="20d", validation="30d")
by_time = Target("by_time", outputs=["later"], label="redeemed", task="binary", split=SPLIT)


def write(folder: Path, **changed: list[Row]) -> Path:
    for name, rows in (ROWS | changed).items():
        table = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def project(folder: Path) -> Project:
    return Project(
        (
            source(folder, "households", household, {"size": "double"}),
            source(folder, "baskets", basket, {"amount": "double"}),
            source(folder, "offers", offer, {"redeemed": "double"}, "redeemed"),
        ),
        (spent, total, recent, behaviour, segment, profile, redemption, dated, later),
        (by_key, by_time),
    )


@pytest.fixture(scope="module")
def run(new_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    home, given = new_home(), project(write(tmp_path_factory.mktemp("panel")))
    return home, given, home.run(given)


def table(run: Any, name: str) -> dict[Any, Row]:
    """Key -> row of an asset's stored table, with its cell."""
    _, given, ran = run
    instance = next(i for i in infer(given).instances if i.name == name)
    rows = {}
    for cell in (TRAIN, TEST):
        path = ran.assets[f"{'sources' if instance.is_source else 'features'}/{instance.slug}"]
        read = pq.read_table(path[cell]["path"], partitioning=None).to_pylist()
        rows |= {row[instance.entity.key]: row | {"cell": cell} for row in read}
    return rows


def amounts(household_id: str, before: date | None = None, days: int = 10_000) -> list[float]:
    return [
        b["amount"]
        for b in ROWS["baskets"]
        if b["household_id"] == household_id
        and (before is None or before - timedelta(days=days) <= b["bought_at"] < before)
    ]


def test_the_run_ends_well_and_each_household_is_on_one_side(run: Any) -> None:
    assert run[2].success, run[2].failure
    split = HashSplit()
    for name in ("households", "baskets", "offers", "total", "segment", "redemption"):
        rows = table(run, name)
        assert {row["cell"] for row in rows.values()} == {TRAIN, TEST}
        assert all(row["cell"] == split.cell(row["household_id"]) for row in rows.values())


def test_a_household_feature_is_computed_once_for_each_household(run: Any) -> None:
    totals = table(run, "total")
    assert {key: row["total"] for key, row in totals.items()} == {
        h["household_id"]: 2 * sum(amounts(h["household_id"])) for h in ROWS["households"]
    }
    assert len(table(run, "segment")) == 120


def test_an_offer_sees_what_was_before_it_on_both_sides_of_the_cutoff(run: Any) -> None:
    dated_at = {o["offer_id"]: (o["household_id"], o["offered_at"]) for o in ROWS["offers"]}
    for name in ("recent", f"recent[{SPLIT.name}]"):
        rows = table(run, name)
        assert len(rows) == 900
        for key, row in rows.items():
            expected = amounts(*dated_at[key], days=30)
            assert (row["amount_sum_30d"], row["amount_count_30d"]) == (
                sum(expected),
                len(expected),
            )


def test_by_time_nothing_of_the_embargo_is_fitted_or_measured(run: Any) -> None:
    metrics = run[2].assets["evaluations/by_time_evaluation"][""]
    days = [o["offered_at"] for o in ROWS["offers"]]
    assert metrics["rows_test"] == sum(day >= date(2017, 8, 1) for day in days)
    validation = [day for day in days if date(2017, 6, 12) <= day < date(2017, 7, 12)]
    assert metrics["rows_validation"] == len(validation) > 50
    assert metrics["rows_train"] == sum(day < date(2017, 5, 23) for day in days)
    (model,) = (line for line in metrics["certificate"]["chain"] if line["name"] == "later")
    assert [fit["buckets"] for fit in model["fits"]] == [[[0, 429]]]
    cells = {row["offered_at"]: row["cell"] for row in table(run, "later").values()}
    assert {cell for day, cell in cells.items() if day >= date(2017, 8, 1)} == {TEST}


def test_a_registered_model_is_given_features_of_both_entities(run: Any) -> None:
    from mlflow.models import get_model_info

    home, _, ran = run
    version = ran.assets["registry/by_key_registered"][""]["version"]
    info = get_model_info(home.client.get_model_version_download_uri("by_key", str(version)))
    assert set(info.signature.inputs.input_names()) == {"size", "total", "amount_sum_30d"}


def test_a_second_run_has_nothing_to_do(run: Any) -> None:
    home, given, _ = run
    again = home.run(given)
    assert again.success
    assert not again.computed
    assert not again.asked_for_spark


def joined(folder: Path) -> Project:
    """Offers beside a feature of their households, and nothing else."""
    beside = stage(VectorAssembler, inputCols=["size", "redeemed"], outputCol="beside")
    sources = [s for s in project(folder).sources if s.name != "baskets"]
    return Project(tuple(sources), (beside,), (Target("beside", outputs=["beside"]),))


def test_an_offer_to_an_unknown_household_is_refused(home: Home, tmp_path: Path) -> None:
    stranger = ROWS["offers"][0] | {"offer_id": 10_000, "household_id": "stranger"}
    folder = write(tmp_path, offers=[*ROWS["offers"], stranger])
    given = joined(folder)
    ran = home.run(given, only=_needed(given, "beside"))
    assert not ran.success
    assert "1 rows of source `offers` belong to no row of `households`" in str(ran.errors)


def test_a_foreign_key_of_another_type_is_refused(home: Home, tmp_path: Path) -> None:
    folder = write(tmp_path)
    numbered = pa.table(
        {"household_id": pa.array(range(120), pa.int64()), "size": pa.array([1.0] * 120)}
    )
    pq.write_table(numbered, folder / "households.parquet")
    given = joined(folder)
    ran = home.run(given, only=_needed(given, "beside"))
    assert not ran.success
    assert "is a string" in str(ran.errors)


def _needed(given: Project, name: str) -> set[str]:
    """The assets that an instance's rows are made from, and these."""
    from ff_assets.core.steps import rows_of

    instance = next(i for i in infer(given).instances if i.name == name)
    agenda, paths = [rows_of(instance)], set()
    for step in agenda:  # grows while it is walked
        if "/".join(step.path) not in paths:
            paths.add("/".join(step.path))
            agenda += step.parents()
    return paths
