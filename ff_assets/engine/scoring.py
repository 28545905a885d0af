"""Scoring: the rows of a target that wait for a prediction, and what a registered model is given.

A registered model is given columns of sources and of aggregates, and makes everything else. The
rows are those of the target's source whose label is null; they are in the store with all others,
and so is what belongs to them, or the engine computes it. A source with a `scoring` loader gives
rows that the store does not have: what belongs to them is taken from it, with these rows as spine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import BUCKET, CELL
from ff_assets.core.errors import DefinitionError
from ff_assets.core.fingerprint import Fingerprints, declaration_digest, digest
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.refusals import describe
from ff_assets.engine.aggregates import aggregate
from ff_assets.engine.columns import private_columns
from ff_assets.engine.frame_plan import Column, Recipe
from ff_assets.engine.frames import Frames
from ff_assets.engine.keys import refuse_divided, refuse_unrelated
from ff_assets.engine.scoring_rows import ScoringRows, scoring_rows
from ff_assets.engine.stages import make_stage
from ff_assets.engine.versions import code_version, engine_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def columns_given(variant: Variant) -> dict[str, Instance]:
    """Every column that scoring can give to a model of a variant -> what provides it.

    What the variant's own model reads comes first, then what else its sources and aggregates have,
    of features of one name that of the finest entity.
    """
    given = {
        name: parent
        for instance in variant.serving_instances()
        if not instance.is_given
        for name, parent in instance.inputs.items()
        if parent.is_given
    }
    chain = variant.entity.chain
    others = [i for i in variant.instances if i.is_given and i.entity in chain]
    for instance in sorted(others, key=lambda i: chain.index(i.entity)):
        for name in instance.provider.outputs:
            given.setdefault(name, instance)
    return given


def sources_scored(variant: Variant) -> tuple[Instance, ...]:
    """What the scoring of a variant reads of its flow: sources and aggregates, in order."""
    keeps = [variant.features[name] for name in variant.target.keep]
    read = {i for i in (*variant.serving_instances(), *keeps) if i.is_given}
    return tuple(i for i in variant.instances if i in {*read, rows_scored(variant)})


def rows_scored(variant: Variant) -> Instance:
    """The source whose rows are scored: one with a `scoring` loader, else that of the label."""
    sources = [i for i in variant.instances if i.is_source and i.entity == variant.entity]
    label = variant.features.get(variant.target.label or "")
    return min(sources, key=lambda i: (i.source.scoring is None, i is not label))


@dataclass(frozen=True)
class Scoring:
    """How rows of a target get the columns that a model reads, and those that are kept.

    Attributes:
        variant: of the present flow, that gives them.
        inputs: the columns that the model reads.
        given: column that is read or kept -> what provides it.
        derived: what makes columns to keep that the model does not make, in order.
    """

    variant: Variant
    inputs: tuple[str, ...]
    given: Mapping[str, Instance]
    derived: tuple[Instance, ...]

    @classmethod
    def of(cls, variant: Variant, inputs: Iterable[str]) -> "Scoring":
        """How a variant serves a model.

        Args:
            inputs: the columns that the model reads; `columns_given` has them all.

        Raises:
            DefinitionError: a column to keep cannot be had without a fit that is not in the model.
        """
        offered = columns_given(variant)
        inputs = tuple(inputs)
        given = {name: offered[name] for name in inputs}
        made = set(variant.serving_instances())
        needed: set[Instance] = set()
        for name in variant.target.keep:
            instance = variant.features[name]
            if instance.is_given:
                given[name] = instance
            elif instance not in made:
                needed.add(instance)
        for instance in reversed(variant.instances):
            if instance in needed:
                if instance.is_estimator:
                    raise _not_kept(variant, instance)
                for name, parent in instance.inputs.items():
                    if parent.is_given:
                        given.setdefault(name, parent)
                    elif parent not in made:
                        needed.add(parent)
        derived = tuple(i for i in variant.instances if i in needed)
        return cls(variant, inputs, given, derived)

    @cached_property
    def has_loader(self) -> bool:
        """Whether the rows come from a `scoring` loader."""
        return rows_scored(self.variant).source.scoring is not None

    @cached_property
    def readings(self) -> tuple[tuple[Column, ...], ...]:
        """The columns that are read together of the present flow's results."""
        if not self.has_loader:
            columns = [(instance, name) for name, instance in self.given.items()]
            label = self.variant.target.label
            if label is not None and label not in self.given:
                columns.append((self.variant.features[label], label))
            rows = rows_scored(self.variant)
            if all(i.entity != rows.entity for i, _ in columns):
                columns.append((rows, rows.provider.outputs[0]))
            return (tuple(columns),)
        of_parents: dict[str, list[Column]] = {}
        for name, instance in self.given.items():
            if instance.entity != self.variant.entity:
                of_parents.setdefault(instance.entity.name, []).append((instance, name))
        events = (tuple((p, n) for n, p in a.inputs.items()) for a in self._aggregates)
        return (*map(tuple, of_parents.values()), *events)

    @cached_property
    def _aggregates(self) -> tuple[Instance, ...]:
        """The aggregates that are computed for the rows of a loader."""
        own = [i for i in self.given.values() if i.is_aggregate and i.entity == self.variant.entity]
        return tuple(dict.fromkeys(own))

    @property
    def computed(self) -> tuple[Instance, ...]:
        """What is computed beside what is read and what the model makes."""
        return (*(self._aggregates if self.has_loader else ()), *self.derived)

    @property
    def read(self) -> tuple[Instance, ...]:
        """The instances that are read."""
        return tuple(dict.fromkeys(i for columns in self.readings for i, _ in columns))

    def version(self, fingerprints: Fingerprints, model: str, content: str = "") -> str:
        """What predictions come from: the model, the data, and what is done with them.

        Args:
            model: identifies it.
            content: of the rows of a loader.
        """
        target = self.variant.target
        return digest(
            {
                "model": model,
                "rows": content,
                "read": [fingerprints[instance] for instance in self.read],
                "given": {
                    n: declaration_digest(i.provider, i.split) for n, i in self.given.items()
                },
                "derived": [declaration_digest(i.provider, i.split) for i in self.derived],
                "columns": [list(target.keep), list(target.outputs)],
                "code": [engine_version(), code_version(("engine/scoring", "engine/scoring_rows"))],
            }
        )

    def loaders(self, spark: "SparkSession") -> tuple[ScoringRows, ...]:
        """What `scoring` loaders give, that of the target's rows first; nothing without one.

        Raises:
            DefinitionError: another source of the entity has none.
            DataError: one fails, or lacks a column.
        """
        if not self.has_loader:
            return ()
        first = rows_scored(self.variant)
        own = [i for i in self.given.values() if i.is_source and i.entity == self.variant.entity]
        for instance in own:
            if instance.source.scoring is None:
                raise DefinitionError(
                    f"source `{instance.name}` has no `scoring` loader.",
                    where=[describe(instance.provider), describe(first.provider)],
                    why=f"`{first.name}` has one, and the model reads features of both for the "
                    "same rows.",
                    fix="give it one as well, for the same keys.",
                )
        return tuple(
            scoring_rows(i.source, [n for n, g in self.given.items() if g is i], spark)
            for i in dict.fromkeys([first, *own])
        )

    def frame(
        self, recipes: Sequence[Recipe], frames: Frames, loaders: tuple[ScoringRows, ...]
    ) -> "DataFrame":
        """The rows to score: the entity's columns, and what is given, under logical names.

        Args:
            recipes: of this scoring's readings, from a plan that was carried out.

        Raises:
            DataError: rows belong to rows of a coarser entity that are not there, or that belong
                to others than they say themselves.
        """
        entity, label = self.variant.entity, self.variant.target.label
        read = [
            frames.together(recipe, columns)
            for recipe, columns in zip(recipes, self.readings, strict=True)
        ]
        if not loaders:
            rows = read[0] if label is None else read[0].where(read[0][label].isNull())
            return rows.select(*entity.columns, *self.given)
        rows = reduce(
            lambda one, other: one.join(
                other.observed.drop(*entity.columns[1:]), on=entity.key, how="inner"
            ),
            loaders[1:],
            loaders[0].observed,
        )
        parents = len(read) - len(self._aggregates)
        for columns, frame in zip(self.readings, read[:parents], strict=False):
            rows = self._with_parents(rows, loaders[0].plain, columns, frame)
        for instance, events in zip(self._aggregates, read[parents:], strict=True):
            measured = _measured(instance, events, rows_scored(self.variant), loaders[0].plain)
            rows = rows.join(measured, on=entity.key)
        return rows.select(*entity.columns, *self.given)

    def _with_parents(
        self,
        rows: "DataFrame",
        plain: "DataFrame",
        columns: tuple[Column, ...],
        parents: "DataFrame",
    ) -> "DataFrame":
        """Rows of a loader with what is known of the rows that they belong to."""
        instance = columns[0][0]
        refuse_unrelated(rows_scored(self.variant), instance, plain, parents)
        key = self.variant.entity.key_of(instance.entity)
        known = parents.select(
            parents[instance.entity.key].alias(key), *(name for _, name in columns)
        )
        return rows.join(known, on=key, how="inner")

    def kept(self, scored: "DataFrame") -> "DataFrame":
        """Scored rows with the columns to keep that are neither given nor made by the model.

        Raises:
            DefinitionError: the registered model does not make one that the variant's own does.
        """
        for instance in self.derived:
            names = {name: name for name in (*instance.inputs, *instance.provider.outputs)}
            names |= {name: name for name in private_columns(instance).values()}
            scored = make_stage(instance, names).transform(scored)
        for name in self.variant.target.keep:
            if name not in scored.columns:
                raise _not_kept(self.variant, self.variant.features[name])
        return scored


def _measured(
    instance: Instance, events: "DataFrame", source: Instance, rows: "DataFrame"
) -> "DataFrame":
    """An aggregate of the store's events for rows of a source's loader, by their key."""
    from pyspark.sql import functions as F

    operation: Any = instance.stage.operation
    assert isinstance(operation, AggregateOperation)
    summed = next(each for each in instance.inputs.values() if each.entity == operation.of)
    refuse_divided(summed, source, operation.over, events, rows)
    spine = rows.withColumns({BUCKET: F.lit(0), CELL: F.lit("")})  # they are on no side
    made = aggregate(events, spine, operation, {name: name for name in instance.inputs})
    return made.select(instance.entity.key, *instance.provider.outputs)


def _not_kept(variant: Variant, instance: Instance) -> DefinitionError:
    names = [n for n in variant.target.keep if variant.features[n] is instance]
    return DefinitionError(
        f"predictions of `{variant.target.name}` cannot keep "
        f"`{names[0] if names else instance.provider.outputs[0]}`.",
        where=[describe(variant.target), describe(instance.provider)],
        why=f"`{instance.name}` makes it, which is not among what the registered model is made of.",
        fix="keep columns of sources, or what the model itself makes; or promote a version that "
        f"makes it: ff promote {variant.target.name} --to staging ...",
    )
