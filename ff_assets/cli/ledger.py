"""`ff ledger`: what moved the aliases of a target when, and what was in place at a time."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.cli.project import declared_targets
from ff_assets.cli.registry import gate_table, registry
from ff_assets.core.names import ALIASES
from ff_assets.engine.published import Published, latest, published
from ff_assets.engine.store import Store
from ff_assets.registry import told
from ff_assets.registry.gates import Gate
from ff_assets.registry.move_log import Book, MoveLog
from ff_assets.registry.moves import History, Move, Standing, State
from ff_assets.registry.standing import Reproducible, at, reproducible
from ff_assets.registry.versions import not_registered
from ff_assets.settings import Settings

_COLOURS = {State.MOVED: "green", State.OVERTAKEN: "dim"}


@dataclass(frozen=True)
class LedgerReport:
    """All moves of a target's aliases."""

    target: str
    book: Book

    exit_code = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "aliases": {alias: h.holder for alias, h in self.book.histories.items()},
            "moves": [move.as_dict() for move in self._moves()],
            "damaged": list(self.book.damaged),
        }

    def print(self, console: Console) -> None:
        moves = self._moves()
        if moves:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for name in ("entry", "UTC", "alias", "version", "grade", "who", ""):
                table.add_column(name, no_wrap=name != "")
            for move in moves:
                table.add_row(*_row(move))
            console.print(table)
            console.print()
        for alias, history in self.book.histories.items():
            console.print(f"{alias}: {_holder(history)}")
        if self.book.damaged:
            numbers = ", ".join(map(str, self.book.damaged))
            console.print(
                f"[red]deleted or edited in MLflow:[/] entry {numbers} of {self.target}.moves. "
                "What it said is not known, and what it moved shows as moved outside ff."
            )

    def _moves(self) -> list[Move]:
        moves = [move for history in self.book.histories.values() for move in history.moves]
        return sorted(moves, key=lambda move: move.latest)


def _row(move: Move) -> tuple[str, ...]:
    versions = f"{move.before or 'none'} → {move.after or 'none'}"
    when = f"{move.latest:%Y-%m-%d %H:%M:%S}"
    colour = _COLOURS.get(move.state, "yellow")
    state = "" if move.state == State.MOVED else f"[{colour}]{move.state}[/]: "
    if move.logged is None:
        since = f"after {move.earliest:%Y-%m-%d %H:%M:%S}" if move.earliest else "before the ledger"
        return "", f"≤ {when}", move.alias, versions, "", "?", f"{state}{since}"
    entry = move.logged.entry
    failed = [gate.name for gate in entry.gates if gate.failed]
    about = f"{state}{escape(entry.why)}"
    if entry.kind == "rollback":
        about = f"[bold]back:[/] {about}"
    if failed:
        about += f"\n[yellow]{escape(', '.join(failed))} overridden:[/] {escape(entry.override)}"
    number = str(move.logged.number)
    return number, when, move.alias, versions, entry.grade, escape(entry.who), about


def _holder(history: History) -> str:
    if history.holder is None:
        return "no version"
    effective = history.effective
    logged = effective[-1].logged if effective else None
    since = f" since {_time(logged.when)}" if logged else ", put there outside ff"
    variant = f" {escape(f'({logged.entry.variant})')}" if logged else ""
    return f"[bold]version {history.holder}[/]{variant}{since}"


@dataclass(frozen=True)
class AtReport:
    """What was behind the aliases at a time.

    Attributes:
        versions: number -> whether what it has predicted may be predicted again.
        predictions: number -> alias -> the last ones that it had published by then.
    """

    target: str
    standings: tuple[Standing, ...]
    versions: Mapping[int, Reproducible]
    predictions: Mapping[int, Mapping[str, Published]]

    exit_code = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "at": {
                standing.alias: {
                    "time": standing.time.isoformat(),
                    "versions": list(standing.versions),
                    "since": standing.since.as_dict() if standing.since else None,
                    "until": standing.until.as_dict() if standing.until else None,
                }
                for standing in self.standings
            },
            "reproducible": {
                str(number): {
                    "is_so": found.is_so,
                    "gates": [asdict(gate) for gate in found.gates],
                    "predictions": {
                        alias: {"published_at": made.time.isoformat(), "path": str(made.path)}
                        for alias, made in self.predictions[number].items()
                    },
                }
                for number, found in self.versions.items()
            },
        }

    def print(self, console: Console) -> None:
        for standing in self.standings:
            named = [f"version {v}" if v else "no version" for v in standing.versions]
            console.print(
                f"{standing.alias} at {_time(standing.time)}: [bold]{' or '.join(named)}[/]"
            )
            for word, move in (("since", standing.since), ("until", standing.until)):
                if move is not None:
                    console.print(f"  {word} {_told(move)}", soft_wrap=True)
        for number, found in self.versions.items():
            may = "[green]may be[/]" if found.is_so else "[red]cannot be[/]"
            console.print(f"\npredictions of version {number} {may} made again:")
            console.print(gate_table(found.gates))
            for alias, made in self.predictions[number].items() if found.is_so else ():
                console.print(
                    f"of {_time(made.time)}, made again and compared by: ff replay {self.target} "
                    f"--alias {alias} --version {number} --at {made.time:%Y-%m-%dT%H:%M:%S}",
                    soft_wrap=True,
                )


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _told(move: Move) -> str:
    if move.logged is None:
        earliest = f"between {_time(move.earliest)} and" if move.earliest else "before"
        return f"it was moved outside ff, {earliest} {_time(move.latest)}"
    entry = move.logged.entry
    return f"{_time(move.latest)}, {entry.kind} by {escape(entry.who)}: {escape(entry.why)}"


def tell(target: str, time: datetime | None) -> LedgerReport | AtReport:
    """Read the ledger. Loads neither declarations nor Spark.

    Args:
        time: tell what was in place then; UTC if it has no time zone. `None` for all moves.

    Raises:
        NoVersion: nothing of the target is registered.
        StoreError: the store holds a record that cannot be read.
        MlflowUnavailable: MLflow does not answer.
        ValueError: the time is in the future.
    """
    runs = registry()
    with told(f"the ledger of `{target}` cannot be read.", "see that MLflow answers: ff doctor"):
        book = MoveLog(runs, target).read()
        if not book.registered:
            raise not_registered(runs, target, declared_targets())
        if time is None:
            return LedgerReport(target, book)
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        standings = tuple(at(book, alias, aware) for alias in ALIASES)
        numbers = sorted({v for standing in standings for v in standing.versions if v is not None})
        versions = {number: reproducible(runs, target, number) for number in numbers}
    settings = Settings.load()
    store = Store(settings.store, settings.kept)
    predictions = {number: _predictions(store, target, standings, number) for number in numbers}
    for number, made in predictions.items():
        gates = (*versions[number].gates, *data_left(store, made))
        versions[number] = replace(versions[number], gates=gates)
    return AtReport(target, standings, versions, predictions)


def _predictions(
    store: Store, target: str, standings: tuple[Standing, ...], number: int
) -> dict[str, Published]:
    """Alias -> the last predictions that a version had published behind it."""
    found = {
        each.alias: latest(published(store, target, each.alias, number), each.time)
        for each in standings
        if number in each.versions
    }
    return {alias: made for alias, made in found.items() if made is not None}


def data_left(store: Store, predictions: Mapping[str, Published]) -> list[Gate]:
    """Whether the rows are still stored that predictions were made from."""
    if not predictions:
        return [Gate("data", None, "it had published no predictions by then.")]
    return [_data_of(store, alias, made) for alias, made in predictions.items()]


def _data_of(store: Store, alias: str, made: Published) -> Gate:
    name, made_from = f"data ({alias})", made.made_from
    if not made_from:
        return Gate(name, False, "it is not recorded what its predictions were made from.")
    if gone := dict.fromkeys(source for each in made_from for source in each.gone(store)):
        return Gate(name, False, f"the rows of then are not stored any more: {', '.join(gone)}.")
    if any(each.rows for each in made_from):
        told = "rows came from a `scoring` loader and are not stored; it may still give the same."
        return Gate(name, None, told)
    there = dict.fromkeys(source for each in made_from for source in each.sources)
    return Gate(name, True, f"the rows of then are stored: {', '.join(there)}.")
