"""Rows by their buckets: which one a row is in, what a fit reads, and what a model serves."""

from functools import lru_cache
from typing import TYPE_CHECKING

from ff_assets.core.buckets import ALL, BUCKETS, ranges
from ff_assets.core.cells import BUCKET, CELL, stored_with
from ff_assets.core.split import CUTOFF_BUCKET, HEX_DIGITS, SEPARATOR, Split, TimeSplit
from ff_assets.core.steps import CELLS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def bucket_column(by: "Column", split: Split) -> "Column":
    """The bucket of a row, 0 to 999; null where `by` is.

    It is the same as `ff_assets.core.split.bucket` and `TimeSplit.bucket` give.

    Args:
        by: the key of the row's root entity; for a time split the time of its event, of which the
            day counts (in the time zone of the session).
    """
    from pyspark.sql import functions as F

    if isinstance(split, TimeSplit):
        days = F.datediff(by.cast("date"), F.lit(split.first_day)) + CUTOFF_BUCKET
        within = F.when(days < 0, 0).when(days >= BUCKETS, BUCKETS - 1).otherwise(days)
        return within.cast("int")
    return (hashed(split.salt + SEPARATOR, by) % BUCKETS).cast("int")


def hashed(before: str, key: "Column") -> "Column":
    """The first 60 bits of the sha256 of a text and a key, as a number; null where the key is."""
    from pyspark.sql import functions as F

    text = F.concat(F.lit(before), key.cast("string"))
    return F.conv(F.substring(F.sha2(text, 256), 1, HEX_DIGITS), 16, 10).cast("bigint")


def cell_column(by: "Column", split: Split) -> "Column":
    """The cell that a row is stored with; null where `by` is.

    Each cell's rows go where `stored_with` says, and so do those in no cell, such as the embargo of
    a time split and what lies before its start.
    """
    from pyspark.sql import functions as F

    bucket = bucket_column(by, split)
    stored = F.when(bucket.isNotNull(), stored_with(""))
    for cell, buckets in split.cells.items():
        stored = F.when(among(bucket, buckets), stored_with(cell)).otherwise(stored)
    return stored


def among(bucket: "Column", buckets: range) -> "Column":
    """Whether a bucket is one of some."""
    between = (bucket >= buckets.start) & (bucket < buckets.stop)
    return between & ((bucket - buckets.start) % buckets.step == 0)


@lru_cache(maxsize=64)
def stored_bits(split: Split, cell: str) -> int:
    """The buckets whose rows are stored with a cell."""
    found, rest = 0, ALL
    for each in split.cells:
        rest &= ~split.bits(each)
        if stored_with(each) == cell:
            found |= split.bits(each)
    return found | rest if stored_with("") == cell else found


def within(frame: "DataFrame", split: Split, buckets: int) -> "DataFrame":
    """The rows of a frame that belong to some buckets.

    Args:
        buckets: a bitmap.
    """
    from pyspark.sql import functions as F

    touched = [cell for cell in CELLS if stored_bits(split, cell) & buckets]
    if len(touched) < len(CELLS):
        frame = frame.where(F.col(CELL).isin(*touched))  # which skips the files of the others
    if all(stored_bits(split, cell) & ~buckets == 0 for cell in touched):
        return frame
    return frame.where(in_buckets(buckets))


def in_buckets(buckets: int) -> "Column":
    """Whether a row's bucket is among those of a bitmap.

    Of a persisted frame it reads no column that the frame may lack, as `within` does: Spark would
    look for such a column beneath, and pass by what is persisted.
    """
    from pyspark.sql import functions as F

    inside = F.lit(False)
    for first, last in ranges(buckets):
        inside |= F.col(BUCKET).between(first, last)
    return inside
