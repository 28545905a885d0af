"""Derivations of one target: the AND/OR graph that it reaches, and every consistent choice in it.

A feature is an OR node (any of its providers), a provider is an AND node (all that it reads).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ff_assets.core import refusals
from ff_assets.core.declare import Entity, Provider, Target
from ff_assets.core.graph import strongly_connected
from ff_assets.core.project import Project


@dataclass(frozen=True)
class Derivation:
    """A consistent choice of providers.

    Attributes:
        providers: feature -> its provider, for every feature that is used.
        choices: the same as names, for features that have several usable providers.
        order: the providers, inputs before their readers.
    """

    providers: Mapping[str, Provider]
    choices: Mapping[str, str]
    order: tuple[Provider, ...]


class Reachable:
    """What a target reaches backwards by name, for one entity.

    Attributes:
        declared: feature -> every provider that the target allows, for each feature reached.
        derivable: the features that can be derived from sources.
    """

    def __init__(self, project: Project, target: Target, entity: Entity) -> None:
        self.target = target
        self.entity = entity
        self.declared: dict[str, list[Provider]] = {}
        agenda = list(reversed(target.wanted))
        while agenda:
            feature = agenda.pop()
            if feature in self.declared:
                continue
            allowed = target.choose.get(feature)
            self.declared[feature] = [
                provider
                for provider in project.providers_of(feature, entity)
                if allowed is None or provider.name in allowed
            ]
            for provider in self.declared[feature]:
                agenda.extend(reversed(provider.reads))
        self.derivable = _derivable(self.declared)

    @property
    def missing(self) -> list[str]:
        """Wanted features that cannot be derived."""
        return [feature for feature in self.target.wanted if feature not in self.derivable]

    @cached_property
    def providers(self) -> dict[str, list[Provider]]:
        """Feature -> providers that can be used, for every derivable feature."""
        return {
            feature: [p for p in providers if self.derivable.issuperset(p.reads)]
            for feature, providers in self.declared.items()
            if feature in self.derivable
        }

    def unusable(self) -> dict[str, str]:
        """Name of every provider that was reached but lacks something, with what it lacks."""
        return {
            provider.name: "reads "
            + ", ".join(f"`{name}`" for name in provider.reads if name not in self.derivable)
            + ", which cannot be derived"
            for providers in self.declared.values()
            for provider in providers
            if not self.derivable.issuperset(provider.reads)
        }

    def derivations(self) -> Iterator[Derivation]:
        """Every acyclic consistent choice, lazily; the choice met last varies fastest."""
        trail: list[tuple[str, list[Provider]]] = []  # choices with what is left to try, last first
        while True:
            chosen = self._walk(trail)
            choices = {feature: chosen[feature].name for feature, _ in trail}
            yield Derivation(chosen, choices, _topological(self.target.wanted, chosen))
            while trail and len(trail[-1][1]) == 1:
                trail.pop()
            if not trail:
                return
            trail[-1][1].pop()

    def _walk(self, trail: list[tuple[str, list[Provider]]]) -> dict[str, Provider]:
        """Follow the trail of choices backwards from the outputs, extending it by first ones."""
        chosen: dict[str, Provider] = {}
        met = 0
        agenda = list(reversed(self.target.wanted))
        while agenda:
            feature = agenda.pop()
            if feature in chosen:
                continue
            providers = self.providers[feature]
            if len(providers) > 1:
                if met == len(trail):
                    trail.append((feature, self._completable(feature, chosen)[::-1]))
                providers = trail[met][1]
                met += 1
            chosen[feature] = providers[-1]
            agenda.extend(reversed(chosen[feature].reads))
        return chosen

    def _completable(self, feature: str, chosen: Mapping[str, Provider]) -> list[Provider]:
        """The providers of a feature with which what was chosen becomes part of a derivation.

        That is so exactly if every feature stays derivable when those that were chosen keep their
        provider. Only features on a common cycle can fail to, so a walk is never in vain, and a
        choice outside of cycles costs nothing.
        """
        circle = self._circles.get(feature)
        if circle is None:
            return self.providers[feature]
        left = {f: [chosen[f]] if f in chosen else self.providers[f] for f in circle}
        return [
            provider
            for provider in self.providers[feature]
            if len(_derivable({**left, feature: [provider]})) == len(circle)
        ]

    @cached_property
    def _circles(self) -> dict[str, list[str]]:
        """Feature -> the features with which it lies on cycles, for features that do."""
        reads = {
            feature: dict.fromkeys(name for provider in providers for name in provider.reads)
            for feature, providers in self.providers.items()
        }
        components = strongly_connected(reads)
        return {feature: c for c in components if len(c) > 1 for feature in c}


def reach(project: Project, target: Target) -> Reachable:
    """The graph of a target, for the one entity for which all that it wants can be derived.

    Raises:
        UnreachableOutput, CyclicFlow, MixedEntities: it can be derived for no entity.
        DefinitionError: it can be derived for several entities.
    """
    entities = [target.entity] if target.entity else project.entities
    graphs = [Reachable(project, target, entity) for entity in entities]
    able = [graph for graph in graphs if not graph.missing]
    if len(able) == 1:
        return able[0]
    if able:
        raise refusals.ambiguous_entity(target, [graph.entity for graph in able])
    if not graphs:
        raise refusals.no_source(target)
    closest = max(graphs, key=lambda graph: len(graph.derivable))
    raise refusals.not_derivable(
        project, target, closest.entity, closest.missing[0], closest.declared, closest.derivable
    )


def _derivable(declared: Mapping[str, Sequence[Provider]]) -> set[str]:
    """The least fixed point: features with a provider whose reads are all derivable.

    Args:
        declared: feature -> its providers; features that are not in it are given.
    """
    provides: dict[Provider, list[str]] = {}
    for feature, providers in declared.items():
        for provider in providers:
            provides.setdefault(provider, []).append(feature)
    readers: dict[str, list[Provider]] = {}
    lacking: dict[Provider, int] = {}
    for provider in provides:
        reads = [name for name in provider.reads if name in declared]
        lacking[provider] = len(reads)
        for name in reads:
            readers.setdefault(name, []).append(provider)
    ready = [provider for provider, count in lacking.items() if count == 0]
    derivable: set[str] = set()
    while ready:
        for output in provides[ready.pop()]:
            if output in derivable:
                continue
            derivable.add(output)
            for reader in readers.get(output, ()):
                lacking[reader] -= 1
                if lacking[reader] == 0:
                    ready.append(reader)
    return derivable


def _topological(wanted: Iterable[str], chosen: Mapping[str, Provider]) -> tuple[Provider, ...]:
    """The chosen providers, which are free of cycles, with inputs before their readers."""
    order: dict[Provider, None] = {}
    agenda = [(feature, False) for feature in reversed(tuple(wanted))]
    while agenda:
        feature, entered = agenda.pop()
        provider = chosen[feature]
        if entered:
            order[provider] = None
        elif provider not in order:
            agenda.append((feature, True))
            agenda.extend((name, False) for name in reversed(provider.reads))
    return tuple(order)
