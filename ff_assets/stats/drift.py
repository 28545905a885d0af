"""Whether values are distributed otherwise than they were: drift of features and predictions.

A test of "no difference" finds one in every column once there are a million rows, as no two months
are the same. What matters is whether a difference is *large*, so a column is reported only if the
lower confidence limit of the size of its drift exceeds a threshold: many rows make the limit
precise and never the drift larger, and few rows prove nothing. Everything works on the counts of
bins, which Spark can make in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    reference: Sequence[int], current: Sequence[int], *, ordered: bool, alpha: float = ALPHA
) -> Drift:
    """Compare the rows per bin before and now.

    The limit of PSI follows from its being, times n m / (n + m), a noncentral chi-square variable
    (for no drift: Yurdakul & Naranjo, J. Risk Model Valid. 14 (2020) 89). That of the distance is
    Hoeffding's (1963) for each bin, with Bonferroni's correction for all of them.

    Args:
        reference: rows per bin, or category, before.
        current: the same now.
        ordered: whether bins are in the order of their values, as `count_numbers` makes them.
        alpha: how often each of the two limits may exceed the true drift; of several columns to
            be compared, `ALPHA` divided by their number.

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
    n, m = float(before.sum()), float(now.sum())
    if min(n, m) == 0 or min(before.min(), now.min()) < 0:
        raise ValueError(f"drift is between rows; there are {n:.0f} before and {m:.0f} now")

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

    numbers = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers)
    place = np.where(missing, 0, 1 + np.searchsorted(edges, numbers, side="left"))
    return np.bincount(place, minlength=len(edges) + 2)


def align_categories(
    reference: Mapping[str, int], current: Mapping[str, int], most: int = 50
) -> tuple[list[str], list[int], list[int]]:
    """The categories of both sides with their counts, in one order, the commonest first.

    Args:
        reference: category -> rows before.
        current: category -> rows now; it may have others.
        most: how many categories to keep; the rest, the rarest of both sides together by share,
            count as `OTHER`.
    """
    n, m = max(1, sum(reference.values())), max(1, sum(current.values()))

    def share(name: str) -> float:
        return reference.get(name, 0) / n + current.get(name, 0) / m

    names = sorted({*reference, *current}, key=lambda name: (-share(name), name))
    kept, rest = names[:most], names[most:]
    before, now = ([side.get(name, 0) for name in kept] for side in (reference, current))
    if rest:
        kept = [*kept, OTHER]
        for counts, side in ((before, reference), (now, current)):
            counts.append(sum(side.get(name, 0) for name in rest))
    return kept, before, now
