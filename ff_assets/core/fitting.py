"""On which rows an estimator is fitted, and which of its fits serves which rows.

The schemes for chains of estimators are those of stacked generalisation (Wolpert, Neural Networks
5, 1992): out-of-fold features for the rows that later stages learn from, and the fit on all of
train for new rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ff_assets.core.buckets import parts
from ff_assets.core.cells import TRAIN
from ff_assets.core.split import Split

Scheme = Literal["once", "folds", "blocks", "slice"]
WHOLE = ""  # the name of the fit that serves all rows that no other fit serves


@dataclass(frozen=True)
class Fitting:
    """How an estimator is fitted.

    Attributes:
        cells: the cells whose rows may be read by a fit.
        scheme: `once` on all of these rows; `folds`: once for each fold left out, and on all;
            `blocks`: once on all blocks before each block, and on all; `slice`: once on one of
            several disjoint slices.
        count: number of folds, blocks or slices.
        index: which slice, from 0.
        serve_only: whether its output must never feed an evaluation.
    """

    cells: tuple[str, ...] = (TRAIN,)
    scheme: Scheme = "once"
    count: int = 1
    index: int = 0
    serve_only: bool = False

    def describe(self) -> list[object]:
        """As plain values, for fingerprints."""
        return [list(self.cells), self.scheme, self.count, self.index]


@dataclass(frozen=True)
class Fit:
    """One fit of an estimator.

    Attributes:
        name: `""` for the fit that serves all rows without a fit of their own, `fold_2`, ...
        region: the buckets whose rows it reads, as a bitmap.
        serves: the buckets whose rows it is applied to.
    """

    name: str
    region: int
    serves: int


def fits(fitting: Fitting, split: Split, available: int, readable: int) -> tuple[Fit, ...]:
    """The fits of an estimator; the one that serves all other rows comes last.

    Args:
        available: the buckets whose rows its inputs have values for.
        readable: those of them for which what only a fit reads has values as well.
    """
    region = 0
    for cell in fitting.cells:
        region |= split.bits(cell)
    readable &= region
    if fitting.scheme == "slice":
        return (Fit(WHOLE, parts(region, fitting.count)[fitting.index] & readable, available),)
    if fitting.scheme == "once":
        return (Fit(WHOLE, readable, available),)
    divided = parts(region, fitting.count)
    made: list[Fit] = []
    for number, part in enumerate(divided):
        if fitting.scheme == "folds":
            made.append(Fit(f"fold_{number}", readable & ~part, part & available))
        else:
            before = sum(divided[:number]) & readable  # the parts are disjoint
            if before:
                made.append(Fit(f"block_{number}", before, part & available))
    return (*made, Fit(WHOLE, readable, available & ~region))


def served(made: Sequence[Fit]) -> int:
    """The buckets whose rows get an output."""
    return sum(fit.serves for fit in made)  # they are disjoint
