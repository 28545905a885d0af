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

from ff_assets.core import refusals
from ff_assets.core.declare import Entity, Provider, Source, Stage, Target
from ff_assets.core.derivation import Derivation, reach
from ff_assets.core.project import Project


@dataclass(eq=False, slots=True)
class Instance:
    """A provider together with the instances it reads: what becomes an asset.

    Attributes:
        provider: the declaration.
        entity: what its rows are about.
        inputs: feature -> instance, for features read whenever it is applied.
        fit_inputs: feature -> instance, for features read only while it is fitted.
        choices: (feature, provider name) for every feature upstream on whose provider the
            derivations differ.
        name: unique among instances, such as `sentiment[tfidf]`; set by `infer`.
    """

    provider: Provider
    entity: Entity
    inputs: Mapping[str, "Instance"]
    fit_inputs: Mapping[str, "Instance"]
    choices: frozenset[tuple[str, str]]
    name: str = ""

    @property
    def slug(self) -> str:
        """The name as an identifier: `sentiment__tfidf`."""
        return _slug(self.name)

    @property
    def is_source(self) -> bool:
        return isinstance(self.provider, Source)

    @property
    def source(self) -> Source:
        """The declaration of an instance that is a source."""
        assert isinstance(self.provider, Source)
        return self.provider

    @property
    def stage(self) -> Stage:
        """The declaration of an instance that is a stage."""
        assert isinstance(self.provider, Stage)
        return self.provider

    @property
    def is_estimator(self) -> bool:
        return self.provider.kind == "estimator"

    @property
    def parents(self) -> tuple["Instance", ...]:
        """Every instance it reads, each once, in order."""
        return tuple(dict.fromkeys([*self.inputs.values(), *self.fit_inputs.values()]))

    def __repr__(self) -> str:
        return f"<Instance {self.name or self.provider.name}>"


def sources_behind(instances: Iterable[Instance]) -> list[Instance]:
    """The sources that instances are made from, each once, nearest first."""
    seen: dict[Instance, None] = dict.fromkeys(instances)
    agenda = list(seen)
    for instance in agenda:  # grows while it is walked
        for parent in instance.parents:
            if parent not in seen:
                seen[parent] = None
                agenda.append(parent)
    return [instance for instance in agenda if instance.is_source]


@dataclass(frozen=True, eq=False)
class Variant:
    """One coherent derivation of a target.

    Attributes:
        target: what it derives.
        name: the target's name with the choices that tell its variants apart.
        features: feature -> the instance that provides it, for every feature it uses.
        choices: feature -> provider name, for every feature with several usable providers.
        instances: every instance it uses, in topological order.
    """

    target: Target
    name: str
    features: Mapping[str, Instance]
    choices: Mapping[str, str]
    instances: tuple[Instance, ...]

    @property
    def slug(self) -> str:
        return _slug(self.name)

    @property
    def entity(self) -> Entity:
        return self.prediction.entity

    @property
    def prediction(self) -> Instance:
        """The instance that provides the target's first output, which is measured."""
        return self.features[self.target.outputs[0]]

    def serving_instances(self) -> tuple[Instance, ...]:
        """What scoring needs, in topological order: nothing that only a fit reads."""
        needed = {self.features[output] for output in self.target.outputs}
        for instance in reversed(self.instances):
            if instance in needed:
                needed.update(instance.inputs.values())
        return tuple(i for i in self.instances if i in needed)


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
        DefinitionError: a target does not say which of several entities it is about.
    """
    derived: list[tuple[Target, Entity, list[Derivation]]] = []
    unusable: dict[str, str] = {}
    for target in project.targets:
        graph = reach(project, target)
        derivations = list(islice(graph.derivations(), target.max_variants + 1))
        if len(derivations) > target.max_variants:
            raise refusals.explosion(target, graph.providers)
        derived.append((target, graph.entity, derivations))
        unusable |= graph.unusable()
    builder = _Builder(derived)
    instances = builder.named_instances()
    used = {instance.provider.name for instance in instances}
    return Flow(
        project=project,
        instances=instances,
        variants=tuple(builder.named_variants()),
        unusable={name: reason for name, reason in unusable.items() if name not in used},
    )


class _Builder:
    """Makes every instance once, and names them when all are known."""

    def __init__(self, derived: list[tuple[Target, Entity, list[Derivation]]]) -> None:
        self._instances: dict[tuple[object, ...], Instance] = {}
        self._contested = _contested(derived)
        self._derived = [
            (target, [(d, self._features(entity, d)) for d in derivations])
            for target, entity, derivations in derived
        ]

    def _features(self, entity: Entity, derivation: Derivation) -> dict[str, Instance]:
        features: dict[str, Instance] = {}
        provided: dict[Provider, list[str]] = {}
        for feature, provider in derivation.providers.items():
            provided.setdefault(provider, []).append(feature)
        for provider in derivation.order:
            instance = self._instance(provider, entity, features)
            features.update(dict.fromkeys(provided[provider], instance))
        return features

    def _instance(
        self, provider: Provider, entity: Entity, features: Mapping[str, Instance]
    ) -> Instance:
        inputs = {name: features[name] for name in provider.inputs}
        fit_inputs = {name: features[name] for name in provider.fit_inputs}
        identity = (provider, entity, *inputs.values(), *fit_inputs.values())
        if identity not in self._instances:
            choices = self._choices(entity, {**inputs, **fit_inputs})
            self._instances[identity] = Instance(provider, entity, inputs, fit_inputs, choices)
        return self._instances[identity]

    def _choices(self, entity: Entity, read: Mapping[str, Instance]) -> frozenset[tuple[str, str]]:
        own = {
            (name, instance.provider.name)
            for name, instance in read.items()
            if (entity, name) in self._contested
        }
        upstream = {instance.choices for instance in read.values()}
        if not own and len(upstream) == 1:
            return upstream.pop()  # one set for a whole chain keeps long chains linear
        return frozenset(own).union(*upstream)

    def named_instances(self) -> tuple[Instance, ...]:
        by_provider: dict[Provider, list[Instance]] = {}
        for instance in self._instances.values():
            by_provider.setdefault(instance.provider, []).append(instance)
        for provider, siblings in by_provider.items():
            # No feature's name begins with an underscore.
            choices = [{"_entity": i.entity.name} | dict(sorted(i.choices)) for i in siblings]
            for instance, label in zip(siblings, _labels(choices), strict=True):
                instance.name = _join(provider.name, label)
        return tuple(self._instances.values())

    def named_variants(self) -> Iterator[Variant]:
        for target, siblings in self._derived:
            labels = _labels([derivation.choices for derivation, _ in siblings])
            for (derivation, features), label in zip(siblings, labels, strict=True):
                by_provider = {instance.provider: instance for instance in features.values()}
                yield Variant(
                    target=target,
                    name=_join(target.name, label),
                    features=features,
                    choices=derivation.choices,
                    instances=tuple(by_provider[provider] for provider in derivation.order),
                )


def _contested(
    derived: list[tuple[Target, Entity, list[Derivation]]],
) -> set[tuple[Entity, str]]:
    """The features for which not all derivations have the same provider."""
    first: dict[tuple[Entity, str], Provider] = {}
    return {
        (entity, feature)
        for _, entity, derivations in derived
        for derivation in derivations
        for feature, provider in derivation.providers.items()
        if first.setdefault((entity, feature), provider) is not provider
    }


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


def _slug(name: str) -> str:
    return name.replace("[", "__").replace("]", "").replace(", ", "__")
