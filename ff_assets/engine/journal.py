"""Files of lines that are only ever added to, safe for several processes at once."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def append(path: Path, entry: Mapping[str, Any]) -> list[str]:
    """Add an entry, as one line of JSON; all lines, this one last.

    Args:
        path: from `Store.ledger`.
    """
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        file.seek(0)
        text = file.read()
        torn = text and not text.endswith("\n")  # whoever wrote it was killed
        line = json.dumps(entry)
        file.write(f"\n{line}\n" if torn else f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
    return [*filter(None, text.splitlines()), line]


def entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What lines say; a torn one says nothing."""
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)
