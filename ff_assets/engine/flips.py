"""Changing the labels of a source as it was read, on some of its rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import CELL, TEST, TRAIN
from ff_assets.core.declare import Source
from ff_assets.core.instance import Instance
from ff_assets.engine.regions import within

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

CONTROL_ROWS = 5
_COPY = 1 - 1e-9  # correlation from which a column is another one on another scale
_COPY_ROWS = 10  # fewer may lie on a line by chance
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "boolean", "decimal")


@dataclass(frozen=True)
class Flip:
    """A column of a source whose values are changed: the lowest to the highest, others to it.

    So every value becomes another one that occurs, a class stays a class, and nothing that tells
    one value from another stays the same.

    Attributes:
        source: name of the source.
        column: the label, or what tells it.
        copy_of: the label that it is a copy of on another scale; empty for a label itself.
        low: the lowest of its values.
        high: the highest.
        rows: rows of test that have a value.
        control: keys of the few rows of train that are changed as a control.
    """

    source: str
    column: str
    copy_of: str
    low: Any
    high: Any
    rows: int
    control: tuple[Any, ...]


def find_flips(
    tables: Mapping[Instance, "DataFrame"], labels: Mapping[Instance, Sequence[str]]
) -> Iterator[Flip]:
    """What can be changed: labels that have several values, and numeric copies of them.

    A copy has the correlation 1 or -1 with the label, in a source of the same entity.

    Args:
        tables: the sources, as they are stored.
        labels: the label columns of each.
    """
    for source in tables:
        for column in labels[source]:
            yield from _flip(tables[source], source, column)
    for entity in dict.fromkeys(source.entity for source in tables):
        siblings = {s: table for s, table in tables.items() if s.entity == entity}
        for source, column, label in _copies(siblings, labels):
            yield from _flip(tables[source], source, column, label)


def _flip(table: "DataFrame", source: Instance, column: str, copy_of: str = "") -> Iterator[Flip]:
    from pyspark.sql import functions as F

    key, value = source.entity.key, F.col(column)
    low, high, rows = table.agg(
        F.min(value), F.max(value), F.count(F.when(F.col(CELL) == TEST, value))
    ).collect()[0]
    if low == high:
        return
    train = within(table, source.split, source.split.bits(TRAIN)).where(value.isNotNull())
    chosen = train.orderBy(F.sha2(F.col(key).cast("string"), 256)).limit(CONTROL_ROWS).collect()
    control = tuple(row[key] for row in chosen)
    yield Flip(source.source.name, column, copy_of, low, high, rows, control)


def _copies(
    tables: Mapping[Instance, "DataFrame"], labels: Mapping[Instance, Sequence[str]]
) -> Iterator[tuple[Instance, str, str]]:
    """Columns of sources of one entity that are one of its labels: (source, column, label)."""
    from pyspark.sql import functions as F

    parts: list[DataFrame] = []
    truths: list[tuple[Instance, str, str]] = []  # source, column, and its name in the join
    others: list[tuple[Instance, str, str]] = []
    for position, (source, table) in enumerate(tables.items()):
        own = {}
        for name, kind in source.source.features.items():
            if kind.partition("(")[0] in _NUMBERS:
                own[name] = f"{name}__{position}"
                is_label = name in labels[source]
                (truths if is_label else others).append((source, name, own[name]))
        numbers = [F.col(name).cast("double").alias(alias) for name, alias in own.items()]
        parts.append(table.select(source.entity.key, *numbers))
    pairs = [(truth, other) for truth in truths for other in others]
    if not pairs:
        return
    together = reduce(lambda a, b: a.join(b, next(iter(tables)).entity.key), parts)
    measured = together.agg(
        *(
            F.when(F.regr_count(other[2], truth[2]) >= _COPY_ROWS, F.corr(other[2], truth[2]))
            for truth, other in pairs
        )
    ).collect()[0]
    found = set()
    for ((_, label, _), (source, name, alias)), correlation in zip(pairs, measured, strict=True):
        if correlation is not None and abs(correlation) > _COPY and alias not in found:
            found.add(alias)
            yield source, name, label


def flipped(source: Source, path: str, version: str, flips: Sequence[Flip], cell: str) -> Source:
    """A source with its data as they were read, and some values changed.

    Args:
        path: where its rows are stored.
        version: of the changed data.
        flips: what to change; those of other sources are passed over.
        cell: `test` to change all values of test, `train` to change a few of train.
    """
    own = tuple(flip for flip in flips if flip.source == source.name)
    load = partial(_load, path=path, key=source.entity.key, flips=own, cell=cell)
    return Source(
        source.name,
        entity=source.entity,
        load=load,
        features=source.features,
        labels=source.labels,
        label_horizon=source.label_horizon,
        version=version,
        location=source.location,
    )


def _load(
    spark: "SparkSession", *, path: str, key: str, flips: Sequence[Flip], cell: str
) -> "DataFrame":
    from pyspark.sql import functions as F

    rows = spark.read.parquet(path)
    changed: dict[str, Column] = {}
    for flip in flips:
        value, kind = F.col(flip.column), rows.schema[flip.column].dataType
        among = F.col(CELL) == TEST if cell == TEST else F.col(key).isin(*flip.control)
        low, high = F.lit(flip.low).cast(kind), F.lit(flip.high).cast(kind)
        other = F.when(value == low, high).otherwise(low)
        changed[flip.column] = F.when(among & value.isNotNull(), other).otherwise(value)
    return rows.withColumns(changed)
