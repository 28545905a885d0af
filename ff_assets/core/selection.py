"""The choice of a champion among variants: a fit on the rows whose metric decides.

What it learns from are these rows' labels and the predictions of all variants, so it has read what
the fits behind any of these have read. None of that may be among the rows that are reported on, and
under a time split all of it had to be known when these began, as for every fit. And a metric on
rows that a variant was fitted on tells how well it remembers, so no choice is made by it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from ff_assets.core import leak_refusals as found
from ff_assets.core.accounts import day_of, pretrained
from ff_assets.core.buckets import ALL
from ff_assets.core.buckets import describe as shown
from ff_assets.core.cells import TEST
from ff_assets.core.declare import describe
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding, Judged, route
from ff_assets.core.leakage import NOTHING, FitSet, Provenance
from ff_assets.core.leaks import Leaks, Learned, Read
from ff_assets.core.requested import Part, deciding, nearest_estimator
from ff_assets.core.split import TimeSplit


class Selection:
    """The choice among the variants of a target; of one variant there is none.

    Args:
        siblings: all variants of the target.

    Attributes:
        learned: all that the choice has learned from.

    Raises:
        DefinitionError: it is to be made on a part that there is not.
    """

    def __init__(self, leaks: Leaks, siblings: Sequence[Variant]) -> None:
        self._leaks = leaks
        self._parts: dict[Variant, list[Part]] = {}
        self.learned = Learned()
        if len(siblings) > 1 and siblings[0].target.select_on:
            self._parts = {
                variant: [Part(name, rows, variant) for name, rows in deciding(variant).items()]
                for variant in siblings
            }
            every = [part for parts in self._parts.values() for part in parts]
            read = tuple(Read(part.variant.prediction, part.rows) for part in every)
            self.learned = Learned(read, self._own(every))

    def _own(self, parts: Sequence[Part]) -> Provenance:
        """What a choice by the metric on some parts reads itself."""
        rows = 0
        for part in parts:
            rows |= part.rows
        if not rows:
            return NOTHING
        variant = parts[0].variant
        read, label = FitSet({parts[0].space: rows}), variant.target.label
        assert label is not None
        known = None
        if isinstance(variant.split, TimeSplit):
            last = day_of(variant.split, rows.bit_length() - 1)
            delay = self._leaks.accounts[variant.features[label]].delays[label] or 0
            known = min(last + delay, date.max.toordinal())
        return Provenance(read, read, known)

    def refused(self, variant: Variant) -> Iterator[Finding]:
        """Why a variant cannot be compared with the others, whatever is reported."""
        if variant not in self._parts:
            return
        parts = self._parts[variant]
        values = variant.prediction.available
        if not any(part.rows & values for part in parts):
            yield _nothing_to_compare(variant)
        for part in parts:
            yield from self._remembered(part)

    def _remembered(self, part: Part) -> Iterator[Finding]:
        """What a fit behind a prediction has read of the rows whose metric is to decide.

        Of a cell, which is to be like test, also what it has read that is later.
        """
        prediction = part.variant.prediction
        learned = Learned((Read(prediction, part.rows),))
        if self._leaks.provenance(learned).is_unknown:  # which is refused on every part
            return
        judged = _Deciding(part.variant, part.variant.target.outputs[0])
        if path := self._leaks.trace(learned, part.is_stated):
            yield judged.remembered(part.name, path, part.rows)
            return
        finding = self._leaks.overlap(judged, learned, part)
        if finding is not None:
            yield finding
        is_cell = part.name in part.variant.split.cells
        if is_cell and (finding is None or finding.code == found.TRANSDUCTIVE):
            forgiven = finding is not None
            yield from self._leaks.anticipated(judged, learned, part, forgiven=forgiven)

    def reported(self, part: Part) -> Iterator[Finding]:
        """What is found about the choice where a variant's metric on a part is reported."""
        rows = self.learned.own.labels.within(part.space, ALL)
        choice = _Choice(part.variant, part.variant.target.outputs[0], rows)
        yield from self._leaks.of(choice, self.learned, part)


@dataclass(frozen=True)
class _Deciding(Judged):
    """The metric of a variant by which the champion is chosen."""

    def overlap(
        self,
        cell: str,
        path: tuple[Instance, ...],
        rows: int,
        *,
        labels: bool,
        own: bool,  # noqa: ARG002  # to choose by it is the same mistake
    ) -> Finding:
        return self.remembered(cell, path, rows, labels=labels)

    def remembered(
        self, cell: str, path: tuple[Instance, ...], rows: int, *, labels: bool = True
    ) -> Finding:
        """The champion is chosen by how well variants remember.

        Args:
            labels: whether labels of the rows were read, or features only.
        """
        blamed = path[0]
        fix = (
            "choose on rows that no fit has read: a validation part of the split, "
            "select_on='validation'; or cross-fit the prediction for select_on='folds', and all "
            "that it is made by as well, .cross_fit(5, nested=True)"
        )
        if pretrained(blamed):
            fix = found.refit(blamed, cell)
        elif not blamed.stage.fitting.is_on_train:
            fix = (
                "fit on train only to choose; refit the one that was chosen on both parts, as a "
                "target with one variant"
            )
        return Finding(
            "SELECTION_IN_SAMPLE",
            f"the champion is chosen by the metric on {cell}, and `{blamed.name}` was fitted on "
            f"{'' if labels else 'features of '}rows of it.",
            f"buckets {shown(rows)}: there the metric tells how well a variant remembers, not how "
            f"well it predicts\npath: {route(path, self.on(cell))}",
            f"{fix}{'' if labels else found.OPT_IN}.",
            path,
            rows,
        )


@dataclass(frozen=True)
class _Choice(Judged):
    """The choice of the champion that a variant is reported as.

    Attributes:
        rows: whose metric decides, as a bitmap of buckets. An empty path leads from the choice
            itself: it is a fit on these rows.
    """

    rows: int

    @property
    def title(self) -> str:
        return "the choice of the champion"

    @property
    def evaluation(self) -> str:
        return f"the choice among the variants of {self.variant.target.name}"

    def on(self, cell: str) -> str:
        return f"the choice on {self._chosen} of what is reported on {cell}"

    @property
    def _chosen(self) -> str:
        chosen = self.variant.target.select_on
        assert chosen is not None
        return chosen

    def overlap(
        self,
        cell: str,
        path: tuple[Instance, ...],
        rows: int,
        *,
        labels: bool,
        own: bool,  # noqa: ARG002  # the choice has read it either way
    ) -> Finding:
        if not path:
            return self._of_its_own(
                "SELECTION_ON_TEST",
                f"the champion is chosen by the metric on {self._chosen}, and reported by that on "
                f"{cell}.",
                f"buckets {shown(rows & self.rows)} serve both; the best of several is better by "
                "luck alone",
                "choose on a validation part of the split, select_on='validation', or on folds of "
                f"train, select_on='folds'{'' if cell == TEST else f'; or do not certify {cell}'}.",
                rows & self.rows,
            )
        blamed, what = path[0], "labels and features" if labels else "features"
        elsewhere = (
            "report on test, or on another part that no fit behind the predictions for "
            f"{self._chosen} has read"
        )
        is_asked_for = pretrained(blamed) or not blamed.stage.fitting.is_on_train
        fix = found.refit(blamed, cell) if is_asked_for else elsewhere
        return Finding(
            "TRANSITIVE_TAINT",
            f"{what} of {cell} reach the choice of the champion through `{blamed.name}`, which "
            f"predictions for {self._chosen} are made with.",
            f"the choice is a fit by the metric on {self._chosen}, and buckets {shown(rows)} of "
            f"{cell} are among what `{blamed.name}` read ({found.read_by(blamed)})\n"
            f"path: {route(path, self.on(cell))}",
            f"{fix}{'' if labels else found.OPT_IN}.",
            path,
            rows,
        )

    def future(self, cell: str, path: tuple[Instance, ...], first: date) -> Finding:
        if path:
            return super().future(cell, path, first)
        return self._of_its_own(
            "FUTURE_FIT",
            f"the champion is chosen by the metric on {self._chosen}, which has rows of {cell}'s "
            f"first day, {first}, or later.",
            _A_FIT,
            "choose on earlier rows.",
            self.rows,
        )

    def embargo(
        self, cell: str, path: tuple[Instance, ...], delay: int, known: date, first: date
    ) -> Finding:
        if path:
            return super().embargo(cell, path, delay, known, first)
        return self._of_its_own(
            "EMBARGO_TOO_SHORT",
            f"the champion is chosen by the metric on {self._chosen}, whose labels were known only "
            f"on {known}, when {cell} had begun on {first}.",
            _A_FIT,
            "lengthen TimeSplit(embargo=...) to what labels need to be known (label_horizon of "
            "their source).",
            self.rows,
        )

    def _of_its_own(self, code: str, text: str, why: str, fix: str, rows: int) -> Finding:
        """A finding about the declaration of the choice."""
        return Finding(code, text, why, fix, overlap=rows, where=(describe(self.variant.target),))


_A_FIT = "a choice by a metric is a fit on its rows: nobody could have made it then"


def _nothing_to_compare(variant: Variant) -> Finding:
    """The part that is chosen on has no honest prediction at all."""
    chosen, model = variant.target.select_on, nearest_estimator(variant)
    return Finding(
        "NO_PREDICTION",
        f"the champion is chosen by the metric on {chosen}, of which no row has a prediction.",
        f"no stage that `{variant.prediction.name}` is made by has a fit that leaves these rows "
        "out and has rows to learn from",
        (f"cross-fit `{model.name}`, .cross_fit(5), or " if model else "")
        + "choose on a validation part of the split, select_on='validation'; of ordered blocks "
        "choose on later ones.",
        (variant.prediction,),
    )
