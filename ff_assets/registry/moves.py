"""What moved an alias when, told from the entries of its log: pure data, without MLflow.

A target's log is a list of entries that is only ever added to. An entry is one wish to move one
alias, numbered by MLflow, with the number of the latest entry that its author had seen. That is
enough to tell, from the log alone and alike for everybody, who was first: an entry has the right
to move the alias unless another that had it came in between, unseen. Which of the entries *did*
move it follows from what the next one found there, or from where the alias is now. So does a move
that was made outside the project, such as by hand in MLflow's UI: it is in nobody's entry.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from ff_assets.core.durations import meant
from ff_assets.registry.gates import Gate
from ff_assets.registry.log import sealed, unsealed

UNDER_WAY_FOR = timedelta(minutes=1)
"""How long an entry without an end is taken for the work of a process that is still alive.

Too short or a wrong clock does no harm, as whoever moves an alias looks again afterwards.
"""


class State(StrEnum):
    """What became of an entry."""

    MOVED = "moved"
    OVERTAKEN = "overtaken"  # somebody else moved the alias first
    UNDER_WAY = "under way"
    UNFINISHED = "never finished"  # its process ended before it moved the alias
    OUTSIDE = "moved outside ff"


class Kind(StrEnum):
    """Why an alias was to be moved."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Entry:
    """A wish to move an alias, as it was put into the log before anything was moved.

    Attributes:
        kind: whether it goes on, or back.
        alias: `staging` or `production`.
        before: the version that its author found behind the alias; `None` for none.
        after: the version that the alias was to be moved to.
        variant: of which `after` is a version.
        who: the person, or what acted for one.
        why: the reason they gave.
        certificate: the digest of the certificate of `after`; empty without one.
        grade: of that certificate.
        gates: what was looked at, and how it came out.
        override: why failed gates were passed over; empty if none was.
        seen: number of the latest entry that its author had seen, 0 for none.
        token: names the entry, so that it is known again if MLflow's answer got lost.
    """

    kind: Kind
    alias: str
    before: int | None
    after: int
    variant: str
    who: str
    why: str
    certificate: str
    grade: str
    gates: tuple[Gate, ...]
    override: str
    seen: int
    token: str

    def to_json(self) -> str:
        """One line, with a digest that shows an edit."""
        return sealed(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Entry":
        """The entry again.

        Raises:
            ValueError: the text is not what `to_json` made.
        """
        plain = unsealed(text)
        try:
            gates = tuple(Gate(**gate) for gate in plain["gates"])
            return cls(**plain | {"kind": Kind(plain["kind"]), "gates": gates})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an entry: {error}") from error


@dataclass(frozen=True)
class Logged:
    """An entry in the log.

    Attributes:
        number: its place, counted from 1 per target.
        when: MLflow's time of its arrival, shortly before the alias moved. With time zone.
        outcome: what its author, or who came next, added at the end; `None` if nobody has.
    """

    entry: Entry
    number: int
    when: datetime
    outcome: State | None


@dataclass(frozen=True)
class Move:
    """A move of an alias, or the attempt.

    Attributes:
        before, after: versions; `None` for none.
        state: what became of it.
        earliest, latest: when it was. The same time if the log says it; of a move outside, the
            bounds that are known.
        logged: its entry; `None` for a move outside.
    """

    alias: str
    before: int | None
    after: int | None
    state: State
    earliest: datetime | None
    latest: datetime
    logged: Logged | None = None

    @classmethod
    def of(cls, logged: Logged, state: State) -> "Move":
        entry, when = logged.entry, logged.when
        return cls(entry.alias, entry.before, entry.after, state, when, when, logged)

    @property
    def effective(self) -> bool:
        """Whether the alias is known to have moved."""
        return self.state in (State.MOVED, State.OUTSIDE)

    def as_dict(self) -> dict[str, Any]:
        entry: Mapping[str, Any] = asdict(self.logged.entry) if self.logged else {}
        told = ("kind", "variant", "who", "why", "certificate", "grade", "gates", "override")
        return {
            "number": self.logged.number if self.logged else None,
            "alias": self.alias,
            "state": self.state.value,
            "from": self.before,
            "to": self.after,
            "earliest": self.earliest.isoformat() if self.earliest else None,
            "latest": self.latest.isoformat(),
            **{name: entry.get(name) for name in told},
        }


@dataclass(frozen=True)
class History:
    """All that is known of one alias.

    Attributes:
        holder: the version that is behind it now; `None` for none.
        moves: oldest first, with attempts.
        last: the latest entry that had the right to move it; whoever has seen this one may add
            the next.
    """

    alias: str
    holder: int | None
    moves: tuple[Move, ...]
    last: Logged | None

    @property
    def seen(self) -> int:
        return 0 if self.last is None else self.last.number

    @cached_property
    def effective(self) -> tuple[Move, ...]:
        """The moves that happened, oldest first."""
        return tuple(move for move in self.moves if move.effective)

    def of(self, number: int) -> Move | None:
        """What became of the entry of this number."""
        return next((m for m in self.moves if m.logged and m.logged.number == number), None)

    @property
    def under_way(self) -> Move | None:
        return next((move for move in self.moves if move.state == State.UNDER_WAY), None)

    @property
    def previous(self) -> int | None:
        """The version that a rollback goes to; `None` if there is none.

        Each rollback goes one step further back, and none goes forward again to a version that
        was rolled back from.
        """
        steps: list[int | None] = []
        for move in self.effective:
            if not steps and move.before is not None:
                steps.append(move.before)
            back = move.logged is not None and move.logged.entry.kind == Kind.ROLLBACK
            if back and move.after in steps:
                while steps[-1] != move.after:
                    steps.pop()
            else:
                steps.append(move.after)
        earlier = [version for version in steps[:-1] if version is not None]
        return earlier[-1] if earlier else None


def history(alias: str, log: Iterable[Logged], holder: int | None, now: datetime) -> History:
    """Tell what happened to an alias.

    Args:
        log: its entries by number.
        holder: the version behind it now.
        now: the time at which that was looked up.
    """
    moves: list[Move] = []
    late: list[Move] = []  # they come after `last`, of which it is not yet known what became
    last: Logged | None = None
    standing: int | None = None
    for logged in log:
        if last is not None and logged.entry.token == last.entry.token:
            continue  # MLflow was asked again after its first answer got lost
        if last is not None and logged.entry.seen < last.number:
            late.append(Move.of(logged, State.OVERTAKEN))
            continue
        ended = list(_end(alias, last, standing, logged.entry.before, logged.when))
        moves += [*ended[:1], *late, *ended[1:]] if last is not None else ended
        standing, last, late = logged.entry.before, logged, []
    ended = list(_end(alias, last, standing, holder, now, is_last=True))
    moves += [*ended[:1], *late, *ended[1:]] if last is not None else ended
    return History(alias, holder, tuple(moves), last)


def _end(
    alias: str,
    last: Logged | None,
    standing: int | None,
    found: int | None,
    until: datetime,
    is_last: bool = False,
) -> Iterator[Move]:
    """What became of an entry, by what was found behind the alias later; then what is left over."""
    if last is not None:
        if last.outcome is not None:
            state = last.outcome
        elif found == last.entry.after:
            state = State.MOVED
        elif is_last and until - last.when < UNDER_WAY_FOR:
            state = State.UNDER_WAY
        else:
            state = State.UNFINISHED
        yield Move.of(last, state)
        if state == State.MOVED:
            standing = last.entry.after
    if found != standing:
        since = last.when if last is not None else None
        yield Move(alias, standing, found, State.OUTSIDE, since, until)


@dataclass(frozen=True)
class Standing:
    """Which version was behind an alias at some time.

    Attributes:
        time: the time that is asked for.
        versions: the one, `None` for none; two if the alias was moved outside the project and the
            time is within the bounds that are known of that.
        since: the move that put it there; `None` if nothing had.
        until: the next one; `None` if it is there still.
    """

    alias: str
    time: datetime
    versions: tuple[int | None, ...]
    since: Move | None
    until: Move | None


def standing(history: History, time: datetime) -> Standing:
    """Which version was behind an alias at a time that is past."""
    by = meant(time)
    before: list[Move] = []
    after: list[Move] = []
    for move in history.effective:
        begun = move.earliest is None or move.earliest <= by
        (before if begun and not after else after).append(move)
    since = before[-1] if before else None
    until = after[0] if after else None
    if since is None:
        return Standing(history.alias, time, (None,), None, until)
    versions = (since.before, since.after) if by < since.latest else (since.after,)
    return Standing(history.alias, time, versions, since, until)
