"""Rows that are brought together belong to the same row of every coarser entity."""

from typing import Any

import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, Source, Target, aggregate, feature, stage
from ff_assets.core.errors import DataError
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.keys import refuse_divided, refuse_unrelated
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("relations")

household = Entity("household", key="household_id")
basket = Entity("basket", key="basket_id", parent=household, foreign_key="household_id")
item = Entity("item", key="item_id", parent=basket, foreign_key="basket_id")
visit = Entity("visit", key="visit_id", parent=basket, foreign_key="basket_id")
COUNT = 200

Rows = list[tuple[Any, ...]]
BASKETS = [(f"b{n}", f"h{n}", float(n % 3 == 0), float(n % 7)) for n in range(COUNT)]
ITEMS = [
    (f"i{n}_{k}", f"b{n}", f"h{n}", float((n + k) % 5)) for n in range(COUNT) for k in range(2)
]
STRAY = ("i_stray", "b1", "h2", 1.0)


@aggregate(of=item, to=basket)
def paid(price: Column) -> Column:
    """Of a basket, by its items."""
    return F.coalesce(F.sum(price), F.lit(0.0))


@feature(entity=item)
def guess(price: Column) -> Column:
    """A prediction that nothing is fitted or joined for."""
    return price / 10


joined = stage(VectorAssembler, inputCols=["price", "size", "paid"], outputCol="joined")
model = stage(LogisticRegression, featuresCol="joined", labelCol="won", predictionCol="bet")
summed = stage(VectorAssembler, inputCols=["paid"], outputCol="summed").named("summed")
bets = Target("bets", outputs=["bet"], label="won", task="binary")
guesses = Target("guesses", outputs=["guess"], label="won", task="regression")
sums = Target("sums", outputs=["summed"])


def project(items: Rows, *targets: Target) -> Project:
    def source(name: str, entity: Entity, rows: Rows, features: dict[str, str], **more: Any) -> Any:
        columns = ", ".join(f"{column} string" for column in entity.columns)
        columns += "".join(f", {name} {kind}" for name, kind in features.items())
        return Source(
            name,
            entity=entity,
            load=lambda spark: spark.createDataFrame(rows, columns),
            features=features,
            version=f"{name} {len(rows)}",
            **more,
        )

    sources = (
        source("baskets", basket, BASKETS, {"won": "double", "size": "double"}, labels=["won"]),
        source("items", item, items, {"price": "double"}),
    )
    return Project(sources, (paid, guess, joined, model, summed), targets)


def run(home: Home, items: Rows, target: Target) -> Ran:
    given = project(items, target)
    return home.run(given, only=_measured(given))


def _measured(given: Project) -> set[str]:
    """The assets of a project without those of the registry."""
    from ff_assets.core.steps import Kind, steps_of

    return {"/".join(s.path) for s in steps_of(infer(given)) if s.kind is not Kind.REGISTRATION}


@pytest.mark.parametrize(
    ("target", "other"),
    [(bets, "baskets"), (sums, "baskets"), (guesses, "baskets")],
    ids=["joined", "summed up", "measured"],
)
def test_an_item_of_another_household_than_its_basket_is_refused(
    new_home: Any, target: Target, other: str
) -> None:
    ran = run(new_home(), [*ITEMS, STRAY], target)
    assert not ran.success
    assert f"belong to another household than their counterpart in `{other}`" in str(ran.errors)
    assert "'i_stray' with basket_id 'b1' has the household 'h2'" in str(ran.errors)


def test_the_certificate_says_that_it_was_seen_to(new_home: Any) -> None:
    ran = run(new_home(), ITEMS, bets)
    assert ran.success, ran.failure
    (shown,) = (v[""] for path, v in ran.assets.items() if path.startswith("evaluations"))
    checks = shown["certificate"]["checks"]
    assert "Every item has found its basket, and both name the same household." in checks
    assert "Every item names the same household as the basket that it counts for." in checks


def _instances() -> dict[str, Any]:
    return {i.name: i for i in infer(project(ITEMS, bets)).instances}


def test_null_keys_are_left_to_who_says_more_of_them(spark: SparkSession) -> None:
    known = spark.createDataFrame([("b1", "h1")], "basket_id string, household_id string")
    columns = "item_id string, basket_id string, household_id string"
    made = _instances()

    def see(*rows: tuple[str, str | None, str | None]) -> None:
        given = spark.createDataFrame(rows, columns)
        refuse_unrelated(made["items"], made["baskets"], given, known)

    see(("i1", "b1", "h1"), ("i2", None, "h1"), ("i3", "b1", None))
    with pytest.raises(DataError, match=r"belong to no row of `baskets`"):
        see(("i1", "b2", "h1"))
    with pytest.raises(DataError, match=r"1 rows .* belong to another household"):
        see(("i1", "b1", "h1"), ("i2", "b1", "h2"))


def test_keys_of_ancestors_have_one_type(spark: SparkSession) -> None:
    known = spark.createDataFrame([("b1", 7)], "basket_id string, household_id bigint")
    columns = "item_id string, basket_id string, household_id string"
    rows = spark.createDataFrame([("i1", "b1", "7")], columns)
    made = _instances()
    with pytest.raises(DataError, match="`household_id` of source `items` is a string"):
        refuse_unrelated(made["items"], made["baskets"], rows, known)


def test_siblings_that_meet_in_one_basket_belong_to_one_household(spark: SparkSession) -> None:
    made = _instances()
    visits = spark.createDataFrame(
        [("v1", "b1", "h1"), ("v2", "b1", "h1")],
        "visit_id string, basket_id string, household_id string",
    )
    source = Source("visits", entity=visit, load=len, features={"length": "double"}, version="1")
    target = Target("lengths", outputs=["length"])
    (lengths,) = infer(Project((source,), (), (target,))).instances

    def see(household_id: str) -> None:
        items = spark.createDataFrame(
            [("i1", "b1", household_id), ("i2", "b9", "h2")],
            "item_id string, basket_id string, household_id string",
        )
        refuse_divided(made["items"], lengths, basket, items, visits)

    see("h1")
    with pytest.raises(DataError, match=r"1 rows .* than their counterpart in `visits`"):
        see("h3")
