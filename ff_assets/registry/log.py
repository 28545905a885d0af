"""Logs that are kept for good: a registered model of MLflow, each version of which is an entry.

What MLflow gives out one at a time are version numbers: the number is part of a primary key, and is
taken in the transaction that inserts the version and all its tags, on every database that MLflow
supports, and so behind its server too. A number of a deleted version is not given out again. So an
entry is complete from the moment it is there, and everybody sees all of them in the same order.
(Tags of one model are no alternative, as they can be overwritten; nor is one registered model per
entry, which MLflow also creates one at a time, as they would bury the models.)
"""

import getpass
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ff_assets.core.certificate import digest
from ff_assets.registry.versions import pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

Entry = TypeVar("Entry")

_DESCRIPTION_LIMIT = 5000  # of MLflow's column


@dataclass(frozen=True)
class Line(Generic[Entry]):
    """An entry in its place.

    Attributes:
        number: its place, counted from 1.
        when: MLflow's time of its arrival. With time zone.
        tags: of the version, also those that were added later.
    """

    entry: Entry
    number: int
    when: datetime
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Log(Generic[Entry]):
    """One log.

    Its methods take a client from `MlflowRuns.asking`, whose block says what went wrong.

    Attributes:
        name: of the registered model. No target's name has a dot, so a dot keeps them apart.
        about: its description, as Markdown.
        tag: in which tag of a version the entry is.
        read: the entry from the text in that tag; raises `ValueError` for what is none.
    """

    name: str
    about: str
    tag: str
    read: Callable[[str], Entry]

    def versions(self, client: "MlflowClient") -> list["ModelVersion"]:
        """All that MLflow has of it."""
        return pages(client.search_model_versions, f"name = '{self.name}'")

    def lines(
        self, versions: Iterable["ModelVersion"]
    ) -> tuple[list[Line[Entry]], tuple[int, ...]]:
        """The entries by number, and the numbers of those that are missing or were edited.

        The deletion of the latest one shows when the next is there.
        """
        found: list[Line[Entry]] = []
        newest = 0
        for version in versions:
            newest = max(newest, int(version.version))
            try:
                entry = self.read(version.tags.get(self.tag, ""))
            except ValueError:
                continue
            when = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
            found.append(Line(entry, int(version.version), when, version.tags))
        found.sort(key=lambda line: line.number)
        numbers = {line.number for line in found}
        return found, tuple(number for number in range(1, newest + 1) if number not in numbers)

    def create(self, client: "MlflowClient") -> None:
        """Make the log, unless it is there; before its first entry."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        try:
            client.create_registered_model(self.name, description=self.about)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise

    def add(
        self,
        client: "MlflowClient",
        text: str,
        *,
        source: str,
        run_id: str | None = None,
        tags: Mapping[str, str],
        description: str,
    ) -> None:
        """Put an entry at the end.

        Args:
            text: what `read` is given.
            source: what it is about, as a URI.
            run_id: the MLflow run of that.
            tags: by which it can be searched for in MLflow.
            description: the same for people, as Markdown; a long one is cut.
        """
        client.create_model_version(
            self.name,
            source=source,
            run_id=run_id,
            tags={self.tag: text, **tags},
            description=description[:_DESCRIPTION_LIMIT],
        )


def sealed(plain: Mapping[str, Any]) -> str:
    """Plain values as one line, with a `digest` that shows an edit; none of them has that name."""
    values = json.loads(json.dumps(plain))
    return json.dumps(values | {"digest": digest(values)})


def unsealed(text: str) -> dict[str, Any]:
    """The values again.

    Raises:
        ValueError: the text is not what `sealed` made.
    """
    try:
        plain: dict[str, Any] = json.loads(text)
        stated = plain.pop("digest")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not an entry: {error}") from error
    if digest(plain) != stated:
        raise ValueError("edited")
    return plain


def user() -> str:
    """Who is at work, for the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"
