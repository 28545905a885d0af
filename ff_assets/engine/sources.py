"""Reading sources: load, check against the declaration, split into cells, and store.

A source is loaded once, written to staging, and checked as it was written, so a loader that
gives other rows each time is still checked and stored in one and the same state.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.declare import Source
from ff_assets.core.errors import DataError, FeatureFlowError, brief, nearest
from ff_assets.core.refusals import describe
from ff_assets.core.split import BUCKETS, CELL, HEX_DIGITS, SEPARATOR, HashSplit
from ff_assets.core.steps import CELLS
from ff_assets.engine.store import Staging

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

KEY_TYPES = ("string", "tinyint", "smallint", "int", "bigint")


@dataclass(frozen=True)
class StagedSource:
    """A source as it was read: written to staging, checked, not yet final.

    Attributes:
        directory: holds `cell=train/` and `cell=test/`.
        rows: cell -> number of rows.
        labels: label -> cell -> number of rows that have it.
        keys: cell -> a digest of its keys that does not depend on their order.
        columns: column -> Spark SQL type.
        content: a digest of the rows that does not depend on their order, for a source that
            states no version.
    """

    directory: Path
    rows: dict[str, int]
    labels: dict[str, dict[str, int]]
    keys: dict[str, str]
    columns: dict[str, str]
    content: str | None


def stated_version(source: Source) -> str | None:
    """The version that a source states of its data, or `None` if it has to be read for that.

    Raises:
        DataError: the function that states it fails, or nothing is stated.
    """
    if source.version == "":
        raise _no_version(source, "its version is an empty text.")
    if not callable(source.version):
        return source.version
    try:
        version = source.version()
    except FeatureFlowError:
        raise
    except Exception as error:
        raise _no_version(source, f"its version function raised {brief(error)}") from error
    if version is None:
        raise _no_version(source, "its version function returned None.")
    if not str(version):
        raise _no_version(source, "its version function returned an empty text.")
    return str(version)


def _no_version(source: Source, why: str) -> DataError:
    return DataError(
        f"source `{source.name}` cannot state the version of its data.",
        where=[describe(source)],
        why=why,
        fix="state what changes with the data, such as a file's hash; without `version` the data "
        "is read and hashed.",
    )


def bucket_column(key: "Column", salt: str) -> "Column":
    """The bucket of a key, 0 to 999; the same value as `ff_assets.core.split.bucket`."""
    from pyspark.sql import functions as F

    text = F.concat(F.lit(salt + SEPARATOR), key.cast("string"))
    return F.conv(F.substring(F.sha2(text, 256), 1, HEX_DIGITS), 16, 10).cast("bigint") % BUCKETS


def cell_column(key: "Column", split: HashSplit) -> "Column":
    """The cell of a key; null for a null key."""
    from pyspark.sql import functions as F

    position = bucket_column(key, split.salt)
    cases: Column | None = None
    for name, buckets in split.cells.items():
        inside = (position >= buckets.start) & (position < buckets.stop)
        inside &= (position - buckets.start) % buckets.step == 0
        cases = F.when(inside, F.lit(name)) if cases is None else cases.when(inside, F.lit(name))
    assert cases is not None
    return cases


def stage_source(
    source: Source, split: HashSplit, spark: "SparkSession", staging: Staging
) -> StagedSource:
    """Load a source into staging and check it.

    Rows are laid out by their key, so that equal data give equal files and equal fits. A label
    that is not a number (NaN) is stored as null, which is how a row says that it has none.

    Raises:
        DataError: it fails to load, lacks a column, has one of another type, is empty, leaves a
            cell empty, or has a key that is null or not unique.
    """
    from pyspark.sql import functions as F

    frame = _load(source, spark)
    _check_columns(source, frame)
    key = source.entity.key
    directory = staging.directory()
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 1)
    features = [_without_nan(frame, n) if n in source.labels else n for n in source.features]
    selected = (
        frame.select(key, *features, cell_column(F.col(key), split).alias(CELL))
        .repartition(partitions, key)
        .sortWithinPartitions(key)
    )
    try:
        selected.write.partitionBy(CELL).parquet(str(directory))
    except Exception as error:
        raise _failed(source, "be read", error) from error
    if not any(directory.glob(f"{CELL}=*")):
        raise DataError(
            f"source `{source.name}` is empty.",
            where=[describe(source)],
            why="its loader gave no rows.",
            fix="see that the data is there and that the loader's filter is right.",
        )
    return _check_rows(source, spark.read.parquet(str(directory)), directory)


def _load(source: Source, spark: "SparkSession") -> "DataFrame":
    try:
        frame = source.load(spark)
    except FeatureFlowError:
        raise
    except Exception as error:
        raise _failed(source, "be loaded", error) from error
    if not hasattr(frame, "schema") or not hasattr(frame, "select"):
        raise DataError(
            f"source `{source.name}` loads no DataFrame.",
            where=[describe(source)],
            why=f"its loader returned {type(frame).__name__}.",
            fix="return a Spark DataFrame: spark.read..., or spark.createDataFrame(pandas_frame).",
        )
    return frame


def _failed(source: Source, what: str, error: Exception) -> DataError:
    return DataError(
        f"source `{source.name}` cannot {what}.",
        where=[describe(source)],
        why=brief(error),
        fix="mend its `load` function or the data it reads.",
    )


def _check_columns(source: Source, frame: "DataFrame") -> None:
    types = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    here = [describe(source)]
    for name in (source.entity.key, *source.features):
        if name not in types:
            kind = "key" if name == source.entity.key else "feature"
            raise DataError(
                f"source `{source.name}` lacks the column `{name}`.",
                where=here,
                why=f"it is the declared {kind}; " + nearest(name, types),
                fix=f"let the loader provide `{name}`, or correct the declaration.",
            )
    if types[source.entity.key] not in KEY_TYPES:
        raise DataError(
            f"source `{source.name}` has a key of type {types[source.entity.key]}.",
            where=here,
            why=f"`{source.entity.key}` decides the split by its text, which has to be exact.",
            fix=f"cast it in the loader to one of {', '.join(KEY_TYPES)}.",
        )
    for name, declared in source.features.items():
        if types[name].lower() != declared.replace(" ", "").lower():
            raise DataError(
                f"source `{source.name}` gives `{name}` as {types[name]}, not {declared}.",
                where=here,
                why="stages rely on the declared type.",
                fix=f"cast it in the loader, or declare {name!r}: {types[name]!r}.",
            )


def _without_nan(frame: "DataFrame", label: str) -> "Column":
    from pyspark.sql import functions as F

    column = F.col(label)
    if frame.schema[label].dataType.typeName() not in ("float", "double"):
        return column
    return F.when(~F.isnan(column), column).alias(label)


def _check_rows(source: Source, rows: "DataFrame", directory: Path) -> StagedSource:
    from pyspark.sql import functions as F

    key = source.entity.key
    whole = F.to_json(F.struct(*sorted(rows.columns)), _TO_THE_MICROSECOND)
    hashes = _hash_sums(whole, _ROW_HASHES) if source.version is None else []
    counted: list[Any] = (
        rows.groupBy(CELL)
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count(key).alias("keys"),
            F.count_distinct(key).alias("distinct"),
            *(F.count(label).alias(f"label {label}") for label in source.labels),
            *_hash_sums(F.col(key).cast("string"), _KEY_HASHES),
            *hashes,
        )
        .collect()
    )
    total = sum(row["rows"] for row in counted)
    nulls = total - sum(row["keys"] for row in counted)
    if nulls:
        raise DataError(
            f"source `{source.name}` has {nulls} of {total} rows with a null `{key}`.",
            where=[describe(source)],
            why="a row without a key belongs to no cell and cannot be found again.",
            fix="drop such rows in the loader, or give them keys.",
        )
    duplicates = total - sum(row["distinct"] for row in counted)
    if duplicates:
        examples = rows.groupBy(key).count().where("count > 1").orderBy(key).limit(3).collect()
        raise DataError(
            f"source `{source.name}` has {duplicates} rows whose `{key}` occurred before.",
            where=[describe(source)],
            why="for example " + ", ".join(f"{r[key]!r} ({r['count']} times)" for r in examples),
            fix=f"give one row per {source.entity.name}: drop duplicates or aggregate in the "
            "loader.",
        )
    by_cell = {row[CELL]: row for row in counted}
    empty = [cell for cell in CELLS if cell not in by_cell]
    if empty:
        raise DataError(
            f"source `{source.name}` leaves the cell {empty[0]} empty.",
            where=[describe(source)],
            why=f"its {total} rows all belong to {next(iter(by_cell))}.",
            fix="give it more rows; with the default split, about one in five is for test.",
        )
    return StagedSource(
        directory=directory,
        rows={cell: by_cell[cell]["rows"] for cell in CELLS},
        labels={
            label: {cell: by_cell[cell][f"label {label}"] for cell in CELLS}
            for label in source.labels
        },
        keys={c: "-".join(str(by_cell[c][name]) for name in _KEY_HASHES) for c in CELLS},
        columns={f.name: f.dataType.simpleString() for f in rows.schema.fields if f.name != CELL},
        content="-".join(str(by_cell[c][name]) for c in CELLS for name in _ROW_HASHES)
        if hashes
        else None,
    )


# Spark's own formats end with milliseconds.
_TO_THE_MICROSECOND = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
    "timeZone": "UTC",
}
_ROW_HASHES = ("rows 1", "rows 2")
_KEY_HASHES = ("keys 1", "keys 2")


def _hash_sums(text: "Column", names: tuple[str, str]) -> list["Column"]:
    """Sums of hashes: independent of order; two of them make chance equality remote."""
    from pyspark.sql import functions as F

    hashed = F.sha2(text, 256)
    return [
        F.sum(F.conv(F.substring(hashed, start, 15), 16, 10).cast("decimal(38,0)")).alias(name)
        for name, start in zip(names, (1, 16), strict=True)
    ]
