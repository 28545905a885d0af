"""What models have made, in the Parquet files of scored rows: its histograms, without Spark.

Of many rows some are drawn: more make no limit narrower that matters.
"""

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

ENOUGH = 100_000  # rows that are counted
_CLASSES = 20  # of which probabilities are looked at one by one


def histograms_of(directory: Path, names: Sequence[str], group: str | None) -> dict[str, Histogram]:
    """Bins of columns, and the rows in them.

    Probabilities are a column for each class, such as `probability[2]`; of two classes only that of
    the second, `probability`.

    Args:
        directory: with Parquet files, one of which is in memory at a time.
        group: the column of the files that says which rows belong together; `None` if none do.
    """
    import pyarrow as pa

    files = sorted(directory.glob("*.parquet"))
    tables = _drawn(files, [*names, *([group] if group else [])])
    read = [_columns(table, names) for table in tables if table.num_rows]
    groups = _groups(tables, group)
    return {
        name: Histogram.of(
            pa.chunked_array([chunk for each in read for chunk in each[name].chunks]), groups
        )
        for name in (read[0] if read else ())
    }


def counts_of(
    files: Sequence[Path], bins: Mapping[str, Bins], group: str | None
) -> dict[str, Counts]:
    """Column of `histograms_of` -> rows per bin, of Parquet files.

    Args:
        group: the column of the files that says which rows belong together; `None` if none do.

    Raises:
        KeyError: no file has one of the columns.
    """
    import numpy as np

    places: dict[str, list[NDArray[np.int8]]] = {name: [] for name in bins}
    names = list(dict.fromkeys(name.partition("[")[0] for name in bins))
    tables = _drawn(files, [*names, *([group] if group else [])])
    for table in tables:
        for name, values in _columns(table, names).items():
            if name in bins:  # there are fewer than 128 of any column
                places[name].append(bins[name].place(values).astype(np.int8))
    groups = _groups(tables, group)
    return {
        name: counted(np.concatenate(places[name]), len(each.names), groups)
        for name, each in bins.items()
    }


def _drawn(files: Sequence[Path], columns: Sequence[str]) -> "list[pa.Table]":
    """Columns of Parquet files, of all rows or of about `ENOUGH`, the same ones each time."""
    import numpy as np
    import pyarrow.parquet as pq

    share = ENOUGH / max(ENOUGH, sum(pq.read_metadata(file).num_rows for file in files))
    tables = []
    for number, file in enumerate(files):
        table = pq.read_table(file, columns=list(columns), partitioning=None)
        if share < 1:  # at random, as rows may come in a cycle
            place = np.random.default_rng(number).random(table.num_rows)
            table = table.take(np.flatnonzero(place < share))
        tables.append(table)
    return tables


def _groups(tables: "Sequence[pa.Table]", name: str | None) -> "NDArray[np.int64] | None":
    """The group of each row, as a number."""
    import numpy as np
    import pyarrow as pa

    if name is None:
        return None
    codes = pa.concat_tables(tables)[name].combine_chunks().dictionary_encode().indices
    return np.asarray(codes, dtype=np.int64)


def _columns(table: "pa.Table", names: Sequence[str]) -> "dict[str, pa.ChunkedArray]":
    import pyarrow as pa

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
