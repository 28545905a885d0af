"""Sets of buckets as bitmaps: bit `i` of a plain integer is bucket `i`.

Union, intersection and difference are `|`, `&` and `& ~`, whatever the size.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

BUCKETS = 1000
ALL = (1 << BUCKETS) - 1


def bitmap(buckets: Iterable[int]) -> int:
    """The bitmap of some buckets."""
    bits = 0
    for bucket in buckets:
        bits |= 1 << bucket
    return bits


def members(bits: int) -> Iterator[int]:
    """The buckets of a bitmap, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def ranges(bits: int) -> list[tuple[int, int]]:
    """The runs of consecutive buckets, each as (first, last)."""
    runs: list[tuple[int, int]] = []
    while bits:
        first = (bits & -bits).bit_length() - 1
        rest = bits >> first
        length = (rest + 1 & ~rest).bit_length() - 1  # the first bit that is not set
        runs.append((first, first + length - 1))
        bits &= -1 << first + length
    return runs


def describe(bits: int) -> str:
    """For people: `0-799`, `0-99, 200-299`, `none`."""
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in ranges(bits)]
    return ", ".join(shown) or "none"


def parts(bits: int, count: int) -> list[int]:
    """Divide buckets into runs of equal size, in ascending order.

    Raises:
        ValueError: there are fewer buckets than parts.
    """
    among = list(members(bits))
    if len(among) < count:
        raise ValueError(f"{len(among)} buckets cannot be divided into {count} parts")
    edges = [len(among) * i // count for i in range(count + 1)]
    return [bitmap(among[a:b]) for a, b in pairwise(edges)]
