"""The metrics of a target by its task, each with a 95% interval on request.

Everything works on NumPy arrays of one cell, on the driver. Point values are scikit-learn's;
intervals are analytic where a good one exists, else a percentile bootstrap; those of rows that
belong together are in `stats/spread.py`. An interval says how far the metric may be from its value
for *this fitted model* on endlessly many such rows; it does not hold the spread between fits. NumPy
and SciPy are imported inside the functions because this module is imported when definitions load.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite
from typing import TYPE_CHECKING, TypeAlias

from ff_assets.core.errors import DataError
from ff_assets.core.metrics import METRICS
from ff_assets.stats.intervals import (
    DRAWS,
    SEED,
    Interval,
    auc_interval,
    average_precision,
    average_precision_interval,
    bootstrap,
    delong,
    percentiles,
    students_t,
    wilson,
)
from ff_assets.stats.spread import Arrays, are_grouped, codes, intervals_by_group

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]
    Booleans: TypeAlias = NDArray[np.bool_]

Estimate: TypeAlias = tuple[str, float, Callable[[], Interval]]  # name, value, its interval


class NoMetric(DataError, ValueError):
    """A cell has no metrics: it is empty or of one class, or one of its values is wrong."""

    code = "NO_METRIC"


@dataclass(frozen=True)
class Metric:
    """One metric of one cell.

    Args:
        name: such as `auc`.
        value: the point value; always finite.
        low: lower end of the 95% interval; None where there is none.
        high: upper end, likewise.
        method: how the interval was made, or why there is none; empty if none was asked for.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    method: str


def evaluate(
    task: str,
    label: ArrayLike,
    prediction: ArrayLike,
    probability: ArrayLike | None = None,
    *,
    score: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    interval: bool | Collection[str],
) -> dict[str, Metric]:
    """The metrics of a cell by name, the primary one first.

    A metric whose input the stage does not give is left out, and an input that the task has no
    use for is not read.

    binary
        `accuracy`, `f1` (of class 1); with a probability or a score also `auc`, `auc_pr`; with a
        probability also `log_loss`, `brier` (0 to 1).
    multiclass
        `accuracy`, `f1` (macro, over the classes that occur as label or prediction); with a
        probability also `log_loss`, `brier` (summed over classes as Brier did, 0 to 2) and, if
        every class occurs among the labels, `auc` (one class against the rest, macro).
    regression
        `rmse`, `mae` (in the label's unit), `r2`.

    Args:
        task: "binary", "multiclass" or "regression".
        label: shape (n,); 0 or 1 for binary, 0 to K-1 for multiclass. Rows without a label are
            left out by the caller.
        prediction: shape (n,); a classifier's is the class.
        probability: binary: of class 1, shape (n,), or of both classes, (n, 2); multiclass:
            (n, K); None if the stage gives none.
        score: what a binary stage without a probability ranks by, such as the raw prediction of
            a linear SVM: shape (n,), or (n, 2) of which the column of class 1 counts. Only its
            order matters, so it may be infinite.
        groups: shape (n,): rows with the same value are not independent of each other, such as
            those of one customer. It is the key that rows were split by. None if each row is on
            its own. It changes intervals and no value: AUC's becomes Obuchowski's, all others a
            bootstrap of groups.
        interval: whether to make 95% intervals, or of which metrics. They take O(n) memory and at
            most O(2000 n) time; the seed is fixed, so equal arrays give equal intervals.

    Raises:
        NoMetric: the cell is empty, its labels are all the same, or a value is missing or
            outside what the task allows.
        ValueError: the task is unknown, shapes differ, or there are both probability and score.
    """
    if task not in METRICS:
        raise ValueError(f"unknown task {task!r}; use one of: {', '.join(METRICS)}")
    if score is not None and probability is not None:
        raise ValueError("`score` is for a stage that gives no probability; pass one of the two")

    y = _numbers("label", label, (-1,))
    rows = len(y)
    y_hat = _numbers("prediction", prediction, (rows,))
    _refuse_single_label(y)
    p: Floats | None = None
    ranks: Floats | None = None
    if task == "regression":
        estimates = _regression(y, y_hat)
    elif task == "binary":
        _refuse_unknown_class("label", y, 2)
        _refuse_unknown_class("prediction", y_hat, 2)
        p = None if probability is None else _probability(probability, (rows,), (rows, 2))
        ranks = p if score is None else _numbers("score", score, (rows,), (rows, 2))
        estimates = _binary(y == 1, y_hat == 1, _of_class_one(p), _of_class_one(ranks))
    else:
        p = ranks = None if probability is None else _probability(probability, (rows, -1))
        classes = inf if p is None else p.shape[1]
        _refuse_unknown_class("label", y, classes)
        _refuse_unknown_class("prediction", y_hat, classes)
        estimates = _multiclass(y, y_hat, p)
    for name, value, _ in estimates:
        if not isfinite(value):
            raise NoMetric(
                f"{name} of {rows} rows is {value}",
                why=f"labels reach from {y.min():.3g} to {y.max():.3g}, predictions from "
                f"{y_hat.min():.3g} to {y_hat.max():.3g}: their squares do not fit into a double",
                fix="look for infinite and placeholder values; if all are real, change the unit",
            )
    wanted = [name for name, _, _ in estimates if interval is True or name in (interval or ())]
    group = codes(groups if wanted else None, rows)  # names of groups take long to sort
    if are_grouped(group):
        found = intervals_by_group(task, wanted, y, Arrays(y_hat, p, ranks), group)
    else:
        found = {name: make() for name, _, make in estimates if name in wanted}
    return {
        name: Metric(name, float(value), *found.get(name, (None, None, "")))
        for name, value, _ in estimates
    }


def _binary(y: Booleans, y_hat: Booleans, p: Floats | None, ranks: Floats | None) -> list[Estimate]:
    import numpy as np

    estimates = [_f1(y, y_hat), _accuracy(y == y_hat)]
    if ranks is not None:
        estimates[:0] = [_auc(y[:, None], ranks[:, None]), _auc_pr(y, ranks)]
    if p is not None:
        estimates += [_log_loss(np.where(y, p, 1 - p)), _mean("brier", (p - y) ** 2, 1.0)]
    return estimates


def _multiclass(y: Floats, y_hat: Floats, p: Floats | None) -> list[Estimate]:
    import numpy as np

    estimates = [_f1_macro(y, y_hat), _accuracy(y == y_hat)]
    if p is not None:
        actual = y[:, None] == np.arange(p.shape[1])
        brier = ((p - actual) ** 2).sum(axis=1)
        estimates += [_log_loss(p[actual]), _mean("brier", brier, 2.0)]
        if actual.any(axis=0).all():
            estimates.append(_auc(actual, p))
    return estimates


def _regression(y: Floats, y_hat: Floats) -> list[Estimate]:
    """RMSE and R2 from the same bootstrap draws, and the mean absolute error."""
    import numpy as np

    rows = len(y)

    def rmse_and_r2(counts: Integers) -> Floats:
        squared_error, mean, square = (counts.astype(np.float64) @ terms / rows).T
        variance = square - mean**2
        # a draw of equal labels leaves rounding noise only, and has no R2
        variance = np.where(variance > 1e-12 * square, variance, np.nan)
        return np.column_stack([np.sqrt(squared_error), 1 - squared_error / variance])

    @cache
    def draws() -> Floats:
        return bootstrap(rows, rmse_and_r2)

    with np.errstate(over="ignore", invalid="ignore"):  # `evaluate` refuses what is not finite
        error, centred = y_hat - y, y - y.mean()
        terms = np.column_stack([error**2, centred, centred**2])
        rmse, r2 = rmse_and_r2(np.ones((1, rows), dtype=np.int64))[0]
    return [
        ("rmse", rmse, lambda: percentiles(draws()[:, 0])),
        _mean("mae", np.abs(error), inf),
        ("r2", r2, lambda: percentiles(draws()[:, 1])),
    ]


def _auc(positive: Booleans, score: Floats) -> Estimate:
    """Area under the ROC curve, macro-averaged over columns (n, K); binary has one column."""
    values, components = zip(*map(delong, positive.T, score.T), strict=True)
    auc = sum(values) / len(values)
    return "auc", auc, lambda: auc_interval(auc, positive, components)


def _auc_pr(y: Booleans, score: Floats) -> Estimate:
    """Area under the precision-recall curve as average precision.

    Steps, not trapezoids, which are too optimistic (Davis & Goadrich 2006).
    """
    value, influence = average_precision(y, score)
    return "auc_pr", value, lambda: average_precision_interval(value, influence)


def _log_loss(p_of_label: Floats) -> Estimate:
    """Mean of -ln of the probability (n,) of the true class, in nats.

    Clipped as scikit-learn does, to [eps, 1 - eps] with eps = 2.2e-16, a double's machine
    precision: a row costs at most 36.04, never infinity.
    """
    import numpy as np

    eps = np.finfo(np.float64).eps
    return _mean("log_loss", -np.log(np.clip(p_of_label, eps, 1 - eps)), inf)


def _mean(name: str, losses: Floats, most: float) -> Estimate:
    """Mean of losses (n,) between 0 and `most`; Student's t interval."""
    return name, float(losses.mean()), lambda: students_t(losses, most)


def _accuracy(right: Booleans) -> Estimate:
    """Share of rows predicted right; Wilson's interval."""
    hits, rows = int(right.sum()), len(right)
    return "accuracy", hits / rows, lambda: (*wilson(hits, rows), "Wilson")


def _f1(y: Booleans, y_hat: Booleans) -> Estimate:
    """F1 of class 1; interval "Wilson indirect" of Lam, Gopal & Qian (arXiv:2309.14621, 2023).

    F1 = 2J / (1 + J) rises with J = TP / (TP + FP + FN), which is a binomial proportion, so J's
    Wilson interval maps onto F1's. Unlike a bootstrap it keeps a width where F1 is 0 or 1.
    """
    hits, touched = int((y & y_hat).sum()), int((y | y_hat).sum())

    def interval() -> Interval:
        low, high = wilson(hits, touched)
        return 2 * low / (1 + low), 2 * high / (1 + high), "Wilson, through the Jaccard index"

    return "f1", 2 * hits / (hits + touched), interval


def _f1_macro(y: Floats, y_hat: Floats) -> Estimate:
    """Unweighted mean of the F1 of every class that occurs as label or prediction.

    Interval by bootstrap: F1 depends on the confusion matrix alone, and its counts in a draw of
    rows are multinomial, so rows need not be drawn.
    """
    import numpy as np

    occurring, codes = np.unique(np.stack([y, y_hat]), return_inverse=True)
    classes = len(occurring)
    cells, counts = np.unique(codes.reshape(2, -1), axis=1, return_counts=True)
    actual, predicted = cells

    def macro(counts: Integers) -> float:
        touched = np.bincount(actual, counts, classes) + np.bincount(predicted, counts, classes)
        hits = np.bincount(actual, counts * (actual == predicted), classes)
        occurs = touched > 0
        return float((2 * hits[occurs] / touched[occurs]).mean())

    def interval() -> Interval:
        random, share = np.random.default_rng(SEED), counts / len(y)
        return percentiles([macro(random.multinomial(len(y), share)) for _ in range(DRAWS)])

    return "f1", macro(counts), interval


def _numbers(name: str, values: ArrayLike, *shapes: tuple[int, ...]) -> Floats:
    """The values as doubles of one of the shapes (-1 is any length), without a NaN."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if not any(
        len(shape) == array.ndim
        and all(want in (-1, length) for want, length in zip(shape, array.shape, strict=True))
        for shape in shapes
    ):
        expected = " or ".join(str(shape).replace("-1", "any") for shape in shapes)
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    _refuse(
        name,
        array,
        np.isnan(array),
        why="NaN can be neither compared nor ranked",
        fix="leave rows without a label out; a prediction that is NaN has NaN among its features",
    )
    return array


def _probability(values: ArrayLike, *shapes: tuple[int, ...]) -> Floats:
    """The values, each from 0 to 1; those of all classes (n, K) add up to 1 in each row."""
    array = _numbers("probability", values, *shapes)
    bad = (array < -1e-6) | (array > 1 + 1e-6)
    if array.ndim == 2:
        bad |= abs(array.sum(axis=1, keepdims=True) - 1) > 1e-6
    why = "a probability is from 0 to 1, and those of all classes add up to 1"
    fix = "pass the stage's probability column; a raw prediction of a binary stage is a `score`"
    _refuse("probability", array, bad, why, fix)
    return array


def _of_class_one(values: Floats | None) -> Floats | None:
    return values[:, 1] if values is not None and values.ndim == 2 else values


def _refuse_single_label(y: Floats) -> None:
    if not len(y) or (y == y[0]).all():
        raise too_few_labels(len(y), y[0] if len(y) else None)


def too_few_labels(rows: int, only: float | None) -> NoMetric:
    """The error of a cell without two different labels.

    Args:
        rows: how many of its rows have a label.
        only: the label that they all have.
    """
    return NoMetric(
        f"the {rows} rows of this cell all have the label {only:g}"
        if rows
        else "this cell has no row with a label",
        why="a metric tells rows of one label from rows of another (AUC, F1) or compares with "
        "the spread of the labels (R2): it needs at least two labels",
        fix="check how the label is made, or give the cell a larger share of the split",
    )


def _refuse_unknown_class(name: str, values: Floats, classes: float) -> None:
    """Raise unless every value is a whole number from 0 and below `classes`."""
    import numpy as np

    bad = (values < 0) | (values >= classes) | (np.floor(values) != values)
    why = f"a class of this target is a whole number, at least 0 and below {classes:g}"
    fix = "map classes to these numbers (StringIndexer does), and leave out unlabelled rows"
    _refuse(name, values, bad, why, fix)


def _refuse(name: str, values: Floats, bad: Booleans, why: str, fix: str) -> None:
    """Raise if any row is bad, with the number of bad rows and the first of them."""
    import numpy as np

    rows = np.flatnonzero(bad if bad.ndim == 1 else bad.any(axis=1))
    if len(rows):
        raise NoMetric(
            f"{name} is unusable in {len(rows)} of {len(values)} rows, "
            f"first {values[rows[0]]} at position {rows[0]}",
            why=why,
            fix=fix,
        )
