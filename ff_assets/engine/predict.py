"""Predictions of a registered model: scored, checked, and published as one whole.

There is one result for each model version, data version and day. It is written to staging and
renamed with its record, so a run that is killed leaves nothing that looks finished.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.errors import FeatureFlowError, StageError
from ff_assets.core.flow import Flow
from ff_assets.core.refusals import describe
from ff_assets.core.steps import rows_of
from ff_assets.engine.execute import Event, Execution, Failed, count_rows
from ff_assets.engine.fitting import Models
from ff_assets.engine.frames import Frames
from ff_assets.engine.plan import Plan, make_plan
from ff_assets.engine.scoring import Scoring, rows_scored
from ff_assets.engine.stages import failed
from ff_assets.engine.store import RECORD, Record, Staging, Store, size_of
from ff_assets.engine.versions import fingerprint

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame, SparkSession

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
class Predicted:
    """Predictions that are whole.

    Attributes:
        path: their folder.
        record: `rows`, `columns`, `size`, and as fingerprint what they come from.
        reused: whether they were there before.
    """

    path: Path
    record: Record
    reused: bool


class Prediction:
    """One prediction of a target.

    Args:
        served: the model.
        at: the time of the run, UTC; one for all rows.
        spark: gives the run's session; called only if something has to be read or computed.
        tell: is told what is computed on the way.
    """

    def __init__(
        self,
        flow: Flow,
        scoring: Scoring,
        served: Served,
        at: datetime,
        store: Store,
        staging: Staging,
        spark: "Callable[[], SparkSession]",
        tell: Callable[[Event], None],
    ) -> None:
        self._flow = flow
        self._scoring = scoring
        self._served = served
        self._at = at
        self._store = store
        self._staging = staging
        self._spark = spark
        self._tell = tell

    def run(self) -> Predicted:
        """Score what waits for a prediction, unless it was scored today with the same model.

        Raises:
            DataError: the rows are not what their declaration says.
            StageError: they cannot be scored, or the model loses some.
            DefinitionError: a column to keep cannot be had.
        """
        scoring, store = self._scoring, self._store
        steps = [rows_of(instance) for instance in scoring.read]
        self._fingerprints, staged = fingerprint(self._flow, steps, self._spark, self._staging)
        if (found := self._reused()) is not None:
            return found
        plan = make_plan(self._flow, {}, self._fingerprints, store, readings=scoring.readings)
        execution = Execution(plan, store, self._staging, self._spark, _no_register, staged)
        for event in execution.run():
            self._tell(event)
            if isinstance(event, Failed):
                raise event.error
        models = Models(plan, store, self._staging, self._spark)
        frames = Frames(plan, store, self._spark, models.get)
        try:
            return self._scored(plan, frames)
        finally:
            frames.close()

    def _place(self, content: str = "") -> tuple[Path, str]:
        """The folder of what is made of these data, and the digest of what it comes from."""
        version = self._scoring.version(self._fingerprints, self._served.identity, content)
        day = f"day={self._at:%Y-%m-%d}"
        return self._folder / f"data={version[:16]}" / day, version

    @property
    def _folder(self) -> Path:
        target = self._scoring.variant.target.name
        return self._store.predictions_path(target, self._served.alias, self._served.version)

    def _reused(self) -> Predicted | None:
        """What this day has already. Rows of a loader are read for it only if it has anything."""
        content = ""
        if self._scoring.has_loader:
            if not any(self._folder.glob(f"data=*/day={self._at:%Y-%m-%d}/{RECORD}")):
                return None
            contents = [rows.content() for rows in self._scoring.loaders(self._spark())]
            content = " ".join(contents)
        path, _ = self._place(content)
        record = self._store.predictions(path)
        return None if record is None else Predicted(path, record, reused=True)

    def _scored(self, plan: Plan, frames: Frames) -> Predicted:
        from pyspark.sql import Observation
        from pyspark.sql import functions as F

        began = time.monotonic()
        variant, directory = self._scoring.variant, self._staging.directory()
        loaders = self._scoring.loaders(self._spark())
        given = read = self._scoring.frame(plan, frames, loaders)
        self._served.check({f.name: f.dataType.simpleString() for f in given.schema.fields})
        counted = Observation("rows to score")
        if not loaders:
            read = given.observe(counted, F.count(F.lit(1)).alias("rows"))
        try:
            scored = self._columns(self._served.load(), read)
            scored.write.parquet(str(directory))
        except FeatureFlowError:
            raise
        except Exception as error:
            raise failed(variant, "scored", error) from error
        rows = count_rows(directory)
        found = [each.check(directory, rows) for each in loaders]
        content = " ".join(content for _, content in found)
        if loaders:
            expected = found[0][0]
        elif rows:
            expected = int(counted.get["rows"])
        else:  # Spark does not observe what it finds out to be of no use for an empty result
            expected = given.count()
        if rows != expected:
            raise self._lost(rows, expected)
        path, version = self._place(content)
        record = Record(
            fingerprint=version,
            seconds=time.monotonic() - began,
            rows=rows,
            size=size_of(directory),
            columns={f.name: f.dataType.simpleString() for f in scored.schema.fields},
            details={
                "version": self._served.version,
                "variant": variant.name,
                "certificate": self._served.certificate,
                "predicted_at": self._at.isoformat(),
            },
        )
        stored = self._staging.add_predictions(directory, path, record)
        return Predicted(path, stored, reused=stored is not record)

    def _columns(self, model: "PipelineModel", given: "DataFrame") -> "DataFrame":
        """What is kept of scored rows."""
        from pyspark.sql import functions as F

        variant = self._scoring.variant
        target = variant.target
        scored = self._scoring.kept(model.transform(given))
        names = dict.fromkeys([*variant.entity.columns, *target.keep, *target.outputs])
        columns = [F.col(name) for name in names]
        probability = _probability(model, target.outputs[0])
        if probability is not None and PROBABILITY not in names:
            columns.append(F.col(probability).alias(PROBABILITY))
        return scored.select(
            *columns,
            F.lit(self._served.version).alias("model_version"),
            F.lit(self._served.certificate).alias("certificate"),
            F.lit(self._at).alias("predicted_at"),
        )

    def _lost(self, rows: int, expected: int) -> StageError:
        scoring = self._scoring
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


def _probability(model: "PipelineModel", output: str) -> str | None:
    """The column of the probabilities beside an output, if the model has one."""
    for stage in model.stages:
        if stage.hasParam("probabilityCol") and stage.getOrDefault("predictionCol") == output:
            return str(stage.getOrDefault("probabilityCol"))
    return None


def _no_register(*_: Any) -> dict[str, Any]:
    raise AssertionError("no plan to predict has a registration")
