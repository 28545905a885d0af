"""Scoring all rows of a prediction into a directory that nobody sees yet.

`predict` publishes it; `replay` compares it with what was published.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.engine.arms import Division
from ff_assets.engine.execute import Event, Execution, Failed
from ff_assets.engine.fitting import Models
from ff_assets.engine.frames import Frames
from ff_assets.engine.make import Maker
from ff_assets.engine.parts import Part, Pass, common_schema
from ff_assets.engine.plan import Plan, make_plan
from ff_assets.engine.source_checks import StagedSource
from ff_assets.engine.store import Staging, Store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from ff_assets.engine.drift import Watch


@dataclass(frozen=True)
class Scored:
    """Rows that were scored and checked.

    Attributes:
        directory: with their Parquet files, in staging.
        passes: of each model.
        contents: of the rows of loaders, for each model.
        columns: column -> Spark SQL type.
        seconds: time that scoring took.
    """

    directory: Path
    passes: Sequence[Pass]
    contents: Sequence[str]
    columns: Mapping[str, str]
    seconds: float

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.passes)


@dataclass(frozen=True)
class Scorer:
    """Scores the rows of a target by one model, or each by that of its arm in an A/B test.

    Attributes:
        parts: the model that scores all rows; for an A/B test that of the control, then that of
            the treatment.
        division: how rows are divided among several parts.
        spark: gives the run's session; called only if something has to be read or computed.
        tell: is told what is computed on the way.
    """

    flow: Flow
    parts: Sequence[Part]
    division: Division | None
    store: Store
    staging: Staging
    spark: "Callable[[], SparkSession]"
    tell: Callable[[Event], None]

    @property
    def read(self) -> tuple[Instance, ...]:
        """What the models are given that is stored, or computed beforehand."""
        return tuple(dict.fromkeys(i for part in self.parts for i in part.scoring.read))

    def plan(self, fingerprints: Fingerprints) -> Plan:
        """How what the models are given is read together, or computed where it is missing."""
        readings = [columns for part in self.parts for columns in part.scoring.readings]
        return make_plan(self.flow, {}, fingerprints, self.store, readings=readings)

    def score(
        self,
        plan: Plan,
        at: datetime,
        staged: Mapping[Instance, StagedSource] = MappingProxyType({}),
        watches: "Sequence[Watch | None]" = (),
    ) -> Scored:
        """Carry out a plan, and score its rows.

        Args:
            at: the time that rows get.
            staged: sources that were read to learn their version.
            watches: what counts the rows of each part while they are scored; nothing if left out.

        Raises:
            DataError: the rows are not what their declaration says.
            StageError: they cannot be scored, or a model loses some.
            DefinitionError: a column to keep cannot be had.
        """
        frames = carried_out(plan, self.store, self.staging, self.spark, staged, self.tell)
        began = time.monotonic()
        try:
            directory, recipes = self.staging.directory(), iter(plan.readings)
            passes = [
                Pass(part, self.division, [next(recipes) for _ in part.scoring.readings], at)
                for part in self.parts
            ]
            for each, watch in zip(passes, watches or [None] * len(passes), strict=True):
                each.prepare(frames, self.spark(), watch)
            schema = common_schema([each.scored for each in passes])
            for each in passes:
                each.write(schema, directory)
            rows = sum(each.rows for each in passes)
            contents = [each.check(directory, rows) for each in passes]
        finally:
            frames.close()
        columns = {field.name: field.dataType.simpleString() for field in schema.fields}
        return Scored(directory, passes, contents, columns, time.monotonic() - began)


def carried_out(
    plan: Plan,
    store: Store,
    staging: Staging,
    spark: "Callable[[], SparkSession]",
    staged: Mapping[Instance, StagedSource],
    tell: Callable[[Event], None],
) -> Frames:
    """Do what a plan of readings has to do first; the frames that its readings are made of.

    Raises:
        FeatureFlowError: a step fails.
    """
    maker = Maker(plan, store, staging, spark, _no_register, staged)
    for event in Execution(plan, maker).run():
        tell(event)
        if isinstance(event, Failed):
            raise event.error
    return Frames(plan, store, spark, Models(plan, store, staging, spark).get)


def _no_register(*_: Any) -> dict[str, Any]:
    raise AssertionError("no plan to predict has a registration")
