"""Whether two folders of rows hold the same, bit for bit, whatever the order of rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.sensitivity import masked

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """One value that differs, as it is shown: what is sensitive is masked.

    Attributes:
        column: empty for a whole row that one side does not have.
        before: the value as JSON, `null` where there is none; for a row, whether there is one.
        again: likewise.
    """

    key: str
    column: str
    before: str
    again: str


@dataclass(frozen=True)
class Difference:
    """How rows differ from what they were.

    Attributes:
        rows: how many there were.
        lost: how many of them are not there again.
        added: how many are there that were not.
        changed: how many have another value.
        columns: column -> in how many rows its value is another.
        examples: of a few rows, by key, the first value that differs.
    """

    rows: int
    lost: int
    added: int
    changed: int
    columns: dict[str, int]
    examples: tuple[Example, ...]

    @property
    def is_none(self) -> bool:
        return not (self.lost or self.added or self.changed)


def difference(
    spark: "SparkSession",
    before: Path,
    again: Path,
    key: str,
    columns: Sequence[str],
    tags: Callable[[str], Iterable[str]],
) -> Difference:
    """Compare rows by their keys, which are unique on both sides.

    Values are compared by their JSON text. It tells every bit of a number, also the sign of a zero,
    and NaN is equal to itself; there is one for vectors and maps as well.

    Args:
        before: a folder with Parquet files.
        again: the same, with columns of the same types.
        columns: that are compared, beside the key.
        tags: gives the sensitivity tags of a column, whose values no example shows.
    """
    from pyspark.sql import functions as F

    def side(folder: Path, prefix: str) -> "DataFrame":
        texts = [_text(name).alias(f"{prefix}{n}") for n, name in enumerate(columns)]
        return spark.read.parquet(str(folder)).select(key, *texts, F.lit(True).alias(prefix))

    both = side(before, "before").join(side(again, "again"), on=key, how="full")
    there = F.col("before").isNotNull() & F.col("again").isNotNull()
    others = {
        name: there & ~F.col(f"before{n}").eqNullSafe(F.col(f"again{n}"))
        for n, name in enumerate(columns)
    }
    changed = reduce(lambda one, other: one | other, others.values(), F.lit(False))
    counts = both.agg(
        F.count("before").alias("rows"),
        F.count_if(F.col("again").isNull()).alias("lost"),
        F.count_if(F.col("before").isNull()).alias("added"),
        F.count_if(changed).alias("changed"),
        *(F.count_if(each).alias(f"other{n}") for n, each in enumerate(others.values())),
    ).collect()[0]
    found = {name: counts[f"other{n}"] for n, name in enumerate(columns) if counts[f"other{n}"]}
    some = both.where(changed | ~there).orderBy(key).limit(EXAMPLES)
    unequal = counts["lost"] or counts["added"] or counts["changed"]
    rows = some.collect() if unequal else []
    return Difference(
        rows=counts["rows"],
        lost=counts["lost"],
        added=counts["added"],
        changed=counts["changed"],
        columns=found,
        examples=tuple(_example(row.asDict(), key, columns, tags) for row in rows),
    )


def _text(name: str) -> "Column":
    from pyspark.sql import functions as F

    exact = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"
    options = {"timestampFormat": f"{exact}XXX", "timestampNTZFormat": exact}
    return F.to_json(F.struct(F.col(name).alias("v")), options)


def _example(
    row: dict[str, Any], key: str, columns: Sequence[str], tags: Callable[[str], Iterable[str]]
) -> Example:
    named = masked(str(row[key]), tags(key))
    if row["before"] is None or row["again"] is None:
        before, again = ("no row" if row[side] is None else "a row" for side in ("before", "again"))
        return Example(named, "", before, again)
    n = next(n for n in range(len(columns)) if row[f"before{n}"] != row[f"again{n}"])
    before, again = (
        masked(_value(row[f"{side}{n}"]), tags(columns[n])) for side in ("before", "again")
    )
    return Example(named, columns[n], before, again)


def _value(text: str) -> str:
    return text.removeprefix('{"v":').removesuffix("}") if text != "{}" else "null"
