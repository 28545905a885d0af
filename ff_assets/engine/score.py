"""Scoring all rows of a prediction into a directory that nobody sees yet.

`predict` publishes it; `replay` compares it with what was published.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
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


def plan_of(flow: Flow, parts: Sequence[Part], fingerprints: Fingerprints, store: Store) -> Plan:
    """How what the models are given is read together, or computed where it is missing."""
    readings = [columns for part in parts for columns in part.scoring.readings]
    return make_plan(flow, {}, fingerprints, store, readings=readings)


def score(
    plan: Plan,
    parts: Sequence[Part],
    division: Division | None,
    at: datetime,
    store: Store,
    staging: Staging,
    spark: "Callable[[], SparkSession]",
    staged: Mapping[Instance, StagedSource],
    tell: Callable[[Event], None],
    watch: "Watch | None" = None,
) -> Scored:
    """Carry out a plan, and score its rows.

    Args:
        plan: from `plan_of` the same parts.
        at: the time that rows get.
        staged: sources that were read to learn their version.
        tell: is told what is computed on the way.
        watch: counts the rows while they are scored.

    Raises:
        DataError: the rows are not what their declaration says.
        StageError: they cannot be scored, or a model loses some.
        DefinitionError: a column to keep cannot be had.
    """
    frames = carried_out(plan, store, staging, spark, staged, tell)
    began = time.monotonic()
    try:
        directory, recipes = staging.directory(), iter(plan.readings)
        passes = [
            Pass(part, division, [next(recipes) for _ in part.scoring.readings], at)
            for part in parts
        ]
        for each in passes:
            each.prepare(frames, spark(), watch)
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
