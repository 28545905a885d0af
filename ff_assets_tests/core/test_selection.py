"""The choice of a champion is a fit: on rows that no variant remembers, and of all their fits."""

from datetime import date

import pytest

from ff_assets import (
    Attested,
    HashSplit,
    LeakPolicy,
    Stage,
    Target,
    TimeSplit,
    feature,
    pretrained,
)
from ff_assets.core.buckets import describe
from ff_assets.core.errors import DefinitionError, LeakError
from ff_assets.core.flow import infer
from ff_assets.core.influence import accounts_of
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.project import Project
from ff_assets.core.requested import deciding, measured_cells
from ff_assets.core.split import Split
from ff_assets.core.verdict import Verdict, refuse
from ff_assets_tests.core import mixing_code
from ff_assets_tests.core.founding import (
    MAY,
    action,
    codes,
    customer,
    event,
    external,
    is_clean,
    judged,
    label_free,
    path,
    people,
    supervised,
    target,
    verdict,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, load, transformer

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


def test_what_decides_is_told_from_what_else_was_read() -> None:
    given = one.cross_fit(5), two.cross_fit(5)
    (found, _) = verdicts(*given, select_on="fold_2", certify=["train"])
    chosen = next(each for each in found.refusals if each.code == "SELECTION_ON_TEST")
    assert describe(chosen.overlap) == "320-479"
    assert chosen.fix.endswith("or do not certify train.")


def test_by_time_nothing_is_said_of_folds_that_there_are_not() -> None:
    given = {"source": people(event), "split": BY_TIME, "select_on": "validation"}
    found = verdicts(one, two, certify=["fold_1"], **given)
    assert [[f.code for f in v.refusals] for v in found] == [["NO_PREDICTION"]] * 2


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
    refused = verdicts(*given, **chosen)
    assert [v.code for v in refused] == ["TRANSITIVE_TAINT", "FIT_OVERLAP_X"]
    assert all("LeakPolicy(transductive='warn')" in v.refusals[0].fix for v in refused)
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
    if attested is None:  # nobody says that it has read what is chosen on
        assert [f.code for f in of_variant(judged, "last").refusals] == ["UNKNOWN_FITSET"]


def test_by_time_a_choice_inherits_what_was_not_known_yet() -> None:
    given = {"source": people(event), "split": BY_TIME, "certify": ["validation"]}
    stated = external(Attested("of spring", until=date(2017, 5, 20)))
    found = verdicts(one.cross_fit(5), stated, LAST.cross_fit(5), select_on="folds", **given)
    mine = of_variant(found, "by_age")
    assert (mine.code, path(mine)) == ("FUTURE_FIT", ["segments", "last"])
    folded = one.cross_fit(5), two.cross_fit(5)
    assert all(is_clean(v) for v in verdicts(*folded, select_on="folds", **given))


def test_the_part_that_is_left_was_read_by_no_output_and_by_nothing_that_is_compared() -> None:
    def stated(output: str, *buckets: int) -> Stage:
        attested = Attested("", buckets=range(*buckets))
        given = {"inputs": ["age"], "outputs": [output], "version": "1", "attested": attested}
        return pretrained(load, **given).named(output)

    given = one, stated("segments", 800, 850), LAST
    found = verdicts(*given, split=BY_KEY, select_on="validation")
    assert [str(v.honest_part) for v in found] == ["buckets 850-999: 15.0% of all rows"] * 2
    outputs = stated("segments", 800, 850), LAST, stated("other", 900, 1000)
    both = verdict(*outputs, outputs=["action", "other"])
    assert [f.code for f in both.refusals] == ["FIT_OVERLAP"] * 2
    assert str(both.honest_part) == "buckets 850-899: 5.0% of all rows"


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
    found = verdicts(*blocks, select_on="folds")
    assert all(is_clean(v) for v in found)
    assert [*deciding(found[0].variant)] == ["block_1", "block_2", "block_3", "block_4"]
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
    refused = of_variant(verdicts(one, loose, other, **given), "other").refusals[0]
    assert "LeakPolicy(transductive='warn')" in refused.fix
    found = verdicts(one, loose, other, policy=LeakPolicy(transductive="warn"), **given)
    assert codes(of_variant(found, "other")) == ["TRANSDUCTIVE"]


def test_labels_that_were_read_are_no_mere_warning() -> None:
    spread = estimator("spread", ["age"], label="churned").fit_on("train", "validation")
    other = estimator("action", ["spread"], label="bought").named("other")
    warn = LeakPolicy(transductive="warn")
    found = verdicts(one, spread, other, split=BY_KEY, select_on="validation", policy=warn)
    refused = of_variant(found, "other")
    assert refused.code == "SELECTION_IN_SAMPLE"
    assert "LeakPolicy" not in refused.refusals[0].fix


def test_features_alone_on_folds_name_the_opt_in() -> None:
    """Segments without a label are fitted once, on all folds."""
    second = estimator("action", ["segments", "spend"], label="bought").named("second")
    given = label_free, action.cross_fit(5), second.cross_fit(5)
    refused = verdicts(*given, select_on="folds")[0]
    assert refused.code == "SELECTION_IN_SAMPLE"
    assert "LeakPolicy(transductive='warn')" in refused.refusals[0].fix
    found = verdicts(*given, select_on="folds", policy=LeakPolicy(transductive="warn"))
    assert [(v.grade, codes(v)) for v in found] == [("B", ["TRANSDUCTIVE"])] * 2


def test_a_warning_about_one_fold_does_not_end_the_search_on_others() -> None:
    spread = estimator("spread", ["age"], label="churned").slices(4, of=5)
    first, second = (
        estimator("action", ["segments", "spread", f], label="bought").named(f).cross_fit(5)
        for f in ("age", "spend")
    )
    warn = LeakPolicy(transductive="warn")
    found = verdicts(label_free, spread, first, second, select_on="folds", policy=warn)
    for refused in found:
        assert refused.code == "SELECTION_IN_SAMPLE"
        assert "TRANSDUCTIVE" in codes(refused)
        assert describe(refused.refusals[0].overlap) == "480-639"


def test_a_model_that_is_stated_to_have_read_later_days_is_not_forgiven() -> None:
    loose = estimator("spread", ["age"]).fit_on("train", "validation")
    other = estimator("action", ["spread", "segments"], label="bought").named("other")
    stated = external(Attested("of April", until=date(2017, 4, 20)))
    given = {"source": people(event), "split": BY_TIME, "select_on": "validation"}
    found = verdicts(one, loose, stated, other, policy=LeakPolicy(transductive="warn"), **given)
    refused = of_variant(found, "other")
    assert (refused.code, path(refused)) == ("SELECTION_IN_SAMPLE", ["segments", "other"])


# What is shown without being certified


def test_a_variant_is_shown_by_test_whatever_is_certified() -> None:
    refit = one.fit_on("train", "test")
    for certified in ([], ["validation"]):
        *others, found = judged(refit, split=BY_KEY, certify=certified)
        assert [(v.cell, v.certified) for v in others] == [(cell, True) for cell in certified]
        assert all(is_clean(v) for v in others)
        assert (found.cell, found.certified, found.code) == ("test", False, "FIT_OVERLAP")
        with pytest.raises(LeakError, match="shown and compared by test") as caught:
            refuse([found])
        assert "leave its label and task out" in caught.value.fix
        assert all(is_clean(v) for v in judged(one, split=BY_KEY, certify=certified))
    assert len(judged(one, split=BY_KEY)) == 1


@pytest.mark.parametrize(
    ("stages", "given", "code"),
    [
        ([estimator("action", ["age", "bought"], label="bought")], {}, "TARGET_PATH"),
        ([feature(entity=customer)(mixing_code.segments), action], {}, "ROW_MIXING_AS_TRANSFORMER"),
        ([supervised.serve_only(), action], {}, "SERVE_ONLY_UPSTREAM"),
        ([one], {"source": people(event, "30d"), "split": MAY}, "EMBARGO_TOO_SHORT"),
        ([one, two], {"select_on": "test"}, "SELECTION_ON_TEST"),
        ([one, two], {"select_on": "train"}, "SELECTION_IN_SAMPLE"),
        ([external(None), action], {}, "UNKNOWN_FITSET"),
    ],
)
def test_what_nobody_certifies_is_judged_by_the_same_rules(
    stages: list[Stage], given: dict, code: str
) -> None:
    shown = judged(*stages, certify=[], **given)
    assert {(v.code, v.certified) for v in shown} == {(code, False)}
    assert {v.code for v in judged(*stages, **given)} == {code}


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
        ([one.fit_on("train", "test")], BY_TIME, ["train", "validation", "test"]),
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
    shown = list(measured_cells(accounts_of(flow), variant))
    assert shown == [cell for cell in split.cells if cell == "train" or cell not in read]


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
