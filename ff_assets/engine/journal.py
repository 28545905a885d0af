"""Files of lines that are only ever added to, safe for several processes at once."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


class Journal:
    """A file of lines that nobody else adds to meanwhile."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def add(self, entry: Mapping[str, Any]) -> list[str]:
        """Add an entry, as one line of JSON; all lines, this one last."""
        self._file.seek(0)
        text = self._file.read()
        torn = text and not text.endswith("\n")  # whoever wrote it was killed
        line = json.dumps(entry)
        self._file.write(f"\n{line}\n" if torn else f"{line}\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return [*filter(None, text.splitlines()), line]


@contextmanager
def locked(path: Path) -> Iterator[Journal]:
    """A file of lines, for the length of a `with` block that looks before it adds to it.

    Args:
        path: from `Store.journal`.
    """
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield Journal(file)


def append(path: Path, entry: Mapping[str, Any]) -> list[str]:
    """Add an entry to a file of lines, as `Journal.add` does.

    Args:
        path: from `Store.journal`.
    """
    with locked(path) as journal:
        return journal.add(entry)


def entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What lines say; a torn one says nothing."""
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)
