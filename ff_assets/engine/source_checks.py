"""What the files of a source hold, counted and checked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add, xor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import BUCKET, CELL
from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError
from ff_assets.core.refusals import describe
from ff_assets.core.split import SEPARATOR, Split, TimeSplit
from ff_assets.core.steps import CELLS
from ff_assets.engine import refused_rows
from ff_assets.engine.columns import plain_columns
from ff_assets.engine.regions import among, bucket_column, cell_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class StagedSource:
    """A source as it was read: written to staging, checked, not yet final.

    Attributes:
        directory: holds `cell=train/` and `cell=test/`.
        rows: cell -> number of rows stored with it.
        buckets: bucket -> number of rows, for buckets that have any.
        groups: cell -> number of keys of the root entity with rows in it.
        labels: label -> cell of the split, validation as well -> number of rows in it that have
            the label.
        only: label -> the same -> the label that all of these rows have, if it is one number.
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
    only: dict[str, dict[str, float | None]]
    keys: dict[str, str]
    columns: dict[str, str]
    content: str | None


def split_by(source: Source, split: Split) -> str:
    """The column of a source's rows that decides their bucket.

    Raises:
        DefinitionError: it is split by time, and its entity has none.
    """
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


def roles_of(entity: Entity) -> dict[str, str]:
    """What an entity's columns are, in words."""
    roles = {entity.key: "key", **dict.fromkeys(entity.foreign_keys, "foreign key")}
    return roles if entity.time is None else {**roles, entity.time: "time"}


def checked(source: Source, split: Split, rows: "DataFrame", directory: Path) -> StagedSource:
    """Count what a source's files hold, and see that it is right.

    Args:
        rows: as they are read from `directory`, with bucket and cell.

    Raises:
        DataError: as `stage_source`, or rows are not stored where their keys or times say.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import BooleanType, NumericType

    entity = source.entity
    by = F.col(split_by(source, split))
    columns = sorted([*entity.columns, *source.features])
    whole = F.to_json(F.struct(*columns), _TO_THE_MICROSECOND)
    hashes = _hash_sums(whole) if source.version is None else []
    agree = (F.col(BUCKET) == bucket_column(by, split)) & (F.col(CELL) == cell_column(by, split))
    texts = [
        key
        for key in (entity.key, *entity.foreign_keys)
        if rows.schema[key].dataType.typeName() == "string"
    ]
    numbers = [
        label
        for label in source.labels
        if isinstance(rows.schema[label].dataType, NumericType | BooleanType)
    ]
    counted: list[Any] = (
        rows.groupBy(CELL, BUCKET)
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(agree).alias("agree"),
            *(F.count(column).alias(f"has {column}") for column in entity.columns),
            *(F.count_if(F.col(text).rlike(ODD_KEY)).alias(f"odd {text}") for text in texts),
            *(F.count(label).alias(f"label {label}") for label in source.labels),
            *(extreme for label in numbers for extreme in _extremes(label)),
            *_hash_parities(_belonging(entity)),
            *hashes,
        )
        .collect()
    )

    def total(name: str) -> int:
        return sum(int(row[name]) for row in counted)

    for column, role in roles_of(entity).items():
        nulls = total("rows") - total(f"has {column}")
        if nulls:
            raise refused_rows.null(source, column, role, nulls, total("rows"))
    if total("agree") < total("rows"):
        raise refused_rows.misplaced(source, total("rows") - total("agree"), total("rows"))
    for text in texts:
        if total(f"odd {text}"):
            refuse_alike(source, rows, text)
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
            label: {cell: sum(row[f"label {label}"] for row in inside[cell]) for cell in inside}
            for label in source.labels
        },
        only={
            label: {
                cell: _only(inside[cell], label) if label in numbers else None for cell in inside
            }
            for label in source.labels
        },
        keys={cell: _digest(stored[cell], _KEY_HASHES, xor) for cell in CELLS},
        columns=plain_columns(rows.schema),
        content=_digest(counted, _ROW_HASHES, add) if hashes else None,
    )


def _extremes(label: str) -> list["Column"]:
    from pyspark.sql import functions as F

    number = F.col(label).cast("double")
    return [F.min(number).alias(f"least {label}"), F.max(number).alias(f"most {label}")]


def _only(rows: list[Any], label: str) -> float | None:
    """The label that all labelled rows behind some counts have, if it is one."""
    found = {row[f"{end} {label}"] for row in rows for end in ("least", "most")} - {None}
    return float(found.pop()) if len(found) == 1 else None


def _distinct(entity: Entity, split: Split, rows: "DataFrame") -> tuple[int, dict[str, int]]:
    """The number of keys and, unless each is one, of the root's keys in each cell."""
    from pyspark.sql import functions as F

    root = F.col(entity.split_key)
    cells = split.cells if entity.parent is not None else {}
    groups = [F.when(among(F.col(BUCKET), buckets), root) for buckets in cells.values()]
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
# Java and RE2 read it alike.
_SPACE = r"[\x09-\x0D\x{85}\p{Z}]"
ODD_KEY = rf"^{_SPACE}|{_SPACE}$|^-?\p{{Nd}}+\.0+$"


def refuse_alike(source: Source, rows: "DataFrame", column: str) -> None:
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


def _hash_sums(text: "Column") -> list["Column"]:
    """Sums of hashes: independent of order; two of them make chance equality remote."""
    from pyspark.sql import functions as F

    hashed = F.sha2(text, 256)
    return [
        F.sum(F.conv(F.substring(hashed, start, 15), 16, 10).cast("decimal(38,0)")).alias(name)
        for name, start in zip(_ROW_HASHES, (1, 16), strict=True)
    ]


def _hash_parities(text: "Column") -> list["Column"]:
    """As `_hash_sums`, of texts of which no two are equal; it takes a fraction of the time."""
    from pyspark.sql import functions as F

    return [
        F.bit_xor(F.xxhash64(F.lit(number), text)).alias(name)
        for number, name in enumerate(_KEY_HASHES)
    ]


def _digest(rows: list[Any], names: tuple[str, str], join: Callable[[int, int], int]) -> str:
    return "-".join(str(reduce(join, (int(row[name]) for row in rows), 0)) for name in names)
