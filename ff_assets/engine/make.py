"""Making the result of one step: a table, a model, a metric, a comparison, a verdict, a version."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.buckets import ALL
from ff_assets.core.cells import CELL, TEST, stored_with
from ff_assets.core.certificate import require
from ff_assets.core.errors import FeatureFlowError, StageError
from ff_assets.core.fitting import WHOLE
from ff_assets.core.influence import accounts_of
from ff_assets.core.instance import Contest, Instance, Variant, row_source
from ff_assets.core.refusals import describe
from ff_assets.core.steps import Kind, Step
from ff_assets.engine.certify import certify
from ff_assets.engine.columns import plain_columns
from ff_assets.engine.evaluation import evaluate_variant
from ff_assets.engine.fitting import Models
from ff_assets.engine.frames import Frames
from ff_assets.engine.leaderboard import compared
from ff_assets.engine.plan import Inventory, Plan
from ff_assets.engine.regions import stored_bits
from ff_assets.engine.scored import Scored
from ff_assets.engine.source_checks import StagedSource
from ff_assets.engine.sources import stage_source
from ff_assets.engine.stages import failed
from ff_assets.engine.store import Record, Staging, Store, size_of
from ff_assets.engine.tested import keep
from ff_assets.engine.wear import note_read

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Register = Callable[[Variant, Mapping[Instance, Any], Mapping[str, Any]], dict[str, Any]]
Judge = Callable[[Contest], dict[str, Any]]
Records = dict[str, Record]


class Maker:
    """Makes the results of one run's steps. Threads may ask it for several at a time.

    Args:
        spark: gives the run's session; called only if something has to be computed.
        register: registers a variant, given the fitted models of its estimators and its
            evaluation's details, whose certificates hold; returns plain values to be recorded.
        staged: sources that were read before the plan was made, to learn their version.
        judge: judges the hypotheses of a target; likewise. Needed only if they are among the steps.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        staging: Staging,
        spark: Callable[[], "SparkSession"],
        register: Register,
        staged: Mapping[Instance, StagedSource],
        judge: Judge | None = None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._staging = staging
        self._spark = spark
        self._register = register
        self._judge = judge
        self._staged = staged
        self._inventory = Inventory(plan.flow, plan.fingerprints, store)
        self._models = Models(plan, store, staging, spark)
        self._frames = Frames(plan, store, spark, self._models.get)

    def interrupt(self) -> None:
        """Stop Spark, if it is in use: fits that are under way would go on to their ends."""
        if self._plan.needs_spark:
            self._spark().stop()

    def close(self) -> None:
        """Give back all frames."""
        self._frames.close()

    def make(self, step: Step) -> Records:
        """Make and store the result of a step whose inputs are whole.

        Raises:
            FeatureFlowError: it cannot be made; says why.
        """
        try:
            match step.kind:
                case Kind.SOURCE:
                    return self._load(step.instance)
                case Kind.MODEL:
                    return {"": self._models.fit(step.instance, self._frames)}
                case Kind.FEATURE:
                    return self._write(step)
                case Kind.EVALUATION:
                    return {"": self._evaluate(step)}
                case Kind.LEADERBOARD:
                    return {"": self._compare(step)}
                case Kind.HYPOTHESES:
                    return {"": self._judged(step)}
                case Kind.REGISTRATION:
                    return {"": self._registered(step)}
        except FeatureFlowError:
            raise
        except (Exception, SystemExit) as error:  # a library that exits must not end the run
            raise failed(step.subject, _VERBS[step.kind], error) from error
        finally:
            self.release(step)

    def release(self, step: Step) -> None:
        """Give back the frames that a step has read, or would have read."""
        if step.kind is Kind.MODEL:
            recipe = self._plan.work[step.instance].fit_recipe
            if recipe is not None:
                self._frames.release(recipe.base)
        elif step.kind is Kind.FEATURE and step.instance in self._inventory.tables:
            self._frames.release(step.instance)

    def _load(self, instance: Instance) -> Records:
        began = time.monotonic()
        staged = self._staged.get(instance) or stage_source(
            instance.source, instance.split, self._spark(), self._staging
        )
        cells = {
            cell: Record(
                fingerprint=self._plan.fingerprints[instance],
                seconds=time.monotonic() - began,
                rows=rows,
                size=size_of(staged.directory / f"{CELL}={cell}"),
                columns=staged.columns,
                details={
                    "labelled": {label: n[cell] for label, n in staged.labels.items()},
                    "labels": {
                        part: {
                            label: {"rows": n[part], "only": staged.only[label][part]}
                            for label, n in staged.labels.items()
                        }
                        for part in instance.split.cells
                        if stored_with(part) == cell
                    },
                    "keys": staged.keys[cell],
                    "groups": staged.groups[cell],
                    "buckets": {
                        bucket: count
                        for bucket, count in staged.buckets.items()
                        if stored_bits(instance.split, cell) >> bucket & 1
                    },
                },
            )
            for cell, rows in staged.rows.items()
        }
        return self._staging.add_table(staged.directory, cells)

    def _write(self, step: Step) -> Records:
        instance = step.instance
        cells = self._plan.work[instance].write
        began = time.monotonic()
        rows = self._frames.rows(instance, cells)
        columns = plain_columns(rows.schema)
        record = Record(self._inventory.fingerprint(step), 0.0, columns=columns)
        if instance not in self._inventory.tables:
            seconds = time.monotonic() - began
            return {
                cell: self._store.add_note(
                    f"views/{cell}",
                    replace(record, seconds=seconds, rows=self._source_rows(instance, cell)),
                )
                for cell in cells
            }
        directory = self._staging.directory()
        rows.write.partitionBy(CELL).parquet(str(directory))
        seconds = time.monotonic() - began
        written = {}
        for cell in cells:
            path = directory / f"{CELL}={cell}"
            count = count_rows(path.glob("*.parquet"))
            self._refuse_lost_rows(instance, cell, count)
            written[cell] = replace(record, seconds=seconds, rows=count, size=size_of(path))
        return self._staging.add_table(directory, written)

    def _source_rows(self, instance: Instance, cell: str) -> int | None:
        """The rows that an instance has in a cell: those of its source for which it has values."""
        record = self._store.table(self._plan.fingerprints[row_source(instance)], cell)
        if record is None:
            return None
        if instance.available == ALL:
            return record.rows
        counts = record.details["buckets"].items()
        return sum(n for bucket, n in counts if instance.available >> int(bucket) & 1)

    def _refuse_lost_rows(self, instance: Instance, cell: str, count: int) -> None:
        expected = self._source_rows(instance, cell)
        if expected is not None and count != expected:
            loser, count = self._first_that_loses(instance, cell, expected) or (instance, count)
            raise StageError(
                f"`{loser.name}` made {count} rows of the {expected} in {cell}.",
                where=[describe(loser.provider)],
                why="a stage works row by row; variants are compared on the same rows.",
                fix='let it keep every row, for example handleInvalid="keep", and clean the rows '
                "in the source's loader.",
            )

    def _first_that_loses(
        self, instance: Instance, cell: str, expected: int
    ) -> tuple[Instance, int] | None:
        """The view upstream at which rows are lost; nobody counts those before they are stored."""
        behind = {instance}
        for other in reversed(list(self._plan.work)):
            if other in behind:
                behind.update(other.applied_to)
        for other, work in self._plan.work.items():
            if other in behind and work.recipe is not None and not work.table:
                count = self._frames.rows(other, [cell]).count()
                if count != expected:
                    return other, count
        return None

    def _evaluate(self, step: Step) -> Record:
        began = time.monotonic()
        variant, fingerprint = step.variant, self._inventory.fingerprint(step)
        claims = self._inventory.claims[variant]
        accounts, known = accounts_of(self._plan.flow), self._plan.fingerprints
        scored = Scored(variant, known, self._store)
        cells = evaluate_variant(scored, accounts, claims)
        keep(variant, scored.part(variant.split.bits(TEST)), fingerprint, self._staging)
        wear = note_read(self._store, variant, fingerprint)
        prints = {instance: known[instance] for instance in variant.instances}
        certificates = certify(claims, cells, wear, fingerprint, prints, self._store)
        details = {"cells": cells, "wear": asdict(wear), "certificates": certificates}
        return self._note(step, began, details, sum(cell["rows"] for cell in cells.values()))

    def _compare(self, step: Step) -> Record:
        began = time.monotonic()
        evaluations = {}
        for evaluation in step.parents():
            evaluations[evaluation.variant] = self._inventory.find(evaluation)[""].details
        details = compared(step.contest, evaluations, self._plan.fingerprints, self._store)
        return self._note(step, began, details, details["rows"])

    def _judged(self, step: Step) -> Record:
        began = time.monotonic()
        assert self._judge is not None
        return self._note(step, began, self._judge(step.contest))

    def _registered(self, step: Step) -> Record:
        variant = step.variant
        began = time.monotonic()
        evaluation = self._certified_evaluation(variant)
        models = {
            i: self._models.get(i, WHOLE) for i in variant.serving_instances() if i.is_estimator
        }
        return self._note(step, began, self._register(variant, models, evaluation))

    def _note(
        self, step: Step, began: float, details: Mapping[str, Any], rows: int | None = None
    ) -> Record:
        """Keep a result that is a record only."""
        seconds = time.monotonic() - began
        record = Record(self._inventory.fingerprint(step), seconds, rows=rows, details=details)
        return self._store.add_note(step.kind, record)

    def _certified_evaluation(self, variant: Variant) -> Mapping[str, Any]:
        """The details of a variant's evaluation; nothing for a target without a label."""
        if variant.target.label is None:
            return {}
        step = Step(Kind.EVALUATION, variant)
        fingerprint, found = self._inventory.fingerprint(step), self._inventory.find(step)
        details = found[""].details if found else {}
        place = self._store.note_path(step.kind, fingerprint)
        require(variant, self._inventory.claims[variant], fingerprint, details, str(place))
        return details


def count_rows(files: Iterable[Path]) -> int:
    """Rows of Parquet files, from their footers."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in files)


_VERBS = {
    Kind.SOURCE: "read",
    Kind.MODEL: "fitted",
    Kind.FEATURE: "applied",
    Kind.EVALUATION: "evaluated",
    Kind.LEADERBOARD: "compared",
    Kind.HYPOTHESES: "judged",
    Kind.REGISTRATION: "registered",
}
