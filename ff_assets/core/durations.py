"""Lengths of time as people write them: `"90d"`, `"12h"`; and times, in whole seconds."""

import re
from datetime import datetime, timedelta

from ff_assets.core.errors import DefinitionError, Location

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_LENGTH = re.compile(r"(\d+)\s*([wdhms])")


def duration(given: str | timedelta, where: list[tuple[str, Location]]) -> timedelta:
    """A length of time from its text, such as `"90d"`; units are w, d, h, m (minutes) and s.

    Raises:
        DefinitionError: it is no such text, or negative.
    """
    if isinstance(given, timedelta) and given >= timedelta(0):
        return given
    match = _LENGTH.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise DefinitionError(
            f"{given!r} is no length of time.",
            where=where,
            why="it is written as a whole number with a unit: w, d, h, m (minutes) or s.",
            fix='for example "90d".',
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def short(length: timedelta) -> str:
    """The text of a length of time, in the largest unit that holds it exactly."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def meant(time: datetime) -> datetime:
    """A time that is asked for; in whole seconds, as people write and print it, their end."""
    return time if time.microsecond else time.replace(microsecond=999_999)
