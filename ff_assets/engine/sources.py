"""Reading sources: load, check against the declaration, split into cells, and store.

A source is loaded once, written to staging, and checked as it was written, so a loader that
gives other rows each time is still checked and stored in one and the same state.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ff_assets.core.cells import BUCKET, CELL
from ff_assets.core.declare import Source
from ff_assets.core.errors import DataError, FeatureFlowError, brief, nearest
from ff_assets.core.refusals import describe
from ff_assets.core.split import Split
from ff_assets.engine.regions import bucket_column, cell_column
from ff_assets.engine.source_checks import StagedSource, checked, roles_of, split_by
from ff_assets.engine.store import Staging

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

KEY_TYPES = ("string", "tinyint", "smallint", "int", "bigint")
TIME_TYPES = ("date", "timestamp", "timestamp_ntz")


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

    by = F.col(split_by(source, split))
    frame = loaded(source, source.load, spark)
    check_columns(source, frame, source.features)
    check_types(source, frame)
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
        raise not_read(source, "be read", error) from error
    if not any(directory.glob(f"{CELL}=*")):
        raise DataError(
            f"source `{source.name}` is empty.",
            where=[describe(source)],
            why="its loader gave no rows.",
            fix="see that the data is there and that the loader's filter is right.",
        )
    return checked(source, split, spark.read.parquet(str(directory)), directory)


def loaded(
    source: Source, load: Callable[["SparkSession"], "DataFrame"], spark: "SparkSession"
) -> "DataFrame":
    """What a loader of a source gives.

    Raises:
        DataError: it fails, or gives no DataFrame.
    """
    try:
        frame = load(spark)
    except FeatureFlowError:
        raise
    except Exception as error:
        raise not_read(source, "be loaded", error) from error
    if not hasattr(frame, "schema") or not hasattr(frame, "select"):
        raise DataError(
            f"source `{source.name}` loads no DataFrame.",
            where=[describe(source)],
            why=f"its loader returned {type(frame).__name__}.",
            fix="return a Spark DataFrame: spark.read..., or spark.createDataFrame(pandas_frame).",
        )
    return frame


def not_read(source: Source, what: str, error: Exception) -> DataError:
    """The error of a loader that failed, or of a read of what it gave."""
    return DataError(
        f"source `{source.name}` cannot {what}.",
        where=[describe(source)],
        why=brief(error),
        fix="mend its `load` function or the data it reads.",
    )


def check_columns(source: Source, frame: "DataFrame", features: Iterable[str]) -> None:
    """See that a loader gives what it has to, and keys and times of types that can be one.

    Raises:
        DataError: it does not.
    """
    types = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    here = [describe(source)]
    roles = roles_of(source.entity)
    for name in (*roles, *features):
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


def check_types(source: Source, frame: "DataFrame") -> None:
    """See that a loader gives every feature with its declared type.

    Raises:
        DataError: it does not.
    """
    types = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    here = [describe(source)]
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
