"""The choice of a champion is a fit: on rows that no variant remembers, and of all their fits."""

from datetime import date

import pytest

from ff_assets import Attested, HashSplit, LeakPolicy, Stage, Target, TimeSplit
from ff_assets.core.buckets import describe
from ff_assets.core.errors import DefinitionError, LeakError
from ff_assets.core.flow import infer
from ff_assets.core.influence import ledger_of
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.ledger import Ledger
from ff_assets.core.project import Project
from ff_assets.core.requested import in_sample
from ff_assets.core.split import Split
from ff_assets.core.verdict import Verdict
from ff_assets_tests.core.founding import (
    codes,
    event,
    external,
    is_clean,
    path,
    people,
    supervised,
    target,
    verdict,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, transformer

BY_KEY = HashSplit(
    cells={"train": range(700), "validation": range(700, 800), "test": range(800, 1000)}
)
BY_TIME = TimeSplit("2017-05-01", validation="14d")
LAST = estimator("action", ["segments"], label="bought").named("last")
one, two = (estimator("action", [f], label="bought").named(f"by_{f}") for f in ("age", "spend"))


def of_variant(found: list[Verdict], name: str) -> Verdict:
    (only,) = (each for each in found if each.variant.label == name)
    return only


def names(finding: Finding) -> list[str]:
    return [instance.name for instance in finding.path]


# What the choice has learned


@pytest.mark.parametrize("chosen", ["fold_2", "validation", "test"])
def test_a_fold_is_not_reported_if_models_that_read_it_decide(chosen: str) -> None:
    folded = one.cross_fit(5), two.cross_fit(5)
    found = verdicts(*folded, split=BY_KEY, select_on=chosen, certify=["fold_3"])
    assert [v.code for v in found] == ["TRANSITIVE_TAINT"] * 2
    (reason,) = found[0].refusals
    assert reason.text == (
        "labels and features of fold_3 reach the choice of the champion through `by_age`, which "
        f"predictions for {chosen} are made with."
    )
    assert names(reason) == ["by_age"]
    assert describe(reason.overlap) == "420-559"
    alone = verdict(folded[0], split=BY_KEY, select_on=chosen, certify=["fold_3"])
    assert is_clean(alone)  # one of one is no choice


@pytest.mark.parametrize("chosen", ["validation", "folds", "fold_2"])
def test_test_is_reported_if_no_variant_has_read_it(chosen: str) -> None:
    folded = one.cross_fit(5), two.cross_fit(5)
    assert all(is_clean(v) for v in verdicts(*folded, split=BY_KEY, select_on=chosen))


def test_a_variant_inherits_what_those_it_is_compared_with_have_read() -> None:
    refit = two.fit_on("train", "test")
    found = verdicts(one, refit, split=BY_KEY, select_on="validation")
    assert [v.code for v in found] == ["TRANSITIVE_TAINT", "FIT_OVERLAP"]
    assert names(found[0].refusals[0]) == ["by_spend"]
    assert "leave out .fit_on('train', 'test')" in found[0].refusals[0].fix
    assert found[0].honest_part is None  # all of test has had its say
    assert [v.code for v in verdicts(one, refit, split=BY_KEY)] == ["", "FIT_OVERLAP"]


def test_a_choice_beside_one_that_has_only_seen_features() -> None:
    loose = estimator("spread", ["age"]).fit_on("train", "test")
    given = (one, loose, transformer("action", ["spread"]).named("other"))
    chosen = {"split": BY_KEY, "select_on": "validation"}
    assert [v.code for v in verdicts(*given, **chosen)] == ["TRANSITIVE_TAINT", "FIT_OVERLAP_X"]
    found = verdicts(*given, policy=LeakPolicy(transductive="warn"), **chosen)
    assert [(v.grade, codes(v)) for v in found] == [("B", ["TRANSDUCTIVE"])] * 2
    assert [v.grade for v in verdicts(one, one.named("twin"), **chosen)] == ["A", "A"]


@pytest.mark.parametrize(
    ("attested", "found"),
    [
        (None, ("UNKNOWN_FITSET", "")),
        (Attested("of others", buckets=range(700)), ("", "B")),
        (Attested("of test", buckets=range(800, 900)), ("TRANSITIVE_TAINT", "")),
        (Attested("of shops", buckets=range(9), root="shop"), ("SPLIT_KEY_INCOMPARABLE", "")),
    ],
)
def test_a_choice_beside_a_model_from_elsewhere(
    attested: Attested | None, found: tuple[str, str]
) -> None:
    judged = verdicts(one, external(attested), LAST, split=BY_KEY, select_on="validation")
    mine = of_variant(judged, "by_age")
    assert (mine.code, mine.grade) == found
    if found[1]:
        assert codes(mine) == ["ATTESTED"]


def test_by_time_a_choice_inherits_what_was_not_known_yet() -> None:
    given = {"source": people(event), "split": BY_TIME, "certify": ["validation"]}
    stated = external(Attested("of spring", until=date(2017, 5, 20)))
    found = verdicts(one.cross_fit(5), stated, LAST.cross_fit(5), select_on="folds", **given)
    mine = of_variant(found, "by_age")
    assert (mine.code, path(mine)) == ("FUTURE_FIT", ["segments", "last"])
    folded = one.cross_fit(5), two.cross_fit(5)
    assert all(is_clean(v) for v in verdicts(*folded, select_on="folds", **given))


# Where it may be made


@pytest.mark.parametrize("part", ["train", "fold_2", "block_0", "folds"])
def test_no_choice_is_made_where_a_variant_has_no_value_or_remembers(part: str) -> None:
    ordered = part == "block_0"
    given = (one, two)
    if ordered:
        given = tuple(each.cross_fit(5, ordered=True) for each in given)
    found = verdicts(*given, select_on=part)
    code = "SELECTION_IN_SAMPLE" if part == "train" else "NO_PREDICTION"
    assert [v.code for v in found] == [code] * 2
    assert "cross-fit" in found[0].refusals[0].fix


@pytest.mark.parametrize("part", ["folds", "fold_1"])
def test_no_choice_on_folds_that_a_fit_behind_has_read(part: str) -> None:
    """Of single-level folds every second stage has read all, though its own fit may have not."""
    first = supervised.cross_fit(5)
    last = [estimator("action", ["segments", f], label="bought").named(f) for f in ("age", "spend")]
    for given in (last, [each.cross_fit(5) for each in last]):
        found = verdicts(first, *given, select_on=part)
        assert {v.code for v in found} == {"SELECTION_IN_SAMPLE"}
        assert "nested=True" in found[0].refusals[0].fix
    nested = [each.cross_fit(5, nested=True) for each in (supervised, *last)]
    assert all(is_clean(v) for v in verdicts(*nested, select_on=part))


def test_blocks_decide_from_the_first_that_has_a_prediction() -> None:
    blocks = [each.cross_fit(5, ordered=True) for each in (one, two)]
    assert all(is_clean(v) for v in verdicts(*blocks, select_on="folds"))
    assert [v.code for v in verdicts(*blocks, select_on="folds", certify=["block_0"])] == [
        "NO_PREDICTION"
    ] * 2
    assert [v.code for v in verdicts(*blocks, select_on="folds", certify=["block_1"])] == [
        "SELECTION_ON_TEST"
    ] * 2


def test_only_the_prediction_decides() -> None:
    """What is kept or put out beside it may have read the part that is chosen on."""
    other = estimator("other", ["age"], label="churned").fit_on("train", "validation")
    for beside in ({"keep": ["other"]}, {"outputs": ["action", "other"]}):
        found = verdicts(one, two, other, split=BY_KEY, select_on="validation", **beside)
        assert all(is_clean(v) for v in found)


def test_an_attested_model_may_have_read_the_part_that_is_chosen_on() -> None:
    read = external(Attested("of validation", buckets=range(700, 800)))
    found = verdicts(one, read, LAST, split=BY_KEY, select_on="validation")
    assert of_variant(found, "last").code == "SELECTION_IN_SAMPLE"


def test_features_that_were_read_are_a_warning_where_the_project_says_so() -> None:
    loose = estimator("spread", ["age"]).fit_on("train", "validation")
    other = estimator("action", ["spread"], label="bought").named("other")
    given = {"split": BY_KEY, "select_on": "validation"}
    assert of_variant(verdicts(one, loose, other, **given), "other").code == "SELECTION_IN_SAMPLE"
    found = verdicts(one, loose, other, policy=LeakPolicy(transductive="warn"), **given)
    assert codes(of_variant(found, "other")) == ["TRANSDUCTIVE"]


# What is shown without being certified


def test_a_variant_is_shown_by_test_whatever_is_certified() -> None:
    refit = one.fit_on("train", "test")
    found = verdict(refit, split=BY_KEY, certify=["validation"])
    assert (found.code, names(found.refusals[0])) == ("FIT_OVERLAP", ["by_age"])
    assert "is shown and compared" in found.refusals[0].text
    assert found.honest_part is None  # it is nothing that other rows of the part would mend
    with pytest.raises(LeakError, match="is shown and compared"):
        verdicts(refit, split=BY_KEY, certify=[])
    assert is_clean(verdict(one, split=BY_KEY, certify=["validation"]))


@pytest.mark.parametrize(
    ("stages", "split", "read"),
    [
        ([one], BY_KEY, ["train"]),
        ([one.fit_on("train", "test")], BY_KEY, ["train", "test"]),
        ([one, estimator("other", ["age"]).fit_on("validation")], BY_KEY, ["train"]),
        ([external(Attested("", buckets=range(750, 800))), LAST], BY_KEY, ["train", "validation"]),
        ([external(None), LAST], BY_KEY, ["train", "validation", "test"]),
        ([external(Attested("", until=date(2017, 4, 17))), LAST], BY_TIME, ["train", "validation"]),
        ([one], BY_TIME, ["train"]),
    ],
)
def test_a_variant_alone_tells_what_is_in_sample(
    stages: list[Stage], split: Split, read: list[str]
) -> None:
    """So an evaluation shows no more than what the verdicts allow."""
    keep = [each.name for each in stages if each.name == "other"]
    project = Project((people(event),), tuple(stages), (target(split=split, keep=keep),))
    flow = infer(project)
    (variant,) = flow.variants
    for ledger in (ledger_of(flow), Ledger(variant.instances, labels=(), salt="")):
        found = [c for c in split.cells if in_sample(ledger, variant, split.bits(c))]
        assert found == read


# What is declared


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"select_on": ["folds"]}, "which is not one part"),
        ({"select_on": "validation", "label": None, "task": None}, "has no label"),
    ],
)
def test_a_choice_that_cannot_be_meant(given: dict, said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as caught:
        Target(**{"name": "t", "outputs": ["action"], "label": "bought", "task": "binary"} | given)
    assert caught.value.where
