"""What the algebra says against values that are read on a part of the data."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from ff_assets.core import leak_refusals as found
from ff_assets.core.buckets import ALL
from ff_assets.core.influence import path_to, upstream
from ff_assets.core.instance import Instance
from ff_assets.core.leak_refusals import Choice, Finding, Judged
from ff_assets.core.leakage import NOTHING, Provenance, on
from ff_assets.core.ledger import Ledger, day_of, pretrained
from ff_assets.core.policy import LeakPolicy
from ff_assets.core.split import Space, TimeSplit


class Read(NamedTuple):
    """Values of an instance on some rows, as a bitmap of buckets."""

    instance: Instance
    rows: int


class Leaks:
    """Finds what was learned from the rows of a part, or later than it.

    Args:
        ledger: the provenance of all instances.
        policy: how strict the project is.
    """

    def __init__(self, ledger: Ledger, policy: LeakPolicy) -> None:
        self.ledger = ledger
        self.policy = policy

    @property
    def is_transductive(self) -> bool:
        """Whether features, though no label, of evaluated rows may be learned from."""
        return self.policy.transductive == "warn"

    def learned(self, read: Sequence[Read]) -> Provenance:
        """What has influenced some values, taken together."""
        joined = NOTHING
        for instance, rows in read:
            joined |= on(self.ledger[instance].pieces, rows)
        return joined

    def of(self, judged: Judged, read: Sequence[Read], cell: str, rows: int) -> Iterator[Finding]:
        """What is found about the rows of a part.

        Args:
            judged: what is made of the values: an output, or the choice of a champion.
            read: the values.
            cell: the part.
            rows: its buckets.
        """
        variant = judged.variant
        space = variant.split.space(variant.entity)
        provenance = self.learned(read)
        if provenance.is_unknown:
            path = self._trace(read, lambda p: p.is_unknown)
            yield found.unknown(judged, cell, path)
            return
        if provenance.attested:
            yield from _attested(judged, read, cell)
        roots = {entity.name for entity in variant.entity.chain}
        for other in provenance.everywhere.buckets:
            if other != space:
                path = self._trace(read, partial(_reads_space, other))
                related = other.root in roots
                yield found.incomparable(judged, cell, path, other, related=related)
        labels = provenance.labels.within(space, rows)
        features = provenance.features.within(space, rows)
        if labels or features:
            yield self._overlap(judged, read, cell, rows, labels or features, labels=bool(labels))
        elif isinstance(variant.split, TimeSplit):
            latest = provenance.latest
            yield from self._anticipated(judged, read, cell, rows, latest, variant.split)

    def _trace(
        self, read: Sequence[Read], is_bad: Callable[[Provenance], object], *, trained: bool = True
    ) -> tuple[Instance, ...]:
        for instance, rows in read:
            available = rows & instance.available
            if path := self.ledger.trace(instance, available, is_bad, trained=trained):
                return path
        return ()

    def _overlap(
        self,
        judged: Judged,
        read: Sequence[Read],
        cell: str,
        rows: int,
        seen: int,
        *,
        labels: bool,
    ) -> Finding:
        split = judged.variant.split
        space = split.space(judged.variant.entity)

        def reads(provenance: Provenance) -> int:
            channel = provenance.labels if labels else provenance.features
            return channel.within(space, rows)

        applied = self._trace(read, reads, trained=False)
        path = applied or self._trace(read, reads)
        if not labels and self.is_transductive:
            return found.transductive(judged, cell, path, seen)
        if isinstance(judged, Choice):
            return found.overlap_of_choice(judged, cell, path, seen, labels=labels)
        own = bool(applied) or cell in split.cells
        return found.overlap(judged, cell, path, seen, labels=labels, own=own)

    def _anticipated(
        self,
        judged: Judged,
        read: Sequence[Read],
        cell: str,
        rows: int,
        latest: int | None,
        split: TimeSplit,
    ) -> Iterator[Finding]:
        """Fits on what came after the part began, and labels that were known only then."""
        first = (rows & -rows).bit_length() - 1
        begin = day_of(split, first)
        first_day = date.fromordinal(begin)
        earlier = (1 << first) - 1
        space = split.space(judged.variant.entity)

        def later(p: Provenance) -> bool:
            seen = p.everywhere.within(space, ALL & ~earlier)
            return bool(seen) or (p.attested and late(p))

        def late(p: Provenance) -> bool:
            return p.latest is not None and p.latest >= begin

        if path := self._trace(read, later):
            yield found.future(judged, cell, path, first_day)
        elif latest is not None and (path := self._trace(read, late)):
            delay = self.ledger.label_delay(path[0]) or 0
            known = date.fromordinal(latest)
            yield found.embargo(judged, cell, path, delay, known, first_day)


def _attested(judged: Judged, read: Sequence[Read], cell: str) -> Iterator[Finding]:
    for each in read:
        behind = upstream(each.instance)
        for instance in behind:
            operation = pretrained(instance)
            if operation and operation.attested:
                path, statement = path_to(behind, instance), operation.attested.statement
                yield found.attested(judged, cell, path, statement)


def _reads_space(space: Space, provenance: Provenance) -> bool:
    return space in provenance.everywhere.buckets
