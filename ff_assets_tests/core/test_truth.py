"""The variants of a target are measured by one truth."""

import pytest

from ff_assets import Stage
from ff_assets.core.errors import DefinitionError
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.project import Project
from ff_assets_tests.core.founding import is_clean, people, target, verdicts
from ff_assets_tests.core.refusal import refused
from ff_assets_tests.core.stubs import estimator, transformer

model = estimator("action", ["age"], label="bought")
from_age, from_spend = (transformer(f"by_{f}", [f], "basis") for f in ("age", "spend"))


@pytest.mark.parametrize(
    ("stages", "names", "remedy"),
    [
        (
            [transformer("one", ["bought"], "truth"), transformer("two", ["churned"], "truth")],
            ["one", "two"],
            {"truth": ["one"]},
        ),
        (
            [from_age, from_spend, transformer("truth", ["basis", "bought"])],
            ["truth[by_age]", "truth[by_spend]", "by_age", "by_spend"],
            {"basis": ["by_age"]},
        ),
    ],
    ids=["two providers", "two behind one"],
)
def test_variants_are_not_compared_by_different_labels(
    stages: list[Stage], names: list[str], remedy: dict
) -> None:
    error = refused(DefinitionError, lambda: verdicts(model, *stages, label="truth"))
    assert all(f"`{name}`" in error.what + error.why for name in names)
    assert f"choose={remedy}" in error.fix
    assert all(is_clean(v) for v in verdicts(model, *stages, label="truth", choose=remedy))


def test_what_only_one_of_two_truths_is_made_of_is_no_remedy() -> None:
    stages = (
        *(transformer(f"a_by_{f}", [f], "a") for f in ("age", "spend")),
        transformer("long_way", ["a"], "basis"),
        transformer("short_way", ["spend"], "basis"),
        transformer("truth", ["basis", "bought"]),
    )
    compared = target(label="truth", choose={"a": ["a_by_age"]})
    both = target(name="other", outputs=["a"], label=None, task=None)
    flow = infer(Project((people(),), (model, *stages), (compared, both)))
    error = refused(DefinitionError, lambda: check(flow))
    assert "choose={'basis': [" in error.fix


def test_variants_with_one_truth_are_compared() -> None:
    others = [estimator("action", ["basis"], label="bought").named("other"), from_age, from_spend]
    assert len(verdicts(model, *others)) == 3
