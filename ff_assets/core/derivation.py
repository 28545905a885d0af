"""Derivations of one target: the AND/OR graph that it reaches, and every consistent choice in it.

A feature is an OR node (any of its providers), a provider is an AND node (all that it reads).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ff_assets.core import refusals
from ff_assets.core.declare import Entity, Provider, Target
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
        trail: list[tuple[str, int]] = []
        while True:
            chosen = self._walk(trail)
            order, cycle = _topological(self.target.wanted, chosen)
            if cycle is None:
                choices = {feature: chosen[feature].name for feature, _ in trail}
                yield Derivation(chosen, choices, tuple(order))
            else:
                # Only a choice that the cycle passes through can break it.
                while trail and trail[-1][0] not in cycle:
                    trail.pop()
            while trail and trail[-1][1] + 1 == len(self.providers[trail[-1][0]]):
                trail.pop()
            if not trail:
                return
            feature, index = trail[-1]
            trail[-1] = (feature, index + 1)

    def _walk(self, trail: list[tuple[str, int]]) -> dict[str, Provider]:
        """Follow the trail of choices backwards from the outputs, extending it by first ones."""
        chosen: dict[str, Provider] = {}
        met = 0
        agenda = list(reversed(self.target.wanted))
        while agenda:
            feature = agenda.pop()
            if feature in chosen:
                continue
            providers = self.providers[feature]
            index = 0
            if len(providers) > 1:
                if met == len(trail):
                    trail.append((feature, 0))
                index = trail[met][1]
                met += 1
            chosen[feature] = providers[index]
            agenda.extend(reversed(chosen[feature].reads))
        return chosen


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


def _derivable(declared: Mapping[str, list[Provider]]) -> set[str]:
    """The least fixed point: features with a provider whose reads are all derivable."""
    readers: dict[str, list[Provider]] = {}
    lacking: dict[Provider, int] = {}
    ready: list[Provider] = []
    for provider in {p: None for providers in declared.values() for p in providers}:
        lacking[provider] = len(provider.reads)
        for name in provider.reads:
            readers.setdefault(name, []).append(provider)
        if not provider.reads:
            ready.append(provider)
    derivable: set[str] = set()
    while ready:
        provider = ready.pop()
        for output in provider.outputs:
            # `choose` may exclude a provider for one of its outputs and allow it for another.
            if output in derivable or provider not in declared.get(output, ()):
                continue
            derivable.add(output)
            for reader in readers.get(output, ()):
                lacking[reader] -= 1
                if lacking[reader] == 0:
                    ready.append(reader)
    return derivable


def _topological(
    wanted: Iterable[str], chosen: Mapping[str, Provider]
) -> tuple[list[Provider], list[str] | None]:
    """Providers with inputs before readers; or, where there is one, the features of a cycle."""
    order: list[Provider] = []
    done: set[Provider] = set()
    path: dict[Provider, str] = {}  # providers being entered, with the feature wanted of each
    for root in wanted:
        agenda: list[tuple[str, bool]] = [(root, False)]
        while agenda:
            feature, leaving = agenda.pop()
            provider = chosen[feature]
            if leaving:
                del path[provider]
                done.add(provider)
                order.append(provider)
            elif provider in path:
                entered = list(path)
                return order, [path[p] for p in entered[entered.index(provider) :]]
            elif provider not in done:
                path[provider] = feature
                agenda.append((feature, True))
                agenda.extend((name, False) for name in reversed(provider.reads))
    return order, None
