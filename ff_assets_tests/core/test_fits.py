"""Fits that cannot be are refused when the flow is inferred, not when they are run."""

import time

import pytest

from ff_assets import HashSplit, Stage, TimeSplit
from ff_assets.core.errors import DefinitionError
from ff_assets.core.fitting import Fitting
from ff_assets.core.flow import Flow, infer
from ff_assets.core.honesty import check
from ff_assets.core.nesting import MAX_FITS
from ff_assets.core.project import Project
from ff_assets_tests.core.founding import event, people, target
from ff_assets_tests.core.stubs import estimator

action = estimator("action", ["age"], label="bought")
first = estimator("first", ["age"], label="churned")
second = estimator("action", ["first"], label="bought")
VALIDATED = HashSplit(
    cells={"train": range(700), "validation": range(700, 800), "test": range(800, 1000)}
)


def flow_of(*stages: Stage, **given: object) -> Flow:
    source = people(event) if isinstance(given.get("split"), TimeSplit) else people()
    return infer(Project((source,), stages, (target(**given),)))


def refusal(*stages: Stage, **given: object) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        flow_of(*stages, **given)
    return caught.value


def chain(length: int, folds: int) -> list[Stage]:
    """Nested stages, of which each reads the one before it."""
    reads = ["age", *(f"s{number}" for number in range(length - 1))]
    names = [*reads[1:], "action"]
    return [
        estimator(name, [read], label="bought").cross_fit(folds, nested=True)
        for name, read in zip(names, reads, strict=True)
    ]


# Parts and cells


def test_more_folds_than_days():
    fortnight = TimeSplit("2017-05-01", validation="14d")
    folded = action.fit_on("validation").cross_fit(20)
    error = refusal(folded, split=fortnight)
    assert error.what == (
        "stage `action` divides validation into 20 folds, but the split "
        "`until_20170501_validated_14d` gives validation only 14 days."
    )
    assert [thing for thing, _ in error.where] == ["stage 'action'", "TimeSplit(...)"]
    assert "at most 14 folds" in error.fix
    flow_of(action.fit_on("validation").cross_fit(14), split=fortnight)


@pytest.mark.parametrize(
    ("divided", "parts"),
    [
        (action.cross_fit(11), "11 folds"),
        (action.cross_fit(11, ordered=True), "11 blocks"),
        (action.slices(2, of=11), "11 slices"),
    ],
)
def test_more_parts_than_buckets(divided: Stage, parts: str):
    tiny = HashSplit(cells={"train": range(10), "test": range(10, 1000)})
    assert f"divides train into {parts}" in refusal(divided, split=tiny).what
    assert "only 10 buckets" in refusal(divided, split=tiny).what


def test_a_cell_that_only_the_split_of_another_target_has():
    both = Project(
        (people(),),
        (action.fit_on("train", "validation"),),
        (target(split=VALIDATED), target(name="other")),
    )
    with pytest.raises(DefinitionError) as caught:
        infer(both)
    error = caught.value
    assert "'validation', which is no cell of the split `by_key`" in error.what
    assert [thing for thing, _ in error.where] == ["stage 'action'", "HashSplit(...)"]
    assert "Target(..., split=...)" in error.fix


@pytest.mark.parametrize("folds", ["5", 5.0, None, 1])
def test_folds_are_a_number(folds: object):
    with pytest.raises(DefinitionError, match="cross-fitted with") as caught:
        action.cross_fit(folds)
    assert repr(folds) in caught.value.what


@pytest.mark.parametrize(("use", "of"), [("1", 2), (1, "2"), (1.0, 2), (0, 2), (3, 2)])
def test_slices_are_counted(use: object, of: object):
    with pytest.raises(DefinitionError) as caught:
        action.slices(use, of=of)
    assert f"slice {use!r} of {of!r}" in caught.value.what


def test_the_parts_of_a_fitting():
    fitting = Fitting(("train", "validation"), "folds", 4)
    assert fitting.region(VALIDATED) == (1 << 800) - 1
    assert sum(fitting.divided(VALIDATED)) == fitting.region(VALIDATED)
    assert [part.bit_count() for part in fitting.divided(VALIDATED)] == [200] * 4


# Rows


@pytest.mark.parametrize("nested", [True, False])
def test_folds_of_what_has_values_for_one_fold_only(nested: bool):
    """The first of two blocks has no fit before it, so the second is all that there is."""
    blocks = first.cross_fit(2, ordered=True)
    error = refusal(blocks, second.cross_fit(2, nested=nested))
    assert error.what.startswith("`action` cannot be fitted for fold_1: ")
    assert [thing for thing, _ in error.where] == ["stage 'action'", "stage 'first'"]
    assert "`first` has values for the buckets 400-999" in error.why
    assert "`first` into more blocks" in error.fix
    flow_of(first.cross_fit(4, ordered=True), second.cross_fit(2, nested=nested))
    flow_of(blocks, second.cross_fit(2, ordered=True))
    flow_of(blocks, second)


def test_two_folds_that_are_left_out_at_once():
    """Each alone leaves rows of the other, but both together leave none."""
    late = estimator("late", ["age"], label="churned").cross_fit(2, ordered=True)
    one = estimator("first", ["late"], label="churned").cross_fit(4, nested=True)
    flow_of(late, one, second)
    error = refusal(late, one, second.cross_fit(4, nested=True))
    assert error.what.startswith("`first` cannot be fitted for folds_2_3: ")


def test_blocks_of_blocks_may_leave_nothing_to_a_third_stage():
    late = estimator("late", ["age"], label="churned").cross_fit(2, ordered=True)
    later = estimator("first", ["late"], label="churned").cross_fit(2, ordered=True)
    error = refusal(late, later, second)
    assert error.what.startswith("`action` cannot be fitted: ")
    assert "into blocks as well" not in error.fix


# How many


def test_fits_are_counted_before_they_are_made():
    began = time.process_time()
    error = refusal(*chain(8, 20))
    assert time.process_time() - began < 0.5
    assert error.what.startswith("`s0` would be fitted 263,950 times")
    assert "491,869 fits in all" in error.why
    assert len(error.where) == 8
    assert "at most .cross_fit(9, nested=True)" in error.fix
    assert sum(len(i.fits) for i in flow_of(*chain(8, 9)).instances) <= 8 * MAX_FITS


def test_as_many_fits_as_are_allowed_are_judged_in_time():
    flow = flow_of(*chain(7, 10), certify=["test", "fold_3"])
    assert max(len(instance.fits) for instance in flow.instances) == 968
    began = time.process_time()
    assert all(verdict.allowed for verdict in check(flow))
    assert time.process_time() - began < 5  # less than one


def test_a_chain_that_is_too_long_for_any_number_of_folds():
    assert ".slices(" in refusal(*chain(10, 12)).fix
