"""Sample ratio mismatch: the formula, no alarm over many looks, and an alarm where one is due."""

import numpy as np
import pytest
from scipy import integrate, stats

from ff_assets.stats.sample_ratio import ALPHA, sample_ratio

HALVES = {"control": 0.5, "treatment": 0.5}


def test_p_is_one_over_the_bayes_factor():
    """With two arms the mixture over shares is one over a beta distribution."""
    prior = stats.beta(90, 10)
    likelihood = stats.binom(300, 0.9).pmf(250)
    mixed, _ = integrate.quad(
        lambda share: prior.pdf(share) * stats.binom.pmf(250, 300, share), 0, 1
    )
    found = sample_ratio({"a": 250, "b": 50}, {"a": 0.9, "b": 0.1})
    assert found.p == pytest.approx(likelihood / mixed)
    assert found.shares == {"a": 250 / 300, "b": 50 / 300}


def test_over_many_looks_it_seldom_alarms_and_the_single_look_test_often_does():
    random, tests, days = np.random.default_rng(21), 600, 120
    alarms = single = 0
    for _ in range(tests):
        treated = np.cumsum(random.binomial(500, 0.1, days))
        found = [
            sample_ratio({"a": 500 * day - int(n), "b": int(n)}, {"a": 0.9, "b": 0.1})
            for day, n in enumerate(treated, 1)
        ]
        alarms += any(one.mismatch for one in found)
        sizes = 500 * np.arange(1, days + 1)
        pearson = stats.chisquare([sizes - treated, treated], [0.9 * sizes, 0.1 * sizes])
        single += any(pearson.pvalue < ALPHA)
    assert alarms <= stats.binom.ppf(0.999, tests, ALPHA)
    assert single > 5 * ALPHA * tests


def test_rows_that_get_lost_in_one_arm_are_noticed():
    random = np.random.default_rng(22)
    noticed = []
    for _ in range(100):
        control, treatment = np.cumsum(random.poisson([5000, 4850], (30, 2)), axis=0).T
        noticed.append(
            any(
                sample_ratio({"control": int(a), "treatment": int(b)}, HALVES).mismatch
                for a, b in zip(control, treatment, strict=True)
            )
        )
    assert np.mean(noticed) > 0.95


def test_billions_of_entities_and_an_empty_arm():
    even = sample_ratio({"control": 10**9, "treatment": 10**9}, HALVES)
    assert even.p == 1
    assert not even.mismatch
    empty = sample_ratio({"control": 100, "treatment": 0}, HALVES)
    assert 0 < empty.p < 1e-9
    assert empty.mismatch


@pytest.mark.parametrize(
    ("entities", "shares", "message"),
    [
        ({"a": 1}, {"b": 1.0}, "arms are counted for"),
        ({"a": 1, "b": 1}, {"a": 0.5, "b": 0.6}, "add up to 1"),
        ({"a": 1, "b": 1}, {"a": 1.0, "b": 0.0}, "above 0"),
        ({"a": 0, "b": 0}, {"a": 0.5, "b": 0.5}, "no entity"),
    ],
)
def test_what_cannot_be_tested(entities, shares, message):
    with pytest.raises(ValueError, match=message):
        sample_ratio(entities, shares)
