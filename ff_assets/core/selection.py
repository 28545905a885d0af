"""The choice of a champion among variants: a fit on the rows whose metric decides.

What it learns from are these rows' labels and the predictions of all variants, so it has read what
the fits behind any of these have read. None of that may be among the rows that are reported on, and
under a time split all of it had to be known when these began, as for every fit. And a metric on
rows that a variant was fitted on tells how well it remembers, so no choice is made by it.
"""

from collections.abc import Iterator, Sequence
from datetime import date

from ff_assets.core import leak_refusals as found
from ff_assets.core.buckets import describe as shown
from ff_assets.core.declare import describe
from ff_assets.core.fitting import Fitting
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Choice, Finding, Judged, route
from ff_assets.core.leakage import on
from ff_assets.core.leaks import Leaks, Read
from ff_assets.core.ledger import day_of
from ff_assets.core.requested import deciding, in_sample
from ff_assets.core.split import TimeSplit


class Selection:
    """The choice among the variants of a target; of one variant there is none.

    Args:
        siblings: all variants of the target.

    Raises:
        DefinitionError: it is to be made on a part that there is not.
    """

    def __init__(self, leaks: Leaks, siblings: Sequence[Variant]) -> None:
        self._leaks = leaks
        parts = {variant: deciding(variant) for variant in siblings}
        self._parts = parts if len(parts) > 1 and siblings[0].target.select_on else {}
        self._chosen = 0
        for deciders in self._parts.values():
            for rows in deciders.values():
                self._chosen |= rows

    @property
    def read(self) -> tuple[Read, ...]:
        """The predictions that are compared."""
        return tuple(
            Read(variant.prediction, rows)
            for variant, parts in self._parts.items()
            for rows in parts.values()
        )

    def refused(self, variant: Variant) -> Iterator[Finding]:
        """Why a variant cannot be compared with the others, whatever is reported."""
        if variant not in self._parts:
            return
        parts = self._parts[variant]
        values = variant.prediction.available
        if not any(rows & values for rows in parts.values()):
            yield _nothing_to_compare(variant)
            return
        for part, rows in parts.items():
            finding = _remembered(self._leaks, variant, part, rows)
            if finding is not None:
                yield finding
                return

    def reported(self, variant: Variant, cell: str, rows: int) -> Iterator[Finding]:
        """What is found about the choice where a variant's metric on a part is reported."""
        if not self._parts or not rows:
            return
        if self._chosen & rows:
            yield _selected_on(variant, cell, self._chosen & rows)
            return
        if self._chosen and isinstance(variant.split, TimeSplit):
            yield from self._selected_late(variant, cell, rows, variant.split)
        choice = Choice(variant, variant.target.outputs[0])
        yield from self._leaks.of(choice, self.read, cell, rows)

    def _selected_late(
        self, variant: Variant, cell: str, rows: int, split: TimeSplit
    ) -> Iterator[Finding]:
        label = variant.target.label
        assert label is not None
        delay = self._leaks.ledger[variant.features[label]].delays[label] or 0
        first, last = (rows & -rows).bit_length() - 1, self._chosen.bit_length() - 1
        begin = day_of(split, first)
        known = min(day_of(split, last) + delay, date.max.toordinal())
        if known >= begin:
            days = date.fromordinal(known), date.fromordinal(begin)
            yield _selected_late(variant, cell, self._chosen, *days, later=last >= first)


def _remembered(leaks: Leaks, variant: Variant, part: str, rows: int) -> Finding | None:
    """What a fit behind a prediction has read of the rows whose metric is to decide."""
    ledger = leaks.ledger
    path = in_sample(ledger, variant, rows)
    provenance = on(ledger[variant.prediction].pieces, rows)
    if not path or provenance.is_unknown:  # what is not known is refused on every part
        return None
    space = variant.split.space(variant.entity)
    features = provenance.features.within(space, rows)
    if features and not provenance.labels.within(space, rows) and leaks.is_transductive:
        judged = Judged(variant, variant.target.outputs[0])
        return found.transductive(judged, part, path, features)
    return _in_sample(variant, part, path, provenance.everywhere.within(space, rows))


def _in_sample(variant: Variant, part: str, path: tuple[Instance, ...], rows: int) -> Finding:
    """The champion is chosen by how well variants remember."""
    blamed = path[0]
    is_own = not blamed.is_source and blamed.stage.fitting.cells != Fitting().cells
    return Finding(
        "SELECTION_IN_SAMPLE",
        f"the champion is chosen by the metric on {part}, and `{blamed.name}` was fitted on rows "
        "of it.",
        f"buckets {shown(rows)}: there the metric tells how well a variant remembers, not how well "
        f"it predicts\npath: {route(path, f'the metric of {variant.name} on {part}')}",
        "fit on train only to choose; refit the one that was chosen on both parts, as a target "
        "with one variant."
        if is_own
        else "choose on rows that no fit has read: a validation part of the split, "
        "select_on='validation'; or cross-fit the prediction for select_on='folds', and all that "
        "it is made by as well, .cross_fit(5, nested=True).",
        path,
        rows,
    )


def _nothing_to_compare(variant: Variant) -> Finding:
    """The part that is chosen on has no honest prediction at all."""
    chosen = variant.target.select_on
    return Finding(
        "NO_PREDICTION",
        f"the champion is chosen by the metric on {chosen}, of which no row has a prediction.",
        f"no stage that `{variant.prediction.name}` is made by has a fit that leaves these rows "
        "out and has rows to learn from",
        f"cross-fit `{variant.prediction.name}`, .cross_fit(5), or choose on a validation part of "
        "the split, select_on='validation'; of ordered blocks choose on later ones.",
        (variant.prediction,),
    )


def _selected_on(variant: Variant, cell: str, rows: int) -> Finding:
    """The champion is chosen by the metric that is reported."""
    chosen = variant.target.select_on
    return Finding(
        "SELECTION_ON_TEST",
        f"the champion is chosen by the metric on {chosen}, and reported by that on {cell}.",
        f"buckets {shown(rows)} serve both; the best of several is better by luck alone",
        "choose on a validation part of the split, select_on='validation', or on folds of train, "
        "select_on='folds'; or report on rows that had no say.",
        overlap=rows,
        where=(describe(variant.target),),
    )


def _selected_late(
    variant: Variant, cell: str, rows: int, known: date, first: date, *, later: bool
) -> Finding:
    """The champion is chosen by what nobody knew when the evaluated days began.

    Args:
        rows: those whose metric decides.
        known: the day by which all their labels are known.
        first: of the evaluated days.
        later: whether there are days among them that are not before these.
    """
    chosen = variant.target.select_on
    return Finding(
        "FUTURE_FIT" if later else "EMBARGO_TOO_SHORT",
        f"the champion is chosen by the metric on {chosen}, whose labels were known only on "
        f"{known}, when {cell} had begun on {first}.",
        "a choice by a metric is a fit on its rows: nobody could have made it then",
        "choose on earlier rows."
        if later
        else "lengthen TimeSplit(embargo=...) to what labels need to be known (label_horizon of "
        "their source).",
        overlap=rows,
        where=(describe(variant.target),),
    )
