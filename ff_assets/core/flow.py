"""The feature flow: from the targets backwards, by the names of features, to pipelines.

A *variant* of a target is one acyclic derivation in which every feature has one provider,
wherever it is used. Variants are enumerated lazily, each by one backward walk, so the time is
linear in the number of stages that a variant uses. Stage *instances* are hash-consed: a
provider and the instances it reads identify an instance, so what variants and targets have in
common exists once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from ff_assets.core import refusals
from ff_assets.core.ab_test import check_reach
from ff_assets.core.buckets import ALL
from ff_assets.core.buckets import describe as describe_buckets
from ff_assets.core.declare import Provider, Source, describe
from ff_assets.core.derivation import Derivation, Reachable, reach
from ff_assets.core.entities import Entity, finest
from ff_assets.core.errors import DefinitionError, nearest
from ff_assets.core.fitting import Fit, fits, served
from ff_assets.core.hypothesis import stated
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.nesting import nest
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.project import Node, Project, Use
from ff_assets.core.split import Split, TimeSplit, describe_split
from ff_assets.core.stage import Stage


@dataclass(frozen=True)
class Flow:
    """What the targets of a project come to.

    Attributes:
        project: the declarations.
        instances: every instance of every variant, once, in topological order.
        variants: the variants of all targets, in order of declaration.
        unusable: name of a provider that targets reach but no variant uses -> the reason.
    """

    project: Project
    instances: tuple[Instance, ...]
    variants: tuple[Variant, ...]
    unusable: Mapping[str, str]

    def variants_of(self, target: str) -> tuple[Variant, ...]:
        return tuple(v for v in self.variants if v.target.name == target)


def infer(project: Project) -> Flow:
    """Infer the variants of every target and the instances they share.

    Raises:
        UnreachableOutput: a wanted feature cannot be derived.
        CyclicFlow: a wanted feature can only be derived from itself.
        MixedEntities: a stage reads features of two entities.
        VariantExplosion: a target has more variants than its `max_variants`.
        DefinitionError: a target does not say which of several entities it is about, nested
            estimators do not go together, a fit would have no rows by the declarations alone,
            outcomes of an A/B test cannot be told of the target's rows, or a hypothesis does not
            say which two variants it is about.
    """
    derived: list[_Derived] = []
    unusable: dict[str, str] = {}
    for target in project.targets:
        graph = reach(project, target)
        check_reach(target, graph.entity)
        derivations = list(islice(graph.derivations(), target.max_variants + 1))
        if len(derivations) > target.max_variants:
            raise refusals.explosion(target, graph.providers)
        derived.append(_Derived(graph, target.split or project.split, derivations))
        unusable |= graph.unusable()
    builder = _Builder(project, derived)
    instances = builder.named_instances()
    nest(instances)
    for instance in instances:
        _check_fits(instance)
    used = {instance.provider.name for instance in instances}
    flow = Flow(
        project=project,
        instances=instances,
        variants=tuple(builder.named_variants()),
        unusable={name: reason for name, reason in unusable.items() if name not in used},
    )
    for target in project.targets:
        stated(target, flow.variants_of(target.name))
    return flow


class _Derived(NamedTuple):
    """What was derived for one target."""

    graph: Reachable
    split: Split
    derivations: list[Derivation]


class _Made(NamedTuple):
    """The instances of one derivation, by what they provide and in topological order."""

    by_node: Mapping[Node, Instance]
    order: tuple[Instance, ...]


class _Builder:
    """Makes every instance once, and names them when all are known."""

    def __init__(self, project: Project, derived: list[_Derived]) -> None:
        self._project = project
        self._split = project.split
        self._instances: dict[tuple[object, ...], Instance] = {}
        self._contested = _contested(derived)
        self._derived = [
            (each, [(d, self._made(each, d)) for d in each.derivations]) for each in derived
        ]

    def _made(self, derived: _Derived, derivation: Derivation) -> _Made:
        by_node: dict[Node, Instance] = {}
        provided: dict[Use, list[Node]] = {}
        for node, use in derivation.providers.items():
            provided.setdefault(use, []).append(node)
        order = []
        for use in derivation.order:
            instance = self._instance(use.provider, derived.split, derivation.reads[use], by_node)
            by_node.update(dict.fromkeys(provided[use], instance))
            if instance.spine is not None:
                order.append(instance.spine)
            order.append(instance)
        return _Made(by_node, tuple(dict.fromkeys(order)))

    def _instance(
        self,
        provider: Provider,
        split: Split,
        reads: Mapping[str, Node],
        made: Mapping[Node, Instance],
    ) -> Instance:
        inputs = {name: made[reads[name]] for name in provider.inputs}
        fit_inputs = {name: made[reads[name]] for name in provider.fit_inputs}
        identity = (provider, split, *inputs.values(), *fit_inputs.values())
        if identity not in self._instances:
            spine = self._spine(provider, split)
            if isinstance(provider, Source):
                _check_time(provider, split)
            else:
                _check_events(provider, inputs.values())
                _check_one_time(provider, split, (*inputs.values(), *fit_inputs.values()))
            available = _available(inputs.values())
            fitted: tuple[Fit, ...] = ()
            if isinstance(provider, Stage) and provider.kind == "estimator":
                readable = available & _available(fit_inputs.values())
                _check_fitting(provider, split)
                fitted = fits(provider.fitting, split, available, readable)
                available = served(fitted)
            self._instances[identity] = Instance(
                provider=provider,
                entity=_entity(provider, inputs),
                split=split,
                inputs=inputs,
                fit_inputs=fit_inputs,
                choices=self._choices(reads, made),
                fits=fitted,
                available=available,
                spine=spine,
            )
        return self._instances[identity]

    def _spine(self, provider: Provider, split: Split) -> Instance | None:
        """The first source of an aggregate's entity; all sources of one have the same rows."""
        if isinstance(provider, Source) or not isinstance(provider.operation, AggregateOperation):
            return None
        entity = provider.operation.to
        for source in self._project.sources:
            if source.entity == entity:
                return self._instance(source, split, {}, {})
        raise DefinitionError(
            f"aggregate `{provider.name}` has no rows to go to.",
            where=[describe(provider), (f"entity {entity.name!r}", entity.location)],
            why=f"no source is about `{entity.name}`.",
            fix=f"declare a Source of `{entity.name}`.",
        )

    def _choices(
        self, reads: Mapping[str, Node], made: Mapping[Node, Instance]
    ) -> frozenset[tuple[str, str]]:
        own = {
            (node.feature, made[node].provider.name)
            for node in reads.values()
            if node in self._contested
        }
        upstream = {made[node].choices for node in reads.values()}
        if not own and len(upstream) == 1:
            return upstream.pop()  # one set for a whole chain keeps long chains linear
        return frozenset(own).union(*upstream)

    def named_instances(self) -> tuple[Instance, ...]:
        by_provider: dict[Provider, list[Instance]] = {}
        for instance in self._instances.values():
            by_provider.setdefault(instance.provider, []).append(instance)
        for provider, siblings in by_provider.items():
            # No feature's name begins with an underscore.
            choices = [
                {"_entity": i.entity.name, **self._split_label(i)} | dict(sorted(i.choices))
                for i in siblings
            ]
            for instance, label in zip(siblings, _labels(choices), strict=True):
                instance.name = _join(provider.name, label)
        return tuple(self._instances.values())

    def _split_label(self, instance: Instance) -> dict[str, str]:
        """The project's own split goes without saying."""
        return {} if instance.split == self._split else {"_split": instance.split.name}

    def named_variants(self) -> Iterator[Variant]:
        for derived, siblings in self._derived:
            labels = _labels([derivation.choices for derivation, _ in siblings])
            for (derivation, made), label in zip(siblings, labels, strict=True):
                yield Variant(
                    target=derived.graph.target,
                    entity=derived.graph.entity,
                    split=derived.split,
                    name=_join(derived.graph.target.name, label),
                    features=_by_name(made.by_node, derived.graph.entity),
                    choices=derivation.choices,
                    instances=made.order,
                )


def _contested(derived: list[_Derived]) -> set[Node]:
    """The features for which not all derivations have the same provider."""
    first: dict[Node, Use] = {}
    return {
        node
        for each in derived
        for derivation in each.derivations
        for node, use in derivation.providers.items()
        if first.setdefault(node, use) != use
    }


def _entity(provider: Provider, inputs: Mapping[str, Instance]) -> Entity:
    """What a provider's rows are about; what a walk reads is all on one chain of entities."""
    if isinstance(provider, Source):
        return provider.entity
    if isinstance(provider.operation, AggregateOperation):
        return provider.operation.to
    entity = finest(instance.entity for instance in inputs.values())
    assert entity is not None
    return entity


def _available(instances: Iterable[Instance]) -> int:
    """The buckets for which all instances have values."""
    available = ALL
    for instance in instances:
        available &= instance.available
    return available


def _check_time(source: Source, split: Split) -> None:
    if isinstance(split, TimeSplit) and source.entity.time is None:
        entity = source.entity
        raise DefinitionError(
            f"source `{source.name}` cannot be split by time.",
            where=[describe(source), (f"entity {entity.name!r}", entity.location)],
            why=f"the split of a target that needs it goes by the time of each row, and rows of "
            f"`{entity.name}` have none.",
            fix='name the column with it, Entity(..., time="bought_at"); or let loaders of rows '
            "that have a time give each of them its features as they were by then.",
        )


def _check_one_time(stage: Stage, split: Split, read: Iterable[Instance]) -> None:
    """By time, each entity's rows are split by times of their own, so rows are not carried over."""
    entities = list(dict.fromkeys(instance.entity for instance in read))
    if isinstance(split, TimeSplit) and len(entities) > 1:
        names = " and ".join(f"`{entity.name}`" for entity in entities)
        finer = finest(entities) or entities[0]
        raise DefinitionError(
            f"stage `{stage.name}` reads features of {names} under a split by time.",
            where=[describe(stage), ("TimeSplit(...)", split.location)],
            why="a row of the one may be of another time than the row of the other that belongs "
            "to it: what train reads might be of days of test.",
            fix=f"sum up what was before each row, @aggregate(of=..., to={finer.name}); or let the "
            f"loader of `{finer.name}` give each row the feature as it was by then.",
        )


def _check_events(stage: Stage, read: Iterable[Instance]) -> None:
    """An aggregate reads a feature of the rows that it sums up, or nothing would be summed up."""
    operation = stage.operation
    if not isinstance(operation, AggregateOperation):
        return
    of, entities = operation.of, [instance.entity for instance in read]
    if of not in entities:
        raise DefinitionError(
            f"aggregate `{stage.name}` reads no feature of `{of.name}`, whose rows it sums up.",
            where=[describe(stage), (f"entity {of.name!r}", of.location)],
            why="all that it reads is of "
            + " and ".join(f"`{entity.name}`" for entity in dict.fromkeys(entities))
            + f", which is the same for all rows of `{of.name}` that belong to one row of it.",
            fix=f"let it read a feature of `{of.name}` as well.",
        )


def _check_fitting(stage: Stage, split: Split) -> None:
    """Its cells are there, and can be divided into as many parts as it is to have."""
    fitting, where = stage.fitting, [describe(stage), describe_split(split)]
    unknown = [cell for cell in fitting.cells if cell not in split.cells]
    if unknown:
        raise DefinitionError(
            f"stage `{stage.name}` is to be fitted on {unknown[0]!r}, which is no cell of the "
            f"split `{split.name}`.",
            where=where,
            why=f"every target that needs the stage has its rows divided by its own split; "
            f"{nearest(unknown[0], split.cells)}",
            fix="name cells of the split, or give all targets that need the stage one that has "
            "this cell: Target(..., split=...).",
        )
    if (there := fitting.region(split).bit_count()) < fitting.count:
        parts = {"folds": "folds", "blocks": "blocks", "slice": "slices"}[fitting.scheme]
        unit = "days" if isinstance(split, TimeSplit) else "buckets"
        cells = " and ".join(fitting.cells)
        raise DefinitionError(
            f"stage `{stage.name}` divides {cells} into {fitting.count} {parts}, but the split "
            f"`{split.name}` gives {cells} only {there} {unit}.",
            where=where,
            why=f"a part has at least one of the {unit}, which are never divided.",
            fix=f"use at most {there} {parts}; 5 is usual. Or let {cells} have more {unit}.",
        )


def _check_fits(instance: Instance) -> None:
    """No fit is left without rows because inputs have values for other rows only."""
    empty = next((fit for fit in instance.fits if not fit.region), None)
    if empty is None:
        return
    region = instance.stage.fitting.region(instance.split)
    narrow = [each for each in instance.parents if region & ~each.available]
    given = [
        f"`{i.name}` has values for the buckets {describe_buckets(i.available)}" for i in narrow
    ]
    raise DefinitionError(
        f"`{instance.name}` cannot be fitted{f' for {empty.name}' if empty.name else ''}: its "
        "inputs have values for none of the rows that this fit may read.",
        where=[describe(each.provider) for each in (instance, *narrow)],
        why=f"its fits read from the buckets {describe_buckets(region)}, each without those that "
        f"it leaves out; {' and '.join(given)}. The first of ordered blocks has none, as no fit is "
        "before it.",
        fix=f"divide {' and '.join(f'`{each.name}`' for each in narrow)} into more blocks"
        + (
            f", or `{instance.name}` into blocks as well: .cross_fit(..., ordered=True)."
            if instance.stage.fitting.scheme == "folds"
            else "."
        ),
    )


def _by_name(by_node: Mapping[Node, Instance], entity: Entity) -> dict[str, Instance]:
    """Feature -> instance; of features of one name that of the finest of a chain of entities."""
    position = {each.name: depth for depth, each in enumerate(reversed(entity.chain))}
    order = sorted(by_node, key=lambda node: position.get(node.entity, -1))  # the last one counts
    return {node.feature: by_node[node] for node in order}


def _labels(choices: Sequence[Mapping[str, str]]) -> list[str]:
    """What tells several sets of choices apart, such as `tfidf, linear`.

    Only features on which they differ count, and of these the providers leave no doubt: the same
    providers read the same features, and so provide the same ones, each in its place.
    """
    features = dict.fromkeys(feature for choice in choices for feature in choice)
    differing = [f for f in features if len({choice.get(f) for choice in choices}) > 1]
    return [", ".join(choice[f] for f in differing if f in choice) for choice in choices]


def _join(name: str, label: str) -> str:
    return f"{name}[{label}]" if label else name
