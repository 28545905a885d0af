"""Stored features for somebody outside of a run: as they are, or joined to rows of one's own.

Nothing is fitted and nothing is made for the store. What no table holds is computed by the stages
and models that a run would compute it by.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from ff_assets.core.buckets import ALL
from ff_assets.core.cells import BUCKET, CELL, TRAIN
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DataError
from ff_assets.core.instance import Instance
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.reading import Reading
from ff_assets.core.refusals import describe
from ff_assets.core.split import Split
from ff_assets.core.steps import Kind, Step, rows_of
from ff_assets.engine.aggregates import aggregate
from ff_assets.engine.fitting import Models
from ff_assets.engine.frame_plan import Column as Feature
from ff_assets.engine.frame_plan import Recipe
from ff_assets.engine.frames import Frames
from ff_assets.engine.plan import make_plan
from ff_assets.engine.regions import among, within
from ff_assets.engine.spine import Spine, since_column
from ff_assets.engine.store import Store
from ff_assets.engine.versions import fingerprint

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

KNOWN = "_known"
_STORED_BUCKET, _STORED, _MADE = "_stored_bucket", "_stored", "_made"

Session = Callable[[], "SparkSession"]


def read_rows(reading: Reading, cell: str | None, store: Store, spark: Session) -> "DataFrame":
    """All rows that have some features, or those of a cell.

    Returns:
        The entity's columns, the features, and the cell of each row; null if it is in none.

    Raises:
        DataError: a run has to make something first.
    """
    from pyspark.sql import functions as F

    split = reading.split
    frames, (recipe,) = _opened(reading, [reading.columns], (), store, spark)
    frame = frames.together(recipe, reading.columns)
    frames.close()
    if cell is not None:
        frame = within(frame, split, split.bits(cell))
    cells = named_cell(F.col(BUCKET), split).alias(CELL)
    return frame.select(*reading.entity.columns, *reading.features, cells)


def read_at(
    reading: Reading, given: "DataFrame", columns: Sequence[str], store: Store, spark: Session
) -> "DataFrame":
    """Features for each row of a spine, as they were known at its time.

    Args:
        columns: of the spine, of which `given` may lack those that are neither key nor time.

    Returns:
        The spine's rows, each once, with the features, the cell that each is in (null if in none),
        and `KNOWN`: whether there is a row for each of its keys, at its time.

    Raises:
        DataError: the spine does not have what is needed, or a run has to make something first.
    """
    from pyspark.sql import functions as F

    spine = Spine.of(reading, given, columns)
    looked_up = [columns for columns in (spine.stored, spine.beside) if columns]
    summed_up = [
        [(parent, name) for name, parent in instance.inputs.items()]
        for instance in spine.dated
        if instance.is_aggregate
    ]
    timed = [[(source, source.source.outputs[0])] for source in spine.timed.values()]
    frames, recipes = _opened(reading, [*looked_up, *timed, *summed_up], spine.dated, store, spark)
    rows, remaining = given, iter(recipes)
    if spine.stored:
        names = {feature: feature[1] for feature in spine.stored}
        stored = frames.stored_at(spine, next(remaining), spine.stored, names, spine.carried)
        rows = rows.join(stored, on=spine.key_of(spine.stored), how="left")
    beside = next(remaining) if spine.beside else None
    for entity in spine.timed:
        times = frames.times_at(spine, entity, next(remaining))
        rows = rows.join(times, on=spine.entity.key_of(entity), how="left")
    if spine.dated:
        made = frames.made_at(spine, beside, remaining)
        rows = rows.join(made, on=spine.keys, how="left")
    frames.close()
    known = {
        name: _known(spine, name, _MADE if instance in spine.dated else _STORED)
        for instance, name in reading.columns
    }
    bucket = spine.bucket(F.col(_STORED_BUCKET) if spine.stored else None)
    return rows.select(
        *(F.col(f"`{name}`") for name in given.columns if name != CELL),
        *(F.when(each, F.col(name)).alias(name) for name, each in known.items()),
        named_cell(bucket, reading.split).alias(CELL),
        reduce(and_, known.values()).alias(KNOWN),
    )


def _known(spine: Spine, feature: str, found: str) -> "Column":
    """Whether a feature was there, and known, at the time of a row; never null.

    Args:
        found: the column that is null where there is no row for the keys.
    """
    from pyspark.sql import functions as F

    is_known = F.col(found).isNotNull()
    for entity, days in spine.since.get(feature, {}).items():
        since = F.col(since_column(entity))
        if days:
            since += F.make_dt_interval(days=F.lit(days))
        is_known &= F.coalesce(since <= F.col(str(spine.entity.time)), F.lit(False))
    return is_known


def named_cell(bucket: "Column", split: Split) -> "Column":
    """The cell of the split that a bucket is in; null if it is in none, as those of an embargo."""
    from pyspark.sql import functions as F

    named = F.lit(None).cast("string")
    for cell, buckets in split.cells.items():
        named = F.when(among(bucket, buckets), cell).otherwise(named)
    return named


class _Frames(Frames):
    """Frames of stored rows, and what the stages and models of a plan make of others."""

    def stored_at(
        self,
        spine: Spine,
        recipe: Recipe,
        features: Sequence[Feature],
        names: "dict[Feature, str]",
        carried: Sequence[str] = (),
    ) -> "DataFrame":
        """What is looked up by key, with the time of the row that it is found in, if that has one.

        Args:
            names: feature -> its column in the result.
            carried: foreign keys that come along.
        """
        from pyspark.sql import functions as F

        entity, key = recipe.base.entity, spine.key_of(features)
        frame = self._together(recipe).select(
            F.col(entity.key).alias(key),
            *([] if entity.time is None else [F.col(entity.time).alias(since_column(entity))]),
            *carried,
            F.col(BUCKET).alias(_STORED_BUCKET),
            F.lit(True).alias(_STORED),
            *(F.col(self.columns(i)[name]).alias(names[i, name]) for i, name in features),
        )
        spine.check_type(frame, key)
        return frame

    def times_at(self, spine: Spine, entity: Entity, recipe: Recipe) -> "DataFrame":
        """The times of the rows that rows of the spine belong to."""
        from pyspark.sql import functions as F

        key = spine.entity.key_of(entity)
        frame = self._together(recipe).select(
            F.col(entity.key).alias(key), F.col(str(entity.time)).alias(since_column(entity))
        )
        if key not in spine.carried:
            spine.check_type(frame, key)
        return frame

    def made_at(self, spine: Spine, beside: Recipe | None, events: Iterator[Recipe]) -> "DataFrame":
        """What is computed for the keys and times of a spine; rows without what it reads go.

        Args:
            beside: of what else is looked up for it.
            events: of what each aggregate sums up.
        """
        from pyspark.sql import functions as F

        rows = frame = spine.rows()
        if beside is not None:
            names = {each: self.columns(each[0])[each[1]] for each in spine.beside}
            stored = self.stored_at(spine, beside, spine.beside, names)
            frame = frame.join(stored, on=spine.key_of(spine.beside), how="inner")
            since = since_column(spine.entity)
            if spine.has_time and since in stored.columns:
                frame = frame.where(F.col(since) <= F.col(str(spine.entity.time)))
            frame = frame.select(*rows.columns, *names.values())
        for instance in spine.dated:
            if instance.is_aggregate:
                operation = instance.stage.operation
                assert isinstance(operation, AggregateOperation)
                if operation.point_in_time:
                    self._check_time(spine, instance)
                read = {name: self.columns(p)[name] for name, p in instance.inputs.items()}
                measured = aggregate(self._together(next(events)), rows, operation, read)
                own = self.columns(instance)
                measured = measured.select(*spine.keys, *own).withColumnsRenamed(own)
                frame = frame.join(measured, on=spine.keys, how="inner")
            else:
                frame = self._transform(frame, instance, ALL)
        return frame.select(
            *spine.keys,
            F.lit(True).alias(_MADE),
            *(F.col(self.columns(i)[name]).alias(name) for i, name in spine.computed),
        )

    def _check_time(self, spine: Spine, instance: Instance) -> None:
        """As far as there are stored rows: an aggregate can do without."""
        assert instance.spine is not None
        fingerprint = self._plan.fingerprints[instance.spine]
        record = self._store.table(fingerprint, TRAIN)
        if record is not None:
            spine.check_time(record.columns[str(spine.entity.time)])


def _opened(
    reading: Reading,
    readings: Sequence[Sequence[Feature]],
    computed: Sequence[Instance],
    store: Store,
    spark: Session,
) -> tuple[_Frames, Sequence[Recipe]]:
    """Frames of what the store has, and how to get the columns of each reading together.

    Args:
        computed: whose stages and models are applied.

    Raises:
        DataError: the store lacks something.
    """
    read = dict.fromkeys(i for columns in readings for i, _ in columns)
    steps = [rows_of(instance) for instance in (*read, *computed)]
    with store.staging() as staging:
        fingerprints, _ = fingerprint(reading.flow, steps, spark, staging)
        plan = make_plan(reading.flow, {}, fingerprints, store, readings=readings)
        lacking = list(plan.todo)
        for instance in computed:
            if instance.is_estimator and store.model(fingerprints[instance]) is None:
                lacking.append(Step(Kind.MODEL, instance))
        if lacking:
            raise _not_made(reading, lacking)
        models = Models(plan, store, staging, spark)
    return _Frames(plan, store, spark, models.get), plan.readings


def _not_made(reading: Reading, lacking: Sequence[Step]) -> DataError:
    names = ", ".join(step.name for step in lacking[:3])
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    last = lacking[-1].instance
    targets = reading.targets_with(last)
    return DataError(
        f"{names}{more} {'is' if len(lacking) == 1 else 'are'} not made yet.",
        where=[
            describe(last.provider),
            (f"read {', '.join(reading.features)}", reading.location),
        ],
        why="nothing is fitted or stored by reading, and no run has made this from the present "
        "code and data.",
        fix=f"ff run {targets[0]}"
        if targets
        else f"no target uses `{last.provider.name}` in this variant; let one do so, and run it.",
    )
