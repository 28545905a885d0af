"""The choice of a champion among variants: a fit on the rows whose metric decides.

So it must not have looked at the rows that are reported on. Under a time split it needs labels that
were known when these began, as every fit does. And a metric on rows that a variant was fitted on
tells how well it remembers, so no choice is made by it.
"""

from collections.abc import Iterator
from datetime import date

from ff_assets.core import leak_refusals as found
from ff_assets.core.cells import VALIDATION
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError
from ff_assets.core.instance import Variant
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.leakage import Provenance
from ff_assets.core.ledger import Ledger, day_of
from ff_assets.core.split import TimeSplit


def selected(
    ledger: Ledger, variant: Variant, cell: str, rows: int, chosen: int
) -> Iterator[Finding]:
    """The reason to refuse a metric because of the choice that led to it; at most one.

    Args:
        rows: the buckets of the part that the metric is on.
        chosen: those whose metric decides which of several variants is the champion.

    Raises:
        DefinitionError: the choice is made on a validation part that a fit has read.
    """
    if variant.target.select_on == VALIDATION:
        _refuse_remembered(ledger, variant, chosen)
    if chosen & rows:
        yield found.selection(variant, cell, chosen & rows)
    elif isinstance(variant.split, TimeSplit):
        label = variant.target.label
        assert label is not None
        delay = ledger[variant.features[label]].delays[label] or 0
        first, last = (rows & -rows).bit_length() - 1, chosen.bit_length() - 1
        begin = day_of(variant.split, first)
        known = min(day_of(variant.split, last) + delay, date.max.toordinal())
        if known >= begin:
            days = date.fromordinal(known), date.fromordinal(begin)
            yield found.selected_late(variant, cell, chosen, *days, later=last >= first)


def _refuse_remembered(ledger: Ledger, variant: Variant, chosen: int) -> None:
    space = variant.split.space(variant.entity)

    def reads(provenance: Provenance) -> int:
        return provenance.everywhere.within(space, chosen)

    rows = chosen & variant.prediction.available
    if path := ledger.trace(variant.prediction, rows, reads):
        raise DefinitionError(
            f"target `{variant.target.name}` selects on {VALIDATION}, which `{path[0].name}` was "
            "fitted on.",
            where=[describe(variant.target), describe(path[0].provider)],
            why="the metric there tells how well a variant remembers, not how well it predicts\n"
            f"path: {found.route(path, f'the choice of {variant.name}')}",
            fix="fit on train only to choose; refit the one that was chosen on both parts, as a "
            "target with one variant.",
        )
