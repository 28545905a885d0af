"""The parts of the data that a target asks for, and whether a fit has read rows of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ff_assets.core.accounts import Accounts, day_of
from ff_assets.core.buckets import ALL
from ff_assets.core.cells import TRAIN, VALIDATION
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError, nearest
from ff_assets.core.influence import upstream
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leakage import Provenance
from ff_assets.core.split import Space, TimeSplit

FOLDS = "folds"  # in `select_on`: all folds or blocks of train


@dataclass(frozen=True)
class Part:
    """Rows of a variant on which there is a metric, and what must not be learned from for it.

    Attributes:
        name: in words.
        rows: their buckets, as a bitmap.
        variant: whose metric it is.
    """

    name: str
    rows: int
    variant: Variant

    @property
    def space(self) -> Space:
        """What its buckets are comparable with."""
        return self.variant.split.space(self.variant.entity)

    @property
    def begin(self) -> int | None:
        """Its first day, as an ordinal of `date`; `None` where rows have no time."""
        split = self.variant.split
        return day_of(split, self._first) if isinstance(split, TimeSplit) and self.rows else None

    @property
    def since(self) -> int:
        """The buckets of its first day and of all later ones; none where rows have no time."""
        return 0 if self.begin is None else ALL & ~((1 << self._first) - 1)

    @property
    def _first(self) -> int:
        return (self.rows & -self.rows).bit_length() - 1

    def is_late(self, provenance: Provenance) -> bool:
        """Whether there are labels behind a value that were known only when the part had begun."""
        latest, begin = provenance.latest, self.begin
        return latest is not None and begin is not None and latest >= begin

    def is_stated(self, provenance: Provenance) -> bool:
        """Whether a model from elsewhere is stated to have read days of the part, or later ones."""
        return provenance.attested and self.is_late(provenance)

    def is_read(self, provenance: Provenance) -> bool:
        """Whether a fit has read rows of the part or of later days, or labels known only then."""
        seen = provenance.everywhere.within(self.space, self.rows | self.since)
        return bool(seen) or self.is_late(provenance)


def part_of(variant: Variant, name: str) -> Part:
    """A cell of the split, or a fold or block of the prediction's train.

    There are no rows of a fold if nothing that the prediction is made by is cross-fitted.

    Raises:
        DefinitionError: there is no such part.
    """
    split = variant.split
    if name in split.cells:
        return Part(name, split.bits(name), variant)
    kind, _, number = name.partition("_")
    divided = _division(variant, f"{kind}s") if kind in ("fold", "block") else []
    known = [*split.cells, *(f"{kind}_{k}" for k in range(len(divided or ())))]
    if divided is None and number.isdecimal():
        return Part(name, 0, variant)
    if name not in known:
        raise DefinitionError(
            f"target `{variant.target.name}` asks for a metric on {name!r}, which is no part of "
            "its data.",
            where=[describe(variant.target)],
            why=nearest(name, known),
            fix="give the split a part for it: HashSplit(cells={..., 'validation': range(...)}) "
            "or TimeSplit(..., validation='30d')."
            if name == VALIDATION
            else "name a part of the split, or a fold or block of the prediction's cross-fitting.",
        )
    assert divided is not None
    return Part(name, divided[int(number)], variant)


def deciding(variant: Variant) -> Mapping[str, int]:
    """The parts whose metrics decide whether a variant is the champion, each as buckets.

    `folds` is all folds, or those blocks that have a prediction. There is nothing in it if the
    target makes no choice, or on folds that there are not.

    Raises:
        DefinitionError: the target selects on a part that there is not.
    """
    chosen = variant.target.select_on
    if chosen is None:
        return {}
    if chosen != FOLDS:
        return {chosen: part_of(variant, chosen).rows}
    for kind in ("fold", "block"):
        if divided := _division(variant, f"{kind}s"):
            available = variant.prediction.available
            return {f"{kind}_{k}": rows for k, rows in enumerate(divided) if rows & available}
    return {}


def _division(variant: Variant, scheme: str) -> list[int] | None:
    """The parts of train for which the nearest cross-fitted estimator has fits of their own."""
    for instance in upstream(variant.prediction, trained=False):
        if instance.is_estimator and instance.stage.fitting.scheme == scheme:
            return instance.stage.fitting.divided(variant.split)
    return None


def nearest_estimator(variant: Variant) -> Instance | None:
    """The estimator that the prediction comes from, if any does."""
    behind = upstream(variant.prediction, trained=False)
    return next((instance for instance in behind if instance.is_estimator), None)


def measured_cells(accounts: Accounts, variant: Variant) -> Iterator[str]:
    """The cells of the split with a metric: train, and those that no fit has read, nor later days.

    What a pre-trained model has read is as it is attested; everything if nothing is.
    """
    for cell in variant.split.cells:
        part = part_of(variant, cell)
        available = part.rows & variant.prediction.available
        if cell == TRAIN or not accounts.trace(variant.prediction, available, part.is_read):
            yield cell
