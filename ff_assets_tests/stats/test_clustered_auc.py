"""The covariance of AUCs against definitions by all pairs of rows, and against the jackknife."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ff_assets.stats.clustered_auc import clustered_auc


def placements(y: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive row the share of negatives below it, and the reverse; ties by half."""
    wins = np.array([[float(a > b) + (a == b) / 2 for b in score[y == 0]] for a in score[y == 1]])
    return wins.mean(axis=1), wins.mean(axis=0)


def delong(y: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """The covariance matrix of AUCs: DeLong et al. (1988), equations 4 to 6."""
    pairs = [placements(y, score) for score in scores]
    positive, negative = (np.atleast_2d(np.cov(side)) for side in zip(*pairs, strict=True))
    return positive / (y == 1).sum() + negative / (y == 0).sum()


def obuchowski(y: np.ndarray, group: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """The same for rows in groups, by loops: Obuchowski (1997), equations 3 to 6."""
    m, n = (y == 1).sum(), (y == 0).sum()
    groups = np.unique(group)
    with_positive = len(np.unique(group[y == 1]))
    with_negative = len(np.unique(group[y == 0]))
    sums = []
    for score in scores:
        of_positive, of_negative = placements(y, score)
        auc = of_positive.mean()
        sums.append(
            [
                (
                    sum(v - auc for v, g in zip(of_positive, group[y == 1], strict=True) if g == i),
                    sum(v - auc for v, g in zip(of_negative, group[y == 0], strict=True) if g == i),
                )
                for i in groups
            ]
        )

    def covariance(one: list, other: list) -> float:
        s10 = sum(a[0] * b[0] for a, b in zip(one, other, strict=True))
        s01 = sum(a[1] * b[1] for a, b in zip(one, other, strict=True))
        s11 = sum(a[0] * b[1] + a[1] * b[0] for a, b in zip(one, other, strict=True))
        s10 *= with_positive / ((with_positive - 1) * m)
        s01 *= with_negative / ((with_negative - 1) * n)
        s11 *= len(groups) / (len(groups) - 1)
        return s10 / m + s01 / n + s11 / (m * n)

    return np.array([[covariance(a, b) for b in sums] for a in sums])


def ours(y: np.ndarray, group: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    positive = (y == 1)[:, None]
    factors = [clustered_auc(positive, score[:, None], group).factor for score in scores]
    return np.array([[a @ b for b in factors] for a in factors])


rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 4)),
    min_size=6,
    max_size=30,
)


def arrays(drawn: list) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    y, first, second, group = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    return y, first, second, np.unique(group, return_inverse=True)[1]


@settings(deadline=None, max_examples=60)
@given(rows)
def test_rows_on_their_own_are_delongs(drawn):
    y, first, second, _ = arrays(drawn)
    assume(2 <= y.sum() <= len(y) - 2)
    expected = delong(y, first, second)
    assert ours(y, np.arange(len(y)), first, second) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(rows)
def test_rows_in_groups_are_obuchowskis(drawn):
    y, first, second, group = arrays(drawn)
    assume(all(len(np.unique(group[y == side])) > 1 for side in (0, 1)))
    expected = obuchowski(y, group, first, second)
    assert ours(y, group, first, second) == pytest.approx(expected, abs=1e-12)


def test_a_macro_average_of_groups_is_that_of_the_jackknife():
    random = np.random.default_rng(4)
    group = np.repeat(np.arange(120), random.integers(1, 6, 120))
    usual = random.integers(0, 3, 120)[group]
    y = np.where(random.random(len(group)) < 0.8, usual, random.integers(0, 3, len(group)))
    of_group = random.normal(size=(120, 3))[group]
    score = random.normal(size=(len(y), 3)) + of_group + 1.2 * (y[:, None] == np.arange(3))

    def auc(kept: np.ndarray) -> float:
        positive = y[kept][:, None] == np.arange(3)
        return clustered_auc(positive, score[kept], np.unique(group[kept], return_inverse=True)[1])

    without = [auc(group != one).value for one in range(120)]
    error = (119 / 120 * np.sum((without - np.mean(without)) ** 2)) ** 0.5
    whole = auc(np.full(len(y), True))
    assert np.linalg.norm(whole.factor) == pytest.approx(error, rel=0.03)
    rows_alone = clustered_auc(y[:, None] == np.arange(3), score, np.arange(len(y)))
    assert np.linalg.norm(whole.factor) > 1.1 * np.linalg.norm(rows_alone.factor)
