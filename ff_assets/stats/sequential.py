"""The effect in an A/B test that is looked at every day, with an interval for all looks at once.

An interval for a single look is wrong when somebody looks daily until it excludes 0: over 100
looks, a test without any effect is then declared a success in a third of the cases. An
anytime-valid interval may be read whenever one likes, and the test stopped for any reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ALPHA = 0.05
"""In how many tests an interval may miss the true effect, at any of the looks."""

FEWEST = 20
"""Entities that each arm needs before there is an interval: it leans on a central limit."""


@dataclass(frozen=True)
class Arm:
    """What an arm comes to; a store's or Spark's aggregates make it as well as `arm_of`.

    Args:
        entities: how many were assigned to it; those without an outcome count with an outcome of 0.
        mean: of the entities' outcomes.
        variance: of the entities' outcomes, with `entities - 1` as denominator.
    """

    entities: int
    mean: float
    variance: float


@dataclass(frozen=True)
class Effect:
    """How much larger the mean outcome of an entity is in the treatment than in the control.

    Args:
        value: the difference of the means, in the outcome's unit.
        low: lower end of the anytime-valid 95% interval; None if there is none yet.
        high: upper end, likewise.
        p: anytime-valid p-value of no effect; below 0.05 where the interval excludes 0.
        method: how the interval was made, or why there is none yet.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    method: str


def arm_of(entity: ArrayLike, outcome: ArrayLike) -> Arm:
    """The arm of some rows, after each entity's outcomes are summed.

    Entities were assigned to arms, not rows: the rows of one are not independent of each other.

    Args:
        entity: keys, (n,). An entity without any outcome needs a row with the outcome 0.
        outcome: (n,), such as 1 for a redeemed coupon, or what was paid.

    Raises:
        ValueError: shapes differ, there are less than two entities, or an outcome is not finite.
    """
    import numpy as np

    keys, values = np.asarray(entity), np.asarray(outcome, dtype=np.float64)
    if keys.ndim != 1 or keys.shape != values.shape:
        raise ValueError(f"entity has shape {keys.shape} and outcome {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("an outcome is NaN or infinite; leave out rows whose outcome is not known")
    names, place = np.unique(keys, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"an arm of {len(names)} entities has no variance; it needs two")
    totals = np.bincount(place, values)
    return Arm(len(names), float(totals.mean()), float(totals.var(ddof=1)))


def effect(control: Arm, treatment: Arm, *, planned: int) -> Effect:
    """The effect so far, with the asymptotic confidence sequence of Waudby-Smith et al.

    "Time-uniform central limit theory and asymptotic confidence sequences", Ann. Stat. 52 (2024)
    2613, theorem 2.2, for the difference of two means. It was chosen because it asks for no known
    variance and no bounded or binary outcome, and needs only counts, means and variances. Its
    width is that of the mixture test (mSPRT) of Johari et al., Oper. Res. 70 (2022) 1806, which
    is made for a known variance.

    The squared standard error is the larger of Welch's and the pooled one. With a small share for
    the treatment and rare outcomes, Welch's is far too small until the treatment has seen some:
    in simulations with outcomes of 1% and a share of 10% it alone raises a false alarm in up to 35%
    of the tests, the larger of the two in less than 1%.

    An entity that comes again changes its sum. That keeps the level, as later sums then go along
    with earlier ones, which is less news than new entities would be.

    Args:
        control: at any time.
        treatment: at the same time.
        planned: with how many entities of both arms together the interval should be narrowest,
            such as a month's. Fixed before the test: choosing it later is peeking.

    Raises:
        ValueError: `planned` is not positive.
    """
    if planned < 1:
        raise ValueError(f"planned is {planned}; it is a number of entities, at least 1")
    value = treatment.mean - control.mean
    arms = (control, treatment)
    if min(arm.entities for arm in arms) < FEWEST:
        return Effect(value, None, None, None, f"none yet: an arm has less than {FEWEST} entities")
    square = max(_welch(arms), _pooled(arms))
    if square == 0:
        return Effect(value, None, None, None, "none yet: no outcome differs from the others")

    entities = control.entities + treatment.entities
    spread = entities * _tuning(planned)  # t * rho^2 in the paper
    half = sqrt(square * 2 * (spread + 1) / spread * log(sqrt(spread + 1) / ALPHA))
    evidence = value**2 / square * spread / (2 * (spread + 1))
    p = min(1.0, sqrt(spread + 1) * exp(-evidence))
    return Effect(value, value - half, value + half, p, "asymptotic confidence sequence")


def _welch(arms: Iterable[Arm]) -> float:
    return sum(arm.variance / arm.entities for arm in arms)


def _pooled(arms: Iterable[Arm]) -> float:
    squares = sum((arm.entities - 1) * arm.variance for arm in arms)
    freedom = sum(arm.entities - 1 for arm in arms)
    return squares / freedom * sum(1 / arm.entities for arm in arms)


def _tuning(planned: int) -> float:
    """The paper's rho^2 that makes the interval about narrowest at `planned`."""
    return (-2 * log(ALPHA) + log(-2 * log(ALPHA)) + 1) / planned
