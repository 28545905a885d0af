"""The first half of the cases of leaks, each with the verdict and code that it must have."""

import pytest

from ff_assets import (
    Attested,
    Entity,
    HashSplit,
    LeakPolicy,
    Source,
)
from ff_assets.core.buckets import describe
from ff_assets.core.errors import MixedEntities
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets_tests.core.founding import (
    action,
    codes,
    external,
    is_clean,
    label_free,
    order,
    path,
    people,
    supervised,
    target,
    verdict,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, load, transformer


def test_1_fitted_on_train_evaluated_on_test():
    honest = verdict(label_free, action)
    assert is_clean(honest)
    assert honest.sentence == (
        "Honest: no row of test was used to fit any of the 2 models behind this score."
    )


def test_2_segments_that_have_seen_test():
    leaky = verdict(supervised.fit_on("train", "test"), action)
    assert (leaky.code, path(leaky)) == ("FIT_OVERLAP", ["segments", "action"])
    assert describe(leaky.refusals[0].overlap) == "800-999"
    assert leaky.honest_part is None
    assert "labels and features of test" in leaky.refusals[0].text
    assert "train only" in leaky.refusals[0].fix


def test_2_segments_of_values_that_descend_from_a_label():
    made = transformer("hint", ["churned"])
    segments = estimator("segments", ["age", "hint"]).fit_on("train", "test")
    found = {finding.code for finding in verdict(made, segments, action).refusals}
    assert found == {"OUTCOME_AS_INPUT", "FIT_OVERLAP"}


def test_3_the_same_behind_row_wise_stages():
    hidden = [
        supervised.fit_on("train", "test"),
        transformer("a", ["segments"]),
        transformer("b", ["a", "age"]),
        transformer("c", ["b"]),
        transformer("renamed", ["c"]),
        estimator("action", ["renamed"], label="bought"),
    ]
    leaky = verdict(*hidden)
    assert leaky.code == "FIT_OVERLAP"
    assert path(leaky) == ["segments", "a", "b", "c", "renamed", "action"]


def test_4_supervised_in_sample():
    doubtful = verdict(supervised, action)
    assert (doubtful.allowed, doubtful.grade, codes(doubtful)) == (True, "B", ["OOF_REQUIRED"])
    assert [i.name for i in doubtful.warnings[0].path] == ["segments", "action"]
    strict = verdict(supervised, action, policy=LeakPolicy(strict=True))
    assert strict.code == "OOF_REQUIRED"


def test_5_label_free_needs_no_folds():
    assert is_clean(verdict(label_free, action, policy=LeakPolicy(strict=True)))


def test_6_label_free_on_train_and_test():
    stages = label_free.fit_on("train", "test"), action
    assert verdict(*stages).code == "FIT_OVERLAP_X"
    warned = verdict(*stages, policy=LeakPolicy(transductive="warn"))
    assert (warned.allowed, warned.grade, codes(warned)) == (True, "B", ["TRANSDUCTIVE"])
    assert warned.sentence.startswith("Honest: no label of test was used")


def test_6_an_opt_in_does_not_excuse_labels():
    policy = LeakPolicy(transductive="warn")
    assert verdict(supervised.fit_on("train", "test"), action, policy=policy).code == "FIT_OVERLAP"


def test_7_single_level_folds():
    parts = ["test", *(f"fold_{k}" for k in range(5))]
    on_test, *on_folds = verdicts(supervised.cross_fit(5), action.cross_fit(5), certify=parts)
    assert is_clean(on_test)
    assert {v.code for v in on_folds} == {"TRANSITIVE_TAINT"}
    assert path(on_folds[0]) == ["segments", "action"]
    assert len(on_folds) == 5


def test_7_folds_of_one_estimator_are_honest():
    on_fold = verdict(estimator("action", ["age"], label="bought").cross_fit(5), certify=["fold_3"])
    assert is_clean(on_fold)
    assert describe(on_fold.evaluated) == "480-639"


def test_7_folds_of_a_row_wise_prediction_are_those_of_its_estimator():
    model = estimator("raw", ["age"], label="bought").cross_fit(4)
    assert is_clean(verdict(model, transformer("action", ["raw"]), certify=["fold_3"]))


def test_7_folds_behind_a_stage_that_was_fitted_once():
    on_fold = verdict(supervised, action.cross_fit(5), certify=["fold_0"])
    assert (on_fold.code, path(on_fold)) == ("FIT_OVERLAP", ["segments", "action"])


def test_9_ordered_blocks():
    blocks = [f"block_{k}" for k in range(5)]
    chain = [s.cross_fit(5, ordered=True) for s in (supervised, action)]
    every = verdicts(*chain, certify=blocks)
    assert [v.code for v in every] == ["NO_PREDICTION", "NO_PREDICTION", "", "", ""]
    assert all(is_clean(v) for v in every[2:])
    assert sum(len(model.fits) for model in every[0].models) == 9


def test_9_a_prediction_without_folds():
    assert verdict(label_free, action, certify=["fold_0"]).code == "NO_PREDICTION"


def test_10_three_supervised_stages():
    first = estimator("first", ["age"], label="churned").cross_fit(5)
    segments = estimator("segments", ["first"], label="churned").cross_fit(5)
    deep = verdict(first, segments, action.cross_fit(5))
    assert (deep.allowed, codes(deep)) == (True, ["DEPTH_TAINT"])
    assert [i.name for i in deep.warnings[0].path] == ["first", "segments", "action"]
    assert ".slices" in deep.warnings[0].fix
    assert "ordered=True" in deep.warnings[0].fix


@pytest.mark.parametrize("ordered", [False, True])
def test_10_what_the_warning_names_helps(ordered: bool):
    chain = [
        estimator("first", ["age"], label="churned"),
        estimator("segments", ["first"], label="churned"),
        action,
    ]
    if ordered:
        mended = [s.cross_fit(5, ordered=True) for s in chain]
    else:
        mended = [s.slices(number, of=3) for number, s in enumerate(chain, start=1)]
    assert is_clean(verdict(*mended))


def test_11_another_salt():
    foreign = verdict(external(Attested("by team B", buckets=range(800), salt="b")), action)
    assert foreign.code == "POLICY_MISMATCH"
    assert foreign.honest_part is not None
    assert float(foreign.honest_part.share) == pytest.approx(0.2 * 0.2)
    assert "4.0%" in str(foreign.honest_part)
    whole = verdict(external(Attested("by team B", buckets=range(1000), salt="b")), action)
    assert (whole.code, whole.honest_part) == ("POLICY_MISMATCH", None)


def test_12_disjoint_buckets_of_one_salt():
    cells = {"train": range(900), "test": range(900, 1000)}
    split = HashSplit(cells=cells)
    early = external(Attested("fitted on 0-799", buckets=range(800)))
    assert verdict(early, action, split=split).allowed
    late = verdict(external(Attested("most", buckets=range(950))), action, split=split)
    assert late.code == "FIT_OVERLAP"
    assert late.honest_part is not None
    assert str(late.honest_part) == "buckets 950-999: 5.0% of all rows"


def test_13_keys_without_relation():
    lonely = Entity("order", key="order_id")
    segments = external(Attested("by customer", buckets=range(800), root="customer"))
    assert verdict(segments, action, source=people(lonely)).code == "SPLIT_KEY_INCOMPARABLE"
    assert verdict(segments, action, source=people(order)).allowed
    elsewhere = Source("extra", entity=lonely, load=load, features={"price": "double"})
    model = estimator("action", ["price", "age"], label="bought")
    with pytest.raises(MixedEntities) as caught:
        infer(Project((people(), elsewhere), (model,), (target(),)))
    assert caught.value.code == "SPLIT_KEY_INCOMPARABLE"
    assert caught.value.as_dict()["code"] == "SPLIT_KEY_INCOMPARABLE"


def test_13_a_key_between_row_and_root_is_comparable_in_part():
    region = Entity("region", key="region_id")
    middle = Entity("customer", key="customer_id", parent=region, foreign_key="region_id")
    fine = Entity("order", key="order_id", parent=middle, foreign_key="customer_id")
    segments = external(Attested("by customer", buckets=range(500), root="customer"))
    partly = verdict(segments, action, source=people(fine))
    assert partly.code == "POLICY_MISMATCH"
    assert partly.honest_part is not None
    assert float(partly.honest_part.share) == pytest.approx(0.1)
