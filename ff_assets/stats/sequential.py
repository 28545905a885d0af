"""The effect in an A/B test that is looked at every day, with an interval for all looks at once.

An interval for a single look is wrong when somebody looks daily until it excludes 0: over 100
looks, a test without any effect is then declared a success in a third of the cases. An
anytime-valid interval may be read whenever one likes, and the test stopped for any reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, sqrt

ALPHA = 0.05
"""In how many tests an interval may miss the true effect, at any of the looks."""

FEWEST = 20
"""Entities that each arm needs before there is an interval: it leans on a central limit."""


@dataclass(frozen=True)
class Arm:
    """What an arm comes to, once the outcomes of each entity are summed.

    Entities were assigned to arms, not rows: the rows of one are not independent of each other.

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

    An entity that comes again changes its sum, which the theorem does not cover: it is about
    outcomes that stay as they are. Where units keep coming, simulations of it alarm no more tests
    than stated. Where all are exposed on the first day and only their sums grow, the width narrows
    no further, and ever more looks add up: 3% of tests without an effect are alarmed within 90
    looks, 4% within 365, 5% within 1,000, 6% within 2,000, and 7% within 9,000 (at `planned`
    entities; fewer alarms with fewer). So it holds for daily looks for about three years, and not
    for hourly ones for one.

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
