"""Drift: sizes by definition, no false alarm among a million rows, an alarm where one is due."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ff_assets.stats.drift import (
    DISTANCE_LIMIT,
    PSI_LIMIT,
    bin_edges,
    bin_numbers,
    count_numbers,
    design_effect,
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


# --- rows that belong together -------------------------------------------------------------------


def of_groups(random: np.random.Generator, groups: int, each: int, alike: float, shift: float = 0):
    """Whether a column drifted, one of 14: twice as many groups before as now.

    Args:
        alike: the share of the variance that lies between groups.
    """
    before, now = (
        alike**0.5 * np.repeat(random.normal(size=count), each)
        + (1 - alike) ** 0.5 * random.normal(size=count * each)
        for count in (2 * groups, groups)
    )
    edges = bin_edges(before)
    sides = [bin_numbers(values, edges) for values in (before, now + shift)]
    effects = [design_effect(np.arange(len(side)) // each, side) for side in sides]
    counts = [np.bincount(side, minlength=len(edges) + 2) for side in sides]
    return drift(*counts, ordered=True, alpha=0.05 / 14, effects=tuple(effects)).drifted


@pytest.mark.parametrize("alike", [1, 0.3, 0])
@pytest.mark.parametrize(("groups", "each"), [(5, 400), (30, 150), (100, 50), (400, 12)])
def test_rows_that_belong_together_raise_no_false_alarm(groups, each, alike):
    """Counted as independent, 30 households of 150 equal rows drift nearly always."""
    random = np.random.default_rng([11, groups])
    alarms = sum(of_groups(random, groups, each, alike) for _ in range(100))
    assert alarms <= stats.binom.ppf(0.999, 100, 2 * 0.05 / 14)  # two limits


@pytest.mark.parametrize(
    ("groups", "each", "alike", "shift"),
    [(30, 150, 0, 0.5), (100, 50, 1, 1), (100, 50, 0.3, 1), (400, 12, 0.3, 0.5)],
)
def test_rows_that_belong_together_hide_no_large_drift(groups, each, alike, shift):
    random = np.random.default_rng([12, groups])
    assert np.mean([of_groups(random, groups, each, alike, shift) for _ in range(30)]) > 0.9


def test_how_many_rows_count_as_one():
    random = np.random.default_rng(13)
    bins = random.integers(0, 5, 2000)
    assert design_effect(np.arange(2000), bins) == 1
    groups = np.repeat(np.arange(2000), 7)
    assert design_effect(groups, np.repeat(bins, 7)) == pytest.approx(7, rel=0.01)
    shuffled = random.permutation(14_000)
    assert design_effect(groups[shuffled], np.repeat(bins, 7)[shuffled]) == pytest.approx(7, 0.01)
    assert design_effect(groups, random.integers(0, 5, 14_000)) < 1.2
    assert design_effect([1, 1, 1], [0, 1, 2]) == 3  # one group is one observation
    assert design_effect([1, 1, 2, 2], [4, 4, 4, 4]) == 2
    with pytest.raises(ValueError, match="expected one of each"):
        design_effect([1, 2], [1])


@pytest.mark.parametrize("bins", [[0] * 60 + [1] * 60, [0] * 119 + [1], [0] * 90 + [1, 2] * 15])
def test_two_bins_or_more_have_the_design_effect_of_their_contrasts(bins):
    """Of two bins it is that of a share, by the between-group variance."""
    place, groups = np.array(bins), np.arange(120) // 6
    found = design_effect(groups, place)
    for one in range(place.max() + 1):
        inside = (place == one).reshape(20, 6).mean(axis=1)
        p = inside.mean()
        if (place == one).mean() >= 0.01:
            assert found >= inside.var(ddof=1) / 20 / (p * (1 - p) / 120) - 1e-9
    if place.max() == 1 and place.mean() >= 0.01:
        assert found == pytest.approx(max(1, inside.var(ddof=1) / 20 / (p * (1 - p) / 120)))


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
