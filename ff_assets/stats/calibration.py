"""Whether predicted probabilities are what they say, and predicted numbers right on average.

Of 100 rows with a probability of 0.3, about 30 should have the class. A metric such as AUC does
not see that, as only ranks count for it. NumPy and SciPy are imported inside the functions because
definitions load this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ff_assets.stats.intervals import wilson
from ff_assets.stats.spread import codes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]
    Booleans: TypeAlias = NDArray[np.bool_]

BINS = 10


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval, None where there is none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bin:
    """Rows of like probability.

    Attributes:
        rows: how many.
        predicted: mean of their probabilities.
        observed: share of them that came true.
        low: lower end of the 95% interval of that share.
        high: upper end.
    """

    rows: int
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """How probabilities compare with what came true.

    Attributes:
        of: what the probability is of, in words.
        bins: by rising probability.
        error: expected calibration error: mean distance between the two in a bin, weighted by its
            rows. It is above 0 by chance alone, the more so the fewer rows there are.
        slope: of the log odds of what came true on those that were predicted. Less than 1 where
            predictions are too extreme, more than 1 where they are too timid. None where no finite
            one fits best, as where probabilities separate the rows.
        intercept: log odds by which probabilities are too low on the whole, 0 if they are right.
    """

    of: str
    bins: tuple[Bin, ...]
    error: float
    slope: Estimate | None
    intercept: Estimate | None


def calibration(
    task: str,
    label: ArrayLike,
    prediction: ArrayLike,
    probability: ArrayLike,
    groups: ArrayLike | None = None,
) -> Calibration:
    """Compare probabilities with what came true.

    Of a `binary` target it is the probability of class 1; of a `multiclass` one that of the
    predicted class, which came true where the prediction is right (Guo et al., ICML 2017). Rows are
    put into at most 10 bins of about equally many, by quantile; equal probabilities are never
    parted. A bin's interval is Wilson's. Where rows belong together it has the number of
    independent rows that would be as sure, by the variance of the groups' sums (Korn & Graubard
    1998); never more than there are rows. Slope and intercept are Cox's, Biometrika 45 (1958) 562,
    with intervals by the sandwich variance, summed within groups.

    Args:
        task: "binary" or "multiclass".
        label: as `evaluate` accepted it, shape (n,).
        prediction: the class, (n,).
        probability: (n,), (n, 2) or (n, K).
        groups: (n,): rows with the same value are not independent. None if each is on its own.
    """
    import numpy as np

    y, p = np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if task == "binary":
        p, came_true = p[:, 1] if p.ndim == 2 else p, y == 1
        of = "class 1"
    else:
        predicted = np.asarray(prediction, dtype=np.int64)
        p, came_true = p[np.arange(len(y)), predicted], y == predicted
        of = "the predicted class"
    group = codes(groups, len(y))
    place = _bins(p)
    bins = tuple(
        _bin(p[rows], came_true[rows], group[rows])
        for rows in (place == each for each in range(int(place.max()) + 1))
    )
    error = sum(each.rows * abs(each.predicted - each.observed) for each in bins) / len(y)
    slope, intercept = _coxs(p, came_true, group)
    return Calibration(of, bins, float(error), slope, intercept)


def bias(label: ArrayLike, prediction: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Mean of prediction minus label, above 0 where predictions are too high.

    Student's t interval; where rows belong together, of the groups' sums.

    Args:
        label: (n,).
        prediction: (n,).
        groups: as of `calibration`.
    """
    import numpy as np
    from scipy.special import stdtrit

    error = np.asarray(prediction, dtype=np.float64) - np.asarray(label, dtype=np.float64)
    group = codes(groups, len(error))
    mean, number = float(error.mean()), int(group.max()) + 1
    if number < 2:
        return Estimate(mean, None, None)
    half = float(stdtrit(number - 1, 0.975)) * _variance_of_mean(error, group) ** 0.5
    return Estimate(mean, mean - half, mean + half)


def _variance_of_mean(values: Floats, group: Integers) -> float:
    """Of the mean over rows that come in groups, at least two; by the groups' sums."""
    import numpy as np

    _, place = np.unique(group, return_inverse=True)
    sums = np.bincount(place, values - values.mean())
    return float((sums**2).sum() * len(sums) / (len(sums) - 1) / len(values) ** 2)


def _bins(p: Floats) -> Integers:
    """The bin of each row, from 0 and without gaps: that of the middle of its ties by rank."""
    import numpy as np

    _, place, ties = np.unique(p, return_inverse=True, return_counts=True)
    middle = (ties.cumsum() - ties / 2) / len(p)
    by_value = np.minimum((middle * BINS).astype(np.int64), BINS - 1)
    return np.unique(by_value[place], return_inverse=True)[1]


def _bin(p: Floats, came_true: Booleans, group: Integers) -> Bin:
    import numpy as np

    rows, share = len(p), float(came_true.mean())
    groups = len(np.unique(group))
    alone = float(rows)
    if groups < rows:
        # A share of 0 or 1 has no spread to go by: then each group counts once.
        alone = float(groups)
        if groups > 1 and 0 < share < 1:
            variance = _variance_of_mean(came_true.astype(np.float64), group)
            alone = min(rows, share * (1 - share) / variance) if variance > 0 else rows
    low, high = wilson(share * alone, alone)
    return Bin(rows, float(p.mean()), share, low, high)


def _coxs(
    p: Floats, came_true: Booleans, group: Integers
) -> tuple[Estimate | None, Estimate | None]:
    """Slope, and intercept at a slope of 1."""
    import numpy as np
    from scipy.special import logit

    eps = np.finfo(np.float64).eps
    odds, y = logit(np.clip(p, eps, 1 - eps)), came_true.astype(np.float64)
    if (y == y[0]).all():
        return None, None
    intercept = _fitted(np.ones((len(y), 1)), odds, y, group, 0)
    spread = odds.max() - odds.min()
    # Rows that one threshold separates fit a slope without end.
    up, down = odds[y == 1], odds[y == 0]
    if spread == 0 or up.min() >= down.max() or up.max() <= down.min():
        return None, intercept
    start = np.column_stack([np.ones(len(y)), (odds - odds.mean()) / spread])
    found = _fitted(start, np.zeros(len(y)), y, group, 1)
    if found is None:
        return None, intercept
    ends = (None if end is None else end / float(spread) for end in (found.low, found.high))
    return Estimate(found.value / float(spread), *ends), intercept


def _fitted(
    design: Floats, offset: Floats, y: Floats, group: Integers, wanted: int
) -> Estimate | None:
    """A coefficient of a logistic regression (n, k), with its sandwich interval."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit
    from scipy.stats import norm

    def loss(beta: Floats) -> tuple[float, Floats]:
        eta = offset + design @ beta
        value = np.logaddexp(0, eta) - y * eta
        return float(value.mean()), design.T @ (expit(eta) - y) / len(y)

    def curvature(beta: Floats) -> Floats:
        p = expit(offset + design @ beta)
        return np.asarray(design.T @ (design * (p * (1 - p))[:, None]) / len(y))

    begin = np.zeros(design.shape[1])
    found = minimize(loss, begin, jac=True, hess=curvature, method="trust-exact", tol=1e-8)
    if np.linalg.norm(found.jac) > 1e-6:  # `success` is False also where rounding ends the search
        return None
    value, number = float(found.x[wanted]), int(group.max()) + 1
    if number < 2:
        return Estimate(value, None, None)
    scores = design * (y - expit(offset + design @ found.x))[:, None]
    summed = np.stack([np.bincount(group, column) for column in scores.T])
    inner = summed @ summed.T * number / (number - 1)
    outer = np.linalg.inv(curvature(found.x) * len(y))
    half = float(norm.ppf(0.975) * (outer @ inner @ outer)[wanted, wanted] ** 0.5)
    return Estimate(value, value - half, value + half)
