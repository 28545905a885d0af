"""What an inferred flow consists of: instances of stages and sources, and variants of targets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ff_assets.core.declare import Provider, Source
from ff_assets.core.entities import Entity, finest
from ff_assets.core.fitting import Fit, serving
from ff_assets.core.hypothesis import Stated, stated
from ff_assets.core.split import Split
from ff_assets.core.stage import Stage
from ff_assets.core.target import Target


@dataclass(eq=False, slots=True)
class Instance:
    """A provider together with the instances it reads: what becomes an asset.

    Attributes:
        provider: the declaration.
        entity: what its rows are about: the finest entity among its inputs'.
        split: the policy that divides its rows into cells.
        inputs: feature -> instance, for features read whenever it is applied.
        fit_inputs: feature -> instance, for features read only while it is fitted.
        choices: (feature, provider name) for every feature upstream on whose provider the
            derivations differ.
        fits: the fits of an estimator, that of all other rows last; none for other stages.
        available: the buckets whose rows it has values for, as a bitmap.
        contexts: the sets of folds, as bitmaps, without which nested estimators read its values,
            where these depend on what is left out; set by `infer`.
        spine: for an aggregate, the source that says for which rows it has values.
        name: unique among instances, such as `sentiment[tfidf]`; set by `infer`.
    """

    provider: Provider
    entity: Entity
    split: Split
    inputs: Mapping[str, "Instance"]
    fit_inputs: Mapping[str, "Instance"]
    choices: frozenset[tuple[str, str]]
    fits: tuple[Fit, ...]
    available: int
    spine: "Instance | None" = None
    contexts: tuple[int, ...] = ()
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
    def is_nested(self) -> bool:
        """Whether it is an estimator that is refitted for the folds that its readers leave out."""
        return self.is_estimator and self.stage.fitting.nested

    def serving(self, context: int) -> list[tuple[Fit, int]]:
        """Its fits that make its values in a context, each with the rows that it serves."""
        return serving(self.fits, context)

    @property
    def parents(self) -> tuple["Instance", ...]:
        """Every instance it reads, each once, in order."""
        return tuple(dict.fromkeys([*self.applied_to, *self.fit_inputs.values()]))

    @property
    def applied_to(self) -> tuple["Instance", ...]:
        """Every instance that it reads when it is applied, each once, in order."""
        spine = [] if self.spine is None else [self.spine]
        return tuple(dict.fromkeys([*self.inputs.values(), *spine]))

    @property
    def is_aggregate(self) -> bool:
        return self.provider.kind == "aggregate"

    @property
    def is_given(self) -> bool:
        """Whether a registered model is given its columns: those of sources and aggregates."""
        return self.is_source or self.is_aggregate

    @property
    def fit_entity(self) -> Entity:
        """What the rows are about that it is fitted on."""
        entity = finest(i.entity for i in (*self.inputs.values(), *self.fit_inputs.values()))
        assert entity is not None
        return entity

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


def row_source(instance: Instance) -> Instance:
    """The nearest source whose rows are an instance's rows."""
    behind = sources_behind([instance])
    return next(source for source in behind if source.entity == instance.entity)


@dataclass(frozen=True, eq=False)
class Variant:
    """One coherent derivation of a target.

    Attributes:
        target: what it derives.
        entity: what the target's rows are about.
        split: the policy that divides its rows into cells.
        name: the target's name with the choices that tell its variants apart.
        features: feature -> the instance that provides it, for every feature it uses; of features
            of one name the one of the finest entity.
        choices: feature -> provider name, for every feature with several usable providers.
        instances: every instance it uses, in topological order.
    """

    target: Target
    entity: Entity
    split: Split
    name: str
    features: Mapping[str, Instance]
    choices: Mapping[str, str]
    instances: tuple[Instance, ...]

    @property
    def slug(self) -> str:
        return _slug(self.name)

    @property
    def label(self) -> str:
        """What tells it from other variants of its target: `tfidf`; the whole name if alone."""
        return self.name.removeprefix(f"{self.target.name}[").removesuffix("]")

    @property
    def prediction(self) -> Instance:
        """The instance that provides the target's first output, which is measured."""
        return self.features[self.target.outputs[0]]

    def serving_instances(self) -> tuple[Instance, ...]:
        """What scoring needs, in topological order: nothing that only a fit reads."""
        needed = {self.features[output] for output in self.target.outputs}
        for instance in reversed(self.instances):
            if instance in needed and not instance.is_given:
                needed.update(instance.inputs.values())
        return tuple(i for i in self.instances if i in needed)


@dataclass(frozen=True)
class Contest:
    """The variants of a target, which are compared on the same rows.

    Attributes:
        target: that has a label.
        variants: in order of declaration.
    """

    target: Target
    variants: tuple[Variant, ...]

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def slug(self) -> str:
        return self.target.name

    @property
    def entity(self) -> Entity:
        """What the target's rows are about."""
        return self.variants[0].entity

    @property
    def stated(self) -> tuple[Stated, ...]:
        """The target's hypotheses, each with the variants that it is about."""
        return stated(self.target, self.variants)


def _slug(name: str) -> str:
    return name.replace("[", "__").replace("]", "").replace(", ", "__")
