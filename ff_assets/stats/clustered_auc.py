"""The covariance of several AUCs on the same rows, which may come in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ff_assets.stats.intervals import delong

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]
    Booleans: TypeAlias = NDArray[np.bool_]


class Auc(NamedTuple):
    """An AUC and what its covariances are made of.

    Attributes:
        value: the AUC, macro-averaged over the columns.
        factor: shape (f,). The dot product of two variants' factors is the covariance of their
            AUCs, so the norm of the difference of two is the standard error of the difference.
    """

    value: float
    factor: Floats


def clustered_auc(positive: Booleans, score: Floats, group: Integers) -> Auc:
    """AUC with DeLong's components, summed within groups.

    DeLong, DeLong & Clarke-Pearson (1988) by the midranks of Sun & Xu (2014), for rows that come
    in groups as Obuchowski, Biometrics 53 (1997) 567; where every row is its own group, the two
    are the same. With A and B the sums of a group's components over its positive and negative
    rows, Obuchowski's covariance is a A'A + b B'B + c (A'B + B'A); a, b and c are g / (g - 1) for
    the number g of groups with a positive row, with a negative row, and of all. As neither a nor
    b is less than c, it is the square c (A+B)'(A+B) + (a-c) A'A + (b-c) B'B, never negative. A
    macro average adds the columns up before they are squared, so their correlation counts.

    Args:
        positive: (n, K): which rows are of which class, each class against the rest; K = 1 for
            binary.
        score: (n, K).
        group: (n,), from 0 and without gaps; at least two groups in each class and in its rest.
    """
    import numpy as np

    groups = int(group.max()) + 1
    columns = positive.shape[1]
    total, rest = np.zeros(groups), []
    common = groups / (groups - 1)
    aucs = []
    for is_positive, by in zip(positive.T, score.T, strict=True):
        auc, component = delong(is_positive, by)
        aucs.append(auc)
        for side in (is_positive, ~is_positive):
            rows, with_rows = int(side.sum()), len(np.unique(group[side]))
            # `delong` divides by rows * (rows - 1), for rows that are each on their own
            moved = component * side * (max(rows - 1, 1) / rows) ** 0.5
            summed = np.bincount(group, moved, groups) / columns
            total += summed
            rest.append(summed * max(0.0, with_rows / (with_rows - 1) - common) ** 0.5)
    return Auc(sum(aucs) / columns, np.concatenate([common**0.5 * total, *rest]))


def fewest_groups(positive: Booleans, group: Integers) -> int:
    """In how many groups the rarest side of any column (n, K) has a row."""
    import numpy as np

    return min(len(np.unique(group[side])) for column in positive.T for side in (column, ~column))
