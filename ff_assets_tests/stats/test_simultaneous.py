"""Max-t intervals against the studentized range, Student's t and Bonferroni."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ff_assets.stats.simultaneous import LEVEL, together

NORMAL = 10**9  # degrees of freedom that are as good as infinite


def pairs_of_independent(variants: int, draws: int = 100_000) -> np.ndarray:
    """Noise of all differences of independent estimates, in their standard errors."""
    noise = np.random.default_rng(2).standard_normal((draws, variants))
    first, second = np.array(list(combinations(range(variants), 2))).T
    return (noise[:, first] - noise[:, second]) / 2**0.5


@pytest.mark.parametrize("variants", [2, 3, 5, 12])
def test_all_pairs_of_independent_estimates_are_tukeys(variants):
    noise = pairs_of_independent(variants)
    values = np.linspace(0.5, 4, noise.shape[1])
    half, p, p_adjusted = together(values, np.ones_like(values), noise, NORMAL)
    tukey = stats.studentized_range(variants, np.inf)
    assert half == pytest.approx(tukey.ppf(0.95) / 2**0.5, rel=0.01)
    assert p_adjusted == pytest.approx(tukey.sf(values * 2**0.5), abs=0.005)
    assert p == pytest.approx(2 * stats.norm.sf(values), abs=0.005)


@pytest.mark.parametrize("freedom", [1, 4, 30, NORMAL])
def test_a_single_difference_has_students_interval(freedom):
    half, p, p_adjusted = together(np.array([-1.2]), np.array([0.5]), None, freedom)
    assert half == pytest.approx(0.5 * stats.t.ppf(0.975, freedom))
    assert p == pytest.approx(2 * stats.t.sf(2.4, freedom))
    assert p_adjusted == p


def test_few_groups_widen_at_least_as_much_as_tukeys():
    values = np.ones(10)
    half, *_ = together(values, values, pairs_of_independent(5), 8)
    tukey = stats.studentized_range.ppf(0.95, 5, 8) / 2**0.5
    assert tukey < half[0] < 1.1 * tukey


def test_what_varies_together_costs_less_than_bonferroni():
    random = np.random.default_rng(3)
    common = random.standard_normal((50_000, 1))
    noise = 0.9**0.5 * common + 0.1**0.5 * random.standard_normal((50_000, 20))
    half, *_ = together(np.ones(20), np.ones(20), noise, NORMAL)
    bonferroni = stats.norm.ppf(1 - 0.025 / 20)
    assert stats.norm.ppf(0.975) < half[0] < 0.9 * bonferroni
    same, *_ = together(np.ones(20), np.ones(20), np.repeat(common, 20, axis=1), NORMAL)
    assert same[0] == pytest.approx(stats.norm.ppf(0.975), rel=0.02)


def test_what_is_further_out_than_all_draws_is_never_narrower():
    noise = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)[:, None]
    reach = [
        together(np.ones(1), np.ones(1), noise, NORMAL, 0.05 / k).half[0] for k in (49, 51, 99)
    ]
    assert reach == sorted(reach)
    assert reach[-1] == pytest.approx(stats.norm.ppf(1 - 0.025 / 99))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    st.integers(20, 60),
    st.integers(1, 50),
    st.integers(0, 9),
)
def test_an_interval_excludes_0_exactly_where_p_is_small(values, draws, freedom, seed):
    noise = np.random.default_rng(seed).standard_normal((draws, len(values)))
    half, p, p_adjusted = together(np.array(values), np.ones(len(values)), noise, freedom)
    away = np.abs(np.abs(values) - half) > 1e-9
    assert ((np.abs(values) > half) == (p_adjusted < LEVEL))[away].all()
    assert (p_adjusted >= p).all()
