"""Reading sources: load, check against the declaration, split into cells, and store.

A source is loaded once, written to staging, and checked as it was written, so a loader that
gives other rows each time is still checked and stored in one and the same state.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.buckets import BUCKETS
from ff_assets.core.cells import BUCKET, CELL, TEST, TRAIN
from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DataError, DefinitionError, FeatureFlowError, brief, nearest
from ff_assets.core.refusals import describe
from ff_assets.core.split import CUTOFF_BUCKET, HEX_DIGITS, SEPARATOR, Split, TimeSplit
from ff_assets.core.steps import CELLS
from ff_assets.engine import refused_rows
from ff_assets.engine.columns import plain_columns
from ff_assets.engine.store import Staging

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

KEY_TYPES = ("string", "tinyint", "smallint", "int", "bigint")
TIME_TYPES = ("date", "timestamp", "timestamp_ntz")


@dataclass(frozen=True)
class StagedSource:
    """A source as it was read: written to staging, checked, not yet final.

    Attributes:
        directory: holds `cell=train/` and `cell=test/`.
        rows: cell -> number of rows stored with it.
        buckets: bucket -> number of rows, for buckets that have any.
        groups: cell -> number of keys of the root entity with rows in it.
        labels: label -> cell -> number of rows in it that have the label.
        keys: cell -> a digest of the keys, foreign keys and times stored with it that does not
            depend on their order.
        columns: column -> Spark SQL type, without bucket and cell.
        content: a digest of the rows that does not depend on their order or on the split, for a
            source that states no version.

    Rows that the split leaves out of both cells are stored with train. Only `rows` and `keys`
    include them.
    """

    directory: Path
    rows: dict[str, int]
    buckets: dict[int, int]
    groups: dict[str, int]
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
    text = F.concat(F.lit(split.salt + SEPARATOR), by.cast("string"))
    number = F.conv(F.substring(F.sha2(text, 256), 1, HEX_DIGITS), 16, 10).cast("bigint")
    return (number % BUCKETS).cast("int")


def cell_column(by: "Column", split: Split) -> "Column":
    """The cell that a row is stored with; null where `by` is.

    What is not test is stored with train, also the embargo of a time split and what lies before
    its start: later rows have such rows as their history. They are kept out of fits and metrics by
    their buckets.
    """
    from pyspark.sql import functions as F

    bucket = bucket_column(by, split)
    return F.when(_inside(bucket, split.cells[TEST]), TEST).when(bucket.isNotNull(), TRAIN)


def _inside(bucket: "Column", buckets: range) -> "Column":
    inside = (bucket >= buckets.start) & (bucket < buckets.stop)
    return inside & ((bucket - buckets.start) % buckets.step == 0)


def _split_by(source: Source, split: Split) -> str:
    """The column of a source's rows that decides their bucket."""
    entity = source.entity
    if not isinstance(split, TimeSplit):
        return entity.split_key
    if entity.time is None:
        raise DefinitionError(
            f"source `{source.name}` cannot be split by time: `{entity.name}` has none.",
            where=[
                describe(source),
                (f"entity {entity.name!r}", entity.location),
                ("TimeSplit(...)", split.location),
            ],
            why="the day of a row's event decides whether it is for train or test.",
            fix=f"name the column that holds it, Entity({entity.name!r}, ..., time=...), or use no "
            "feature of this source where rows are split by time.",
        )
    return entity.time


def stage_source(
    source: Source, split: Split, spark: "SparkSession", staging: Staging
) -> StagedSource:
    """Load a source into staging and check it.

    Rows are laid out by their key, so that equal data give equal files and equal fits. A label
    that is not a number (NaN) is stored as null, which is how a row says that it has none.

    Raises:
        DefinitionError: it is split by time, and its entity has none.
        DataError: it fails to load, lacks a column, has one of another type, is empty, leaves a
            cell empty, or has a key, foreign key or time that is null, or keys that are not unique
            or look alike.
    """
    from pyspark.sql import functions as F

    by = F.col(_split_by(source, split))
    frame = _load(source, spark)
    _check_columns(source, frame)
    key = source.entity.key
    directory = staging.directory()
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 1)
    features = [_without_nan(frame, n) if n in source.labels else n for n in source.features]
    selected = (
        frame.select(
            *source.entity.columns,
            *features,
            bucket_column(by, split).alias(BUCKET),
            cell_column(by, split).alias(CELL),
        )
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
    return checked(source, split, spark.read.parquet(str(directory)), directory)


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
    roles = _roles(source.entity)
    for name in (*roles, *source.features):
        if name not in types:
            kind = roles.get(name, "feature")
            raise DataError(
                f"source `{source.name}` lacks the column `{name}`.",
                where=here,
                why=f"it is the declared {kind}; " + nearest(name, types),
                fix=f"let the loader provide `{name}`, or correct the declaration.",
            )
    for name, kind in roles.items():
        allowed = TIME_TYPES if kind == "time" else KEY_TYPES
        if types[name] not in allowed:
            raise DataError(
                f"source `{source.name}` has a {kind} of type {types[name]}.",
                where=here,
                why=f"rows are put in order by `{name}`, and split by its day."
                if kind == "time"
                else f"`{name}` says by its text which rows belong together and where the split "
                "puts them, so that text has to be exact.",
                fix=f"cast it in the loader to one of {', '.join(allowed)}.",
            )
    for name, declared in source.features.items():
        if types[name].lower() != declared.replace(" ", "").lower():
            raise DataError(
                f"source `{source.name}` gives `{name}` as {types[name]}, not {declared}.",
                where=here,
                why="stages rely on the declared type.",
                fix=f"cast it in the loader, or declare {name!r}: {types[name]!r}.",
            )


def _roles(entity: Entity) -> dict[str, str]:
    """What an entity's columns are, in words."""
    roles = {entity.key: "key", **dict.fromkeys(entity.foreign_keys, "foreign key")}
    return roles if entity.time is None else {**roles, entity.time: "time"}


def _without_nan(frame: "DataFrame", label: str) -> "Column":
    from pyspark.sql import functions as F

    column = F.col(label)
    if frame.schema[label].dataType.typeName() not in ("float", "double"):
        return column
    return F.when(~F.isnan(column), column).alias(label)


def checked(source: Source, split: Split, rows: "DataFrame", directory: Path) -> StagedSource:
    """Count what a source's files hold, and see that it is right.

    Args:
        rows: as they are read from `directory`, with bucket and cell.

    Raises:
        DataError: as `stage_source`, or rows are not stored where their keys or times say.
    """
    from pyspark.sql import functions as F

    entity = source.entity
    by = F.col(_split_by(source, split))
    columns = sorted([*entity.columns, *source.features])
    whole = F.to_json(F.struct(*columns), _TO_THE_MICROSECOND)
    hashes = _hash_sums(whole, _ROW_HASHES) if source.version is None else []
    agree = (F.col(BUCKET) == bucket_column(by, split)) & (F.col(CELL) == cell_column(by, split))
    texts = [
        key
        for key in (entity.key, *entity.foreign_keys)
        if rows.schema[key].dataType.typeName() == "string"
    ]
    counted: list[Any] = (
        rows.groupBy(CELL, BUCKET)
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(agree).alias("agree"),
            *(F.count(column).alias(f"has {column}") for column in entity.columns),
            *(F.count_if(F.col(text).rlike(_ODD)).alias(f"odd {text}") for text in texts),
            *(F.count(label).alias(f"label {label}") for label in source.labels),
            *_hash_sums(_belonging(entity), _KEY_HASHES),
            *hashes,
        )
        .collect()
    )

    def total(name: str) -> int:
        return sum(int(row[name]) for row in counted)

    for column, role in _roles(entity).items():
        nulls = total("rows") - total(f"has {column}")
        if nulls:
            raise refused_rows.null(source, column, role, nulls, total("rows"))
    if total("agree") < total("rows"):
        raise refused_rows.misplaced(source, total("rows") - total("agree"), total("rows"))
    for text in texts:
        if total(f"odd {text}"):
            _refuse_alike(source, rows, text)
    inside = {
        cell: [row for row in counted if row[BUCKET] in buckets]
        for cell, buckets in split.cells.items()
    }
    keys, groups = _distinct(entity, split, rows)
    if keys < total("rows"):
        _refuse_duplicates(source, rows, total("rows") - keys)
    filled = {cell: sum(row["rows"] for row in inside[cell]) for cell in CELLS}
    if not all(filled.values()):
        raise refused_rows.empty_cell(source, split, filled, total("rows"))
    stored = {cell: [row for row in counted if row[CELL] == cell] for cell in CELLS}
    return StagedSource(
        directory=directory,
        rows={cell: sum(row["rows"] for row in stored[cell]) for cell in CELLS},
        buckets={row[BUCKET]: row["rows"] for row in counted},
        groups=groups or filled,
        labels={
            label: {cell: sum(row[f"label {label}"] for row in inside[cell]) for cell in CELLS}
            for label in source.labels
        },
        keys={cell: _digest(stored[cell], _KEY_HASHES) for cell in CELLS},
        columns=plain_columns(rows.schema),
        content=_digest(counted, _ROW_HASHES) if hashes else None,
    )


def _distinct(entity: Entity, split: Split, rows: "DataFrame") -> tuple[int, dict[str, int]]:
    """The number of keys and, unless each is one, of the root's keys in each cell."""
    from pyspark.sql import functions as F

    root = F.col(entity.split_key)
    cells = split.cells if entity.parent is not None else {}
    groups = [F.when(_inside(F.col(BUCKET), buckets), root) for buckets in cells.values()]
    distinct = [F.count_distinct(column) for column in (F.col(entity.key), *groups)]
    keys, *counts = rows.agg(*distinct).collect()[0]
    return keys, dict(zip(cells, counts, strict=True))


def _refuse_duplicates(source: Source, rows: "DataFrame", count: int) -> None:
    from pyspark.sql import functions as F

    key = source.entity.key
    repeated = rows.groupBy(key).agg(
        F.count(F.lit(1)).alias("times"), F.sort_array(F.collect_set(CELL)).alias("cells")
    )
    examples = repeated.where("times > 1").orderBy(F.size("cells").desc(), key).limit(3).collect()
    raise refused_rows.duplicate(source, count, [(r[0], r["times"], r["cells"]) for r in examples])


# What a careless export adds to a key: white space, or the end of a number with a fraction.
_ODD = r"(?U)^\s|\s$|^\s*-?\d+\.0+\s*$"


def _refuse_alike(source: Source, rows: "DataFrame", column: str) -> None:
    """Refuse keys that are equal but for what a careless export adds."""
    from pyspark.sql import functions as F

    stripped = F.regexp_replace(column, r"(?U)^\s+|\s+$", "")
    plain = F.regexp_replace(stripped, r"^(-?\d+)\.0+$", "$1")
    texts = F.sort_array(F.collect_set(column)).alias("texts")
    alike = rows.groupBy(plain.alias("plain")).agg(texts).where(F.size("texts") > 1)
    examples = alike.orderBy("plain").limit(3).collect()
    if examples:
        raise refused_rows.alike(source, column, [row["texts"] for row in examples])


def _belonging(entity: Entity) -> "Column":
    """Key, foreign keys and time of a row as one text."""
    from pyspark.sql import functions as F

    parts = [F.col(key).cast("string") for key in (entity.key, *entity.foreign_keys)]
    if entity.time is not None:
        parts.append(F.unix_micros(F.col(entity.time).cast("timestamp")).cast("string"))
    return F.concat_ws(SEPARATOR, *parts)


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


def _digest(rows: list[Any], names: tuple[str, str]) -> str:
    return "-".join(str(sum(int(row[name]) for row in rows)) for name in names)
