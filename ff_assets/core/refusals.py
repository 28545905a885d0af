"""The errors of inference, with the evidence that a person needs to mend the declaration."""

from collections import deque
from collections.abc import Mapping, Sequence, Set

from ff_assets.core.declare import Provider
from ff_assets.core.declare import describe as describe  # for those who raise errors elsewhere
from ff_assets.core.entities import Entity
from ff_assets.core.errors import (
    CyclicFlow,
    DefinitionError,
    FeatureFlowError,
    Location,
    MixedEntities,
    UnreachableOutput,
    VariantExplosion,
    nearest,
)
from ff_assets.core.project import Node, Project, Use
from ff_assets.core.target import Target


def no_source(target: Target) -> FeatureFlowError:
    """A target of a project without data."""
    return UnreachableOutput(
        f"target `{target.name}` cannot be derived: the project declares no source.",
        where=[describe(target)],
        why="a flow begins with a Source, which provides the features of an entity.",
        fix="declare a Source in a module of the flows package.",
    )


def ambiguous_entity(target: Target, entities: Sequence[Entity]) -> FeatureFlowError:
    """A target that can be derived for each of several entities."""
    names = ", ".join(f"`{entity.name}`" for entity in entities)
    return DefinitionError(
        f"target `{target.name}` can be derived for several entities: {names}.",
        where=[describe(target), *((f"entity {e.name!r}", e.location) for e in entities)],
        why="each of them has features of these names.",
        fix="say which one is meant: Target(..., entity=...).",
    )


def explosion(target: Target, providers: Mapping[Node, Sequence[Use]]) -> FeatureFlowError:
    """More variants than allowed.

    Args:
        providers: node -> usable providers, for every feature that the target reaches.
    """
    choices = [
        (node.feature, [use.provider for use in uses])
        for node, uses in providers.items()
        if len(uses) > 1
    ]
    lines = [f"`{f}` from {', '.join(_abridged([p.name for p in among]))}" for f, among in choices]
    places = dict.fromkeys(describe(provider) for _, among in choices for provider in among)
    feature, among = choices[0]
    return VariantExplosion(
        f"target `{target.name}` has more than {target.max_variants} variants.",
        where=[describe(target), *list(places)[:_SHOWN]],
        why="\n".join(["a variant is one combination of these choices:", *_abridged(lines)]),
        fix=f"restrict the providers, for example choose={{{feature!r}: [{among[0].name!r}]}}, "
        "or raise max_variants.",
    )


def finer_slice(target: Target, feature: str, entity: Entity, rows: Entity) -> FeatureFlowError:
    """A feature that a target is sliced by, and of which a measured row has many values."""
    return DefinitionError(
        f"target `{target.name}` is sliced by `{feature}` of entity `{entity.name}`, but is "
        f"measured by rows of `{rows.name}`.",
        where=[describe(target), (f"entity {entity.name!r}", entity.location)],
        why=f"several rows of `{entity.name}` may belong to one of them, in different slices.",
        fix=f"sum `{feature}` up with @aggregate(to={rows.name}), and slice by that.",
    )


def ambiguous_slice(target: Target, node: Node, uses: Sequence[Use]) -> FeatureFlowError:
    """A feature that a target is sliced by, and that would make variants of its own."""
    names = [use.provider.name for use in uses]
    return DefinitionError(
        f"target `{target.name}` is sliced by {_listed(target.slices)}, for which `{node.feature}` "
        "can be derived in several ways.",
        where=[describe(target), *(describe(use.provider) for use in uses)],
        why="each way would make one more of every variant, with the same predictions.",
        fix=f"choose one: Target(..., choose={{{node.feature!r}: [{names[0]!r}]}}).",
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def not_derivable(
    project: Project,
    target: Target,
    wanted: Node,
    declared: Mapping[Node, Sequence[Use]],
    reads: Mapping[Use, Mapping[str, Node]],
    derivable: Set[Node],
) -> FeatureFlowError:
    """Why a wanted feature cannot be derived: what it lacks in the end, or else a cycle.

    Args:
        declared: node -> providers, for every feature that the target reaches.
        reads: provider -> feature -> node, for every provider that the target reaches.
        derivable: the nodes that can be derived.
    """
    lack = _first_lack(wanted, declared, reads, derivable)
    if lack is None:
        return _cycle(target, _circle(wanted, declared, reads, derivable))
    needs, node = lack
    feature, entity = node.feature, project.entity(node.entity)
    story = [f"target `{target.name}` wants `{wanted.feature}`"]
    lacking = [*(need.feature for need, _ in needs[1:]), feature] if needs else []
    for (need, provider), read in zip(needs, lacking, strict=True):
        story.append(f"`{need.feature}` is provided by `{provider.name}`, which reads `{read}`")
    why = "\n".join(_abridged(story))
    where = _abridged_places([describe(target), *(describe(provider) for _, provider in needs)])
    reader = needs[-1][1] if needs else target
    needed_by = f"stage `{reader.name}` reads" if needs else f"target `{target.name}` wants"

    if feature in target.choose and project.providers_of(feature, entity):
        return UnreachableOutput(
            f"target `{target.name}` allows no provider of `{feature}`.",
            where=where,
            why=f"{why}\nchoose={{{feature!r}: {list(target.choose[feature])!r}}}",
            fix="name at least one provider in `choose`.",
        )
    if feature in entity.columns:
        what = "the key" if feature == entity.key else "a column"
        return UnreachableOutput(
            f"{needed_by} `{feature}`, which is {what} of entity `{entity.name}`.",
            where=where,
            why=f"{why}\nthe key identifies rows; a model that reads it memorises them"
            if feature == entity.key
            else f"{why}\nforeign keys and times say where a row belongs; they are no features",
            fix="load a copy under another name if its value carries meaning.",
        )
    owners = [e for e in project.entities_with(feature) if e not in entity.chain]
    if owners:
        return _mixed(project, target, reader, feature, owners[0], entity, why)
    known = project.feature_names().difference(need.feature for need, _ in needs)
    return UnreachableOutput(
        f"{needed_by} `{feature}`, which nothing provides for entity `{entity.name}`.",
        where=where,
        why=f"{why}\nnothing provides `{feature}`; {nearest(feature, known)}",
        fix=f"correct the name, or declare a stage or source feature `{feature}`.",
    )


Need = tuple[Node, Provider]  # a feature with the provider whose lack is followed


def _first_lack(
    wanted: Node,
    declared: Mapping[Node, Sequence[Use]],
    reads: Mapping[Use, Mapping[str, Node]],
    derivable: Set[Node],
) -> tuple[list[Need], Node] | None:
    """The shortest chain of needs to a feature without a provider, and that feature.

    There is no such chain if everything that is lacking has providers, which then lack each other.
    """
    reader: dict[Node, Need | None] = {wanted: None}
    agenda = deque([wanted])
    while agenda:
        node = agenda.popleft()
        if not declared[node]:
            needs: list[Need] = []
            need = reader[node]
            while need is not None:
                needs.append(need)
                need = reader[need[0]]
            return needs[::-1], node
        for use in declared[node]:
            for read in reads[use].values():
                if read not in derivable and read not in reader:
                    reader[read] = (node, use.provider)
                    agenda.append(read)
    return None


def _circle(
    wanted: Node,
    declared: Mapping[Node, Sequence[Use]],
    reads: Mapping[Use, Mapping[str, Node]],
    derivable: Set[Node],
) -> list[Need]:
    """The cycle into which a feature leads when everything lacking has a provider."""
    path: dict[Node, Provider] = {}
    node = wanted
    while node not in path:
        use = declared[node][0]
        path[node] = use.provider
        node = next(read for read in reads[use].values() if read not in derivable)
    steps = list(path.items())
    return steps[list(path).index(node) :]


def _cycle(target: Target, circle: Sequence[Need]) -> FeatureFlowError:
    first = circle[0][0].feature
    steps = [f"`{node.feature}` ({provider.name})" for node, provider in circle]
    path = " <- ".join([*_abridged(steps), f"`{first}`"])
    return CyclicFlow(
        f"target `{target.name}` needs `{first}`, which can only be derived from itself.",
        where=_abridged_places([describe(target), *(describe(p) for _, p in circle)]),
        why=f"the cycle, read as 'is derived from': {path}",
        fix="rename the output of one of these stages, or add a source of one of the features.",
    )


def _mixed(
    project: Project,
    target: Target,
    reader: Provider | Target,
    feature: str,
    owner: Entity,
    entity: Entity,
    why: str,
) -> FeatureFlowError:
    """A reader among an entity's rows needs a feature that only another entity, its owner, has."""
    other = next(
        (
            (name, provider)
            for name in (reader.wanted if isinstance(reader, Target) else reader.reads)
            if name != feature
            for provider in project.providers_of(name, entity)
        ),
        None,
    )
    foreign = project.providers_of(feature, owner)[0]
    verb = "wants" if isinstance(reader, Target) else "reads"
    return MixedEntities(
        f"{describe(reader)[0]} {verb} `{feature}` of entity `{owner.name}` for rows of entity "
        f"`{entity.name}`.",
        where=[
            describe(reader),
            describe(foreign),
            *([describe(other[1])] if other else []),
            *([] if reader is target else [describe(target)]),
        ],
        why=f"{why}\n`{feature}` belongs to `{owner.name}` ({describe(foreign)[0]})"
        + (f", `{other[0]}` to `{entity.name}`" if other else "")
        + "; no relation says which row of one goes with which row of the other",
        fix=f"say how rows belong together, Entity({entity.name!r}, ..., parent=..., "
        f"foreign_key=...), sum `{feature}` up with @aggregate, or bring it to `{entity.name}` in "
        "a source"
        + (", or name the entity: Target(..., entity=...)." if not target.entity else "."),
    )


_SHOWN = 12  # what fits on a screen beside the rest of the message


def _abridged(lines: Sequence[str]) -> list[str]:
    """The lines, without the middle where they are many."""
    if len(lines) <= _SHOWN:
        return list(lines)
    half = _SHOWN // 2
    return [*lines[:half], f"... ({len(lines) - 2 * half} more) ...", *lines[-half:]]


def _abridged_places(places: Sequence[tuple[str, Location]]) -> list[tuple[str, Location]]:
    """The declarations at both ends of a chain, which are where a mistake is."""
    half = _SHOWN // 2
    return [*places[:half], *places[max(half, len(places) - half) :]]
