"""On which rows an estimator is fitted, and which of its fits serves which rows.

The schemes for chains of estimators are those of stacked generalisation (Wolpert, Neural Networks
5, 1992): out-of-fold features for the rows that later stages learn from, and the fit on all of
train for new rows. Nested, as in double cross-validation (Stone, Journal of the Royal Statistical
Society B 36, 1974), the fits of a whole chain are indexed by the set of folds that all of them
leave out: a *context*.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
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
        nested: of folds, whether the nested stages that it reads leave out the folds that a fit
            of it leaves out.
    """

    cells: tuple[str, ...] = (TRAIN,)
    scheme: Scheme = "once"
    count: int = 1
    index: int = 0
    serve_only: bool = False
    nested: bool = False

    @property
    def is_on_train(self) -> bool:
        """Whether fits read rows of train and of nothing else, as they do if nothing is said."""
        return self.cells == (TRAIN,)

    def region(self, split: Split) -> int:
        """The buckets of its cells, whose rows a fit may read."""
        region = 0
        for cell in self.cells:
            region |= split.bits(cell)
        return region

    def divided(self, split: Split) -> list[int]:
        """The folds, blocks or slices, each as a bitmap of buckets.

        Raises:
            ValueError: there are fewer buckets than parts.
        """
        return parts(self.region(split), self.count)


@dataclass(frozen=True)
class Fit:
    """One fit of an estimator.

    Attributes:
        name: `""` for the fit that serves all rows without a fit of their own, `fold_2`, ...
        region: the buckets whose rows it reads, as a bitmap.
        serves: the buckets whose rows it is applied to; none if only later fits read its output.
        context: of a nested estimator, the folds that it leaves out, as a bitmap. It is fitted on
            what its inputs are in this context.
    """

    name: str
    region: int
    serves: int
    context: int = 0


@lru_cache(maxsize=256)
def fits(fitting: Fitting, split: Split, available: int, readable: int) -> tuple[Fit, ...]:
    """The fits of an estimator; the one that serves all other rows comes last.

    Args:
        available: the buckets whose rows its inputs have values for.
        readable: those of them for which what only a fit reads has values as well.
    """
    region = fitting.region(split)
    readable &= region
    divided = fitting.divided(split)
    if fitting.scheme == "slice":
        return (Fit(WHOLE, divided[fitting.index] & readable, available),)
    if fitting.scheme == "once":
        return (Fit(WHOLE, readable, available),)
    made: list[Fit] = []
    for number, part in enumerate(divided):
        if fitting.scheme == "folds":
            context = part if fitting.nested else 0
            made.append(Fit(f"fold_{number}", readable & ~part, part & available, context))
        else:
            before = sum(divided[:number]) & readable  # the parts are disjoint
            if before:
                made.append(Fit(f"block_{number}", before, part & available))
    return (*made, Fit(WHOLE, readable, available & ~region))


def fits_of(folds: int, most: int) -> int:
    """How many fits a nested estimator has that leave out up to `most` of its folds at once."""
    return sum(comb(folds, count) for count in range(most + 1))


@lru_cache(maxsize=256)
def deepened(made: tuple[Fit, ...], most: int) -> tuple[Fit, ...]:
    """The fits of a nested estimator, with those that leave out up to `most` folds at once."""
    *folds, whole = made
    deeper = []
    for count in range(2, most + 1):
        for numbers in combinations(range(len(folds)), count):
            context = sum(folds[number].context for number in numbers)  # folds are disjoint
            name = f"folds_{'_'.join(map(str, numbers))}"
            deeper.append(Fit(name, whole.region & ~context, 0, context))
    return (*folds, *deeper, whole)


def serving(made: Sequence[Fit], context: int) -> list[tuple[Fit, int]]:
    """The fits whose outputs are an estimator's values in a context, each with its rows.

    In a context, a row of a fold gets what no fit has made that read this fold or those of the
    context; the fits of an estimator that is not nested serve the same rows in every context.
    """
    by_context = {fit.context: fit for fit in made} if context else {}
    is_nested = len(by_context) > 1
    return [
        (by_context[context | fit.context] if is_nested else fit, fit.serves)
        for fit in made
        if fit.serves
    ]


def read_by(made: Iterable[Fit]) -> int:
    """The buckets whose rows fits read."""
    region = 0
    for fit in made:
        region |= fit.region
    return region


def served(made: Sequence[Fit]) -> int:
    """The buckets whose rows get an output."""
    return sum(fit.serves for fit in made)  # they are disjoint
