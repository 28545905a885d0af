"""Whether values are distributed otherwise than they were: drift of features and predictions.

A test of "no difference" finds one in every column once there are a million rows, as no two months
are the same. What matters is whether a difference is *large*, so a column is reported only if the
lower confidence limit of the size of its drift exceeds a threshold: many rows make the limit
precise and never the drift larger, and few rows prove nothing. Everything works on the counts of
bins, which Spark can make in one pass.

Rows that belong together, such as those of a household, are alike, so many of them are few
observations: `design_effect` says how many count as one. It knows the groups that it is given. If
rows are alike in another way (a column with one value for each campaign, say, where groups are
households), limits are too high and may raise a false alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
"""How often a lower limit may exceed the true drift; of several columns that of any one."""

PSI_LIMIT = 0.1
"""A population stability index above it is called a moderate shift; above 0.25, a large one."""

DISTANCE_LIMIT = 0.05
"""Rows that lie elsewhere than before, as a share; a normal column that moves by an eighth of its
standard deviation comes to as much."""

BINS = 10
OTHER = "(other)"
_SMOOTHING = 0.5  # a count added to each bin: Jeffreys' prior
_RARE = 0.01  # a share of rows; what rarer bins add to a drift is below its limits


@dataclass(frozen=True)
class Drift:
    """How far the current rows are from those of the reference.

    Args:
        psi: population stability index: the sum of (p - q) ln(p / q) over the bins' shares p now
            and q before, each of (rows in bin + 0.5) / (rows + 0.5 bins), so that an empty bin is
            no infinite drift.
        psi_low: its lower limit.
        distance: in order: the largest difference of the shares of rows up to a value (as of
            Kolmogorov and Smirnov, at the edges of the bins); otherwise the largest difference of
            the share of a category.
        distance_low: its lower limit.
        p: of the chi-square test that nothing has changed; for information, as among many rows it
            is always small.
    """

    psi: float
    psi_low: float
    distance: float
    distance_low: float
    p: float

    @property
    def drifted(self) -> bool:
        """Whether the drift is surely larger than one of the limits."""
        return self.psi_low > PSI_LIMIT or self.distance_low > DISTANCE_LIMIT


def drift(
    reference: Sequence[int],
    current: Sequence[int],
    *,
    ordered: bool,
    alpha: float = ALPHA,
    effects: tuple[float, float] = (1.0, 1.0),
) -> Drift:
    """Compare the rows per bin before and now.

    The limit of PSI follows from its being, times n m / (n + m), a noncentral chi-square variable
    (for no drift: Yurdakul & Naranjo, J. Risk Model Valid. 14 (2020) 89). That of the distance is
    Hoeffding's (1963) for each bin, with Bonferroni's correction for all of them. Both are for
    independent rows; of others there are taken to be as many as they are worth (Rao & Scott, J. Am.
    Stat. Assoc. 76 (1981) 221).

    Args:
        reference: rows per bin, or category, before.
        current: the same now.
        ordered: whether bins are in the order of their values, as `count_numbers` makes them.
        alpha: how often each of the two limits may exceed the true drift; of several columns to
            be compared, `ALPHA` divided by their number.
        effects: how many rows count as one, before and now, as `design_effect` has it.

    Raises:
        ValueError: the numbers of bins differ, there is none, a count is negative, or one side has
            no row.
    """
    import numpy as np
    from scipy.special import chdtrc

    before, now = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if before.shape != now.shape or before.ndim != 1 or not len(before):
        raise ValueError(
            f"counts have shapes {before.shape} and {now.shape}; expected one number "
            "for each bin, the same bins before and now"
        )
    if min(before.sum(), now.sum()) == 0 or min(before.min(), now.min()) < 0:
        raise ValueError(
            f"drift is between rows; there are {before.sum():.0f} before and {now.sum():.0f} now"
        )

    before, now = before / effects[0], now / effects[1]
    n, m = float(before.sum()), float(now.sum())
    bins = len(before)
    each = 1 / n + 1 / m
    smooth = [(rows + _SMOOTHING) / (rows.sum() + _SMOOTHING * bins) for rows in (before, now)]
    psi = float(((smooth[1] - smooth[0]) * np.log(smooth[1] / smooth[0])).sum())
    change = now / m - before / n
    distance = float(np.abs(np.cumsum(change) if ordered else change).max())
    comparisons = max(1, bins - 1 if ordered else bins)
    sampling = sqrt(log(2 * comparisons / alpha) / 2 * each)
    seen = before + now > 0
    pooled = (before + now)[seen] / (n + m)
    chi_square = float((change[seen] ** 2 / pooled).sum()) / each
    return Drift(
        psi=psi,
        psi_low=_noncentrality(psi / each, bins - 1, alpha) * each,
        distance=distance,
        distance_low=max(0.0, distance - sampling),
        p=float(chdtrc(seen.sum() - 1, chi_square)) if seen.sum() > 1 else 1.0,
    )


def design_effect(groups: ArrayLike, bins: ArrayLike) -> float:
    """How many rows count as one, as rows of a group are alike: 1 if they are not.

    It is the largest of the generalized design effects of Rao & Scott (1981): of all contrasts of
    bins, the variance that their shares have as groups are drawn, over the one that they would have
    if rows were. The largest errs on the safe side, the more the fewer groups there are. Where all
    rows are in one bin, nothing shows how alike they are; groups then count as one row each.

    Args:
        groups: of each row, (n,); groups are independent.
        bins: of each row, (n,).

    Raises:
        ValueError: there is no row, or the lengths differ.
    """
    import numpy as np
    from scipy.sparse import coo_array

    group, place = (np.unique(each, return_inverse=True)[1] for each in (groups, bins))
    rows = len(place)
    if len(group) != rows or not rows:
        raise ValueError(f"{len(group)} rows have a group and {rows} a bin; expected one of each")
    count = int(group.max()) + 1
    if count == rows:
        return 1.0
    shares = np.bincount(place) / rows
    if len(shares) == 1 or count == 1:
        return float((np.bincount(group) ** 2).sum()) / rows
    place = np.where(shares[place] < _RARE, -1, place)
    place = np.unique(place, return_inverse=True)[1]
    share = np.bincount(place) / rows
    of_groups = coo_array((np.ones(rows), (group, place))).tocsr()
    centred = np.eye(len(share)) - share[:, None]
    squares = centred @ (of_groups.T @ of_groups).toarray() @ centred.T
    effects = np.linalg.eigvalsh(squares / np.sqrt(np.outer(share, share)))
    return max(1.0, float(effects[-1]) / rows * count / (count - 1))


def _noncentrality(observed: float, freedom: int, alpha: float) -> float:
    """The lower limit of a noncentral chi-square variable's noncentrality."""
    from scipy.special import chdtr, chndtrinc, ndtri

    if freedom == 0 or chdtr(freedom, observed) <= 1 - alpha:
        return 0.0
    if observed < 10_000:
        return float(chndtrinc(observed, freedom, 1 - alpha))
    # far out, where the exact one is slow and then fails, its root is normal to five digits
    shift = (freedom - 1) / 2
    return float((sqrt(observed - shift) - ndtri(1 - alpha)) ** 2 - shift)


def bin_edges(reference: ArrayLike, bins: int = BINS) -> list[float]:
    """Upper edges of all bins but the last, so that each holds about as many reference rows.

    They are quantiles of the reference. A value that takes up more than a bin's share of the rows
    (0 in many columns) gets a bin to itself.

    Args:
        reference: numbers, (n,); NaN is left out.
        bins: how many, at least 2.

    Raises:
        ValueError: no value is a number.
    """
    import numpy as np

    values = np.asarray(reference, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        raise ValueError("the reference has no value, so it has no quantiles")
    at = np.arange(1, bins) / bins
    quantiles = np.quantile(values, at, method="inverted_cdf")  # values that occur
    edges, repeats = np.unique(quantiles, return_counts=True)
    with np.errstate(over="ignore"):  # below the least double is -infinity
        below_repeated = np.nextafter(edges[repeats > 1], -np.inf)
    return [float(edge) for edge in np.union1d(edges, below_repeated)]


def count_numbers(values: ArrayLike, edges: Sequence[float]) -> NDArray[np.int64]:
    """Rows per bin, (len(edges) + 2,): missing values first, then up to each edge, then the rest.

    So a share of missing values that grows is drift, too.
    """
    import numpy as np

    return np.bincount(bin_numbers(values, edges), minlength=len(edges) + 2)


def bin_numbers(values: ArrayLike, edges: Sequence[float]) -> NDArray[np.int64]:
    """The bin of each row, as `count_numbers` counts them, (n,)."""
    import numpy as np

    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(numbers), 0, 1 + np.searchsorted(edges, numbers, side="left"))
