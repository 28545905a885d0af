"""The words for cells, and the columns that stored tables have for them."""

CELL = "cell"  # partitions stored tables
BUCKET = "_bucket"  # stands beside it; no feature begins with an underscore
TRAIN = "train"
VALIDATION = "validation"  # optional: where one of several variants is chosen
TEST = "test"


def stored_with(cell: str) -> str:
    """The cell of stored tables, and partition, that holds the rows of a cell of the split.

    Rows of validation are stored with train, as all are that are not of test; so are those in no
    cell, such as those of an embargo, which later rows have as their history. Their buckets keep
    them out of fits and metrics.

    Args:
        cell: of the split; empty for rows that are in none.
    """
    return TEST if cell == TEST else TRAIN
