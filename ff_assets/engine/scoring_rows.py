"""Rows that the `scoring` loader of a source gives.

They are not written down before they are scored: what is to be known of them is observed while
they pass by, in the one pass that scores them, and looked at before the predictions are published.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.declare import Source
from ff_assets.engine import refused_rows
from ff_assets.engine.source_checks import ODD_KEY, refuse_alike, roles_of
from ff_assets.engine.sources import check_columns, loaded

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, Observation, SparkSession


@dataclass(frozen=True)
class ScoringRows:
    """Rows to score, of one source.

    Attributes:
        source: that gives them.
        plain: the entity's columns and the features that are read, of the declared types.
    """

    source: Source
    plain: "DataFrame"

    @cached_property
    def observed(self) -> "DataFrame":
        """The same rows; when a job has read them, `check` knows what they were."""
        return self.plain.observe(self._observation, *self._facts())

    @cached_property
    def _observation(self) -> "Observation":
        from pyspark.sql import Observation

        return Observation(f"scoring rows of {self.source.name}")

    def content(self) -> str:
        """A digest of the rows that does not depend on their order. Reads them all."""
        return _digest(self._read())

    def _read(self) -> dict[str, Any]:
        return self.plain.agg(*self._facts()).collect()[0].asDict()

    def check(self, written: Path, rows: int, scored: int | None = None) -> tuple[int, str]:
        """See that the rows that were read are right; the number of them, and their `content`.

        Args:
            written: a folder with Parquet files that have the entity's columns of the rows.
            rows: how many it has.
            scored: how many of them the job wrote that has read these; all without it.

        Raises:
            DataError: a key, foreign key or time is null, or keys are not unique or look alike.
        """
        # Spark does not observe what it finds out to be of no use for an empty result.
        found = self._observation.get if (rows if scored is None else scored) else self._read()
        entity, given = self.source.entity, int(found["rows"])
        for column, role in roles_of(entity).items():
            if nulls := given - int(found[f"has {column}"]):
                raise refused_rows.null(self.source, column, role, nulls, given)
        keys = self.plain.sparkSession.read.parquet(str(written))
        texts = self._texts
        with ThreadPoolExecutor() as pool:  # Arrow does each of these with one core
            odd = [pool.submit(_is_odd, written, text) for text in texts]
            distinct = 0 if rows > _ON_DRIVER else _distinct(written, entity.key)
        for text, is_odd in zip(texts, odd, strict=True):
            if is_odd.result():
                refuse_alike(self.source, keys, text)
        if distinct < rows:
            self._refuse_duplicates(keys)
        return given, _digest(found)

    def _refuse_duplicates(self, keys: "DataFrame") -> None:
        from pyspark.sql import functions as F

        key = self.source.entity.key
        repeated = keys.groupBy(key).agg(F.count(F.lit(1)).alias("times")).where("times > 1")
        examples = repeated.orderBy(key).limit(3).collect()
        if examples:
            more = repeated.agg(F.sum(F.col("times") - 1)).collect()[0][0]
            shown = [(row[0], row["times"], ["what is to be scored"]) for row in examples]
            raise refused_rows.duplicate(self.source, more, shown)

    @property
    def _texts(self) -> list[str]:
        """The keys and foreign keys that are texts."""
        entity = self.source.entity
        schema = self.plain.schema
        keys = (entity.key, *entity.foreign_keys)
        return [key for key in keys if schema[key].dataType.typeName() == "string"]

    def _facts(self) -> "list[Column]":
        from pyspark.sql import functions as F

        columns = [part for field in self.plain.schema.fields for part in _hashable(field)]
        row = F.xxhash64(*columns)
        hashes = [row, F.xxhash64(F.lit(1), row)]  # two make equality by chance remote
        return [
            F.count(F.lit(1)).alias("rows"),
            *(F.count(column).alias(f"has {column}") for column in self.source.entity.columns),
            *(F.bit_xor(h).alias(name) for h, name in zip(hashes, _HASHES, strict=True)),
        ]


_HASHES = ("content 1", "content 2")
_ON_DRIVER = 5_000_000  # so many keys are counted here in a fraction of the time of a shuffle


def _is_odd(written: Path, key: str) -> bool:
    """Whether any key in Parquet files is `ODD_KEY`. Spark takes four times as long."""
    import pyarrow.compute as pc

    odd = (
        pc.any(pc.match_substring_regex(each, ODD_KEY)).as_py() for each in _column(written, key)
    )
    return any(odd)


def _distinct(written: Path, key: str) -> int:
    """The number of different keys in Parquet files."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = [chunk for each in _column(written, key) for chunk in each.chunks]
    return len(pc.unique(pa.chunked_array(chunks))) if chunks else 0


def _column(written: Path, column: str) -> "Iterator[pa.ChunkedArray]":
    """A column of Parquet files, one file at a time."""
    import pyarrow.parquet as pq

    for file in written.glob("*.parquet"):
        yield pq.read_table(file, columns=[column], partitioning=None)[column]


def _hashable(field: Any) -> "list[Column]":
    """A column as hashes can take it: they pass over nulls, and do not know maps."""
    from pyspark.sql import functions as F

    column = F.col(field.name)
    if "map<" in field.dataType.simpleString():
        return [F.to_json(F.struct(column))]
    return [column, column.isNull()]


def _digest(facts: Mapping[str, Any]) -> str:
    return "-".join(str(facts[name] or 0) for name in ("rows", *_HASHES))


def scoring_rows(source: Source, wanted: Iterable[str], spark: "SparkSession") -> ScoringRows:
    """Ask a source's `scoring` loader for its rows.

    Args:
        wanted: the features that are read; others need not be there. A label that is not is null.

    Raises:
        DataError: the loader fails, or lacks a column.
    """
    from pyspark.sql import functions as F

    assert source.scoring is not None
    frame = loaded(source, source.scoring, spark)
    absent = {n for n in wanted if n in source.labels and n not in frame.columns}
    check_columns(source, frame, [name for name in wanted if name not in absent])
    features = [
        (F.lit(None) if name in absent else F.col(name)).cast(source.features[name]).alias(name)
        for name in wanted
    ]
    return ScoringRows(source, frame.select(*source.entity.columns, *features))
