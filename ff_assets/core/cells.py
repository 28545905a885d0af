"""The words for cells, and the columns that stored tables have for them."""

CELL = "cell"  # partitions stored tables
BUCKET = "_bucket"  # stands beside it; no feature begins with an underscore
TRAIN = "train"
TEST = "test"
