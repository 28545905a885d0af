"""The log of a target's alias moves, kept in MLflow's own model registry.

MLflow moves an alias by overwriting it. It has no "move if it is still there", so two people who
promote at the same time would both be told that they did. What MLflow does give out one at a time
are version numbers: the number is part of a primary key, and is taken in the transaction that
inserts the version and all its tags, on every database that MLflow supports, and so behind its
server too. A number of a deleted version is not given out again. So the log of `sentiment` is a
registered model `sentiment.moves`: each entry is a version of it, complete from the moment it is
there, in an order that everybody sees alike. (Tags are no alternative, as they are overwritten like
aliases; nor is one registered model per entry, which MLflow also creates one at a time, as they
would bury the models.) An entry's source is the version that the alias was moved to, so that it
can be loaded, and MLflow's UI shows what its description tells.

Only the outcome of an entry is added to it later, as a tag. It confirms what also follows from the
log, see `moves`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ff_assets.registry import MlflowUnavailable
from ff_assets.registry.moves import Entry, History, Logged, State, history
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.versions import pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIASES = ("production", "staging")
ENTRY_TAG = "ff.move"
ALIAS_TAG = "ff.alias"
OUTCOME_TAG = "ff.outcome"

_DESCRIPTION_LIMIT = 5000  # of MLflow's column
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
        self.name = f"{target}.moves"  # no target's name has a dot

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
                found = pages(client.search_model_versions, f"name = '{self.name}'")
                aliases = self._aliases(client)
            logged, damaged = _entries(found)
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
                self._create(client)
            client.create_model_version(
                self.name,
                source=f"models:/{self.target}/{entry.after}",
                run_id=run_id or None,
                tags={ENTRY_TAG: entry.to_json(), ALIAS_TAG: entry.alias},
                description=_described(entry)[:_DESCRIPTION_LIMIT],
            )

    def _create(self, client: "MlflowClient") -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        try:
            client.create_registered_model(self.name, description=_ABOUT.format(target=self.target))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise

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


def _entries(found: list["ModelVersion"]) -> tuple[list[Logged], tuple[int, ...]]:
    """The entries by number, and the numbers of those that are missing or were edited."""
    logged: list[Logged] = []
    for version in found:
        try:
            entry = Entry.from_json(version.tags.get(ENTRY_TAG, ""))
        except ValueError:
            continue
        when = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        outcome = version.tags.get(OUTCOME_TAG, "")
        logged.append(Logged(entry, int(version.version), when, _OUTCOMES.get(outcome)))
    logged.sort(key=lambda each: each.number)
    numbers = {each.number for each in logged}
    newest = max((int(version.version) for version in found), default=0)
    return logged, tuple(number for number in range(1, newest + 1) if number not in numbers)


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
            f"- {'passed' if gate.passed else '**failed**'}: {gate.name}: {gate.detail}"
            for gate in entry.gates
        )
    )
    return "\n\n".join(lines)


@contextmanager
def told(what: str, fix: str) -> Iterator[None]:
    """Say what it means here that MLflow does not answer.

    Args:
        what: what is done and what is not, as a sentence.
        fix: what to do about it.
    """
    try:
        yield
    except MlflowUnavailable as error:
        raise MlflowUnavailable(what, why=error.why or error.what, fix=fix) from error
