"""Rows by their buckets: what a fit reads, and what a model serves."""

from typing import TYPE_CHECKING

from ff_assets.core.buckets import ALL, ranges
from ff_assets.core.cells import BUCKET, CELL, TEST
from ff_assets.core.split import Split
from ff_assets.core.steps import CELLS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def stored_bits(split: Split, cell: str) -> int:
    """The buckets whose rows are stored with a cell.

    Rows in no cell, such as those of an embargo, are stored with train: later rows have them as
    their history. No fit and no metric reads them.
    """
    return split.bits(TEST) if cell == TEST else ALL & ~split.bits(TEST)


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
    inside = F.lit(False)
    for first, last in ranges(buckets):
        inside |= F.col(BUCKET).between(first, last)
    return frame.where(inside)
