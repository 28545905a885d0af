"""The outcomes of an A/B test, loaded from their source and checked."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from ff_assets.core.ab_test import ABTest
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DataError
from ff_assets.core.fingerprint import declaration_digest, digest
from ff_assets.core.refusals import describe
from ff_assets.core.split import HashSplit
from ff_assets.engine import refused_rows
from ff_assets.engine.source_checks import roles_of
from ff_assets.engine.sources import check_columns, check_types, loaded, not_read
from ff_assets.engine.store import Staging
from ff_assets.engine.versions import stated_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_NOT_SPLIT = HashSplit()  # always the same one, so that it tells no two declarations apart


class Outcomes:
    """What a test measures, as it is now.

    Args:
        unit: the entity that is assigned to arms.
        spark: gives the session; called only if the outcomes have to be read.
    """

    def __init__(
        self, test: ABTest, unit: Entity, staging: Staging, spark: "Callable[[], SparkSession]"
    ) -> None:
        self._test = test
        self._unit = unit
        self._staging = staging
        self._spark = spark

    @cached_property
    def stated(self) -> str | None:
        """The version that the source states of its data, if it states any."""
        return stated_version(self._test.outcomes)

    @cached_property
    def version(self) -> str:
        """What the source states of its data, with its code; else a digest of rows in any order."""
        from pyspark.sql import functions as F

        source = self._test.outcomes
        if self.stated is not None:
            return digest([self.stated, declaration_digest(source, _NOT_SPLIT)])
        parts = [part for n in self.rows.columns for part in (F.col(n), F.col(n).isNull())]
        hashes = [F.bit_xor(F.xxhash64(F.lit(number), *parts)) for number in (1, 2)]
        found = self.rows.agg(F.count(F.lit(1)), *hashes).collect()[0]
        return "-".join(str(each or 0) for each in found)

    @cached_property
    def rows(self) -> "DataFrame":
        """Loaded once and written down: `key`, `unit` (texts), `time`, and `value`, null or finite.

        Raises:
            DataError: they fail to load, lack a column, have one of another type, a null where
                there may be none, a key twice, or an outcome that is infinite.
        """
        from pyspark.sql import functions as F

        source, spark = self._test.outcomes, self._spark()
        entity = source.entity
        frame = loaded(source, source.load, spark)
        check_columns(source, frame, source.features)
        check_types(source, frame)
        time = F.lit(None) if entity.time is None else F.col(entity.time)
        value = F.col(self._test.measure).cast("double")
        directory = self._staging.directory()
        selected = frame.select(
            F.col(entity.key).cast("string").alias("key"),
            F.col(entity.key_of(self._unit)).cast("string").alias("unit"),
            time.cast("timestamp").alias("time"),
            F.when(~F.isnan(value), value).alias("value"),
        )
        try:
            selected.write.parquet(str(directory))
        except Exception as error:
            raise not_read(source, "be read", error) from error
        rows = spark.read.schema(selected.schema).parquet(str(directory))
        self._check(rows)
        return rows

    def _check(self, rows: "DataFrame") -> None:
        from pyspark.sql import functions as F

        source = self._test.outcomes
        entity = source.entity
        columns = {entity.key: "key", entity.key_of(self._unit): "unit"}
        if entity.time is not None:
            columns[entity.time] = "time"
        found = rows.agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_distinct("key").alias("keys"),
            F.count_if(F.abs("value") == float("inf")).alias("infinite"),
            *(F.count(column).alias(f"has {column}") for column in ("key", "unit", "time")),
        ).collect()[0]
        for name, column in columns.items():
            if nulls := found["rows"] - found[f"has {column}"]:
                role = roles_of(entity)[name]
                raise refused_rows.null(source, name, role, nulls, found["rows"])
        if more := found["rows"] - found["keys"]:
            repeated = rows.groupBy("key").agg(F.count(F.lit(1)).alias("times"))
            examples = repeated.where("times > 1").orderBy("key").limit(3).collect()
            shown = [(row["key"], row["times"], ["outcomes"]) for row in examples]
            raise refused_rows.duplicate(source, more, shown)
        if found["infinite"]:
            raise DataError(
                f"source `{source.name}` has {found['infinite']} rows with an infinite "
                f"`{self._test.measure}`.",
                where=[describe(source)],
                why="a mean that has one of them is infinite as well.",
                fix="mend them in the loader; null says that an outcome is not known yet.",
            )
