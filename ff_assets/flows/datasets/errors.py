"""What goes wrong with example data."""

from ff_assets.core.errors import DataError


class DatasetError(DataError):
    """An example data set is missing, could not be fetched, or is not what it should be."""
