"""The wide DataFrames of one run, built from a plan, shared, persisted and released."""

import threading
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import BUCKET, CELL
from ff_assets.core.entities import Entity
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.fitting import Fit, read_by
from ff_assets.core.instance import Instance, row_source, sources_behind
from ff_assets.core.nesting import lessons
from ff_assets.core.operations import AggregateOperation, PretrainedOperation
from ff_assets.core.steps import CELLS
from ff_assets.engine.aggregates import aggregate
from ff_assets.engine.columns import physical, stored_columns, structural
from ff_assets.engine.frame_plan import Column, Recipe
from ff_assets.engine.keys import other_keys, refuse_divided, refuse_unrelated
from ff_assets.engine.plan import Plan
from ff_assets.engine.regions import in_buckets, stored_bits, within
from ff_assets.engine.stages import failed, make_stage
from ff_assets.engine.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Frames:
    """Frames by instance. Threads may ask for them and report what they have read.

    Args:
        model: gives the fitted model of an estimator's instance, by the name of the fit.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        spark: Callable[[], "SparkSession"],
        model: Callable[[Instance, str], Any],
    ) -> None:
        self._plan = plan
        self._store = store
        self._spark = spark
        self._model = model
        self._built: dict[Instance, DataFrame] = {}
        self._related: set[tuple[Instance, Instance, Entity | None]] = set()
        self._readers = {instance: work.readers for instance, work in plan.work.items()}
        self._lock = threading.RLock()

    def columns(self, instance: Instance) -> dict[str, str]:
        """Feature or private column -> column in frames, for what an instance provides."""
        fingerprint = self._plan.fingerprints[instance]
        return {name: physical(name, fingerprint) for name in stored_columns(instance)}

    def stage(self, instance: Instance) -> Any:
        """The unfitted Spark stage of an instance, on the columns that frames have."""
        names = self.columns(instance)
        for feature, parent in {**instance.inputs, **instance.fit_inputs}.items():
            names[feature] = self.columns(parent)[feature]
        return make_stage(instance, names)

    def of(self, instance: Instance) -> "DataFrame":
        """The frame of an instance: key, cell, its columns, and others beside them."""
        with self._lock:
            if instance not in self._built:
                self._built[instance] = self._build(instance)
            return self._built[instance]

    def rows(self, instance: Instance, cells: Iterable[str]) -> "DataFrame":
        """An instance's own rows in some cells, as they are stored, under logical names."""
        from pyspark.sql import functions as F

        own = self.columns(instance)
        return self._in(self.of(instance), cells).select(
            *structural(instance.entity),
            *(F.col(column).alias(name) for name, column in own.items()),
        )

    def together(self, recipe: Recipe, columns: Iterable[Column]) -> "DataFrame":
        """What a plan's reading is made of, under logical names, in all cells.

        Args:
            columns: those of the reading.
        """
        from pyspark.sql import functions as F

        return self._together(recipe).select(
            *structural(recipe.base.entity),
            *(F.col(self.columns(instance)[name]).alias(name) for instance, name in columns),
        )

    def training(self, instance: Instance) -> "DataFrame":
        """What all fits of an estimator read, as far as it is the same for all of them."""
        recipe = self._plan.work[instance].fit_recipe
        assert recipe is not None
        frame = within(self._together(recipe), instance.split, read_by(instance.fits))
        given = {self.columns(parent)[feature]: None for parent, feature in lessons(instance).given}
        return self._labelled(frame, instance).select(CELL, BUCKET, *given)

    def training_of(self, instance: Instance, fit: Fit, training: "DataFrame") -> "DataFrame":
        """What one fit of an estimator reads: its features on labelled rows.

        Args:
            training: what `training` gives, of which nothing is computed again.
        """
        reads = {**instance.inputs, **instance.fit_inputs}
        columns = {self.columns(parent)[feature]: None for feature, parent in reads.items()}
        return self.rows_of(instance, fit, training).select(*columns)

    def rows_of(self, instance: Instance, fit: Fit, training: "DataFrame") -> "DataFrame":
        """The labelled rows that one fit of an estimator reads, with their buckets.

        A nested one reads what nested stages upstream make without the folds that it leaves out:
        the rows of every fold get what their models say that have not read this fold either.

        Args:
            training: as for `training_of`.
        """
        if remade := self._plan.work[instance].remade:
            parts = []
            for _, served in instance.serving(0):
                if rows := served & fit.region:
                    part = training.where(in_buckets(rows))
                    for each in remade:
                        part = self._transform(part, each, rows, fit.context)
                    parts.append(part)
            return self._labelled(_stacked(parts), instance)
        if len(instance.fits) > 1:
            return training.where(in_buckets(fit.region))
        return training

    def _labelled(self, frame: "DataFrame", instance: Instance) -> "DataFrame":
        """The rows that have the label that an estimator learns, where the frame has it at all."""
        label = instance.stage.operation.label
        if label is None:
            return frame
        column = self.columns({**instance.inputs, **instance.fit_inputs}[label])[label]
        return frame.where(frame[column].isNotNull()) if column in frame.columns else frame

    def release(self, instance: Instance) -> None:
        """Say that one computation which read the frame of this instance has ended."""
        with self._lock:
            agenda = [instance]
            while agenda:
                node = agenda.pop()
                work = self._plan.work[node]
                if work.persist:
                    self._readers[node] -= 1
                    if self._readers[node] > 0:
                        continue
                    frame = self._built.pop(node, None)
                    if frame is not None:
                        frame.unpersist()
                agenda += work.bases

    def close(self) -> None:
        """Release everything, also what a failed computation left."""
        with self._lock:
            for instance, frame in self._built.items():
                if self._plan.work[instance].persist:
                    frame.unpersist()
            self._built.clear()

    def _build(self, instance: Instance) -> "DataFrame":
        work = self._plan.work[instance]
        if work.events is not None:
            frame = self._aggregated(instance, work.events)
        elif work.recipe is not None:
            frame = self._in(self._together(work.recipe), work.cells)
            frame = self._transform(frame, instance, self._bits(instance))
        else:
            return self._stored(instance, sorted(work.cells))
        if not work.persist:
            return frame
        kept = {self.columns(parent)[feature] for parent, feature in work.kept}
        own = self.columns(instance).values() if work.write else ()
        return frame.select(*structural(instance.entity), *sorted({*kept, *own})).persist()

    def _aggregated(self, instance: Instance, events: Recipe) -> "DataFrame":
        operation = instance.stage.operation
        assert isinstance(operation, AggregateOperation)
        assert instance.spine is not None
        self._refuse_divided(events.base, instance.spine, operation.over)
        read = {
            feature: self.columns(parent)[feature] for feature, parent in instance.inputs.items()
        }
        frame = aggregate(
            self._together(events),
            self._in(self.of(instance.spine), self._plan.work[instance].cells),
            operation,
            read,
        )
        return frame.withColumnsRenamed(self.columns(instance))

    def _together(self, recipe: Recipe) -> "DataFrame":
        self._refuse_other_keys(recipe)
        frame = self.of(recipe.base)
        entity = recipe.base.entity
        for instance in recipe.extend:
            if self._plan.work[instance].table:
                self._refuse_unrelated(recipe.base, instance)
                frame = self._joined(frame, entity, instance)
            else:
                frame = self._transform(frame, instance, self._bits(instance))
        return frame

    def _joined(self, frame: "DataFrame", entity: Entity, instance: Instance) -> "DataFrame":
        """A frame of an entity's rows with the stored columns of itself or an ancestor."""
        stored = self._stored(instance, sorted(self._plan.work[instance].cells))
        key = entity.key_of(instance.entity)
        own = self.columns(instance).values()
        return frame.join(
            stored.select(stored[instance.entity.key].alias(key), *own), on=key, how="inner"
        )

    def _refuse_other_keys(self, recipe: Recipe) -> None:
        """Sources of one entity that are joined hold the same rows: no join adds or drops any."""
        by_entity: dict[Entity, list[Instance]] = {}
        for source in sources_behind([recipe.base, *recipe.extend]):
            by_entity.setdefault(source.entity, []).append(source)
        for first, *others in by_entity.values():
            for other in others:
                for cell in CELLS:
                    records = [
                        self._store.table(self._plan.fingerprints[s], cell) for s in (first, other)
                    ]
                    held = [(r.rows, r.details["keys"]) for r in records if r is not None]
                    if len(set(held)) > 1:
                        raise other_keys(first, other, cell, held[0][0] or 0, held[1][0] or 0)

    def _refuse_unrelated(self, base: Instance, other: Instance) -> None:
        """Every row of a finer entity that is joined belongs to the row that it finds.

        All rows are looked at, whatever the cells of this run: those that are in two cells may be
        the ones that do not belong together.
        """
        if base.entity == other.entity:
            return
        children, parents = row_source(base), row_source(other)
        with self._lock:
            if (children, parents, None) not in self._related:
                rows, known = self._stored(children, CELLS), self._stored(parents, CELLS)
                refuse_unrelated(children, parents, rows, known)
                self._related.add((children, parents, None))

    def _refuse_divided(self, base: Instance, spine: Instance, over: Entity) -> None:
        """Events count for rows that belong to the same coarser ones, which decide the split."""
        events = row_source(base)
        with self._lock:
            # Events that have been found to belong to their rows agree with them.
            known = {(events, spine, None), (events, spine, over)}
            if over.parent is None or not self._related.isdisjoint(known):
                return
            told, rows = self._stored(events, CELLS), self._stored(spine, CELLS)
            refuse_divided(events, spine, over, told, rows)
            self._related.add((events, spine, over))

    def _bits(self, instance: Instance) -> int:
        """The buckets that may have rows where an instance is computed."""
        cells = self._plan.work[instance].cells or CELLS
        return sum(stored_bits(instance.split, cell) for cell in cells)  # they are disjoint

    def _transform(
        self, frame: "DataFrame", instance: Instance, rows: int, context: int = 0
    ) -> "DataFrame":
        """A frame with what an instance makes of it.

        Args:
            rows: the buckets that the frame may have rows of.
            context: the folds that all models leave out, as a bitmap.
        """
        try:
            if instance.is_estimator:
                return self._predicted(frame, instance, rows, context)
            if isinstance(instance.stage.operation, PretrainedOperation):
                return self._pretrained(frame, instance)
            return self.stage(instance).transform(frame)
        except FeatureFlowError:
            raise
        except Exception as error:  # what is being done may be a step further down
            raise failed(instance, "applied", error) from error

    def _predicted(
        self, frame: "DataFrame", instance: Instance, rows: int, context: int
    ) -> "DataFrame":
        """Every row with the output of the model that serves it; rows that none serves go."""
        for parent in instance.inputs.values():
            rows &= parent.available
        serving = [(fit, part & rows) for fit, part in instance.serving(context) if part & rows]
        return _stacked(
            self._model(instance, fit.name).transform(
                frame if part == rows else within(frame, instance.split, part)
            )
            for fit, part in serving
        )

    def _pretrained(self, frame: "DataFrame", instance: Instance) -> "DataFrame":
        """A model from elsewhere, which knows columns by the features' own names."""
        from pyspark.sql import functions as F

        given = {
            name: F.col(self.columns(parent)[name]) for name, parent in instance.inputs.items()
        }
        scored = self.stage(instance).transform(frame.withColumns(given))
        own = self.columns(instance).items()
        return scored.select(*frame.columns, *(F.col(name).alias(column) for name, column in own))

    def _stored(self, instance: Instance, cells: Iterable[str]) -> "DataFrame":
        from pyspark.sql import functions as F

        root = self._store.table_path(self._plan.fingerprints[instance])
        frame = (
            self._spark()
            .read.option("basePath", str(root))
            .parquet(*(str(root / f"cell={cell}") for cell in cells))
        )
        own = self.columns(instance)
        return frame.select(
            *structural(instance.entity),
            *(F.col(name).alias(column) for name, column in own.items()),
        )

    @staticmethod
    def _in(frame: "DataFrame", cells: Iterable[str]) -> "DataFrame":
        wanted = set(cells)
        return frame if wanted.issuperset(CELLS) else frame.where(frame[CELL].isin(*wanted))


def _stacked(parts: "Iterable[DataFrame]") -> "DataFrame":
    return reduce(lambda one, other: one.unionByName(other), parts)
