"""The parts of a prediction: a model, and the rows that it scores.

There is one part, with all rows, or in an A/B test one for each arm.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.errors import FeatureFlowError, StageError
from ff_assets.core.instance import Variant
from ff_assets.core.refusals import describe
from ff_assets.engine.arms import ARM, Division
from ff_assets.engine.frame_plan import Recipe
from ff_assets.engine.frames import Frames
from ff_assets.engine.make import count_rows
from ff_assets.engine.scoring import Scoring, rows_scored
from ff_assets.engine.stages import failed

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from ff_assets.engine.drift import Watch

PROBABILITY = "probability"


@dataclass(frozen=True)
class Served:
    """The registered model that predicts.

    Attributes:
        alias: behind which it is.
        version: its number.
        identity: tells it from a model of the same number in another registry.
        certificate: the digest of its certificate; empty without one.
        load: loads it, in the session that is active.
        check: raises an error if it cannot read these columns (name -> Spark SQL type).
    """

    alias: str
    version: int
    identity: str
    certificate: str
    load: "Callable[[], PipelineModel]"
    check: Callable[[Mapping[str, str]], None]


@dataclass(frozen=True)
class Part:
    """What one model scores: all rows, or in an A/B test those of its arm.

    Attributes:
        scoring: how rows get what it reads.
        served: the model.
        arm: empty without a test.
    """

    scoring: Scoring
    served: Served
    arm: str = ""

    def describe(self) -> dict[str, Any]:
        """What is recorded of the model."""
        return {
            "alias": self.served.alias,
            "version": self.served.version,
            "variant": self.scoring.variant.name,
            "certificate": self.served.certificate,
        }


class Pass:
    """One model on its way over its rows.

    Attributes:
        part: the model.
        scored: what is kept of scored rows, not computed yet.
        files: that were written.
        rows: how many are in them.
    """

    def __init__(
        self, part: Part, division: Division | None, recipes: Sequence[Recipe], at: datetime
    ) -> None:
        self.part = part
        self._division = division
        self._recipes = recipes
        self._at = at

    def prepare(self, frames: Frames, spark: "SparkSession", watch: "Watch | None") -> None:
        """Say what is to be scored, with which model.

        Args:
            watch: counts the rows while they are scored.
        """
        from pyspark.sql import Observation
        from pyspark.sql import functions as F

        scoring, served = self.part.scoring, self.part.served
        self._loaders = scoring.loaders(spark)
        given = scoring.frame(self._recipes, frames, self._loaders)
        if self._division is not None:
            given = self._division.rows(given, self.part.arm)
        served.check({f.name: f.dataType.simpleString() for f in given.schema.fields})
        self._given, self._counted = given, Observation("rows to score")
        if not self._loaders:
            given = given.observe(self._counted, F.count(F.lit(1)).alias("rows"))
        if watch is not None:
            given = watch.observed(given)
        with self._named_errors():
            self.scored = self._columns(served.load(), given)

    def write(self, schema: "StructType", directory: Path) -> None:
        """Score the rows, and add them to a directory with the columns of a schema."""
        before = {*directory.glob("*.parquet")}
        with self._named_errors():
            _as(schema, self.scored).write.mode("append").parquet(str(directory))
        self.files = sorted({*directory.glob("*.parquet")} - before)
        self.rows = count_rows(self.files)

    def check(self, directory: Path, rows: int) -> str:
        """See that every row was scored, and that rows of loaders are right; their contents.

        Args:
            directory: with what all parts have written.
            rows: how many it has.
        """
        found = [each.check(directory, rows, self.rows) for each in self._loaders]
        if found:  # a loader's rows are those of all arms
            written, expected = rows, found[0][0]
        elif self.rows:
            written, expected = self.rows, int(self._counted.get["rows"])
        else:  # Spark does not observe what it finds out to be of no use for an empty result
            written, expected = 0, self._given.count()
        if written != expected:
            raise _lost(self.part.scoring, written, expected)
        return " ".join(content for _, content in found)

    def _columns(self, model: "PipelineModel", given: "DataFrame") -> "DataFrame":
        """What is kept of scored rows."""
        from pyspark.sql import functions as F

        scoring, served = self.part.scoring, self.part.served
        variant, target = scoring.variant, scoring.variant.target
        scored = scoring.kept(model.transform(given))
        names = dict.fromkeys([*variant.entity.columns, *target.keep])
        columns = [*(F.col(n) for n in names if n not in target.outputs), *made(variant, model)]
        if self._division is not None:
            columns.append(F.lit(self.part.arm).alias(ARM))
        return scored.select(
            *columns,
            F.lit(served.version).alias("model_version"),
            F.lit(served.certificate).alias("certificate"),
            F.lit(self._at).alias("predicted_at"),
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except FeatureFlowError:
            raise
        except Exception as error:
            raise failed(self.part.scoring.variant, "scored", error) from error


def common_schema(scored: "Sequence[DataFrame]") -> "StructType":
    """The columns that rows of all parts get: not each model has probabilities."""
    if len(scored) == 1:
        return scored[0].schema
    empty = [frame.sparkSession.createDataFrame([], frame.schema) for frame in scored]
    union = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), empty)
    return union.schema


def _as(schema: "StructType", scored: "DataFrame") -> "DataFrame":
    """Rows with the columns of a schema; those that they lack are null."""
    from pyspark.sql import functions as F

    if scored.schema == schema:
        return scored
    there = {name: F.col(name) for name in scored.columns}
    return scored.select(
        *(
            there.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name)
            for field in schema.fields
        )
    )


def _lost(scoring: Scoring, rows: int, expected: int) -> StageError:
    return StageError(
        f"of {expected:,} rows to score, {rows:,} were predicted.",
        where=[
            describe(scoring.variant.target),
            describe(rows_scored(scoring.variant).provider),
        ],
        why="a model works row by row, and loaders of one entity give the same keys; otherwise "
        "somebody waits for a prediction that never comes.",
        fix='let the stages keep every row, for example handleInvalid="keep", or clean the '
        "rows in the loader.",
    )


def made(variant: Variant, model: "PipelineModel") -> "list[Column]":
    """What a model makes that predictions have: the outputs, and `PROBABILITY` if it has one."""
    from pyspark.sql import functions as F

    target = variant.target
    columns = [F.col(name) for name in target.outputs]
    probability = _probability(model, target.outputs[0])
    taken = {*variant.entity.columns, *target.keep, *target.outputs}
    if probability is not None and PROBABILITY not in taken:
        columns.append(F.col(probability).alias(PROBABILITY))
    return columns


def _probability(model: "PipelineModel", output: str) -> str | None:
    """The column of the probabilities beside an output, if the model has one."""
    for stage in model.stages:
        if stage.hasParam("probabilityCol") and stage.getOrDefault("predictionCol") == output:
            return str(stage.getOrDefault("probabilityCol"))
    return None
