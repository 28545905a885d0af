"""The parts of the data that a target asks for, and whether a fit has read rows of them."""

from collections.abc import Mapping

from ff_assets.core.cells import VALIDATION
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError, nearest
from ff_assets.core.influence import upstream
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leakage import Provenance
from ff_assets.core.ledger import Ledger, day_of
from ff_assets.core.split import TimeSplit

FOLDS = "folds"  # in `select_on`: all folds or blocks of train


def rows_of_part(variant: Variant, part: str) -> int:
    """The buckets of a cell of the split, or of a fold or block of the prediction's train.

    There are none of a fold if nothing that the prediction is made by is cross-fitted.

    Raises:
        DefinitionError: there is no such part.
    """
    split = variant.split
    if part in split.cells:
        return split.bits(part)
    kind, _, number = part.partition("_")
    divided = _division(variant, f"{kind}s") if kind in ("fold", "block") else []
    known = [*split.cells, *(f"{kind}_{k}" for k in range(len(divided or ())))]
    if divided is None and number.isdecimal():
        return 0
    if part not in known:
        raise DefinitionError(
            f"target `{variant.target.name}` asks for a metric on {part!r}, which is no part of "
            "its data.",
            where=[describe(variant.target)],
            why=nearest(part, known),
            fix="give the split a part for it: HashSplit(cells={..., 'validation': range(...)}) "
            "or TimeSplit(..., validation='30d')."
            if part == VALIDATION
            else "name a part of the split, or a fold or block of the prediction's cross-fitting.",
        )
    assert divided is not None
    return divided[int(number)]


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
        return {chosen: rows_of_part(variant, chosen)}
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


def in_sample(ledger: Ledger, variant: Variant, rows: int) -> tuple[Instance, ...]:
    """The path to the prediction on some rows from a fit behind it that has read some of them.

    A metric there tells how well the variant remembers. What a pre-trained model has read is as it
    is attested; everything if nothing is.

    Returns:
        The instances on the way, the fit's first; nothing if no fit has read any of the rows.
    """
    space, split = variant.split.space(variant.entity), variant.split

    def reads(provenance: Provenance) -> bool:
        if provenance.everywhere.within(space, rows):
            return True
        stated = provenance.latest if provenance.attested else None
        if stated is None or not rows or not isinstance(split, TimeSplit):
            return False
        first = (rows & -rows).bit_length() - 1
        return stated >= day_of(split, first)

    return ledger.trace(variant.prediction, rows & variant.prediction.available, reads)
