"""The log of a target's alias moves, kept in MLflow's own model registry.

MLflow moves an alias by overwriting it. It has no "move if it is still there", so two people who
promote at the same time would both be told that they did. So the log of `sentiment` is a
registered model `sentiment.moves`, whose versions are in an order that everybody sees alike, see
`log`. An entry's source is the version that the alias was moved to, so that it can be loaded, and
MLflow's UI shows what its description tells.

Only the outcome of an entry is added to it later, as a tag. It confirms what also follows from the
log, see `moves`.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ff_assets.core.names import ALIASES
from ff_assets.registry import MlflowUnavailable
from ff_assets.registry.log import Line, Log
from ff_assets.registry.moves import Entry, History, Logged, State, history
from ff_assets.registry.runs import MlflowRuns

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENTRY_TAG = "ff.move"
ALIAS_TAG = "ff.alias"
OUTCOME_TAG = "ff.outcome"

_ABOUT = (
    "The ledger of `{target}`: each version is a move of one of its aliases, and is never changed. "
    "Read it with `ff ledger {target}`. Please do not delete its versions or edit their tags: the "
    "ledger would show it."
)
_OUTCOMES = {state.value: state for state in (State.MOVED, State.OVERTAKEN, State.UNFINISHED)}
_PAUSE = 0.1  # seconds
_PATIENCE = 30.0  # seconds to wait for a replica of the database to catch up


@dataclass(frozen=True)
class Book:
    """What the log and the aliases say at one time.

    Attributes:
        registered: whether the target has a registered model.
        histories: alias -> all that is known of it.
        damaged: numbers of entries that were deleted or edited in MLflow. The latest entry's
            deletion shows when the next one is there.
        time: when it was read.
    """

    registered: bool
    histories: dict[str, History]
    damaged: tuple[int, ...]
    time: datetime


class MoveLog:
    """The log of one target.

    Every method raises `MlflowUnavailable` if MLflow does not answer.

    Args:
        target: name of the target and of the registered model.
    """

    def __init__(self, runs: MlflowRuns, target: str) -> None:
        self.runs = runs
        self.target = target
        self.name = f"{target}.moves"
        self._log = Log(self.name, _ABOUT.format(target=target), ENTRY_TAG, Entry.from_json)

    def read(self, including: str | None = None) -> Book:
        """The log and the aliases.

        Args:
            including: token of an entry that has to be seen. A server may read from a replica of
                its database, which is a little behind.
        """
        give_up = time.monotonic() + _PATIENCE
        while True:
            with self.runs.asking() as client:
                before = self._aliases(client)
                found = self._log.versions(client)
                aliases = self._aliases(client)
            lines, damaged = self._log.lines(found)
            logged = [_logged(line) for line in lines]
            seen = including is None or any(each.entry.token == including for each in logged)
            if seen and before == aliases:  # else the log may be older or newer than the aliases
                break
            if time.monotonic() > give_up:
                raise MlflowUnavailable(f"{self.name} cannot be read as of one time.")
            time.sleep(_PAUSE)
        now = datetime.now(UTC)
        histories = {
            alias: history(
                alias,
                [e for e in logged if e.entry.alias == alias],
                (aliases or {}).get(alias),
                now,
            )
            for alias in ALIASES
        }
        return Book(aliases is not None, histories, damaged, now)

    def _aliases(self, client: "MlflowClient") -> dict[str, int] | None:
        """Alias -> version; `None` if the target has no registered model."""
        for model in client.search_registered_models(f"name = '{self.target}'"):
            return {alias: int(number) for alias, number in model.aliases.items()}
        return None

    def add(self, entry: Entry, run_id: str) -> None:
        """Put an entry at the end.

        Args:
            run_id: the MLflow run of the version that the alias is to be moved to.
        """
        with self.runs.asking() as client:
            if entry.seen == 0:  # the first of its alias
                self._log.create(client)
            self._log.add(
                client,
                entry.to_json(),
                source=f"models:/{self.target}/{entry.after}",
                run_id=run_id or None,
                tags={ALIAS_TAG: entry.alias},
                description=_described(entry),
            )

    def end(self, logged: Logged, outcome: State) -> None:
        """Note what became of an entry."""
        with self.runs.asking() as client:
            client.set_model_version_tag(self.name, str(logged.number), OUTCOME_TAG, outcome.value)

    def move(self, alias: str, version: int | None) -> None:
        """Move the alias itself."""
        with self.runs.asking() as client:
            if version is None:
                client.delete_registered_model_alias(self.target, alias)
            else:
                client.set_registered_model_alias(self.target, alias, str(version))


def _logged(line: Line[Entry]) -> Logged:
    outcome = line.tags.get(OUTCOME_TAG, "")
    return Logged(line.entry, line.number, line.when, _OUTCOMES.get(outcome))


def _described(entry: Entry) -> str:
    """An entry for MLflow's UI, as Markdown."""
    lines = [
        f"**{entry.alias}: {entry.before or 'none'} → {entry.after}** "
        f"({entry.kind}, {entry.variant}) by {entry.who}",
        entry.why,
    ]
    if entry.override:
        lines.append(f"**Failed gates were overridden:** {entry.override}")
    lines.append(
        "\n".join(
            f"- {'**failed**' if gate.failed else gate.outcome}: {gate.name}: {gate.detail}"
            for gate in entry.gates
        )
    )
    return "\n\n".join(lines)
