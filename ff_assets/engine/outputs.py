"""What models have made, in the Parquet files of scored rows: its histograms, without Spark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.engine.histograms import Bins, Counts, Histogram, counted
from ff_assets.engine.parts import PROBABILITY
from ff_assets.engine.scored import matrix

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_CLASSES = 20  # of which probabilities are looked at one by one


def histograms_of(directory: Path, names: Sequence[str], group: str | None) -> dict[str, Histogram]:
    """Bins of columns, and the rows in them.

    Probabilities are a column for each class, such as `probability[2]`; of two classes only that of
    the second, `probability`.

    Args:
        directory: with Parquet files, which are read into memory.
        group: the column of the files that says which rows belong together; `None` if none do.
    """
    import pyarrow as pa

    files = sorted(directory.glob("*.parquet"))
    read = [_columns(file, names) for file in files]
    read = [each for each in read if len(next(iter(each.values())))]
    groups = _groups(files, group)
    return {
        name: Histogram.of(
            pa.chunked_array([chunk for each in read for chunk in each[name].chunks]), groups
        )
        for name in (read[0] if read else ())
    }


def counts_of(
    files: Sequence[Path], bins: Mapping[str, Bins], group: str | None
) -> dict[str, Counts]:
    """Column of `histograms_of` -> rows per bin, of Parquet files, one file after the other.

    Args:
        group: the column of the files that says which rows belong together; `None` if none do.

    Raises:
        KeyError: no file has one of the columns.
    """
    import numpy as np

    places: dict[str, list[NDArray[np.int8]]] = {name: [] for name in bins}
    names = list(dict.fromkeys(name.partition("[")[0] for name in bins))
    for file in files:
        for name, values in _columns(file, names).items():
            if name in bins:  # there are fewer than 128 of any column
                places[name].append(bins[name].place(values).astype(np.int8))
    groups = _groups(files, group)
    return {
        name: counted(np.concatenate(places[name]), len(each.names), groups)
        for name, each in bins.items()
    }


def _groups(files: Sequence[Path], name: str | None) -> "NDArray[np.int64] | None":
    """The group of each row, as a number."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if name is None:
        return None
    tables = [pq.read_table(file, columns=[name], partitioning=None) for file in files]
    codes = pa.concat_tables(tables)[name].combine_chunks().dictionary_encode().indices
    return np.asarray(codes, dtype=np.int64)


def _columns(file: Path, names: Sequence[str]) -> "dict[str, pa.ChunkedArray]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=list(names), partitioning=None)
    found: dict[str, pa.ChunkedArray] = {}
    for name in names:
        values = table[name]
        if name != PROBABILITY or not pa.types.is_struct(values.type) or values.null_count:
            found[name] = values
            continue
        classes = matrix(values).T
        if len(classes) == 2:
            found[name] = pa.chunked_array([classes[1]])
        elif len(classes) <= _CLASSES:
            found |= {f"{name}[{k}]": pa.chunked_array([each]) for k, each in enumerate(classes)}
    return found
