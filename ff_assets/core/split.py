"""Split policies: every row belongs to one bucket, and a policy maps buckets to cells.

By default a row's bucket comes from the key of its root entity:
`int(sha256(salt + 0x1F + canonical(key)).hexdigest()[:15], 16) % 1000`. It depends on nothing but
salt and key, so it is the same in Spark and in plain Python, on every machine and for ever, and
new rows never move old ones. A time split takes the day of the row's event instead.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from ff_assets.core.buckets import BUCKETS, bitmap
from ff_assets.core.cells import TEST, TRAIN, VALIDATION
from ff_assets.core.durations import duration
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, Location, caller_location

SEPARATOR = "\x1f"
HEX_DIGITS = 15  # 60 bits, which fit into a signed 64-bit integer
CUTOFF_BUCKET = 500  # of a time split: the cutoff's day, with as many days before as after it


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


class Space(NamedTuple):
    """What makes buckets comparable: equal numbers mean the same rows only within one space.

    Attributes:
        root: the entity whose keys are hashed; empty for time, which all entities share.
        axis: the salt of the hash, or the cutoff that days are counted from.
    """

    root: str
    axis: str


class _Policy(ABC):
    """What split policies have in common: two that divide rows alike are equal.

    In which words they were declared does not count, nor the order of their cells.
    """

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """The policy as plain values, for fingerprints and metadata."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Policy) and self._described == other._described

    def __hash__(self) -> int:
        return hash(self._described)

    @cached_property
    def _described(self) -> str:
        return json.dumps(self.describe(), sort_keys=True)


@dataclass(frozen=True, eq=False)
class HashSplit(_Policy):
    """A split policy: which buckets of keys form which cell.

    Args:
        salt: makes the project's split its own. Changing it moves every row.
        cells: cell name -> range of buckets, for train, test and, where variants are to be chosen
            without looking at test, validation. Together they cover 0 to 999, each once.

    Raises:
        DefinitionError: the cells are no such division.
    """

    salt: str = "ff_assets"
    cells: Mapping[str, range] = field(
        default_factory=lambda: {TRAIN: range(800), TEST: range(800, BUCKETS)}
    )
    location: Location = field(default_factory=caller_location, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.salt, str):
            raise DefinitionError(
                f"the salt of the split policy is {self.salt!r}.",
                where=[("HashSplit(...)", self.location)],
                why="it is a text that is hashed with every key.",
                fix=f'write it as one, "{self.salt}".',
            )
        cells = self.cells if isinstance(self.cells, Mapping) else {}
        ranges = [r for r in cells.values() if isinstance(r, range) and r.step > 0]
        buckets = sorted(position for r in ranges for position in r)
        named = {TRAIN, TEST} <= set(cells) <= {TRAIN, VALIDATION, TEST}
        filled = all(len(r) for r in ranges)
        if not (named and filled) or buckets != list(range(BUCKETS)):
            raise DefinitionError(
                "the split policy does not divide the buckets into train and test.",
                where=[("HashSplit(...)", self.location)],
                why=f"its cells are {dict(cells) if cells else repr(self.cells)}.",
                fix=f"give {TRAIN!r}, {TEST!r} and, if there is one, {VALIDATION!r} ascending "
                f"ranges that together cover 0 to {BUCKETS - 1}, each once.",
            )

    @property
    def name(self) -> str:
        """For people, where several splits meet."""
        salt = "" if self.salt == "ff_assets" else f"_{_word(self.salt)}"
        return f"by_key{salt}{'_validated' if VALIDATION in self.cells else ''}"

    def cell(self, key: str | int) -> str:
        """The cell of a key."""
        position = bucket(key, self.salt)
        return next(name for name, buckets in self.cells.items() if position in buckets)

    def bits(self, cell: str) -> int:
        """The buckets of a cell, as a bitmap."""
        return self._bits[cell]

    @cached_property
    def _bits(self) -> dict[str, int]:
        return {cell: bitmap(buckets) for cell, buckets in self.cells.items()}

    def space(self, entity: Entity) -> Space:
        """What the buckets of an entity's rows are comparable with."""
        return Space(entity.root.name, self.salt)

    def describe(self) -> dict[str, object]:
        """The policy as plain values, for fingerprints and metadata."""
        return {
            "policy": "sha256",
            "salt": self.salt,
            "cells": {name: [r.start, r.stop, r.step] for name, r in self.cells.items()},
        }


@dataclass(frozen=True, eq=False)
class TimeSplit(_Policy):
    """A split policy by the time of a row's event: train before a cutoff, test from it on.

    A bucket is a day: 500 is the cutoff's, 0 holds all that is 500 days older or more, 999 all
    that is 499 days newer or more.

    With a validation part there are two embargoes: fits may use what was known when validation
    began, and a choice by its metric what was known when test began. The days are, in order:
    train, embargo, validation, embargo, test.

    Args:
        cutoff: the first day of test, as `date` or `"2017-10-01"`.
        embargo: how long before the next part a part ends, such as `"30d"`, in whole days; at
            least as long as labels take to be known. Rows in between are in no cell.
        start: the first day of train, at most 499 days before the cutoff; without it, train has
            all that is old enough.
        validation: the length of the part on which one of several variants is chosen, such as
            `"14d"`, in whole days; none without it.

    Raises:
        DefinitionError: a date or length of time is none, train is left empty, or it begins on a
            day that has no bucket of its own.
    """

    cutoff: date | str
    embargo: timedelta | str = "0d"
    start: date | str | None = None
    validation: timedelta | str = "0d"
    location: Location = field(default_factory=caller_location, repr=False)

    def __post_init__(self) -> None:
        begin, earliest = None if self.start is None else self._day(self.start), self.day(1)
        if begin is not None and begin < earliest:
            raise DefinitionError(
                f"the time split begins on {begin}, {(self.first_day - begin).days} days before "
                f"{self.first_day}.",
                where=self._here,
                why=f"days are told apart from {earliest} on; what is older is one bucket, so "
                f"train would have what was before {begin} as well.",
                fix=f'begin later, start="{earliest}"; or leave `start` out, for a train part '
                "that has all that is older; or load no rows from before.",
            )
        if len(self.cells[TRAIN]) == 0:
            between = CUTOFF_BUCKET - self.cells[TRAIN].stop
            raise DefinitionError(
                "the time split leaves no day for train.",
                where=self._here,
                why=f"it begins {f'on {begin}' if begin else f'{CUTOFF_BUCKET} days'}"
                f"{'' if begin else ' before the cutoff'}, and ends {between} days before "
                f"{self.first_day}.",
                fix="begin earlier, or shorten the embargo to what labels need, or validation.",
            )

    @property
    def _here(self) -> list[tuple[str, Location]]:
        return [("TimeSplit(...)", self.location)]

    def _day(self, given: date | str) -> date:
        if isinstance(given, datetime):
            return given.date()
        if isinstance(given, date):
            return given
        try:
            return date.fromisoformat(given)
        except (TypeError, ValueError):
            raise DefinitionError(
                f"{given!r} is no day.",
                where=self._here,
                why="days are written as year, month and day.",
                fix='for example "2017-10-01".',
            ) from None

    @property
    def name(self) -> str:
        """For people, where several splits meet."""
        validated = f"_validated_{self.validation_days}d" if self.validation_days else ""
        return f"until_{self.first_day:%Y%m%d}{validated}"

    @cached_property
    def first_day(self) -> date:
        """The first day of test."""
        return self._day(self.cutoff)

    @cached_property
    def embargo_days(self) -> int:
        """Days between the end of a part and the beginning of the next; a part of one counts."""
        return -(-duration(self.embargo, self._here) // timedelta(days=1))

    @cached_property
    def validation_days(self) -> int:
        """Days of the validation part; parts of a day count whole."""
        return -(-duration(self.validation, self._here) // timedelta(days=1))

    @cached_property
    def cells(self) -> Mapping[str, range]:
        """Cell name -> range of buckets; buckets between them are embargoes."""
        first = 0 if self.start is None else self.bucket(self._day(self.start))
        test = range(CUTOFF_BUCKET, BUCKETS)
        end = test.start - self.embargo_days
        if not self.validation_days:
            return {TRAIN: range(first, end), TEST: test}
        validation = range(end - self.validation_days, end)
        train = range(first, validation.start - self.embargo_days)
        return {TRAIN: train, VALIDATION: validation, TEST: test}

    def day(self, bucket: int) -> date:
        """The day of a bucket; the first one holds earlier days as well, the last one later."""
        return self.first_day + timedelta(days=bucket - CUTOFF_BUCKET)

    def bucket(self, day: date) -> int:
        """The bucket of a day, from 0 to 999."""
        return min(max(0, CUTOFF_BUCKET + (day - self.first_day).days), BUCKETS - 1)

    def bits(self, cell: str) -> int:
        """The buckets of a cell, as a bitmap."""
        return self._bits[cell]

    @cached_property
    def _bits(self) -> dict[str, int]:
        return {cell: bitmap(buckets) for cell, buckets in self.cells.items()}

    def space(self, entity: Entity) -> Space:  # noqa: ARG002  # days are the same for all
        """What the buckets of an entity's rows are comparable with."""
        return Space("", f"time until {self.first_day}")

    def describe(self) -> dict[str, object]:
        """The policy as plain values, for fingerprints and metadata."""
        return {
            "policy": "time",
            "cutoff": str(self.first_day),
            "cells": {name: [r.start, r.stop, r.step] for name, r in self.cells.items()},
        }


Split = HashSplit | TimeSplit


def describe_split(split: Split) -> tuple[str, Location]:
    """A split policy and its place, as an error shows them."""
    return f"{type(split).__name__}(...)", split.location


def _word(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text).strip("_")
