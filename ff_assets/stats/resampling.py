"""Paired bootstrap of a metric: the same draws of groups for every variant.

A draw gives each group a weight, how often it was drawn. Most metrics are a function of weighted
sums over rows, so all draws come to one product of matrices: `accuracy`, `f1` (also macro),
`log_loss`, `brier`, `rmse`, `mae` and `r2`. `auc_pr` ranks rows, and takes a weighted sum along the
ranking. `auc` needs no bootstrap (`clustered_auc.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from ff_assets.stats.intervals import drawn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]
    Counts: TypeAlias = NDArray[np.int32]
    Booleans: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Weights:
    """How often each group was drawn in each of some draws, (groups, draws)."""

    counts: Counts

    @cached_property
    def floats(self) -> Floats:
        """The same as doubles."""
        return self.counts.astype("float64")


Statistic: TypeAlias = Callable[[Weights], "Floats"]
"""Weights of groups in some draws -> the metric in each, (draws,); NaN where a draw has none,
because it holds a single class."""

DRAWS = 2000


def resample(statistics: Sequence[Statistic], groups: int) -> Floats:
    """Each statistic in `DRAWS` draws of groups with replacement, (DRAWS, statistics).

    Efron, Ann. Stat. 7 (1979); whole groups as Davison & Hinkley (1997), section 3.8. The seed is
    fixed. O(DRAWS * rows) time for each statistic; memory grows with the rows and not with the
    draws.
    """
    import numpy as np

    values = []
    for counts in drawn(groups, DRAWS):
        weights = Weights(np.ascontiguousarray(counts.T, dtype=np.int32))
        with np.errstate(divide="ignore", invalid="ignore"):  # a draw without a class
            values.append(np.column_stack([statistic(weights) for statistic in statistics]))
    return np.concatenate(values)


def of_sums(terms: Floats, group: Integers, metric: Callable[[Floats], Floats]) -> Statistic:
    """The statistic of a metric that is a function of sums of terms (n, t) over rows.

    `metric` maps these sums in each draw, (t, draws), to (draws,).
    """
    import numpy as np

    by_group = np.stack([np.bincount(group, term) for term in terms.T])
    return lambda weights: metric(by_group @ weights.floats)


def mean(values: Floats, group: Integers) -> Statistic:
    """Mean of values (n,) over rows."""
    import numpy as np

    terms = np.column_stack([values, np.ones(len(values))])
    return of_sums(terms, group, lambda sums: sums[0] / sums[1])


def rmse(y: Floats, y_hat: Floats, group: Integers) -> Statistic:
    """Root of the mean squared error."""
    import numpy as np

    squared = mean((y_hat - y) ** 2, group)
    return lambda weights: np.sqrt(squared(weights))


def r2(y: Floats, y_hat: Floats, group: Integers) -> Statistic:
    """1 - squared error / spread of the labels around their mean in the draw."""
    import numpy as np

    centred = y - y.mean()
    terms = np.column_stack([(y_hat - y) ** 2, centred, centred**2, np.ones(len(y))])

    def metric(sums: Floats) -> Floats:
        error, once, square, rows = sums
        spread = square - once**2 / rows
        # a draw of equal labels leaves rounding noise only
        return np.asarray(1 - error / np.where(spread > 1e-12 * square, spread, np.nan))

    return of_sums(terms, group, metric)


def f1(y: Floats, y_hat: Floats, classes: Floats, group: Integers) -> Statistic:
    """Unweighted mean of the F1 of those of `classes` (K,) that occur in the draw.

    A row counts once as a hit, or twice as missed: for the class it has and for the one it got.
    """
    import numpy as np

    actual, predicted = y[:, None] == classes, y_hat[:, None] == classes
    terms = np.column_stack([2.0 * (actual & predicted), actual.astype(float) + predicted])

    def metric(sums: Floats) -> Floats:
        hits, touched = np.split(sums, 2)
        return np.asarray((hits / np.maximum(touched, 1)).sum(axis=0) / (touched > 0).sum(axis=0))

    return of_sums(terms, group, metric)


def average_precision(y: Booleans, score: Floats, group: Integers) -> Statistic:
    """Area under the precision-recall curve by steps; rows of equal score are one step."""
    import numpy as np

    order = np.argsort(-score, kind="stable")
    ranked, hit = score[order], y[order]
    last = np.searchsorted(-ranked, -ranked, side="right") - 1  # of the row's own step
    group_of, group_of_hit = group[order], group[order][hit]
    row_end = last[hit]
    hit_end = np.cumsum(hit)[row_end] - 1  # the same, counted in positive rows

    def statistic(weights: Weights) -> Floats:
        seen = np.cumsum(weights.counts[group_of], axis=0, dtype=np.int32)[row_end]
        gained = weights.counts[group_of_hit]
        hits = np.cumsum(gained, axis=0, dtype=np.int32)
        precision = hits[hit_end] / np.maximum(seen, 1)
        return np.asarray(np.einsum("ij,ij->j", gained, precision) / hits[-1])

    return statistic
