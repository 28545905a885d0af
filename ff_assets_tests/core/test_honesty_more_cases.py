"""The second half of the cases of leaks, each with the verdict and code that it must have."""

import json
from dataclasses import replace
from datetime import date

import pytest
from pyspark.ml.clustering import KMeans

from ff_assets import Attested, Entity, HashSplit, Source, TimeSplit, aggregate, feature, stage
from ff_assets.core.errors import LeakError
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.leak_refusals import stale_policy
from ff_assets.core.project import Project
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
    label_free,
    path,
    people,
    supervised,
    target,
    verdict,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, load, transformer


def test_15_fitted_with_june():
    def judged(day: str) -> Verdict:
        model = external(Attested("fitted until then", until=date.fromisoformat(day)))
        return verdict(model, action, source=people(event), split=MAY)

    assert path(judged("2017-06-30")) == ["segments", "action"]
    assert judged("2017-06-30").code == "FUTURE_FIT"
    assert judged("2017-05-01").code == "FUTURE_FIT"
    assert judged("2017-04-30").allowed


def test_15_a_later_slice_behind_an_earlier_block():
    late = label_free.slices(2, of=2)
    blocks = action.cross_fit(5, ordered=True)
    judged = verdicts(
        late, blocks, source=people(event), split=MAY, certify=["block_1", "block_3", "test"]
    )
    assert [v.code for v in judged] == ["FUTURE_FIT", "FIT_OVERLAP_X", ""]


@pytest.mark.parametrize(
    ("embargo", "code"), [("7d", "EMBARGO_TOO_SHORT"), ("29d", "EMBARGO_TOO_SHORT"), ("30d", "")]
)
def test_16_labels_that_are_known_later(embargo: str, code: str):
    split = TimeSplit("2017-05-01", embargo)
    source = people(event, horizon="30d")
    judged = verdict(label_free, action, source=source, split=split)
    assert judged.code == code
    if code:
        assert path(judged) == ["action"]
        assert "embargo='30d'" in judged.refusals[0].fix


def test_16_labels_of_an_upstream_stage_count_as_well():
    slow = Source(
        "slow",
        entity=event,
        load=load,
        features={"complained": "double"},
        labels=["complained"],
        label_horizon="60d",
    )
    segments = estimator("segments", ["age"], label="complained").cross_fit(5, ordered=True)
    project = Project(
        (people(event, "30d"), slow),
        (segments, action),
        (target(split=TimeSplit("2017-05-01", "30d")),),
    )
    (judged,) = check(infer(project))
    assert (judged.code, path(judged)) == ("EMBARGO_TOO_SHORT", ["segments", "action"])


def test_17_a_window_in_a_feature():
    segments = feature(entity=customer)(mixing_code.segments)
    mixed = verdict(segments, action)
    assert (mixed.code, path(mixed)) == ("ROW_MIXING_AS_TRANSFORMER", ["segments", "action"])
    with pytest.raises(LeakError) as caught:
        refuse([mixed])
    assert "mixing_code.py:" in str(caught.value)


def test_18_the_label_among_the_inputs():
    direct = estimator("action", ["age", "bought"], label="truth")
    renamed = transformer("truth", ["bought"])
    judged = verdict(direct, renamed, label="truth")
    assert judged.code == "TARGET_PATH"
    assert path(judged) == ["people", "action"]


def test_18_a_column_derived_from_the_label():
    hint = transformer("hint", ["bought", "age"])
    buckets = estimator("buckets", ["hint"])  # its application passes the label on
    judged = verdict(hint, buckets, estimator("action", ["age", "buckets"], label="bought"))
    assert judged.code == "TARGET_PATH"
    assert path(judged) == ["people", "hint", "buckets", "action"]


def test_18_what_determines_the_label():
    made = transformer("big", ["spend"])
    both = transformer("big", ["spend", "age"])
    model = estimator("action", ["spend"], label="big")
    assert verdict(made, model, label="big").code == "TARGET_PATH"
    assert verdict(both, model, label="big").code == "TARGET_PATH"  # which one tells the outcome?
    told = transformer("big", ["churned", "spend"])
    assert is_clean(verdict(told, model, label="big"))
    other = estimator("action", ["age"], label="big")
    assert is_clean(verdict(made, other, label="big"))


def test_18_sums_over_the_past_are_no_target_path():
    def judged(of: Entity, to: Entity, horizon: str, gap: str = "0d") -> Verdict:
        visits = Source(
            "visits",
            entity=of,
            load=load,
            features={"ordered": "double"},
            labels=["ordered"],
            label_horizon=horizon,
        )
        shops = Source("shops", entity=of.root, load=load, features={"size": "double"})

        @aggregate(of=of, to=to, gap=gap)
        def ordered_before(ordered):
            return ordered

        model = estimator("action", ["ordered_before"], label="ordered")
        project = Project(
            (visits, shops), (ordered_before, model), (target(label="ordered", entity=of),)
        )
        (only,) = check(infer(project))
        return only

    timed = Entity("shop", key="shop_id", time="opened_at")
    visit = Entity("visit", key="visit_id", parent=timed, foreign_key="shop_id", time="came_at")
    assert is_clean(judged(visit, visit, "0d"))
    late = judged(visit, visit, "30d")
    assert late.code == "TARGET_PATH"
    assert "gap='30d'" in late.refusals[0].fix
    assert is_clean(judged(visit, visit, "30d", gap="30d"))
    # the past of a shop may be the future of a visit to it
    carried = judged(visit, timed, "0d")
    assert (carried.code, path(carried)) == (
        "TARGET_PATH",
        ["visits", "ordered_before", "action"],
    )
    assert "of=visit, to=visit" in carried.refusals[0].fix
    untimed = Entity("shop", key="shop_id")
    visit = Entity("visit", key="visit_id", parent=untimed, foreign_key="shop_id", time="came_at")
    assert judged(visit, untimed, "0d").code == "TARGET_PATH"


def test_19_a_production_refit():
    refit = supervised.fit_on("train", "test").serve_only()
    judged = verdict(refit, action)
    assert (judged.code, path(judged)) == ("SERVE_ONLY_UPSTREAM", ["segments", "action"])
    assert verdicts(refit, action, label=None, task=None) == []


def test_20_an_external_model():
    judged = verdict(external(None), action)
    assert (judged.code, path(judged)) == ("UNKNOWN_FITSET", ["segments", "action"])
    stated = verdict(external(Attested("trained on an encyclopaedia")), action)
    assert (stated.allowed, stated.grade, codes(stated)) == (True, "B", ["ATTESTED"])
    assert "encyclopaedia" in stated.sentence


def test_20_a_day_beside_buckets_excuses_none_of_them():
    late = external(Attested("", buckets=range(850), until=date(2016, 12, 31)))
    assert verdict(late, action).code == "FIT_OVERLAP"


def test_20_attested_buckets_are_those_of_the_project_s_split():
    stated = external(Attested("", buckets=range(800)))
    own = HashSplit("mine")
    assert verdict(stated, action, split=own).code == "POLICY_MISMATCH"
    same = external(Attested("", buckets=range(800), salt="mine"))
    assert verdict(same, action, split=own).allowed


def test_16_an_outcome_that_nobody_declares_is_known_as_late_as_others():
    people_ = replace(people(event, horizon="30d"), labels=["bought"])
    model = estimator("action", ["age"], label="churned")
    assert verdict(model, source=people_, split=MAY).code == "EMBARGO_TOO_SHORT"


def test_21_the_champion():
    one, two = (estimator("action", [f], label="bought").named(f) for f in ("age", "spend"))
    on_test = verdicts(one, two, select_on="test")
    assert [v.code for v in on_test] == ["SELECTION_ON_TEST"] * 2
    folded = one.cross_fit(5), two.cross_fit(5)
    assert all(is_clean(v) for v in verdicts(*folded, select_on="folds"))
    twice = verdicts(*folded, select_on="folds", certify=["test", "fold_1"])
    assert [v.code for v in twice] == ["", "SELECTION_ON_TEST"] * 2
    assert is_clean(verdict(one, select_on="test"))  # one of one is no choice


def test_22_two_providers():
    clean = supervised.cross_fit(5).named("clean")
    leaky = supervised.fit_on("train", "test").named("leaky")
    both = verdicts(clean, leaky, action)
    assert {v.variant.choices["segments"]: v.code for v in both} == {
        "clean": "",
        "leaky": "FIT_OVERLAP",
    }


def test_23_cluster_numbers_of_several_fits():
    segments = stage(KMeans, featuresCol="age", predictionCol="segments")
    assert verdict(segments.cross_fit(5), action).code == "UNALIGNED_OOF"
    assert is_clean(verdict(segments, action))

    class Ours(KMeans):
        """A team's own name for it."""

    ours = stage(Ours, featuresCol="age", predictionCol="segments")
    assert verdict(ours.cross_fit(5), action).code == "UNALIGNED_OOF"


def test_24_oversampling_in_a_stage():
    sampled = stage(mixing_code.Oversampler, inputCols=["age"], outputCols=["segments"])
    assert verdict(sampled, action).code == "ROW_MIXING_AS_TRANSFORMER"


def test_25_what_was_made_under_an_older_policy():
    recorded = json.loads(json.dumps(HashSplit().describe()))
    assert stale_policy("model `segments`", recorded, HashSplit()) is None
    moved = HashSplit(cells={"train": range(900), "test": range(900, 1000)})
    stale = stale_policy("model `segments`", recorded, moved)
    assert stale is not None
    assert stale.code == "STALE_POLICY"
    assert "cells was" in stale.why
    for other in (HashSplit(salt="new"), MAY):
        assert stale_policy("model `segments`", recorded, other) is not None


def test_26_disjoint_fits_within_train():
    assert is_clean(verdict(supervised.slices(1, of=2), action.slices(2, of=2)))
