"""Hypotheses: which variants they mean, what they say, and what an interval says of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from ff_assets import Hypothesis, Source, Target
from ff_assets.core.conclusion import Effect, Verdict
from ff_assets.core.errors import DefinitionError
from ff_assets.core.flow import Flow, infer
from ff_assets.core.hypothesis import Stated, stated
from ff_assets.core.project import Project
from ff_assets.core.questions import share_of_error
from ff_assets_tests.core.stubs import estimator, item, load, transformer


def hypothesis(**changes: Any) -> Hypothesis:
    given = {"kpi": "auc", "baseline": {"vector": "plain"}, "min_effect": 0.01} | changes
    return Hypothesis(given.pop("statement", "rich vectors help"), **given)


def flow(
    *hypotheses: Hypothesis,
    vectors: Sequence[str] = ("plain", "rich"),
    models: Sequence[str] = ("model",),
    **target: Any,
) -> Flow:
    """A target with a variant for each vector and model."""
    rows = Source(
        "rows",
        entity=item,
        load=load,
        features={"a": "double", "label": "double"},
        labels=["label"],
        version="1",
    )
    stages = [transformer(name, ["a"], "vector") for name in vectors]
    stages += [estimator(name, ["vector"], "score", label="label") for name in models]
    given = {"label": "label", "task": "binary"} | target
    wanted = Target("answer", outputs=["score"], hypotheses=hypotheses, **given)
    return infer(Project((rows,), tuple(stages), (wanted,)))


def meant(made: Flow) -> Stated:
    (only,) = stated(made.project.targets[0], made.variants)
    return only


def test_what_the_choice_excludes_is_what_it_is_compared_with() -> None:
    found = meant(flow(hypothesis()))
    assert (found.baseline.label, found.claim.label) == ("plain", "rich")


def test_a_claim_differs_from_the_baseline_in_what_it_names() -> None:
    wide = {"vectors": ("plain", "rich"), "models": ("linear", "boosted")}
    baseline = {"vector": ["plain"], "score": "boosted"}
    found = meant(flow(hypothesis(baseline=baseline, claim={"vector": "rich"}), **wide))
    assert found.baseline.choices == {"vector": "plain", "score": "boosted"}
    assert found.claim.choices == {"vector": "rich", "score": "boosted"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"baseline": {"score": "linear"}}, "means 2 variants: `answer[linear, plain]`, `answer["),
        ({"baseline": {"vector": "sparse"}}, "means no variant"),
        ({"baseline": {"vektor": "plain"}}, "no variant uses `vektor`; nearest existing names: v"),
        (
            {"baseline": {"vector": "plain", "score": "linear"}},
            "3 could be, `answer[linear, rich]`, `answer[boosted, plain]`, `answer[boosted, rich]`",
        ),
        (
            {"baseline": {"vector": "plain", "score": "linear"}, "claim": {"vector": "plain"}},
            "means its baseline, `answer[linear, plain]`",
        ),
        ({"kpi": "rmse"}, "is no metric of a binary target"),
    ],
)
def test_what_is_not_said_is_asked_for(given: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        flow(hypothesis(**given), models=("linear", "boosted"))
    assert told in str(caught.value)
    assert [location.file for _, location in caught.value.where] == [__file__, __file__]
    assert caught.value.fix


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"min_effect": "0.01"}, "which is no number"),
        ({"min_effect": float("nan")}, "which is no number"),
        ({"baseline": {}}, "the baseline of hypothesis"),
        ({"claim": {"vector": []}}, "the claim of hypothesis"),
        ({"statement": "two\nlines"}, "not one line"),
        ({"statement": " "}, "not one line"),
    ],
)
def test_what_cannot_be_judged_is_refused_where_it_is_written(
    given: dict[str, Any], told: str
) -> None:
    with pytest.raises(DefinitionError, match=told):
        hypothesis(**given)


def test_a_target_states_a_thing_once_and_has_something_to_judge_it_by() -> None:
    with pytest.raises(DefinitionError, match="states `rich vectors help` twice"):
        flow(hypothesis(), hypothesis(min_effect=0.02))
    with pytest.raises(DefinitionError, match="but has no label"):
        flow(hypothesis(), label=None, task=None)
    with pytest.raises(DefinitionError, match="no list of them"):
        flow("rich vectors help")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="21 hypotheses; 20 is the most"):
        flow(*(hypothesis(statement=f"number {n}") for n in range(21)))


def test_another_wish_is_another_hypothesis_and_a_third_provider_is_none() -> None:
    first = meant(flow(hypothesis())).content
    assert meant(flow(hypothesis(min_effect=0.02))).content != first
    assert meant(flow(hypothesis(statement="others help"))).content != first
    assert meant(flow(hypothesis(kpi="brier"))).content != first
    spelled = hypothesis(baseline={"vector": ["plain"]}, claim={"vector": "rich"})
    assert meant(flow(spelled)).content == first
    assert meant(flow(spelled, vectors=("plain", "rich", "other"))).content == first


# Verdicts


def effect(value: float, low: float | None, high: float | None, **changes: Any) -> Effect:
    given: dict[str, Any] = {
        "kpi": "auc",
        "claim": 0.8,
        "baseline": 0.8 - value,
        "level": 0.95,
        "share": 1 / 2,
        "questions": 1,
        "rows": 5000,
        "groups": 1000,
        "by": "household",
        "method": "DeLong",
    }
    return Effect(value=value, low=low, high=high, **given | changes)


@pytest.mark.parametrize(
    ("low", "high", "least", "verdict"),
    [
        (0.01, 0.03, 0.01, Verdict.VALIDATED),
        (0.0099, 0.03, 0.01, Verdict.UNDECIDED),
        (-0.02, 0.01, 0.01, Verdict.UNDECIDED),
        (-0.02, 0.0099, 0.01, Verdict.INVALIDATED),
        (0.001, 0.009, 0.01, Verdict.INVALIDATED),  # better, and not by so much
        (-0.015, -0.005, -0.02, Verdict.VALIDATED),  # worse, and not by so much
        (0.0, 0.0, 0.0, Verdict.UNDECIDED),  # the same predictions
        (0.001, 0.03, 0.0, Verdict.VALIDATED),
        (0.0, 0.0, -0.01, Verdict.VALIDATED),  # as good is good enough
        (None, None, 0.01, Verdict.UNDECIDED),
    ],
)
def test_the_whole_interval_decides(
    low: float | None, high: float | None, least: float, verdict: Verdict
) -> None:
    assert effect(0.0, low, high).verdict(least) is verdict


def test_how_many_would_decide_goes_by_the_square_of_the_width() -> None:
    assert effect(0.02, 0.0, 0.04).needed(0.01) == 4000  # half as wide
    assert effect(0.0, -0.02, 0.02).needed(0.01) == 4000
    assert effect(0.0101, -0.02, 0.04).needed(0.01) is None  # nobody has so many
    assert effect(0.01, -0.02, 0.04).needed(0.01) is None
    assert effect(0.02, 0.015, 0.025).needed(0.01) is None  # it is decided


def test_the_sentence_has_the_numbers() -> None:
    third = effect(0.02, 0.0, 0.04, questions=3, share=share_of_error(2, 1))
    told = third.sentence("rich", "plain", 0.01)
    assert told == (
        "the gain in auc of rich against plain is +0.020 [+0.000, +0.040], wanted was +0.010 or "
        "more (5,000 rows of test, 1,000 keys of household; the interval may miss in 0.42%, so "
        "that all that these rows are ever asked, 3 so far, misses in at most 5%). If that is the "
        "effect, roughly 4,000 keys of household decide"
    )
    loss = effect(0.02, 0.015, 0.025, kpi="brier", by=None)
    told = loss.sentence("rich", "plain", 0.01)
    assert told.startswith("the reduction of brier of rich against plain is +0.0200 [+0.0150, ")
    assert "wanted was +0.0100 or more (5,000 rows of test; the interval may miss in 2.5%" in told
    none = effect(0.02, None, None, method="none: all rows belong to one group")
    assert "is +0.020 without an interval (none: all rows" in none.sentence("rich", "plain", 0.01)


# Who asks often


@pytest.mark.parametrize("together", [1, 3])
def test_who_asks_until_it_holds_errs_no_more_often_than_is_allowed(together: int) -> None:
    """Of 4,000 teams, each tries up to 60 times something that has no effect at all."""
    tried = np.random.default_rng(1).standard_normal((4000, 60))
    shares = [share_of_error(n - n % together, together) for n in range(60)]
    is_false = np.abs(tried) > -ndtri(0.05 * np.array(shares) / 2)
    found = is_false.any(axis=1).mean()
    assert 0.035 < found < 0.055  # 5% are allowed, and what is allowed is used
    # The same with 5% divided by the number of questions so far.
    divided = np.abs(tried) > -ndtri(0.05 / np.arange(1, 61) / 2)
    assert divided.any(axis=1).mean() > 0.15


def test_what_is_allowed_is_spent_whatever_is_asked_together() -> None:
    for batches in ([1] * 200, [5, 1, 20, 3] * 50):
        before, spent = 0, 0.0
        for together in batches:
            spent += together * share_of_error(before, together)
            before += together
        assert spent == pytest.approx(1 - 1 / (before + 1))
