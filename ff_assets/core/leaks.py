"""What the algebra says against what was learned from the rows of a part, or later than it."""

from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from typing import NamedTuple

from ff_assets.core import leak_refusals as found
from ff_assets.core.accounts import Accounts, pretrained
from ff_assets.core.influence import path_to, upstream
from ff_assets.core.instance import Instance
from ff_assets.core.leak_refusals import Finding, Judged
from ff_assets.core.leakage import NOTHING, Provenance, on
from ff_assets.core.policy import LeakPolicy
from ff_assets.core.requested import Part
from ff_assets.core.split import Space


class Read(NamedTuple):
    """Values of an instance on some rows, as a bitmap of buckets."""

    instance: Instance
    rows: int


class Learned(NamedTuple):
    """All that something has learned.

    Attributes:
        read: the values that it is made of.
        own: what it has learned itself, as a fit does.
    """

    read: tuple[Read, ...] = ()
    own: Provenance = NOTHING


class Leaks:
    """Finds what was learned from the rows of a part, or later than it.

    Args:
        accounts: the provenance of all instances.
        policy: how strict the project is.
    """

    def __init__(self, accounts: Accounts, policy: LeakPolicy) -> None:
        self.accounts = accounts
        self.policy = policy

    def provenance(self, learned: Learned) -> Provenance:
        """The provenance of all of it together."""
        joined = learned.own
        for instance, rows in learned.read:
            joined |= on(self.accounts[instance].pieces, rows)
        return joined

    def of(self, judged: Judged, learned: Learned, part: Part) -> Iterator[Finding]:
        """What is found about the rows of a part."""
        provenance = self.provenance(learned)
        if provenance.is_unknown:
            path = self.trace(learned, lambda p: p.is_unknown)
            yield found.unknown(judged, part.name, path or ())
            return
        if provenance.attested:
            yield from _attested(judged, learned, part)
        roots = {entity.name for entity in part.variant.entity.chain}
        for other in provenance.everywhere.buckets:
            if other != part.space:
                path = self.trace(learned, partial(_reads_space, other))
                related = other.root in roots
                yield found.incomparable(judged, part.name, path or (), other, related=related)
        finding = self.overlap(judged, learned, part)
        if finding is not None:
            yield finding
            if finding.code != found.TRANSDUCTIVE:
                return  # its rows are part of what is anticipated
        yield from self.anticipated(judged, learned, part, forgiven=finding is not None)

    def overlap(self, judged: Judged, learned: Learned, part: Part) -> Finding | None:
        """The rows of the part that were read; a warning if the policy forgives it."""
        provenance = self.provenance(learned)
        labels = bool(provenance.labels.within(part.space, part.rows))

        def reads(provenance: Provenance) -> int:
            channel = provenance.labels if labels else provenance.features
            return channel.within(part.space, part.rows)

        seen = reads(provenance)
        if not seen:
            return None
        applied = self.trace(learned, reads, trained=False)
        path = (self.trace(learned, reads) if applied is None else applied) or ()
        if not labels and self.policy.transductive == "warn":
            return found.transductive(judged, part.name, path, seen)
        own = applied is not None or part.name in part.variant.split.cells
        return judged.overlap(part.name, path, seen, labels=labels, own=own)

    def trace(
        self, learned: Learned, is_bad: Callable[[Provenance], object], *, trained: bool = True
    ) -> tuple[Instance, ...] | None:
        """The shortest path from what is to blame; empty if it is what was learned itself."""
        if is_bad(learned.own):
            return ()
        for instance, rows in learned.read:
            available = rows & instance.available
            if path := self.accounts.trace(instance, available, is_bad, trained=trained):
                return path
        return None

    def anticipated(
        self, judged: Judged, learned: Learned, part: Part, *, forgiven: bool
    ) -> Iterator[Finding]:
        """Fits on what came after the part began, and labels that were known only then.

        Args:
            forgiven: whether features of its rows, though no labels, have been read and may be.
        """
        if part.begin is None:
            return
        rows = part.since & ~part.rows if forgiven else part.since

        def later(provenance: Provenance) -> bool:
            seen = provenance.everywhere.within(part.space, rows)
            return bool(seen) or part.is_stated(provenance)

        first = date.fromordinal(part.begin)
        path = self.trace(learned, later)
        if path is not None:
            yield judged.future(part.name, path, first)
            return
        latest = self.provenance(learned).latest
        if latest is None or latest < part.begin:
            return
        path = self.trace(learned, lambda p: p.latest == latest)
        if path is not None:
            delay = (self.accounts.label_delay(path[0]) if path else None) or 0
            yield judged.embargo(part.name, path, delay, date.fromordinal(latest), first)


def _attested(judged: Judged, learned: Learned, part: Part) -> Iterator[Finding]:
    for each in learned.read:
        behind = upstream(each.instance)
        for instance in behind:
            operation = pretrained(instance)
            if operation and operation.attested:
                path, statement = path_to(behind, instance), operation.attested.statement
                yield found.attested(judged, part.name, path, statement)


def _reads_space(space: Space, provenance: Provenance) -> bool:
    return space in provenance.everywhere.buckets
