"""What a target shows by slices decides nothing else; what it has as a floor is a metric's."""

import math
from typing import Any

import pytest

from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, UnreachableOutput
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow, infer
from ff_assets.core.governance import carriers_of
from ff_assets.core.project import Project
from ff_assets.core.steps import Kind, Step
from ff_assets.core.target import Target
from ff_assets_tests.core.refusal import lines, refused
from ff_assets_tests.core.stubs import estimator, source, transformer

shop = Entity("shop", key="shop_id")
sale = Entity("sale", key="sale_id", parent=shop, foreign_key="shop_id")
line = Entity("line", key="line_id", parent=sale, foreign_key="sale_id")

SHOPS = source("shops", "region", entity=shop)
SALES = source("sales", "amount", "paid", "channel", entity=sale)
LINES = source("lines", "product", entity=line)
BASKET = transformer("basket", ["amount"], "vector")
MODEL = estimator("model", ["vector"], "risk", label="paid")
SEGMENTS = estimator("segments", ["amount"], "segment")


def flow(*stages: Any, slices: tuple[str, ...] = (), **target: Any) -> Flow:
    return infer(
        Project(
            (SHOPS, SALES, LINES),
            (BASKET, MODEL, SEGMENTS, *stages),
            (Target("t", outputs=["risk"], label="paid", task="binary", slices=slices, **target),),
        )
    )


def prints(inferred: Flow) -> dict[str, str]:
    """Instance -> fingerprint."""
    made = Fingerprints(
        dict.fromkeys(["shops", "sales", "lines"], "1"),
        engine="1",
        reading="1",
        metrics="1",
        comparing="1",
    )
    made.add(inferred.instances)
    (variant,) = inferred.variants
    own = {instance.name: made[instance] for instance in inferred.instances}
    return own | {"evaluation": made.of_evaluation(variant, "")}


def test_a_slice_adds_what_it_is_made_by_and_changes_nothing_that_is_fitted():
    without, sliced = prints(flow()), prints(flow(slices=("channel", "region", "segment")))
    assert sliced.keys() - without.keys() == {"shops", "segments"}
    assert {name for name in without if without[name] != sliced[name]} == {"evaluation"}


def test_an_evaluation_reads_its_slices_and_has_their_sensitivity():
    inferred = flow(slices=("region", "segment"))
    evaluation = Step(Kind.EVALUATION, inferred.variants[0])
    assert [parent.path[1] for parent in evaluation.parents()] == [
        "model",
        "sales",
        "shops",
        "segments",
    ]
    assert "region" in {carrier.name for carrier in carriers_of(evaluation)}
    models = {parent.path[1] for parent in Step(Kind.REGISTRATION, inferred.variants[0]).parents()}
    assert "segments" not in models


def test_a_slice_makes_no_variants():
    rival = transformer("rival", ["amount"], "segment")
    error = refused(DefinitionError, lambda: flow(rival, slices=("segment",)))
    assert error.what == (
        "target `t` is sliced by `segment`, for which `segment` can be derived in several ways."
    )
    assert "choose={'segment': ['segments']}" in error.fix
    assert lines(error)[0].startswith('(Target("t"')
    chosen = flow(rival, slices=("segment",), choose={"segment": ["rival"]})
    assert [variant.name for variant in chosen.variants] == ["t"]
    # Where variants differ in what a slice is made of, it follows them.
    other = transformer("other", ["amount"], "vector")
    both = flow(other, slices=("vector",))
    assert [variant.label for variant in both.variants] == ["basket", "other"]


def test_a_slice_of_what_has_many_rows_is_refused_and_makes_no_other_target_of_it():
    with pytest.raises(DefinitionError) as caught:
        flow(slices=("product",))
    assert "`product`" in caught.value.what
    with pytest.raises(DefinitionError) as caught:
        flow(slices=("product",), entity=line)
    assert caught.value.what == (
        "target `t` is sliced by `product` of entity `line`, but is measured by rows of `sale`."
    )
    with pytest.raises(UnreachableOutput):
        flow(slices=("chanel",))


@pytest.mark.parametrize("declared", [{"slices": ["a"]}, {"floor": {"auc": 0.8}}])
def test_slices_and_floors_need_a_label(declared: Any) -> None:
    error = refused(DefinitionError, lambda: Target("t", outputs=["p"], **declared))
    assert error.what.endswith("but has no label.")


@pytest.mark.parametrize(
    ("task", "floor", "what", "hint"),
    [
        ("binary", {"aux": 0.8}, "'aux', which is no metric of a binary", "existing names: auc"),
        ("regression", {"auc": 0.8}, "'auc', which is no metric of a regression", ""),
        ("binary", {"auc": "0.8"}, "a floor of auc that is no number: '0.8'", "the least that"),
        ("regression", {"rmse": math.nan}, "that is no number: nan", "the most that rmse"),
        ("multiclass", {"f1": True}, "that is no number: True", ""),
    ],
)
def test_a_floor_is_a_number_of_a_metric_that_the_task_has(
    task: Any, floor: Any, what: str, hint: str
) -> None:
    error = refused(
        DefinitionError, lambda: Target("t", outputs=["p"], label="y", task=task, floor=floor)
    )
    assert what in error.what
    assert hint in error.why


def test_a_target_has_to_be_better_than_chance_unless_it_says_otherwise():
    def floors(task: Any, **floor: float) -> dict[str, float]:
        return dict(Target("t", outputs=["p"], label="y", task=task, floor=floor).floors)

    assert floors("binary") == {"auc": 0.5}
    assert floors("binary", auc=0.8, log_loss=0.4) == {"auc": 0.8, "log_loss": 0.4}
    assert floors("regression", rmse=3) == {"r2": 0.0, "rmse": 3}
    assert Target("t", outputs=["p"]).floors == {}
