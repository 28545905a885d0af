"""What the opt-in to fits on features of evaluated rows forgives, and what it does not."""

from datetime import date

import pytest

from ff_assets import LeakPolicy, Source, TimeSplit
from ff_assets.core.certificate_words import sentence
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.project import Project
from ff_assets.core.verdict import Verdict
from ff_assets_tests.core.founding import (
    MAY,
    action,
    codes,
    event,
    label_free,
    path,
    people,
    target,
    verdict,
)
from ff_assets_tests.core.stubs import estimator, load

WARN = LeakPolicy(transductive="warn")
EVERYWHERE = label_free.fit_on("train", "test")


def by_time(*stages, horizon: str = "0d", split: TimeSplit = MAY, **given) -> Verdict:
    return verdict(*stages, source=people(event, horizon), split=split, policy=WARN, **given)


def test_labels_have_to_be_known_in_time_whatever_features_were_read() -> None:
    early = by_time(EVERYWHERE, action, horizon="30d")
    assert (early.code, path(early), codes(early)) == (
        "EMBARGO_TOO_SHORT",
        ["action"],
        ["TRANSDUCTIVE"],
    )
    kept = by_time(EVERYWHERE, action, horizon="30d", split=TimeSplit("2017-05-01", "30d"))
    assert (kept.grade, codes(kept)) == ("B", ["TRANSDUCTIVE"])


@pytest.mark.parametrize("beside", [("segments",), ("age",)], ids=["forgiven", "clean"])
def test_labels_of_later_rows_are_the_future_whatever_features_were_read(beside: tuple) -> None:
    hindsight = estimator("hindsight", ["age"], label="churned").fit_on("validation")
    model = estimator("action", ["hindsight", *beside], label="bought").cross_fit(5, ordered=True)
    split = TimeSplit("2017-05-01", validation="14d")
    found = by_time(label_free, hindsight, model, split=split, certify=["block_4"])
    assert (found.code, path(found)) == ("FUTURE_FIT", ["hindsight", "action"])


def test_features_are_forgiven_of_evaluated_rows_and_not_of_later_ones() -> None:
    blocks = action.cross_fit(5, ordered=True)
    last = by_time(label_free, blocks, certify=["block_4"])
    assert (last.grade, codes(last)) == ("B", ["TRANSDUCTIVE"])
    before = by_time(label_free, blocks, certify=["block_3"])
    assert (before.code, path(before)) == ("FUTURE_FIT", ["segments", "action"])


def test_the_certificate_claims_no_more_than_what_is_true() -> None:
    def said(stage) -> str:
        return sentence(by_time(stage, action), rows=100, groups=90)

    nothing_later = f"and nothing of {date(2017, 5, 1)} or later, was used"
    assert nothing_later in said(label_free)
    forgiven = said(EVERYWHERE)
    assert nothing_later not in forgiven
    assert "no label of the 100 evaluated events was used" in forgiven
    assert "`segments` was fitted on features, though on no label, of test" in forgiven


def test_the_embargo_that_is_asked_for_is_the_one_that_is_needed() -> None:
    """Of several fits the one whose labels are known last is to blame."""
    slow = Source(
        "slow",
        entity=event,
        load=load,
        features={"complained": "double"},
        labels=["complained"],
        label_horizon="60d",
    )
    segments = estimator("segments", ["age"], label="complained")
    (found,) = check(
        infer(Project((people(event, "30d"), slow), (segments, action), (target(split=MAY),)))
    )
    assert path(found) == ["segments", "action"]
    assert "known only on 2017-06-29" in found.refusals[0].text
    assert "embargo='60d'" in found.refusals[0].fix
