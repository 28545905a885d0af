"""Derivations of one target: the AND/OR graph that it reaches, and every consistent choice in it.

A *node*, a feature of an entity, is an OR node (any of its providers); a provider is an AND node
(all that it reads).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ff_assets.core import refusals
from ff_assets.core.entities import Entity, finest
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.graph import strongly_connected
from ff_assets.core.project import Node, Project, Use
from ff_assets.core.target import Target


@dataclass(frozen=True)
class Derivation:
    """A consistent choice of providers.

    Attributes:
        providers: node -> what provides it, for every feature that is used.
        reads: provider as it is used -> the node of each feature it reads.
        choices: feature -> name of its provider, for features that have several usable ones.
        order: the providers, inputs before their readers.
    """

    providers: Mapping[Node, Use]
    reads: Mapping[Use, Mapping[str, Node]]
    choices: Mapping[str, str]
    order: tuple[Use, ...]


class Reachable:
    """What a target reaches backwards by name, for one entity.

    Attributes:
        wanted: the nodes of the features that the target wants.
        declared: node -> every provider that the target allows, for each node reached.
        reads: provider -> feature -> node, for every provider reached.
        derivable: the nodes that can be derived from sources.
    """

    def __init__(self, project: Project, target: Target, entity: Entity) -> None:
        self.target = target
        self.entity = entity
        self.wanted = {name: project.node(entity, name) for name in target.wanted}
        self.declared: dict[Node, list[Use]] = {}
        self.reads: dict[Use, dict[str, Node]] = {}
        agenda = list(reversed(self.wanted.values()))
        while agenda:
            node = agenda.pop()
            if node in self.declared:
                continue
            allowed = target.choose.get(node.feature)
            self.declared[node] = [
                use
                for use in project.uses_of(node)
                if allowed is None or use.provider.name in allowed
            ]
            for use in self.declared[node]:
                if use not in self.reads:
                    self.reads[use] = project.reads_of(use)
                    agenda.extend(reversed(self.reads[use].values()))
        self.derivable = _derivable(self.declared, self.reads)

    @property
    def missing(self) -> list[Node]:
        """Wanted features that cannot be derived."""
        return [node for node in self.wanted.values() if node not in self.derivable]

    @cached_property
    def providers(self) -> dict[Node, list[Use]]:
        """Node -> providers that can be used, for every derivable feature."""
        return {
            node: [use for use in uses if self._is_usable(use)]
            for node, uses in self.declared.items()
            if node in self.derivable
        }

    def _is_usable(self, use: Use) -> bool:
        return self.derivable.issuperset(self.reads[use].values())

    def unusable(self) -> dict[str, str]:
        """Name of every provider that was reached but lacks something, with what it lacks."""
        return {
            use.provider.name: "reads "
            + ", ".join(f"`{f}`" for f, node in reads.items() if node not in self.derivable)
            + ", which cannot be derived"
            for use, reads in self.reads.items()
            if not self._is_usable(use)
        }

    def derivations(self) -> Iterator[Derivation]:
        """Every acyclic consistent choice, lazily; the choice met last varies fastest."""
        trail: list[tuple[Node, list[Use]]] = []  # choices with what is left to try, last first
        while True:
            chosen = self._walk(trail)
            choices = {node.feature: chosen[node].provider.name for node, _ in trail}
            yield Derivation(chosen, self.reads, choices, self._topological(chosen))
            while trail and len(trail[-1][1]) == 1:
                trail.pop()
            if not trail:
                return
            trail[-1][1].pop()

    def _walk(self, trail: list[tuple[Node, list[Use]]]) -> dict[Node, Use]:
        """Follow the trail of choices backwards from the outputs, extending it by first ones."""
        chosen: dict[Node, Use] = {}
        met = 0
        agenda = list(reversed(self.wanted.values()))
        while agenda:
            node = agenda.pop()
            if node in chosen:
                continue
            providers = self.providers[node]
            if len(providers) > 1:
                if met == len(trail):
                    trail.append((node, self._completable(node, chosen)[::-1]))
                providers = trail[met][1]
                met += 1
            chosen[node] = providers[-1]
            agenda.extend(reversed(self.reads[chosen[node]].values()))
        return chosen

    def _completable(self, node: Node, chosen: Mapping[Node, Use]) -> list[Use]:
        """The providers of a feature with which what was chosen becomes part of a derivation.

        That is so exactly if every feature stays derivable when those that were chosen keep their
        provider. Only features on a common cycle can fail to, so a walk is never in vain, and a
        choice outside of cycles costs nothing.
        """
        circle = self._circles.get(node)
        if circle is None:
            return self.providers[node]
        left = {n: [chosen[n]] if n in chosen else self.providers[n] for n in circle}
        return [
            use
            for use in self.providers[node]
            if len(_derivable({**left, node: [use]}, self.reads)) == len(circle)
        ]

    @cached_property
    def _circles(self) -> dict[Node, list[Node]]:
        """Node -> the nodes with which it lies on cycles, for nodes that do."""
        edges = {
            node: dict.fromkeys(read for use in uses for read in self.reads[use].values())
            for node, uses in self.providers.items()
        }
        components = strongly_connected(edges)
        return {node: c for c in components if len(c) > 1 for node in c}

    def _topological(self, chosen: Mapping[Node, Use]) -> tuple[Use, ...]:
        """The chosen providers, which are free of cycles, with inputs before their readers."""
        order: dict[Use, None] = {}
        agenda = [(node, False) for node in reversed(self.wanted.values())]
        while agenda:
            node, entered = agenda.pop()
            use = chosen[node]
            if entered:
                order[use] = None
            elif use not in order:
                agenda.append((node, True))
                agenda.extend((n, False) for n in reversed(self.reads[use].values()))
        return tuple(order)


def reach(project: Project, target: Target) -> Reachable:
    """The graph of a target, for the one entity for which all that it wants can be derived.

    Where an entity can, so can those that belong to it; the coarsest is meant. Features that
    metrics are sliced by decide neither on that nor on the variants.

    Raises:
        UnreachableOutput, CyclicFlow, MixedEntities: it can be derived for no entity.
        DefinitionError: it can be derived for several entities, or a slice in several ways.
    """
    if not target.slices:
        return _reach(project, target)
    graph = _reach(project, replace(target, slices=()))
    sliced = Reachable(project, target, graph.entity)
    if sliced.missing:
        raise _lacking(project, sliced)
    rows = finest(project.entity(graph.wanted[name].entity) for name in graph.target.measured)
    for name in target.slices:
        entity = project.entity(sliced.wanted[name].entity)
        if rows is not None and not rows.is_within(entity):
            raise refusals.finer_slice(target, name, entity, rows)
    for node, uses in sliced.providers.items():
        if len(uses) > 1 and node not in graph.providers:
            raise refusals.ambiguous_slice(target, node, uses)
    return sliced


def _reach(project: Project, target: Target) -> Reachable:
    entities = [target.entity] if target.entity else project.entities
    graphs = [Reachable(project, target, entity) for entity in entities]
    able = [graph for graph in graphs if not graph.missing]
    coarsest = [graph for graph in able if not any(graph.entity.is_below(g.entity) for g in able)]
    if len(coarsest) == 1:
        return coarsest[0]
    if able:
        raise refusals.ambiguous_entity(target, [graph.entity for graph in coarsest])
    if not graphs:
        raise refusals.no_source(target)
    raise _lacking(project, max(graphs, key=lambda graph: len(graph.derivable)))


def _lacking(project: Project, graph: Reachable) -> FeatureFlowError:
    return refusals.not_derivable(
        project, graph.target, graph.missing[0], graph.declared, graph.reads, graph.derivable
    )


def _derivable(
    declared: Mapping[Node, Sequence[Use]], reads: Mapping[Use, Mapping[str, Node]]
) -> set[Node]:
    """The least fixed point: nodes with a provider whose reads are all derivable.

    Args:
        declared: node -> its providers; nodes that are not in it are given.
        reads: provider as it is used -> feature -> node.
    """
    provides: dict[Use, list[Node]] = {}
    for node, uses in declared.items():
        for use in uses:
            provides.setdefault(use, []).append(node)
    readers: dict[Node, list[Use]] = {}
    lacking: dict[Use, int] = {}
    for use in provides:
        needed = [node for node in reads[use].values() if node in declared]
        lacking[use] = len(needed)
        for node in needed:
            readers.setdefault(node, []).append(use)
    ready = [use for use, count in lacking.items() if count == 0]
    derivable: set[Node] = set()
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
