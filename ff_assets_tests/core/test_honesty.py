"""What verdicts say, and cases beside the listed ones."""

import gc
import json
import weakref
from datetime import date

import pytest

from ff_assets import (
    Attested,
    LeakPolicy,
)
from ff_assets.core.errors import DefinitionError, LeakError
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.influence import accounts_of
from ff_assets.core.project import Project
from ff_assets.core.verdict import refuse
from ff_assets.core.why import why
from ff_assets_tests.core.founding import (
    MAY,
    action,
    codes,
    event,
    external,
    is_clean,
    label_free,
    path,
    people,
    supervised,
    target,
    verdict,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, transformer


def test_all_refused_variants_are_in_one_error():
    leaky = [supervised.fit_on("train", "test").named(name) for name in ("one", "two")]
    found = verdicts(*leaky, action)
    with pytest.raises(LeakError) as caught:
        refuse(found)
    error = caught.value
    assert error.code == "FIT_OVERLAP"
    assert "[FIT_OVERLAP]" in str(error)
    assert "t[one] on test" in error.what
    assert "t[two] on test (FIT_OVERLAP)" in error.why
    assert "one -> action[one] -> the metric of t[one] on test" in error.why
    refuse(verdicts(label_free, action))


def test_an_unknown_part_is_refused():
    with pytest.raises(DefinitionError) as caught:
        verdict(action.cross_fit(2), label_free, certify=["fold_2"])
    assert "fold_1" in caught.value.why
    with pytest.raises(DefinitionError):
        verdict(action, label_free, certify=["tset"])


def test_verdicts_are_plain_values():
    leaky = verdict(supervised.fit_on("train", "test"), action)
    told = json.loads(json.dumps(leaky.as_dict()))
    assert told["code"] == "FIT_OVERLAP"
    assert told["refusals"][0]["path"] == ["segments", "action"]
    assert told["buckets"] == [[800, 999]]


def test_what_is_behind_a_verdict_is_told_line_by_line():
    flow = infer(Project((people(),), (supervised.fit_on("train", "test"), action), (target(),)))
    (leaky,) = check(flow)
    source, segments, model = why(flow, leaky)
    assert (source.kind, source.features, source.verdict) == ("source", "none", "clean")
    assert segments.fits == (("all", "0-999"),)
    assert segments.labels == "0-999"
    assert segments.verdict == "has read test (800-999) of test"
    assert model.fits == (("all", "train (0-799)"),)
    assert model.verdict == segments.verdict


def test_what_is_known_of_a_flow_is_found_out_once_and_forgotten_with_it():
    flow = infer(Project((people(),), (label_free, action), (target(),)))
    accounts = accounts_of(flow)
    (honest,) = check(flow)
    assert len(list(why(flow, honest))) == 3
    assert accounts_of(flow) is accounts
    assert accounts_of(infer(flow.project)) is not accounts
    alive = weakref.ref(accounts)
    del flow, honest, accounts
    gc.collect()
    assert alive() is None


def test_an_outcome_is_a_label_although_no_source_says_so():
    segments = estimator("segments", ["age"], label="spend").fit_on("train", "test")
    assert verdict(segments, action).code == "FIT_OVERLAP"


def test_a_row_wise_stage_does_not_hide_what_was_memorised():
    model = estimator("action", ["b"], label="bought")
    stages = supervised, transformer("a", ["segments"]), transformer("b", ["a"]), model
    doubtful = verdict(*stages)
    assert codes(doubtful) == ["OOF_REQUIRED"]
    assert [i.name for i in doubtful.warnings[0].path] == ["segments", "a", "b", "action"]


def test_a_stage_between_slices_is_told_to_take_one() -> None:
    first, scaled = supervised.slices(1, of=3), estimator("scaled", ["segments"])
    last = estimator("action", ["scaled", "age"], label="bought").slices(3, of=3)
    doubtful = verdict(first, scaled, last)
    assert codes(doubtful) == ["OOF_REQUIRED"]
    (warning,) = doubtful.warnings
    assert warning.text.startswith("`scaled` is trained on `segments`")
    assert "trusts" not in warning.why  # it learns no label
    assert "has not read: .slices(2, of=3) or .slices(3, of=3)." in warning.fix
    for mended in (scaled.slices(2, of=3), scaled.slices(3, of=3)):
        assert is_clean(verdict(first, mended, last))


def test_an_encoded_label_may_have_seen_the_label():
    encoder = estimator("index", ["bought"])
    assert is_clean(verdict(encoder, estimator("action", ["age"], label="index")))


def test_a_weight_that_has_seen_test_taints_as_a_feature_does():
    weight = estimator("weight", ["age"], label="churned").fit_on("test")
    model = estimator("action", ["age"], label="bought", weight="weight")
    judged = verdict(weight, model)
    assert (judged.code, path(judged)) == ("FIT_OVERLAP", ["weight", "action"])


@pytest.mark.parametrize(("reads", "code"), [("spend", "FIT_OVERLAP"), ("age", "")])
def test_what_determines_another_targets_label_is_a_label(reads: str, code: str):
    big = transformer("big", ["spend"])
    segments = estimator("segments", [reads]).fit_on("train", "test")
    other = target(name="other", outputs=["age"], label="big")
    project = Project(
        (people(),),
        (big, segments, action),
        (other, target()),
        policy=LeakPolicy(transductive="warn"),
    )
    assert check(infer(project))[1].code == code


def test_what_a_stage_makes_of_labels_is_one_if_a_target_says_so():
    both = transformer("both", ["spend", "age"])
    segments = estimator("segments", ["both"]).fit_on("train", "test")
    other = target(name="other", outputs=["age"], label="both")
    project = Project(
        (people(),),
        (both, segments, action),
        (other, target()),
        policy=LeakPolicy(transductive="warn"),
    )
    assert check(infer(project))[1].code == "FIT_OVERLAP"


def test_a_day_is_all_that_a_time_split_needs_of_a_model_from_elsewhere():
    model = external(Attested("April's", until=date(2017, 4, 30), buckets=range(1000)))
    assert verdict(model, action, source=people(event), split=MAY).allowed
    undated = external(Attested("some", buckets=range(10)))
    judged = verdict(undated, action, source=people(event), split=MAY)
    assert judged.code == "POLICY_MISMATCH"
    assert judged.honest_part is None
