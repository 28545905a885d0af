"""Effects under peeking: the formula, and how often it is wrong over all looks together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from ff_assets.stats.sequential import FEWEST, Arm, Effect, effect

DAYS = 120
TESTS = 1000


# --- formula -------------------------------------------------------------------------------------


def test_p_is_one_over_the_mixture_of_likelihood_ratios():
    """Of normal means around 0, by numerical integration; both arms have the same variance."""
    control, treatment, planned = Arm(4000, 1.0, 2.0), Arm(1000, 1.2, 2.0), 5000
    value = effect(control, treatment, planned=planned)
    square = 2.0 / 4000 + 2.0 / 1000
    rho = (-2 * np.log(0.05) + np.log(-2 * np.log(0.05)) + 1) / planned
    # effects in the mixture are spread as rho^2 times the variance that a single entity adds
    prior, normal = (rho * square * 5000) ** 0.5, stats.norm
    mixed, _ = integrate.quad(
        lambda mean: normal.pdf(0.2, mean, square**0.5) * normal.pdf(mean, 0, prior), -1, 1.5
    )
    assert value.p == pytest.approx(normal.pdf(0.2, 0, square**0.5) / mixed)
    assert value.value == pytest.approx(0.2)


@given(st.integers(20, 10**6), st.integers(20, 10**6), st.floats(-3, 3), st.integers(1, 10**7))
def test_the_interval_excludes_0_exactly_where_p_is_small(n, m, mean, planned):
    given_ = effect(Arm(n, 0.0, 1.0), Arm(m, mean, 2.0), planned=planned)
    if abs(given_.p - 0.05) > 1e-9:
        assert (given_.p < 0.05) == (given_.low > 0 or given_.high < 0)
    assert given_.low < given_.value < given_.high
    swapped = effect(Arm(m, mean, 2.0), Arm(n, 0.0, 1.0), planned=planned)
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx(
        (-given_.value, -given_.high, -given_.low)
    )


def test_a_year_of_looks_at_the_same_units_alarms_no_more_tests_than_stated():
    """All are exposed on the first day, and only what they sum up to grows: a random walk."""
    planned, tests, looks = 2000, 10_000, 365
    arm = Arm(planned // 2, 0.0, 1.0)
    width = effect(arm, arm, planned=planned).high / (2 / arm.entities) ** 0.5
    draw, walks, alarmed = np.random.default_rng(1), np.zeros(tests), np.zeros(tests, dtype=bool)
    for look in range(1, looks + 1):
        walks += draw.standard_normal(tests)
        alarmed |= np.abs(walks) > width * look**0.5
    assert 0.02 < alarmed.mean() < 0.05


def test_the_interval_is_about_narrowest_at_the_planned_size():
    def width(planned: int) -> float:
        at = effect(Arm(5000, 0, 1), Arm(5000, 0, 1), planned=planned)
        return at.high - at.low

    narrowest = min(width(planned) for planned in np.geomspace(100, 10**6, 60).astype(int))
    assert width(10_000) == pytest.approx(narrowest, rel=0.01)
    assert width(10_000) < 1.65 * 3.92 * (2 / 5000) ** 0.5  # the price of peeking


def test_an_arm_that_varies_more_widens_the_interval_by_what_it_adds():
    def width(control: float, treatment: float) -> float:
        at = effect(Arm(9000, 0, control), Arm(1000, 0, treatment), planned=10_000)
        return at.high - at.low

    assert width(1, 9) / width(1, 1) == pytest.approx(
        ((1 / 9000 + 9 / 1000) / (1 / 9000 + 1 / 1000)) ** 0.5
    )
    assert width(9, 1) > width(1, 1)


def test_a_number_of_entities_is_planned():
    with pytest.raises(ValueError, match="planned is 0"):
        effect(Arm(50, 0, 1), Arm(50, 0, 1), planned=0)


def test_too_early_to_say():
    early = effect(Arm(900, 0.1, 0.09), Arm(FEWEST - 1, 1.0, 0.2), planned=1000)
    assert early == Effect(0.9, None, None, None, "none yet: an arm has less than 20 entities")
    nothing = effect(Arm(900, 0.0, 0.0), Arm(900, 0.0, 0.0), planned=1000)
    assert (nothing.value, nothing.low) == (0, None)
    assert nothing.method == "none yet: no outcome differs from the others"


# --- simulation: 120 days, looked at every day ---------------------------------------------------


def looks(control: np.ndarray, treatment: np.ndarray, sizes: tuple[int, int]) -> list[list[Effect]]:
    """The effect of each test (first axis) at each day (second), from sums and squares (third)."""
    arms = []
    for cumulated, size in zip((control, treatment), sizes, strict=True):
        n = size * np.arange(1, DAYS + 1)
        total, squares = cumulated[..., 0], cumulated[..., 1]
        variance = np.maximum(0, squares - total**2 / n) / (n - 1)
        arms.append((n, total / n, variance))
    (n, mean, variance), (m, mean2, variance2) = arms
    return [
        [
            effect(
                Arm(int(n[day]), mean[test, day], variance[test, day]),
                Arm(int(m[day]), mean2[test, day], variance2[test, day]),
                planned=10_000,
            )
            for day in range(DAYS)
        ]
        for test in range(len(mean))
    ]


def missed(effects: list[list[Effect]], truth: float) -> int:
    """Tests in which the interval does not hold the truth on some day."""
    return sum(
        any(one.low is not None and not one.low <= truth <= one.high for one in test)
        for test in effects
    )


def bought(random, share: float, size: int, tests: int = TESTS) -> np.ndarray:
    """Daily totals of an outcome of 0 or 1, added up: (tests, days, 2)."""
    return np.cumsum(np.repeat(random.binomial(size, share, (tests, DAYS, 1)), 2, axis=2), axis=1)


NOMINAL = stats.binom.ppf(0.999, TESTS, 0.05)


@pytest.mark.parametrize(
    ("share", "sizes"),
    [(0.3, (100, 100)), (0.05, (180, 20)), (0.01, (450, 50)), (0.002, (900, 100))],
)
def test_without_an_effect_it_is_seldom_alarmed(share, sizes):
    random = np.random.default_rng(11)
    effects = looks(*(bought(random, share, size) for size in sizes), sizes)
    assert missed(effects, 0.0) <= NOMINAL


def test_a_test_for_one_look_would_be_alarmed_far_too_often():
    """So the simulation can tell a valid method from an invalid one."""
    random, sizes = np.random.default_rng(12), (100, 100)
    days = 100 * np.arange(1, DAYS + 1)
    a, b = (bought(random, 0.3, size)[..., 0] / days for size in sizes)
    z = (a - b) / np.sqrt((a * (1 - a) + b * (1 - b)) / days)
    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.3


@pytest.mark.parametrize("sizes", [(100, 100), (450, 50)])
def test_with_an_effect_it_holds_the_true_one_and_finds_it(sizes):
    random = np.random.default_rng(13)
    effects = looks(bought(random, 0.05, sizes[0], 500), bought(random, 0.07, sizes[1], 500), sizes)
    assert missed(effects, 0.02) <= stats.binom.ppf(0.999, 500, 0.05)
    found = [any(one.low is not None and one.low > 0 for one in test) for test in effects]
    assert np.mean(found) > 0.9


def test_entities_that_come_again_raise_no_more_alarms():
    """Half of the entities have a habit: what they did on one day, they do on the later ones."""
    random, alarmed, tests, days, new = np.random.default_rng(14), 0, 300, 100, 20
    for _ in range(tests):
        arms = []
        for _ in range(2):
            entities = new * days
            habit = random.normal(size=entities) * (random.random(entities) < 0.5)
            totals, states = np.zeros(entities), []
            for day in range(1, days + 1):
                known = np.arange(new * day)
                back = np.append(random.choice(known, len(known) // 20), known[-new:])
                np.add.at(totals, back, 0.3 + habit[back] + random.normal(size=len(back)))
                now = totals[: new * day]
                states.append(Arm(len(now), now.mean(), now.var(ddof=1)))
            arms.append(states)
        alarmed += any(
            one.low is not None and (one.low > 0 or one.high < 0)
            for one in (effect(*day, planned=2000) for day in zip(*arms, strict=True))
        )
    assert alarmed <= stats.binom.ppf(0.999, tests, 0.05)
