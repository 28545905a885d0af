"""What models have made, in the Parquet files of scored rows: its histograms, without Spark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.engine.histograms import Bins, Histogram
from ff_assets.engine.parts import PROBABILITY
from ff_assets.engine.scored import matrix

if TYPE_CHECKING:
    import pyarrow as pa

_CLASSES = 20  # of which probabilities are looked at one by one


def histograms_of(directory: Path, names: Sequence[str]) -> dict[str, Histogram]:
    """Bins of columns, and the rows in them.

    Probabilities are a column for each class, such as `probability[2]`; of two classes only that of
    the second, `probability`.

    Args:
        directory: with Parquet files, which are read into memory.
    """
    import pyarrow as pa

    files = [_columns(file, names) for file in sorted(directory.glob("*.parquet"))]
    files = [each for each in files if len(next(iter(each.values())))]
    return {
        name: Histogram.of(
            pa.chunked_array([chunk for each in files for chunk in each[name].chunks])
        )
        for name in (files[0] if files else ())
    }


def counts_of(directory: Path, bins: Mapping[str, Bins]) -> dict[str, list[int]]:
    """Column of `histograms_of` -> rows per bin, of Parquet files, one file after the other."""
    counts = {name: [0] * len(each.names) for name, each in bins.items()}
    names = list(dict.fromkeys(name.partition("[")[0] for name in bins))
    for file in directory.glob("*.parquet"):
        for name, values in _columns(file, names).items():
            if name in bins:
                found = bins[name].count(values)
                counts[name] = [a + b for a, b in zip(counts[name], found, strict=True)]
    return counts


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
