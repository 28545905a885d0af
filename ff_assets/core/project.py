"""All declarations of a project, collected from its modules and checked against each other."""

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple

from ff_assets.core.ab_test import providing
from ff_assets.core.declare import Declaration, Provider, Source, describe
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, DuplicateName, nearest
from ff_assets.core.policy import Governance, LeakPolicy
from ff_assets.core.split import HashSplit, Split, describe_split
from ff_assets.core.stage import Stage
from ff_assets.core.target import Target


class Node(NamedTuple):
    """A feature of an entity, by their names."""

    entity: str
    feature: str


class Use(NamedTuple):
    """A provider as it is used for rows of an entity, by its name."""

    provider: Provider
    entity: str


@dataclass(frozen=True)
class Project:
    """What is declared: sources, stages, targets, one split, policies on leaks and sensitive data.

    Raises:
        DuplicateName: two providers, two targets, two entities or, but for upper and lower case,
            two features share a name.
        DefinitionError: a target chooses an unknown provider, a stage provides a key, or two splits
            are too much alike to be told apart.
    """

    sources: tuple[Source, ...] = ()
    stages: tuple[Stage, ...] = ()
    targets: tuple[Target, ...] = ()
    split: Split = field(default_factory=HashSplit)
    policy: LeakPolicy = field(default_factory=LeakPolicy)
    governance: Governance = field(default_factory=Governance)

    def __post_init__(self) -> None:
        _check_unique("source or stage", (*self.providers, *self.outcomes))
        _check_unique("target", self.targets)
        self._check_entities()
        self._check_columns()
        self._check_splits()
        for target in self.targets:
            self._check_choices(target)

    def _check_entities(self) -> None:
        keys: dict[str, Entity] = {}
        every = (*self.providers, *self.targets, *self.outcomes)
        declared = [d.entity for d in every if d.entity is not None]
        for entity in (related for first in declared for related in first.chain):
            if keys.setdefault(entity.name, entity) != entity:
                raise DuplicateName(
                    f"two entities are named `{entity.name}`, with different columns.",
                    where=[
                        (f"entity {e.name!r} with {', '.join(e.columns)}", e.location)
                        for e in (keys[entity.name], entity)
                    ],
                    why="features live in one namespace per entity.",
                    fix="declare the entity once and import it where it is used.",
                )

    def _check_splits(self) -> None:
        """Splits of targets are told apart by their names, which asset keys have as well."""
        named: dict[str, tuple[Split, Target]] = {}
        for target in self.targets:
            if target.split is None or target.split == self.split:
                continue
            split, first = named.setdefault(target.split.name, (target.split, target))
            if split != target.split:
                raise DefinitionError(
                    f"the splits of targets `{first.name}` and `{target.name}` are much alike, but "
                    "not the same.",
                    where=[describe(first), describe(target)],
                    why=f"what is split by either is named `{split.name}`; metrics can be compared "
                    "only when targets share a split.",
                    fix="declare one split and name it in both: of two embargoes the longer one "
                    "serves both targets. Else use another cutoff, or salt.",
                )

    def _check_columns(self) -> None:
        """Features of an entity become columns of one frame, beside its key."""
        for entity in self.entities:
            spelled: dict[str, tuple[str, Provider]] = {}
            structural = {column.lower() for column in entity.columns}
            for provider in self.providers:
                if provider.entity not in (None, entity):
                    continue
                for name in provider.outputs:
                    if name.lower() in structural:
                        raise DefinitionError(
                            f"`{provider.name}` provides `{name}`, which is "
                            f"{'the key' if name == entity.key else 'a column'} of entity "
                            f"`{entity.name}`.",
                            where=[
                                describe(provider),
                                (f"entity {entity.name!r}", entity.location),
                            ],
                            why="key, foreign keys and time stand beside an entity's features.",
                            fix="give the output another name, or bind the stage to the entity "
                            "that is meant: .of(...).",
                        )
                    first, where = spelled.setdefault(name.lower(), (name, provider))
                    if first != name:
                        raise DuplicateName(
                            f"the features `{first}` and `{name}` of entity `{entity.name}` "
                            "differ in case only.",
                            where=[describe(where), describe(provider)],
                            why="Spark takes them for one column.",
                            fix="spell them alike if they are one feature, or rename one of them.",
                        )

    def _check_choices(self, target: Target) -> None:
        for feature, names in target.choose.items():
            known = [provider.name for provider in self._by_output.get(feature, ())]
            for name in names:
                if name in known:
                    continue
                raise DefinitionError(
                    f"target `{target.name}` chooses `{name}` for `{feature}`, "
                    + ("which it does not provide." if known else "which nothing provides."),
                    where=[describe(target)],
                    why=nearest(name, known) if known else nearest(feature, self._by_output),
                    fix=f"name providers of `{feature}`." if known else "correct the feature.",
                )

    @property
    def outcomes(self) -> tuple[Source, ...]:
        """The sources that A/B tests measure; they may provide features as well."""
        tests = [target.ab_test for target in self.targets if target.ab_test is not None]
        return tuple(dict.fromkeys(test.outcomes for test in tests))

    @classmethod
    def collect(cls, modules: Iterable[ModuleType]) -> "Project":
        """The project declared by the global names of modules, also inside lists and dicts.

        A source that an A/B test measures and nothing reads provides no features.
        Modules count in the order given, names in the order of their definition. The split is the
        one that no target names as its own, or the only one that there is.

        Raises:
            DuplicateName: several splits, policies on leaks or on sensitive data are declared for
                the whole project.
            DefinitionError: several splits are declared, each for some targets, and none for the
                others; or a source or target has no owner.
        """
        found: dict[int, Any] = {}
        for module in modules:
            for value in vars(module).values():
                for declaration in _declarations(value):
                    found.setdefault(id(declaration), declaration)
        declared = list(found.values())
        targets = tuple(d for d in declared if isinstance(d, Target))
        stages = tuple(d for d in declared if isinstance(d, Stage))
        sources = [d for d in declared if isinstance(d, Source)]
        policies = [d for d in declared if isinstance(d, LeakPolicy)]
        governances = [d for d in declared if isinstance(d, Governance)]
        if len(policies) > 1:
            raise DuplicateName(
                "the project declares more than one policy on leaks.",
                where=[("LeakPolicy(...)", policy.location) for policy in policies],
                why="a grade means the same for all targets.",
                fix="keep one of them.",
            )
        if len(governances) > 1:
            raise DuplicateName(
                "the project declares more than one policy on sensitive data.",
                where=[("Governance(...)", each.location) for each in governances],
                why="a feature may be read by every module, so where it may go is said once.",
                fix="put the rules of both into one of them.",
            )
        collected = cls(
            sources=providing(sources, stages, targets),
            stages=stages,
            targets=targets,
            split=_project_split([d for d in declared if isinstance(d, Split)], targets),
            policy=policies[0] if policies else LeakPolicy(),
            governance=governances[0] if governances else Governance(),
        )
        if collected.governance.owners:
            _require_owners(collected)
        return collected

    @classmethod
    def from_package(cls, name: str) -> "Project":
        """The project declared by every module of a package, in alphabetical order."""
        package = importlib.import_module(name)
        names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{name}.")]
        return cls.collect([package, *(importlib.import_module(n) for n in sorted(names))])

    @property
    def providers(self) -> tuple[Provider, ...]:
        return (*self.sources, *self.stages)

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """Every entity that has a source, in order of declaration."""
        return tuple({source.entity.name: source.entity for source in self.sources}.values())

    @cached_property
    def _by_output(self) -> dict[str, list[Provider]]:
        index: dict[str, list[Provider]] = defaultdict(list)
        for provider in self.providers:
            for output in provider.outputs:
                index[output].append(provider)
        return dict(index)

    @cached_property
    def _related(self) -> dict[str, Entity]:
        """Every entity by name, also those that only relations and aggregates mention."""
        read = [stage.read_entity for stage in self.stages]
        own = [d.entity for d in (*self.providers, *self.targets)]
        declared = [entity for entity in (*own, *read) if entity is not None]
        return {entity.name: entity for first in declared for entity in first.chain}

    def entity(self, name: str) -> Entity:
        """The entity of that name, which a declaration mentions."""
        return self._related[name]

    def providers_of(self, feature: str, entity: Entity) -> list[Provider]:
        """Sources and stages that provide a feature of an entity, in order of declaration."""
        return [p for p in self._by_output.get(feature, ()) if p.entity in (None, entity)]

    def node(self, entity: Entity, feature: str) -> Node:
        """Where a feature belongs that is read for rows of an entity: to it, or to an ancestor.

        It belongs to the nearest entity for which a source, a stage of the entity's own or a
        stage that reads such a feature provides it.
        """
        for ancestor in entity.chain[:-1]:
            if feature in self._own_features(ancestor):
                return Node(ancestor.name, feature)
        if entity.parent is None or feature in self._own_features(entity.root):
            return Node(entity.root.name, feature)
        return Node(entity.name, feature)

    def _own_features(self, entity: Entity) -> Set[str]:
        """The features that depend on something declared for an entity itself."""
        if entity.name not in self._own:
            own = {o for p in self.providers if p.entity == entity for o in p.outputs}
            agenda = list(own)
            while agenda:
                for output in self._passed_on.get(agenda.pop(), ()):
                    if output not in own:
                        own.add(output)
                        agenda.append(output)
            self._own[entity.name] = own
        return self._own[entity.name]

    @cached_property
    def _own(self) -> dict[str, set[str]]:
        return {}

    @cached_property
    def _passed_on(self) -> dict[str, list[str]]:
        """Feature -> what stages for every entity make of it."""
        passed_on: dict[str, list[str]] = defaultdict(list)
        for stage in self.stages:
            if stage.entity is None:
                for name in stage.reads:
                    passed_on[name].extend(stage.outputs)
        return passed_on

    def uses_of(self, node: Node) -> list[Use]:
        """What provides a feature of an entity, in order of declaration."""
        entity = self.entity(node.entity)
        return [Use(p, node.entity) for p in self.providers_of(node.feature, entity)]

    def reads_of(self, use: Use) -> dict[str, Node]:
        """Where the features belong that a provider reads."""
        if isinstance(use.provider, Source):
            return {}
        read_entity = use.provider.read_entity
        entity = read_entity if read_entity is not None else self.entity(use.entity)
        return {name: self.node(entity, name) for name in use.provider.reads}

    def entities_with(self, feature: str) -> list[Entity]:
        """The entities for which a source or an entity's own stage provides the feature."""
        owners = [p.entity for p in self._by_output.get(feature, ()) if p.entity is not None]
        return list({entity.name: entity for entity in owners}.values())

    def feature_names(self) -> set[str]:
        return set(self._by_output)

    def target(self, name: str) -> Target:
        """The target of that name.

        Raises:
            DefinitionError: no target has that name.
        """
        for target in self.targets:
            if target.name == name:
                return target
        raise DefinitionError(
            f"there is no target `{name}`.",
            why=nearest(name, [target.name for target in self.targets]),
            fix="`ff check` lists the targets.",
        )


_Collected = Declaration | Split | LeakPolicy | Governance


def _declarations(value: Any) -> Iterator[Any]:
    if isinstance(value, _Collected):
        yield value
    elif isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, _Collected))
    elif isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, _Collected))


def _project_split(declared: Sequence[Split], targets: Sequence[Target]) -> Split:
    """The split of every target that names none."""
    own = {id(target.split) for target in targets}
    splits = [split for split in declared if id(split) not in own]
    if len(splits) > 1:
        raise DuplicateName(
            "the project declares more than one split policy.",
            where=[describe_split(split) for split in splits],
            why="a split that no target names is the project's, for every target without one; "
            "metrics can be compared only when targets share a split.",
            fix="keep one of them, and give others to the targets that they are for: "
            "Target(..., split=...).",
        )
    without = [target for target in targets if target.split is None]
    if splits or not (declared and without):
        return splits[0] if splits else HashSplit()
    if len(set(declared)) > 1:
        raise DefinitionError(
            f"target `{without[0].name}` does not say which of {len(set(declared))} splits is its.",
            where=[describe(without[0]), *map(describe_split, declared)],
            why="the project's split, for every target without one, is the one that no target "
            "names; here every split is named by some target.",
            fix="name one of them, Target(..., split=...), or declare one for all other targets.",
        )
    return declared[0]


def _require_owners(project: Project) -> None:
    """Stages are free: an asset without an owner of its own has those of its targets."""
    owned: tuple[Source | Target, ...] = (*project.sources, *project.outcomes, *project.targets)
    lacking = [declaration for declaration in dict.fromkeys(owned) if declaration.owner is None]
    if lacking:
        first, *others = lacking
        raise DefinitionError(
            f"{type(first).__name__.lower()} `{first.name}` has no owner.",
            where=[describe(declaration) for declaration in lacking],
            why="whoever finds its assets stale, failed or sensitive has to know whom to ask"
            + (f"; {len(others)} more lack one" if others else "")
            + ".",
            fix='name a team or a person: owner="team:nlp" or owner="ada@example.com". A project '
            "of which nobody asks that declares Governance(owners=False).",
            code="OWNER_REQUIRED",
        )


def _check_unique(kind: str, declarations: Iterable[Declaration]) -> None:
    seen: dict[str, Declaration] = {}
    for declaration in declarations:
        first = seen.setdefault(declaration.name, declaration)
        if first is declaration:
            continue
        unnamed = isinstance(declaration, Stage) and declaration.name == declaration.outputs[0]
        raise DuplicateName(
            f"two declarations of a {kind} are named `{declaration.name}`.",
            where=[describe(first), describe(declaration)],
            why="a stage is named after its first output unless it is given a name."
            if unnamed
            else f"every {kind} needs a name of its own.",
            fix='tell providers of one feature apart with .named("..."), as in '
            'stage(IDF, inputCol="term_counts", outputCol="text_vector").named("tfidf").'
            if unnamed
            else "rename one of them.",
        )
