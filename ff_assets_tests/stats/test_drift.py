"""Drift: sizes by definition, no false alarm among a million rows, an alarm where one is due."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ff_assets.stats.drift import (
    DISTANCE_LIMIT,
    OTHER,
    PSI_LIMIT,
    align_categories,
    bin_edges,
    count_numbers,
    drift,
)

MILLION = 1_000_000


def of_numbers(reference: np.ndarray, current: np.ndarray):
    edges = bin_edges(reference)
    return drift(count_numbers(reference, edges), count_numbers(current, edges), ordered=True)


# --- bins ----------------------------------------------------------------------------------------


def test_bins_hold_about_as_many_rows_each():
    values = np.random.default_rng(1).exponential(size=10_000)
    counts = count_numbers(values, bin_edges(values))
    assert counts[0] == 0
    assert counts[1:].tolist() == [1000] * 10


def test_a_common_value_has_a_bin_to_itself():
    values = np.concatenate([np.zeros(500), np.arange(1, 501), -np.arange(1, 101)])
    edges = bin_edges(values)
    assert {np.nextafter(0, -np.inf), 0.0} <= set(edges)
    assert 500 in count_numbers(values, edges)
    constant = bin_edges(np.full(100, 3.0))
    assert count_numbers([3.0, 2.9, 3.1, 3.1, np.nan], constant).tolist() == [1, 1, 1, 2]


@given(
    st.lists(st.floats(allow_nan=True), min_size=1, max_size=40).filter(
        lambda values: not np.isnan(values).all()
    ),
    st.lists(st.floats(allow_nan=True), max_size=40),
)
def test_every_row_is_in_one_bin(reference, values):
    edges = bin_edges(reference)
    assert edges == sorted(set(edges))
    counts = count_numbers(values, edges)
    assert counts.sum() == len(values)
    assert counts[0] == np.isnan(values).sum()


def test_a_reference_without_values_has_no_bins():
    with pytest.raises(ValueError, match="no value"):
        bin_edges([np.nan, np.nan])


def test_categories_are_aligned_and_the_rarest_put_together():
    before, now = {"a": 50, "b": 30, "c": 2, "d": 1}, {"a": 20, "b": 80, "e": 3}
    assert align_categories(before, now) == (
        ["b", "a", "e", "c", "d"],
        [30, 50, 0, 2, 1],
        [80, 20, 3, 0, 0],
    )
    assert align_categories(before, now, most=2) == (["b", "a", OTHER], [30, 50, 3], [80, 20, 3])
    assert align_categories({}, {"a": 1}) == (["a"], [0], [1])


# --- sizes ---------------------------------------------------------------------------------------


def test_psi_and_distances_by_definition():
    before, now = [400, 300, 200, 100], [300, 300, 100, 300]
    p = (np.array(now) + 0.5) / 1002
    q = (np.array(before) + 0.5) / 1002
    found = drift(before, now, ordered=False)
    assert found.psi == pytest.approx(sum((p - q) * np.log(p / q)))
    assert found.distance == pytest.approx(0.2)
    assert found.p == pytest.approx(stats.chi2_contingency([before, now], correction=False).pvalue)
    assert drift(before, now, ordered=True).distance == pytest.approx(0.2)
    assert drift([0, 100, 100], [50, 50, 100], ordered=True).distance == pytest.approx(0.25)


def test_limits_by_definition():
    before, now = [400, 300, 200, 100], [330, 300, 140, 230]
    each = 2 / 1000
    found = drift(before, now, ordered=True)
    surprise = stats.ncx2.cdf(found.psi / each, 3, found.psi_low / each)
    assert surprise == pytest.approx(0.95, abs=1e-6)
    # Hoeffding's bound at each of the three edges
    beyond = found.distance - found.distance_low
    assert 3 * 2 * np.exp(-2 * beyond**2 / each) == pytest.approx(0.05)
    found = drift(before, now, ordered=False)
    beyond = found.distance - found.distance_low
    assert 4 * 2 * np.exp(-2 * beyond**2 / each) == pytest.approx(0.05)


def test_the_distance_is_about_that_of_kolmogorov_and_smirnov():
    random = np.random.default_rng(3)
    reference, current = random.normal(size=50_000), random.normal(0.4, 1.1, 50_000)
    exact = stats.ks_2samp(reference, current).statistic
    assert 0.95 * exact < of_numbers(reference, current).distance <= exact


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=8).filter(
        lambda rows: all(sum(side) for side in zip(*rows, strict=True))
    ),
    st.booleans(),
)
def test_limits_are_below_their_sizes_and_both_sides_count_alike(rows, ordered):
    before, now = zip(*rows, strict=True)
    found = drift(before, now, ordered=ordered)
    assert 0 <= found.psi_low <= found.psi
    assert 0 <= found.distance_low <= found.distance <= 1
    assert 0 <= found.p <= 1
    swapped = drift(now, before, ordered=ordered)
    for name in ("psi", "psi_low", "distance", "p"):
        assert getattr(swapped, name) == pytest.approx(getattr(found, name), abs=1e-9)
    assert drift(before, before, ordered=ordered).psi == 0


def test_a_single_bin_cannot_drift():
    found = drift([10], [10_000], ordered=False)
    assert (found.psi, found.psi_low, found.distance, found.p, found.drifted) == (0, 0, 0, 1, False)


@pytest.mark.parametrize(
    ("before", "now"),
    [([], []), ([1, 2], [1]), ([0, 0], [1, 1]), ([1, 1], [0, 0]), ([2, -1], [1, 1])],
)
def test_what_cannot_be_compared(before, now):
    with pytest.raises(ValueError, match=r"drift is between rows|expected one number"):
        drift(before, now, ordered=True)


# --- whether it cries wolf -----------------------------------------------------------------------


def shares(counts: int, random: np.random.Generator, *p: float) -> np.ndarray:
    return random.multinomial(counts, np.array(p) / sum(p))


def test_a_million_rows_without_drift():
    random = np.random.default_rng(4)
    for _ in range(5):
        found = of_numbers(random.normal(size=MILLION), random.normal(size=MILLION))
        assert not found.drifted
        assert found.psi_low < 0.001


def test_a_shift_that_is_too_small_to_matter_is_significant_and_not_reported():
    random = np.random.default_rng(5)
    found = of_numbers(random.normal(size=MILLION), random.normal(0.02, 1, MILLION))
    assert found.p < 1e-10
    assert not found.drifted


def test_a_shift_by_a_fifth_of_the_standard_deviation_is_reported():
    random = np.random.default_rng(6)
    for current in (MILLION, 20_000):
        found = of_numbers(random.normal(size=MILLION), random.normal(0.2, 1, current))
        assert found.drifted
        assert found.distance_low > DISTANCE_LIMIT


def test_values_that_go_missing_are_drift():
    random = np.random.default_rng(7)
    current = random.normal(size=100_000)
    current[:8000] = np.nan
    assert of_numbers(random.normal(size=100_000), current).drifted


def test_a_new_category_is_drift_once_it_is_common():
    random = np.random.default_rng(8)
    before = shares(100_000, random, 50, 30, 20, 0)
    assert drift(before, shares(100_000, random, 46, 27, 18, 9), ordered=False).drifted
    assert not drift(before, shares(100_000, random, 50, 30, 20, 0.5), ordered=False).drifted


@pytest.mark.parametrize("current", [30, 300, 3000])
def test_few_rows_prove_nothing(current):
    """A rule on PSI itself would report nearly every column that has 30 rows."""
    random = np.random.default_rng([9, current])
    even = [1] * 10
    found = [
        drift(shares(10_000, random, *even), shares(current, random, *even), ordered=True)
        for _ in range(1000)
    ]
    assert sum(one.drifted for one in found) <= 10
    assert sum(one.psi_low > 0 for one in found) <= stats.binom.ppf(0.999, 1000, 0.05)
    if current == 30:
        assert np.mean([one.psi > PSI_LIMIT for one in found]) > 0.9


@pytest.mark.parametrize("rows", [500, 5_000, 1_000_000])
@pytest.mark.parametrize("size", [0.03, 0.1, 0.3])
def test_limits_are_below_the_true_size_in_95_percent(rows, size):
    random = np.random.default_rng([10, rows])
    q = np.full(10, 0.1)
    tilt = np.linspace(-1, 1, 10)

    def psi(by: float) -> float:
        p = q * np.exp(by * tilt)
        p /= p.sum()
        return float(((p - q) * np.log(p / q)).sum())

    by = float(np.interp(size, [psi(x) for x in np.linspace(0, 2, 500)], np.linspace(0, 2, 500)))
    p = q * np.exp(by * tilt)
    found = [
        drift(shares(rows, random, *q), shares(rows, random, *p), ordered=True) for _ in range(600)
    ]
    p /= p.sum()
    beyond = np.mean([one.psi_low > size for one in found])
    assert beyond < 0.085
    assert np.mean([one.distance_low > np.abs(np.cumsum(p - q)).max() for one in found]) < 0.05
    # nor far below
    assert np.median([one.psi_low for one in found]) > size - 5 * (size / rows) ** 0.5


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_any_number_of_rows(n, m):
    found = drift([n, 1, 0], [1, m, 0], ordered=False)
    assert 0 <= found.psi_low <= found.psi
    assert np.isfinite([found.psi, found.psi_low, found.distance_low]).all()


@pytest.mark.parametrize("bins", [2, 10, 50])
def test_the_limit_goes_on_where_the_exact_one_is_given_up(bins):
    lows = []
    for rows in range(5_000, 400_000, 2_000):
        one = drift([rows, *[rows] * (bins - 1)], [rows * 2, *[rows] * (bins - 1)], ordered=False)
        lows.append(one.psi - one.psi_low)
    assert (np.diff(lows) < 0).all()
    assert np.diff(lows, 2).min() > -1e-7
