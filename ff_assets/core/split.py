"""The project-wide split: every key belongs to one bucket, and a policy maps buckets to cells.

The bucket is `int(sha256(salt + 0x1F + canonical(key)).hexdigest()[:15], 16) % 1000`. It depends
on nothing but salt and key, so it is the same in Spark and in plain Python, on every machine
and for ever, and new rows never move old ones.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ff_assets.core.errors import DefinitionError, Location, caller_location

BUCKETS = 1000
SEPARATOR = "\x1f"
HEX_DIGITS = 15  # 60 bits, which fit into a signed 64-bit integer

CELL = "cell"  # the column that partitions stored tables
TRAIN = "train"
TEST = "test"


def canonical(key: str | int) -> str:
    """The text of a key that is hashed: a string as it is, an integer in decimal.

    Raises:
        ValueError: the key is null.
        TypeError: the key is neither a string nor an integer.
    """
    if key is None:
        raise ValueError("a null key belongs to no bucket")
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise TypeError(f"a key is a string or an integer, not {type(key).__name__}")
    return str(key)


def bucket(key: str | int, salt: str) -> int:
    """The bucket of a key, from 0 to 999."""
    digest = hashlib.sha256((salt + SEPARATOR + canonical(key)).encode()).hexdigest()
    return int(digest[:HEX_DIGITS], 16) % BUCKETS


@dataclass(frozen=True)
class HashSplit:
    """A split policy: which buckets form which cell.

    Args:
        salt: makes the project's split its own. Changing it moves every row.
        cells: cell name -> range of buckets; together they cover 0 to 999, each once.
    """

    salt: str = "ff_assets"
    cells: Mapping[str, range] = field(
        default_factory=lambda: {TRAIN: range(800), TEST: range(800, BUCKETS)}
    )
    location: Location = field(default_factory=caller_location, compare=False, repr=False)

    def __post_init__(self) -> None:
        ranges = [r for r in self.cells.values() if isinstance(r, range) and r.step > 0]
        buckets = sorted(position for r in ranges for position in r)
        if set(self.cells) != {TRAIN, TEST} or buckets != list(range(BUCKETS)):
            raise DefinitionError(
                "the split policy does not divide the buckets into train and test.",
                where=[("HashSplit(...)", self.location)],
                why=f"its cells are {dict(self.cells)}.",
                fix=f"give {TRAIN!r} and {TEST!r} ascending ranges that together cover 0 to "
                f"{BUCKETS - 1}, each once.",
            )

    def cell(self, key: str | int) -> str:
        """The cell of a key."""
        position = bucket(key, self.salt)
        return next(name for name, buckets in self.cells.items() if position in buckets)

    def describe(self) -> dict[str, object]:
        """The policy as plain values, for fingerprints and metadata."""
        return {
            "policy": "sha256",
            "salt": self.salt,
            "cells": {name: [r.start, r.stop, r.step] for name, r in self.cells.items()},
        }
