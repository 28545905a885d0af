"""The wide DataFrames of one run, built from a plan, shared, persisted and released."""

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ff_assets.core.errors import DataError
from ff_assets.core.flow import Instance, sources_behind
from ff_assets.core.refusals import describe
from ff_assets.core.split import CELL, TRAIN
from ff_assets.core.steps import CELLS
from ff_assets.engine.columns import physical, stored_columns
from ff_assets.engine.plan import Plan, Recipe
from ff_assets.engine.stages import failed, make_stage
from ff_assets.engine.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Frames:
    """Frames by instance. Threads may ask for them and report what they have read.

    Args:
        model: gives the fitted model of an estimator's instance.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        spark: Callable[[], "SparkSession"],
        model: Callable[[Instance], Any],
    ) -> None:
        self._plan = plan
        self._store = store
        self._spark = spark
        self._model = model
        self._built: dict[Instance, DataFrame] = {}
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
        """An instance's own rows in some cells, as they are stored: key, cell, logical names."""
        from pyspark.sql import functions as F

        own = self.columns(instance)
        return self._in(self.of(instance), cells).select(
            instance.entity.key, CELL, *(F.col(column).alias(name) for name, column in own.items())
        )

    def training(self, instance: Instance) -> "DataFrame":
        """What an estimator is fitted on: rows of train, and of these only labelled ones."""
        recipe = self._plan.work[instance].fit_recipe
        assert recipe is not None
        frame = self._in(self._together(recipe), [TRAIN])
        label = instance.stage.operation.label
        reads = {**instance.inputs, **instance.fit_inputs}
        if label is not None:
            frame = frame.where(frame[self.columns(reads[label])[label]].isNotNull())
        return frame.select(
            *dict.fromkeys(self.columns(parent)[feature] for feature, parent in reads.items())
        )

    def release(self, instance: Instance) -> None:
        """Say that one computation which read the frame of this instance has ended."""
        with self._lock:
            node: Instance | None = instance
            while node is not None:
                work = self._plan.work[node]
                if work.persist:
                    self._readers[node] -= 1
                    if self._readers[node] > 0:
                        return
                    frame = self._built.pop(node, None)
                    if frame is not None:
                        frame.unpersist()
                node = work.recipe.base if work.recipe else None

    def close(self) -> None:
        """Release everything, also what a failed computation left."""
        with self._lock:
            for instance, frame in self._built.items():
                if self._plan.work[instance].persist:
                    frame.unpersist()
            self._built.clear()

    def _build(self, instance: Instance) -> "DataFrame":
        work = self._plan.work[instance]
        if work.recipe is None:
            return self._stored(instance, sorted(work.cells))
        frame = self._in(self._together(work.recipe), work.cells)
        frame = self._transform(frame, instance)
        if not work.persist:
            return frame
        kept = {self.columns(parent)[feature] for parent, feature in work.kept}
        own = self.columns(instance).values() if work.write else ()
        keep = [instance.entity.key, CELL, *sorted({*kept, *own})]
        return frame.select(*keep).persist()

    def _together(self, recipe: Recipe) -> "DataFrame":
        self._refuse_other_keys(recipe)
        frame = self.of(recipe.base)
        for instance in recipe.extend:
            if self._plan.work[instance].table:
                stored = self._stored(instance, sorted(self._plan.work[instance].cells))
                frame = frame.join(stored.drop(CELL), on=instance.entity.key, how="inner")
            else:
                frame = self._transform(frame, instance)
        return frame

    def _refuse_other_keys(self, recipe: Recipe) -> None:
        """Sources that are joined hold the same rows, so that no join adds or drops any."""
        sources = sources_behind([recipe.base, *recipe.extend])
        first = sources[0]
        for other in sources[1:]:
            for cell in CELLS:
                records = [
                    self._store.table(self._plan.fingerprints[s], cell) for s in (first, other)
                ]
                held = [(r.rows, r.details["keys"]) for r in records if r is not None]
                if len(set(held)) > 1:
                    raise DataError(
                        f"the sources `{first.name}` and `{other.name}` of entity "
                        f"`{first.entity.name}` do not have the same keys.",
                        where=[describe(first.provider), describe(other.provider)],
                        why=f"in {cell} they have {held[0][0]:,} and {held[1][0]:,} rows, and "
                        "not each row of one has its counterpart in the other; variants are "
                        "compared on the same rows.",
                        fix="let one loader bring the rows of the other, with nulls or defaults "
                        "where it has nothing to say.",
                    )

    def _transform(self, frame: "DataFrame", instance: Instance) -> "DataFrame":
        stage = self._model(instance) if instance.is_estimator else self.stage(instance)
        try:
            return stage.transform(frame)
        except Exception as error:  # what is being done may be a step further down
            raise failed(instance, "applied", error) from error

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
            instance.entity.key, CELL, *(F.col(name).alias(column) for name, column in own.items())
        )

    @staticmethod
    def _in(frame: "DataFrame", cells: Iterable[str]) -> "DataFrame":
        wanted = set(cells)
        return frame if wanted.issuperset(CELLS) else frame.where(frame[CELL].isin(*wanted))
