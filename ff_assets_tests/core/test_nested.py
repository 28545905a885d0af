"""Nested cross-fitting: metrics on folds are honest, however long the chain."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_assets import Entity, LeakPolicy, Source, Stage, Target, aggregate
from ff_assets.cli.splits import count_fits, fits_in_words
from ff_assets.core.buckets import describe
from ff_assets.core.errors import DefinitionError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow, infer
from ff_assets.core.honesty import check
from ff_assets.core.instance import Instance
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS, steps_of
from ff_assets.engine.plan import make_plan
from ff_assets.engine.store import Store
from ff_assets_tests.core.founding import (
    action,
    codes,
    is_clean,
    path,
    people,
    supervised,
    target,
    verdict,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, load, transformer
from ff_assets_tests.core.test_leakage import influences, source

PARTS = ["test", *(f"fold_{k}" for k in range(5))]


def nested(stage: Stage, folds: int = 5) -> Stage:
    return stage.cross_fit(folds, nested=True)


first = estimator("first", ["age"], label="churned")
second = estimator("segments", ["first", "spend"], label="churned")


def flow_of(*stages: Stage, **given: object) -> Flow:
    return infer(Project((people(),), stages, (target(**given),)))


def fits(flow: Flow) -> dict[str, int]:
    return {i.name: len(i.fits) for i in flow.instances if i.is_estimator}


def instance(flow: Flow, name: str) -> Instance:
    (found,) = (i for i in flow.instances if i.name == name)
    return found


def planned(flow: Flow, folder: Path) -> int:
    wanted = dict.fromkeys(steps_of(flow), CELLS)
    return make_plan(flow, wanted, fingerprints(flow), Store(folder)).fits


def fingerprints(flow: Flow) -> Fingerprints:
    prints = Fingerprints({"people": "1"}, engine="4", reading="1", metrics="1", comparing="1")
    prints.add(flow.instances)
    return prints


# Case 8, and longer chains


def test_8_metrics_on_folds_are_honest(tmp_path: Path):
    chain = nested(supervised), nested(action)
    for judged in verdicts(*chain, certify=PARTS, policy=LeakPolicy(strict=True)):
        assert is_clean(judged)
    assert planned(flow_of(*chain), tmp_path) == 22


def test_three_stages_take_48_fits(tmp_path: Path):
    chain = nested(first), nested(second), nested(action)
    assert all(is_clean(v) for v in verdicts(*chain, certify=PARTS))
    flow = flow_of(*chain)
    assert fits(flow) == {"first": 26, "segments": 16, "action": 6}
    assert planned(flow, tmp_path) == 48


def test_a_fit_leaves_out_whole_folds_and_those_of_one_fold_serve_it():
    flow = flow_of(nested(supervised), nested(action))
    made = {fit.name: fit for fit in instance(flow, "segments").fits}
    assert list(made)[-1] == ""  # the one that registered models have
    assert describe(made[""].region) == "0-799"
    assert describe(made[""].serves) == "800-999"
    assert describe(made["fold_3"].region) == "0-479, 640-799"
    assert describe(made["fold_3"].serves) == "480-639"
    assert describe(made["folds_0_3"].region) == "160-479, 640-799"
    assert not made["folds_0_3"].serves


def test_the_plan_says_what_the_fits_are_for():
    flow = flow_of(nested(supervised), nested(action))
    models = [i for i in flow.instances if i.is_estimator]
    assert count_fits(models) == (
        "2 models, 22 fits: segments 16 (5 folds, 10 sets of several and all of train), "
        "action 6 (5 folds and all of train)"
    )
    words = fits_in_words(instance(flow, "segments"))
    assert words["fold_3"] == ("0-479, 640-799", "480-639")
    assert words["folds_0_3"] == ("160-479, 640-799", "fits of nested readers")


def test_one_nested_stage_is_an_ordinary_cross_fitted_one():
    model = estimator("action", ["age"], label="bought")
    flow, plain = flow_of(nested(model)), flow_of(model.cross_fit(5))
    regions = [
        [(f.name, f.region, f.serves) for f in instance(each, "action").fits]
        for each in (flow, plain)
    ]
    assert regions[0] == regions[1]


def test_depth_is_that_of_all_targets_together():
    last = estimator("last", ["action"], label="bought")
    other = target(name="other", outputs=["last"])
    project = Project(
        (people(),), (nested(supervised), nested(action), nested(last)), (target(), other)
    )
    flow = infer(project)
    assert fits(flow) == {"segments": 26, "action": 16, "last": 6}
    assert all(verdict.allowed for verdict in check(flow))


def test_row_wise_stages_in_between_pass_contexts_on():
    between = transformer("a", ["segments"]), transformer("b", ["a", "age"])
    model = nested(estimator("action", ["b"], label="bought"))
    assert all(is_clean(v) for v in verdicts(nested(supervised), *between, model, certify=PARTS))
    assert fits(flow_of(nested(supervised), *between, model)) == {"segments": 16, "action": 6}


def test_what_only_a_fit_in_between_reads_is_not_read_without_folds():
    weight = nested(estimator("weight", ["age"], label="churned"))
    weighted = estimator("segments", ["age"], label="churned", weight="weight")
    assert fits(flow_of(weight, weighted, nested(action)))["weight"] == 6
    own = nested(estimator("action", ["age"], label="bought", weight="weight"))
    assert fits(flow_of(weight, own)) == {"weight": 16, "action": 6}
    assert all(is_clean(v) for v in verdicts(weight, own, certify=PARTS))


def test_a_coarser_entity_lies_in_the_same_folds():
    household = Entity("household", key="household_id")
    offer = Entity("offer", key="offer_id", parent=household, foreign_key="household_id")
    doubles = {"spend": "double", "churned": "double"}
    sources = (
        Source("households", entity=household, load=load, features=doubles, labels=["churned"]),
        Source(
            "offers",
            entity=offer,
            load=load,
            features={"discount": "double", "bought": "double"},
            labels=["bought"],
        ),
    )
    segments = estimator("segments", ["spend"], label="churned")
    model = estimator("action", ["segments", "discount"], label="bought")
    flow = infer(Project(sources, (nested(segments), nested(model)), (target(certify=PARTS),)))
    assert fits(flow) == {"segments": 16, "action": 6}
    assert all(is_clean(verdict) for verdict in check(flow))


# One stage of the chain that is not nested


def test_a_single_level_stage_taints_the_folds():
    for chain in (
        [supervised.cross_fit(5), nested(action)],
        [nested(supervised), action.cross_fit(5)],
    ):
        on_test, *on_folds = verdicts(*chain, certify=PARTS)
        assert on_test.allowed
        assert {v.code for v in on_folds} == {"TRANSITIVE_TAINT"}
        assert {tuple(path(v)) for v in on_folds} == {("segments", "action")}


def test_a_single_level_stage_in_the_middle_is_found():
    chain = nested(first), second.cross_fit(5), nested(action)
    judged = verdict(*chain, certify=["fold_2"])
    assert judged.code == "TRANSITIVE_TAINT"
    assert path(judged)[-1] == "action"
    on_test = verdict(*chain)
    assert (on_test.allowed, codes(on_test)) == (True, ["DEPTH_TAINT"])


def test_a_label_free_stage_that_was_fitted_once_on_nested_values_taints_the_folds():
    between = estimator("between", ["segments"])
    model = estimator("action", ["between"], label="bought")
    chain = nested(supervised), between, nested(model)
    judged = verdict(*chain, certify=["fold_2"])
    assert judged.code == "TRANSITIVE_TAINT"
    assert path(judged) == ["segments", "between", "action"]
    assert verdict(*chain).allowed


def test_nothing_that_is_nested_saves_what_has_seen_test():
    leaky = verdict(nested(supervised).fit_on("train", "test"), action)
    assert (leaky.code, path(leaky)) == ("FIT_OVERLAP", ["segments", "action"])


# Fingerprints tell what was trained on what


def test_what_is_learned_from_nested_values_is_another_model():
    last = nested(estimator("last", ["segments"], label="bought"))
    deeper = target(name="deeper", outputs=["last"])

    def prints(model: Stage, *targets: Target) -> list[str]:
        """Of the segments and of the model that reads them."""
        flow = infer(Project((people(),), (nested(supervised), model, last), (target(), *targets)))
        made = fingerprints(flow)
        return [made[instance(flow, name)] for name in ("segments", "action")]

    # The same upstream with the same fits, and the same rows for each fit of `action`.
    (upstream, one), (same, other) = (
        prints(model, deeper) for model in (nested(action), action.cross_fit(5))
    )
    assert upstream == same
    assert one != other
    assert prints(nested(action), deeper) == prints(nested(action))


# What cannot be nested


def refusal(*stages: Stage, **given: object) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        flow_of(*stages, **given)
    assert len(caught.value.where) >= 2  # every declaration that has a part in it
    return caught.value


def test_ordered_blocks_need_no_nesting():
    with pytest.raises(DefinitionError) as caught:
        action.cross_fit(5, ordered=True, nested=True)
    assert "nested=True" in caught.value.fix


def test_more_stages_than_folds_can_be_left_out():
    chain = [nested(stage, 3) for stage in (first, second, action)]
    error = refusal(*chain)
    assert "3 nested stages" in error.what
    assert ".cross_fit(4, nested=True)" in error.fix
    enough = [nested(stage, 4) for stage in (first, second, action)]
    assert fits(flow_of(*enough)) == {"first": 15, "segments": 11, "action": 5}


@pytest.mark.parametrize("other", [nested(supervised, 4), nested(supervised).fit_on("test")])
def test_folds_of_a_chain_are_the_same(other: Stage):
    error = refusal(other, nested(action))
    assert "`segments` divides" in error.why
    assert "`action` divides train into 5 folds" in error.why


def test_folds_of_stages_that_are_not_chained_may_differ():
    left = nested(estimator("left", ["age"], label="churned"), 3)
    right = nested(estimator("right", ["age"], label="churned"), 4)
    model = estimator("action", ["left", "right"], label="bought")
    assert fits(flow_of(left, right, model)) == {"left": 4, "right": 5, "action": 1}
    assert "others" in refusal(left, right, nested(model)).what


def test_slices_are_not_nested():
    assert fits(flow_of(nested(supervised).slices(1, of=2), nested(action)))["segments"] == 1


def test_no_aggregate_lies_between():
    shop = Entity("shop", key="shop_id")
    visit = Entity("visit", key="visit_id", parent=shop, foreign_key="shop_id")
    sources = (
        Source(
            "visits", entity=visit, load=load, features={"spend": "double", "churned": "double"}
        ),
        Source("shops", entity=shop, load=load, features={"bought": "double"}, labels=["bought"]),
    )
    score = estimator("score", ["spend"], label="churned")

    @aggregate(of=visit, to=shop)
    def total(score):
        return score

    model = estimator("action", ["total"], label="bought")
    with pytest.raises(DefinitionError) as caught:
        infer(Project(sources, (nested(score), total, nested(model)), (target(),)))
    assert "aggregate `total`" in caught.value.what
    assert fits(infer(Project(sources, (nested(score), total, model), (target(),))))["score"] == 6


# Against the toy engine, which does what the definition says and knows nothing of contexts


@st.composite
def chains(draw: st.DrawFn) -> tuple[Stage, ...]:
    """Nested estimators, mostly with something of another kind between two of them."""
    depth = draw(st.integers(2, 3))
    folds = depth + 1
    stages: list[Stage] = []
    for number in range(depth):
        before = [stages[-1].name] if stages else []
        if number and (kind := draw(st.sampled_from(["", "row-wise", "once", "folds", "slice"]))):
            name = f"between{number}"
            label = draw(st.sampled_from([None, "y"]))
            made = estimator(name, [*before, "a"], label=label)
            stages.append(
                {
                    "row-wise": transformer(name, [*before, "a"]),
                    "once": made,
                    "folds": made.cross_fit(folds),
                    "slice": made.slices(1, of=2),
                }[kind]
            )
            before = draw(st.sampled_from([[name], [name, *before]]))
        model = estimator(f"n{number}", [*before, "b"], label=draw(st.sampled_from(["y", "z"])))
        stages.append(nested(model, folds))
    return tuple(stages)


@settings(max_examples=25, deadline=None)
@given(chains())
def test_a_metric_on_a_fold_is_allowed_exactly_if_the_fold_had_no_influence(
    stages: tuple[Stage, ...],
):
    folds = stages[-1].fitting.count
    wanted = Target(
        "t",
        outputs=[stages[-1].name],
        label="y",
        task="binary",
        certify=["test", *(f"fold_{k}" for k in range(folds))],
    )
    flow = infer(Project((source(),), stages, (wanted,)))
    found = influences(flow, labels=False)
    pure = all(s.kind == "transformer" or s.fitting.nested for s in stages)
    for judged in check(flow):
        rows = {bucket for bucket in found if judged.evaluated >> bucket & 1}
        assert rows
        assert judged.allowed == (not any(rows & found[bucket] for bucket in rows))
        if pure:
            assert judged.allowed
            assert not judged.warnings
