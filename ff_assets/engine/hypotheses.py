"""The effects that a target's hypotheses are about, on the rows of test."""

from collections.abc import Mapping

from ff_assets.core.cells import TEST
from ff_assets.core.conclusion import Effect
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.hypothesis import Stated
from ff_assets.core.instance import Contest
from ff_assets.core.metrics import LOSSES
from ff_assets.core.questions import Allowance, Question
from ff_assets.engine.leaderboard import on_the_same_rows
from ff_assets.engine.store import Store
from ff_assets.stats.simultaneous import LEVEL


def effects(
    contest: Contest,
    allowances: Mapping[Question, Allowance],
    fingerprints: Fingerprints,
    store: Store,
) -> dict[str, Effect]:
    """Statement -> the effect.

    Each interval misses so seldom that in 95% of such data sets none ever does.

    Args:
        allowances: question -> what of the 5% its interval may spend.

    Raises:
        DataError: variants have predictions of different rows.
        NoMetric: one of them lacks what the kpi reads.
    """
    return {
        each.hypothesis.statement: _effect(
            contest, each, allowances[fingerprints.question(each)], fingerprints, store
        )
        for each in contest.stated
    }


def _effect(
    contest: Contest,
    stated: Stated,
    allowance: Allowance,
    fingerprints: Fingerprints,
    store: Store,
) -> Effect:
    kpi, (claim, baseline) = stated.hypothesis.kpi, stated.variants
    pair = Contest(contest.target, stated.variants)
    found = on_the_same_rows(pair, kpi, fingerprints, store, LEVEL * allowance.share)
    first, second = (claim, baseline) if kpi not in LOSSES else (baseline, claim)
    better = found.difference(first.label, second.label)
    return Effect(
        kpi=kpi,
        claim=found.values[claim.label].value,
        baseline=found.values[baseline.label].value,
        value=better.value,
        low=better.low,
        high=better.high,
        level=1 - LEVEL,
        share=allowance.share,
        questions=allowance.questions,
        rows=found.rows,
        groups=found.groups,
        by=contest.entity.root.name if found.groups < found.rows else None,
        method=found.method,
    )


def are_predicted(stated: Stated, fingerprints: Fingerprints, store: Store) -> bool:
    """Whether the predictions that a hypothesis compares are in the store.

    Whoever wants to know can then compare them, evaluated or not.
    """
    return all(
        store.table(fingerprints[variant.prediction], TEST) is not None
        for variant in stated.variants
    )
