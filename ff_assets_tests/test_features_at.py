"""Features for rows of one's own, as they were at each row's time, beside a slow oracle."""

import random
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from ff_assets.core.errors import DataError, LeakError, Location
from ff_assets.core.split import HashSplit
from ff_assets.notebook import Features
from ff_assets_tests.test_relations import (
    ROWS,
    SPLIT,
    START,
    amounts,
    project,
    write,
)

pytestmark = pytest.mark.xdist_group("relations")

HERE = Location("notebook", 1)
MADE = [
    *(f"sources/{name}" for name in ("households", "baskets", "offers")),
    *("features/total", "features/recent", "models/segment_model", "features/segment"),
    *("models/redemption_model", "features/redemption"),
    *(f"sources/{name}__{SPLIT.name}" for name in ("baskets", "offers")),
]


class Reader:
    """`read` and `read_many` on a project of the test's own."""

    def __init__(self, features: Features) -> None:
        self._features = features

    def read(self, feature: str, variant: str | None = None, cell: str | None = None) -> Any:
        return self._features.read(feature, variant, cell, True, HERE)

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


def test_sums_are_of_what_was_strictly_before_each_row(reader: Reader) -> None:
    spine = some_times(80)
    names = ["amount_sum_30d", "amount_count_30d", "size", "total"]
    found = reader.many(names, spine)

    assert list(found.index) == list(spine.index)
    assert list(found.columns) == ["household_id", "offered_at", "mine", *names, "cell"]
    assert list(found["mine"]) == list(spine["mine"])
    sizes = {h["household_id"]: h["size"] for h in ROWS["households"]}
    for row in found.to_dict("records"):
        household, at = row["household_id"], row["offered_at"]
        before = amounts(household, at, days=30)
        assert (row["amount_sum_30d"], row["amount_count_30d"]) == (sum(before), len(before))
        assert row["size"] == sizes[household]
        assert row["total"] == 2 * sum(amounts(household))
        assert row["cell"] == HashSplit().cell(household)
    assert found["amount_count_30d"].nunique() > 2


def test_a_model_scores_a_row_at_its_own_time_as_it_did_before(
    reader: Reader, spark: SparkSession
) -> None:
    """Without their keys, or with other times, offers are computed; with keys alone looked up."""
    stored = reader.read("redemption").set_index("offer_id").sort_index()
    offers = stored[["household_id", "offered_at"]].reset_index()

    looked_up = reader.many(["redemption", "profile"], offers[["offer_id"]])
    computed = reader.many(["redemption", "profile"], offers[["household_id", "offered_at"]])
    assert list(looked_up["redemption"]) == list(stored["redemption"])
    assert list(computed["redemption"]) == list(stored["redemption"])
    assert list(computed["profile"]) == list(looked_up["profile"])
    assert list(computed["cell"]) == list(looked_up["cell"]) == list(stored["cell"])

    later = offers.assign(offered_at=[day + timedelta(days=30) for day in offers["offered_at"]])
    moved = reader.many(["profile"], spark.createDataFrame(later)).toPandas()
    assert len(moved) == len(offers)
    for row in moved.to_dict("records"):
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
        reader.read("later")
    assert "models/later" in str(refused.value)
    assert "ff run by_time" in str(refused.value)


@pytest.mark.parametrize(
    ("spine", "names", "words"),
    [
        ({"household_id": ["h1"]}, ["amount_sum_30d"], "no column `offered_at`"),
        ({"offered_at": [START]}, ["size"], "no column `household_id`"),
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
