"""Moving an alias: `promote` and `rollback`, each of which leaves an entry in the target's log.

The order makes it safe. First the wish is put into the log; then the log is read again, which says
whether somebody else came first; then the alias is moved; then the log is read once more. Somebody
who took this process for dead may have moved the alias in the meantime, and this one have moved it
back: then their version is put in its place. Last, the entry is marked as done. A process that ends
anywhere on the way leaves a log that says how far it came.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from ff_assets.core.names import ALIASES
from ff_assets.registry import RegistryError, told
from ff_assets.registry.gates import Check, Gate, certified, compatible, complete
from ff_assets.registry.log import user
from ff_assets.registry.move_log import Book, MoveLog
from ff_assets.registry.moves import UNDER_WAY_FOR, Entry, History, Kind, Logged, State
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.versions import Version, find_one, get_version, not_registered


class NotMoved(RegistryError):
    """There is nothing to move, or a reason is missing."""


class GateFailed(RegistryError):
    """A version did not pass all gates.

    Attributes:
        gates: all that were looked at.
    """

    gates: tuple[Gate, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"gates": [vars(gate) for gate in self.gates]}


class Overtaken(RegistryError):
    """Somebody else moves the alias at this time, or was first."""


@dataclass(frozen=True)
class Moved:
    """An alias that was moved.

    Attributes:
        logged: the entry that tells of it.
        notes: what else was found, as sentences: unfinished moves, moves outside the project.
    """

    target: str
    logged: Logged
    notes: tuple[str, ...]


def promote(
    runs: MlflowRuns,
    target: str,
    alias: str,
    *,
    why: str,
    variant: str | None = None,
    version: int | None = None,
    gates: Sequence[Gate | Check] = (),
    given: Mapping[str, str | None] | None = None,
    override: str = "",
    who: str | None = None,
) -> Moved:
    """Move an alias of a target to a version, if that passes its gates.

    Args:
        alias: `staging` or `production`.
        why: the reason, for the ledger.
        variant: of which the newest version is meant; it may be left out if there is one only.
        version: the number of the version that is meant.
        gates: beside those that always are: certificate, files, signature.
        given: what scoring gives, see `gates.compatible`.
        override: why it is right although a gate failed; empty to refuse then.
        who: whoever does it; the user of the operating system if left out.

    Raises:
        NoVersion: no version could be meant.
        GateFailed: names the gates. Nothing was moved.
        Overtaken: somebody else was first. Nothing was moved.
        NotMoved: the version has the alias already, or there is no reason.
        MlflowUnavailable: MLflow stopped to answer; says how far it came.
    """
    _sensible(alias, why)
    log = MoveLog(runs, target)
    with told(f"{alias} of `{target}` was not moved: MLflow cannot be read.", _ANEW):
        candidate = find_one(runs, target, variant, version)
        book = log.read()
        history = _free(log, book, alias)
        if history.holder == candidate.number:
            raise NotMoved(
                f"{candidate.name} is in {alias} already.",
                fix=f"`ff ledger {target}` tells since when.",
            )
        holder = None if history.holder is None else get_version(runs, target, history.holder)
        found = [certified(candidate), complete(candidate)]
        found += [
            gate if isinstance(gate, Gate) else gate(candidate, holder)
            for gate in (compatible(given), *gates)
        ]
    overridden = _pass(candidate, alias, found, override)
    return _carry_out(log, history, candidate, Kind.PROMOTION, why, who, found, overridden)


def rollback(
    runs: MlflowRuns,
    target: str,
    alias: str = "production",
    *,
    why: str,
    who: str | None = None,
) -> Moved:
    """Move an alias back to the version that it had before, however it came to the present one.

    Another rollback goes one step further back. A version that goes back was let in before, and
    there may be no time to argue: gates are looked at and recorded, and only a model whose files
    are gone is refused.

    Raises:
        NotMoved: there is nothing to go back to, or no reason.
        Overtaken: somebody else was first. Nothing was moved.
        MlflowUnavailable: MLflow stopped to answer; says how far it came.
    """
    _sensible(alias, why)
    log = MoveLog(runs, target)
    with told(f"{alias} of `{target}` was not moved: MLflow cannot be read.", _ANEW):
        history = _free(log, log.read(), alias)
        if history.previous is None:
            raise NotMoved(
                f"there is nothing that {alias} of `{target}` could go back to.",
                why="the ledger knows of no version that it had before"
                + (f" version {history.holder}." if history.holder else "."),
                fix=f"choose a version: ff promote {target} --version N --to {alias}",
            )
        candidate = get_version(runs, target, history.previous)
        if candidate is None or not candidate.has_files:
            raise NotMoved(
                f"{alias} of `{target}` cannot go back to version {history.previous}.",
                why="it was deleted in MLflow."
                if candidate is None
                else f"its files are gone from {candidate.source}.",
                fix=f"choose another: ff promote {target} --version N --to {alias}",
            )
        found = [certified(candidate), complete(candidate)]
    failed = any(gate.failed for gate in found)
    overridden = "a rollback does not wait for gates." if failed else ""
    return _carry_out(log, history, candidate, Kind.ROLLBACK, why, who, found, overridden)


_ANEW = "see that MLflow answers, and run the command again."


def _sensible(alias: str, why: str) -> None:
    if alias not in ALIASES:
        raise NotMoved(
            f"there is no alias `{alias}`.",
            why="jobs read " + " and ".join(ALIASES) + ".",
            fix="choose one of them.",
        )
    if not why.strip():
        raise NotMoved(
            f"a move of {alias} needs a reason.",
            why="whoever reads the ledger in a year will ask for it.",
            fix='--reason "better on the reviews of June"',
        )


def _free(log: MoveLog, book: Book, alias: str) -> History:
    """The history of an alias that nobody else is moving right now."""
    if not book.registered:
        raise not_registered(log.runs, log.target)
    history = book.histories[alias]
    move = history.under_way
    if move is not None and move.logged is not None:
        entry = move.logged.entry
        raise Overtaken(
            f"{entry.who} is moving {alias} of `{log.target}` to version {entry.after}.",
            why=f"entry {move.logged.number} of the ledger, of {move.latest:%H:%M:%S} UTC, is not "
            f"done: {entry.why}",
            fix="look at the ledger, and decide anew. If that process is dead, it stands in "
            f"nobody's way {UNDER_WAY_FOR.seconds} s after it began.",
        )
    return history


def _pass(candidate: Version, alias: str, gates: Sequence[Gate], override: str) -> str:
    """Why failed gates are passed over; empty if none failed."""
    failed = [gate for gate in gates if gate.failed]
    final = [gate for gate in failed if not gate.overridable]
    if not failed or (override.strip() and not final):
        return override.strip() if failed else ""
    names = " and ".join(gate.name for gate in failed)
    if final and override.strip():
        fix = (
            f"no reason can stand in for {' and '.join(gate.name for gate in final)}: what it "
            "would have to be weighed against is not known. "
        )
    else:
        fix = ""
    if final:
        fix += (
            f"delete {candidate.name} in MLflow, and ff run {candidate.target} registers it anew; "
            "what is complete is reused. Where a metric is not honest, ff check tells why."
        )
    else:
        fix += 'promote another version, or give a reason that is kept: --override "..."'
    error = GateFailed(
        f"{candidate.name} ({candidate.variant}) did not pass into {alias}: {names}.",
        why="\n".join(f"{gate.name}: {gate.detail}" for gate in failed),
        fix=fix,
    )
    error.gates = tuple(gates)
    raise error


def _carry_out(
    log: MoveLog,
    history: History,
    candidate: Version,
    kind: Kind,
    why: str,
    who: str | None,
    gates: Sequence[Gate],
    override: str,
) -> Moved:
    entry = Entry(
        kind=kind,
        alias=history.alias,
        before=history.holder,
        after=candidate.number,
        variant=candidate.variant,
        who=who or user(),
        why=why.strip(),
        certificate=candidate.digest,
        grade=candidate.grade,
        gates=tuple(gates),
        override=override,
        seen=history.seen,
        token=uuid4().hex,
    )
    aim = f"{entry.alias} of `{log.target}`"
    look = f"when MLflow answers again, `ff ledger {log.target}` tells, and the next move mends it."
    with told(f"{aim} was not moved; whether its ledger has an entry of it is not known.", look):
        log.add(entry, candidate.run_id)
        logged = _first(log, entry)
    with told(f"it is not known whether {aim} was moved to version {entry.after}.", look):
        log.move(entry.alias, entry.after)
    with told(f"{aim} was moved to version {entry.after}; its ledger does not yet say so.", look):
        _stay(log, logged)
        log.end(logged, State.MOVED)
        if history.last is not None and history.last.outcome is None:
            before = history.of(history.last.number)
            assert before is not None
            log.end(history.last, before.state)
    return Moved(log.target, replace(logged, outcome=State.MOVED), tuple(_notes(history)))


def _first(log: MoveLog, entry: Entry) -> Logged:
    """The entry in the log, if nobody else had the right to move the alias since it was looked at.

    Raises:
        Overtaken: somebody had, or has moved it outside the project.
    """
    history = log.read(including=entry.token).histories[entry.alias]
    mine = next(
        move.logged
        for move in history.moves
        if move.logged is not None and move.logged.entry.token == entry.token
    )
    assert history.last is not None
    if history.last == mine and history.holder == entry.before:
        return mine
    log.end(mine, State.OVERTAKEN)
    if history.last != mine:
        raise _overtaken(log, history.last, "was first")
    raise Overtaken(
        f"{entry.alias} of `{log.target}` was moved outside ff at this moment.",
        why=f"it was at version {entry.before}, and is at version {history.holder} now.",
        fix="look at the ledger, and decide anew.",
    )


def _stay(log: MoveLog, mine: Logged) -> None:
    """See that the alias was moved before anybody else went on.

    Raises:
        Overtaken: it was not. What they wanted is put in place again.
    """
    put: int | None = None
    while True:
        history = log.read(including=mine.entry.token).histories[mine.entry.alias]
        move, last = history.of(mine.number), history.last
        assert move is not None
        assert last is not None
        if last.number == mine.number or move.state == State.MOVED:
            return
        if put == last.number:
            raise _overtaken(log, last, "took this process for dead")
        withdrawn = last.outcome == State.OVERTAKEN
        log.move(mine.entry.alias, last.entry.before if withdrawn else last.entry.after)
        put = last.number


def _overtaken(log: MoveLog, by: Logged, how: str) -> Overtaken:
    entry = by.entry
    return Overtaken(
        f"{entry.who} {how} and moved {entry.alias} of `{log.target}` to version {entry.after}.",
        why=f"entry {by.number} of the ledger came in between: {entry.why}",
        fix="look at the ledger, and decide anew: the gates of this move compared with a version "
        "that is no longer the one in place.",
    )


def _notes(history: History) -> Iterator[str]:
    """What a person should know of an alias before it moves again."""
    last = history.moves[-1] if history.moves else None
    if history.last is not None and history.last.outcome is None:
        entry, number = history.last.entry, history.last.number
        move = history.of(number)
        assert move is not None
        if move.state == State.MOVED:
            yield f"entry {number}, by {entry.who}, had moved the alias and ended; it is noted now."
        else:
            yield f"entry {number}, by {entry.who}, ended before it had moved the alias."
    if last is not None and last.state == State.OUTSIDE:
        since = f"after {last.earliest:%Y-%m-%d %H:%M} UTC" if last.earliest else "before that"
        yield (
            f"{history.alias} had been moved from {last.before or 'none'} to "
            f"{last.after or 'none'} outside ff, {since}."
        )
