"""Features for rows of one's own, as they were at each row's time, beside a slow oracle."""

import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, Source, aggregate, aggregates, feature
from ff_assets.core.errors import DataError, LeakError, Location
from ff_assets.core.project import Project
from ff_assets.core.split import HashSplit
from ff_assets.notebook import Features
from ff_assets_tests import test_relations as untimed
from ff_assets_tests.test_relations import SPLIT, START, amounts, source, write

pytestmark = pytest.mark.xdist_group("relations")

HERE = Location("notebook", 1)
MADE = [
    *(f"sources/{name}" for name in ("households", "baskets", "offers")),
    *("features/total", "features/recent", "models/segment_model", "features/segment"),
    *("models/redemption_model", "features/redemption"),
    *(f"sources/{name}__{SPLIT.name}" for name in ("baskets", "offers")),
]


household = Entity("household", key="household_id", time="as_of")
basket = Entity(
    "basket", key="basket_id", parent=household, foreign_key="household_id", time="bought_at"
)
offer = Entity(
    "offer", key="offer_id", parent=household, foreign_key="household_id", time="offered_at"
)


@feature(entity=basket)
def spent(amount: Column) -> Column:
    return amount * 2


@aggregate(of=basket, to=household)
def total(spent: Column) -> Column:
    """Before a household's own time."""
    return F.coalesce(F.sum(spent), F.lit(0.0))


recent = aggregates(
    "recent", of=basket, to=offer, measures={"amount": ["sum", "count"]}, windows=["30d"]
)


def as_of(household_id: str) -> date:
    return START + timedelta(days=int(household_id[1:]) * 7 % 200)


def project(folder: Path) -> Project:
    """As in `test_relations`, but households have a time, and a label that is known late."""

    def households(spark: SparkSession) -> DataFrame:
        given = spark.read.parquet(str(folder / "households.parquet"))
        number = F.substring("household_id", 2, 9).cast("int")
        days = (number * 7 % 200).cast("int")
        return given.withColumns(
            {"as_of": F.date_add(F.lit(START), days), "stays": (number % 2).cast("double")}
        )

    return Project(
        (
            Source(
                "households",
                entity=household,
                load=households,
                features={"size": "double", "stays": "double"},
                labels=["stays"],
                label_horizon="40d",
                version="1",
            ),
            source(folder, "baskets", basket, {"amount": "double"}),
            source(folder, "offers", offer, {"redeemed": "double"}, "redeemed"),
        ),
        (spent, total, recent, *untimed.project(folder).stages[3:]),
        (untimed.by_key, untimed.by_time),
    )


class Reader:
    """`read` and `read_many` on a project of the test's own."""

    def __init__(self, features: Features) -> None:
        self._features = features

    def read(self, feature: str, *, training: bool = True) -> Any:
        return self._features.read(feature, None, None, training, True, HERE)

    def many(self, features: list[str], spine: Any, **how: Any) -> Any:
        given = {"variant": None, "target": None, "training": False} | how
        return self._features.read_many(features, spine, **given, location=HERE)


@pytest.fixture(scope="module")
def reader(spark: SparkSession, new_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    home = new_home()
    given = project(write(tmp_path_factory.mktemp("panel")))
    ran = home.run(given, only=MADE)
    assert ran.success, ran.failure
    return Reader(Features(given, home.store, lambda: spark))


@pytest.fixture
def warned(reader: Reader) -> Callable[..., Any]:
    """Reads rows of which some are not known at their time."""

    def many(features: list[str], spine: Any) -> Any:
        with pytest.warns(UserWarning, match="did not know at their time"):
            return reader.many(features, spine)

    return many


def some_times(count: int) -> pd.DataFrame:
    """Households at times of no offer; some rows twice, in no order."""
    draw = random.Random(8)
    rows = [
        (f"h{draw.randrange(120)}", START + timedelta(days=draw.randrange(300)))
        for _ in range(count)
    ]
    rows += rows[:5]
    table = pd.DataFrame(rows, columns=["household_id", "offered_at"])
    return table.assign(mine=range(len(rows))).set_axis(range(1000, 1000 + len(rows)))


def test_sums_are_of_what_was_strictly_before_each_row(warned: Callable[..., Any]) -> None:
    spine = some_times(80)
    names = ["amount_sum_30d", "amount_count_30d", "size"]
    found = warned(names, spine)

    assert list(found.index) == list(spine.index)
    assert list(found.columns) == ["household_id", "offered_at", "mine", *names, "cell"]
    assert list(found["mine"]) == list(spine["mine"])
    for row in found.to_dict("records"):
        household, at = row["household_id"], row["offered_at"]
        before = amounts(household, at, days=30)
        assert (row["amount_sum_30d"], row["amount_count_30d"]) == (sum(before), len(before))
        assert row["cell"] == HashSplit().cell(household)
    assert found["amount_count_30d"].nunique() > 2


def test_what_a_household_has_counts_from_its_own_time_on(
    reader: Reader, warned: Callable[..., Any]
) -> None:
    """Also where nothing of the rows' own entity is read; its label, from when that is known."""
    spine = some_times(80)
    found = warned(["total", "size", "stays"], spine)
    assert list(found["cell"]) == [HashSplit().cell(key) for key in spine["household_id"]]
    for row in found.to_dict("records"):
        key, at = row["household_id"], row["offered_at"]
        if as_of(key) <= at:
            assert row["total"] == 2 * sum(amounts(key, as_of(key)))
        for name, waited in (("total", 0), ("size", 0), ("stays", 40)):
            assert pd.isna(row[name]) == (as_of(key) + timedelta(days=waited) > at)
    assert found["stays"].isna().sum() > found["size"].isna().sum() > 0
    assert list(warned(["stays", "amount_sum_30d"], spine)["stays"].isna()) == list(
        found["stays"].isna()
    )
    # By the key alone it is as runs have it.
    assert not reader.many(["total"], spine[["household_id"]])["total"].isna().any()


def test_what_knows_later_rows_is_refused_at_a_time(
    spark: SparkSession, tmp_path: Path, new_home: Any
) -> None:
    features = Features(untimed.project(tmp_path), new_home().store, lambda: spark)
    for name in ("redemption", "segment"):
        with pytest.raises(LeakError) as refused:
            Reader(features).many([name], some_times(3))
        assert refused.value.code == "FUTURE_ROWS"
        assert "path: basket -> total -> behaviour -> segment" in str(refused.value)
        assert "aggregates(of=basket, to=offer)" in str(refused.value)


def test_a_model_scores_a_row_at_its_own_time_as_it_did_before(
    reader: Reader, spark: SparkSession, warned: Callable[..., Any]
) -> None:
    """Without their keys, or with other times, offers are computed; with keys alone looked up."""
    stored = reader.read("redemption", training=False).set_index("offer_id").sort_index()
    offers = stored[["household_id", "offered_at"]].reset_index()

    looked_up = reader.many(["redemption", "profile"], offers[["offer_id"]])
    computed = warned(["redemption", "profile"], offers[["household_id", "offered_at"]])
    by_both = warned(["redemption", "profile"], offers[["offer_id", "offered_at", "household_id"]])
    assert list(looked_up["redemption"]) == list(stored["redemption"])
    is_known = [as_of(row["household_id"]) <= row["offered_at"] for _, row in offers.iterrows()]
    assert 100 < sum(is_known) < 800
    for found in (computed, by_both):
        assert list(found["redemption"].notna()) == is_known
        known = found[is_known]
        assert list(known["redemption"]) == list(stored["redemption"][is_known])
        assert list(known["profile"]) == list(looked_up["profile"][is_known])
        assert list(found["cell"]) == list(looked_up["cell"]) == list(stored["cell"])

    later = offers.assign(offered_at=[day + timedelta(days=300) for day in offers["offered_at"]])
    moved = reader.many(["profile"], spark.createDataFrame(later.drop(columns="offer_id")))
    for row in moved.toPandas().to_dict("records"):
        assert row["profile"][2] == sum(amounts(row["household_id"], row["offered_at"], days=30))


def test_what_was_not_known_at_a_time_is_null(reader: Reader) -> None:
    offers = reader.read("redeemed").head(3)
    days = list(offers["offered_at"])
    days[1] -= timedelta(days=1)
    spine = offers.drop(columns="redeemed").assign(offered_at=days)
    spine = pd.concat([spine, spine.head(1).assign(offer_id=-1)])

    with pytest.warns(UserWarning, match="2 of 4 rows"):
        found = reader.many(["redeemed", "amount_sum_30d"], spine)
    assert list(found["redeemed"].isna()) == [False, True, False, True]
    assert not found["amount_sum_30d"].isna().any()


def test_by_time_a_row_is_in_the_cell_of_its_day(reader: Reader) -> None:
    days = [date(2017, 5, 22), date(2017, 5, 23), date(2017, 6, 12), date(2017, 8, 1)]
    spine = pd.DataFrame({"household_id": ["h1"] * 4, "offered_at": days})
    found = reader.many(["amount_sum_30d"], spine, target="by_time")
    assert [cell or None for cell in found["cell"]] == ["train", None, "validation", "test"]
    assert list(found["amount_sum_30d"]) == [sum(amounts("h1", day, days=30)) for day in days]

    with pytest.raises(LeakError) as refused:
        reader.many(["amount_sum_30d"], spine, target="by_time", training=True)
    assert "1 of none, 1 of test, 1 of validation" in str(refused.value)
    named = reader.many(["amount_sum_30d"], spine, variant=SPLIT.name)
    assert list(named["cell"]) == list(found["cell"])


def test_what_no_run_has_made_is_not_made_by_reading(reader: Reader) -> None:
    with pytest.raises(DataError) as refused:
        reader.read("later", training=False)
    assert "models/later" in str(refused.value)
    assert "ff run by_time" in str(refused.value)


@pytest.mark.parametrize(
    ("spine", "names", "words"),
    [
        ({"household_id": ["h1"]}, ["amount_sum_30d"], "no column `offered_at`"),
        ({"offered_at": [START]}, ["size"], "no column `household_id`"),
        ({"x": [1]}, ["size"], "the columns of the spine are x."),
        ({"household_id": [7]}, ["size"], "is a bigint, in the store a string"),
        ({"household_id": ["h1"], "Size": [1.0]}, ["size"], "a column `size` already"),
        ({"household_id": ["h1"], "offered_at": ["2017-05-01"]}, ["amount_sum_30d"], "a string"),
        ({"household_id": ["h1"], "offered_at": [START]}, ["redeemed"], "no column `offer_id`"),
        (
            {"household_id": ["h1"], "offered_at": [datetime(2017, 5, 1)]},
            ["amount_sum_30d"],
            "in the store a date",
        ),
    ],
)
def test_a_spine_that_does_not_tell_is_refused(
    reader: Reader, spine: dict[str, list[Any]], names: list[str], words: str
) -> None:
    with pytest.raises(DataError) as refused:
        reader.many(names, pd.DataFrame(spine))
    assert words in str(refused.value)
    assert "notebook:1" in str(refused.value)


def test_only_rows_of_train_are_a_training_set(reader: Reader) -> None:
    spine = some_times(30)
    with pytest.raises(LeakError) as refused:
        reader.many(["amount_sum_30d"], spine, training=True)
    assert refused.value.code == "TEST_IN_TRAINING"
    train = spine[[HashSplit().cell(key) == "train" for key in spine["household_id"]]]
    assert f"{len(spine) - len(train)} of {len(spine)} rows" in str(refused.value)
    assert len(reader.many(["amount_sum_30d"], train, training=True)) == len(train)
