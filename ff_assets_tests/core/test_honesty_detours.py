"""Labels that come back by a detour, and rows that are mixed where nobody looks first."""

import functools
from typing import Any

import pytest
from pyspark.sql import Window
from pyspark.sql import functions as F

from ff_assets import Entity, Source, Stage, Target, TimeSplit, aggregate, feature
from ff_assets.core.errors import DefinitionError
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.project import Project
from ff_assets.core.rowwise import mixing
from ff_assets_tests.core.stubs import estimator, load

household = Entity("household", key="household_id", time="as_of")
basket = Entity("basket", key="basket_id", parent=household, foreign_key="household_id", time="at")


def source(name: str, entity: Entity, *features: str, labels: tuple[str, ...] = ()) -> Source:
    types = dict.fromkeys(features, "double")
    return Source(name, entity=entity, load=load, features=types, labels=labels, version="1")


BASKETS = source("baskets", basket, "amount")
HOUSEHOLDS = source("households", household, "y", "kind", "x", labels=("y",))


def codes(*stages: Stage, **target: Any) -> list[str]:
    wanted = Target("t", task="regression", **{"outputs": ["action"], "label": "y", **target})
    project = Project((BASKETS, HOUSEHOLDS), stages, (wanted,))
    return [verdict.code for verdict in check(infer(project))]


@feature(entity=household)
def adjusted(y: Any, kind: Any) -> Any:
    return F.when(kind > 0, y)


def test_a_declared_label_is_refused_although_the_target_s_label_has_other_parts() -> None:
    assert codes(adjusted, estimator("action", ["y", "x"], label="adjusted"), label="adjusted") == [
        "TARGET_PATH"
    ]
    assert codes(adjusted, outputs=["y"], label="adjusted") == ["TARGET_PATH"]
    # what only says which kind of row it is may be read
    assert codes(
        adjusted, estimator("action", ["kind", "x"], label="adjusted"), label="adjusted"
    ) == [""]


@feature(entity=basket)
def marked(amount: Any, y: Any) -> Any:
    return amount * 0 + y


@aggregate(of=basket, to=household)
def back(marked: Any) -> Any:
    return F.max(marked)


def test_a_label_does_not_come_back_through_the_rows_that_belong_to_it() -> None:
    assert codes(marked, back, estimator("action", ["back"], label="y")) == ["TARGET_PATH"]


@aggregate(of=basket, to=household)
def share_of_all(amount: Any) -> Any:
    return F.percent_rank().over(Window.orderBy(F.sum(amount)))


@aggregate(of=basket, to=household)
def total(amount: Any) -> Any:
    return F.coalesce(F.sum(amount), F.lit(0.0))


def test_an_aggregate_may_mix_the_rows_of_its_group_and_no_others() -> None:
    mixes = ["ROW_MIXING_AS_TRANSFORMER"]
    assert codes(share_of_all, estimator("action", ["share_of_all"], label="y")) == mixes
    assert codes(total, estimator("action", ["total"], label="y")) == [""]


def centred(values: Any) -> Any:
    return values - values.mean()


def by_name(x: Any) -> Any:
    return F.call_function("avg", x)


def in_batches(x: Any) -> Any:
    return F.pandas_udf(centred, "double")(x)


def one_by_one(x: Any) -> Any:
    return F.udf(functools.partial(max, 0.0), "double")(x)


def test_functions_that_get_many_rows_are_found() -> None:
    assert mixing(by_name) is not None
    assert mixing(in_batches) is not None
    assert mixing(one_by_one) is None


def test_by_time_no_row_is_carried_to_a_row_of_another_time() -> None:
    split = TimeSplit("2017-10-01")
    action = estimator("action", ["amount", "x"], label="amount")
    with pytest.raises(DefinitionError, match="reads features of `basket` and `household`"):
        codes(action, label="amount", split=split)
