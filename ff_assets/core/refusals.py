"""The errors of inference, with the evidence that a person needs to mend the declaration."""

from collections.abc import Mapping, Sequence

from ff_assets.core.declare import Entity, Provider, Target
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
from ff_assets.core.project import Project


def describe(declaration: Provider | Target) -> tuple[str, Location]:
    """A declaration and its place, as an error shows them."""
    return f"{type(declaration).__name__.lower()} {declaration.name!r}", declaration.location


def no_source(target: Target) -> FeatureFlowError:
    return UnreachableOutput(
        f"target `{target.name}` cannot be derived: the project declares no source.",
        where=[describe(target)],
        why="a flow begins with a Source, which provides the features of an entity.",
        fix="declare a Source in a module of the flows package.",
    )


def ambiguous_entity(target: Target, entities: Sequence[Entity]) -> FeatureFlowError:
    names = ", ".join(f"`{entity.name}`" for entity in entities)
    return DefinitionError(
        f"target `{target.name}` can be derived for several entities: {names}.",
        where=[describe(target), *((f"entity {e.name!r}", e.location) for e in entities)],
        why="each of them has features of these names.",
        fix="say which one is meant: Target(..., entity=...).",
    )


def explosion(
    target: Target,
    providers: Mapping[str, list[Provider]],
    choices: Sequence[Mapping[str, str]],
) -> FeatureFlowError:
    """More variants than allowed.

    Args:
        providers: feature -> usable providers.
        choices: the choices of the variants that were found before giving up.
    """
    causes = [
        feature
        for feature in dict.fromkeys(feature for choice in choices for feature in choice)
        if len({choice.get(feature) for choice in choices}) > 1
    ]
    lines = [f"`{f}` from {', '.join(p.name for p in providers[f])}" for f in causes]
    return VariantExplosion(
        f"target `{target.name}` has more than {target.max_variants} variants.",
        where=[
            describe(target),
            *(describe(p) for p in dict.fromkeys(p for f in causes for p in providers[f])),
        ],
        why="every combination of these choices is a variant:\n" + "\n".join(lines),
        fix=f"restrict the providers, for example choose={{{causes[0]!r}: "
        f"[{providers[causes[0]][0].name!r}]}}, or raise max_variants.",
    )


def not_derivable(
    project: Project,
    target: Target,
    entity: Entity,
    wanted: str,
    declared: Mapping[str, list[Provider]],
    derivable: set[str],
) -> FeatureFlowError:
    """Why a wanted feature cannot be derived: follow what is lacking to its end or into a circle.

    Args:
        declared: feature -> providers, for every feature that the target reaches.
        derivable: the features that can be derived.
    """
    chain: list[tuple[str, Provider]] = []  # (feature, the provider that would derive it)
    seen: dict[str, int] = {}
    feature = wanted
    while declared.get(feature) and feature not in seen:
        seen[feature] = len(chain)
        provider = declared[feature][0]
        chain.append((feature, provider))
        feature = next(name for name in provider.reads if name not in derivable)
    if feature in seen:
        return _cycle(target, chain, seen[feature])

    needs = f"target `{target.name}` wants `{wanted}`"
    for name, provider in chain:
        lacking = next(n for n in provider.reads if n not in derivable)
        needs += f"\n`{name}` is provided by `{provider.name}`, which reads `{lacking}`"
    where = [describe(target), *(describe(provider) for _, provider in chain)]

    if feature in target.choose and project.providers_of(feature, entity):
        return UnreachableOutput(
            f"target `{target.name}` allows no provider of `{feature}`.",
            where=where,
            why=f"{needs}\nchoose={{{feature!r}: {list(target.choose[feature])!r}}}",
            fix="name at least one provider in `choose`.",
        )
    owners = [e for e in project.entities_with(feature) if e != entity]
    if owners:
        return _mixed(target, entity, feature, owners[0], chain, needs, project)
    needed_by = f"stage `{chain[-1][1].name}` reads" if chain else f"target `{target.name}` wants"
    return UnreachableOutput(
        f"{needed_by} `{feature}`, which nothing provides for entity `{entity.name}`.",
        where=where,
        why=f"{needs}\nnothing provides `{feature}`; "
        + nearest(feature, project.feature_names() - {wanted}),
        fix=f"correct the name, or declare a stage or source feature `{feature}`.",
    )


def _cycle(target: Target, chain: list[tuple[str, Provider]], start: int) -> FeatureFlowError:
    circle = chain[start:]
    path = " <- ".join([*(f"`{f}` ({p.name})" for f, p in circle), f"`{circle[0][0]}`"])
    return CyclicFlow(
        f"target `{target.name}` needs `{circle[0][0]}`, which can only be derived from itself.",
        where=[describe(target), *(describe(provider) for _, provider in circle)],
        why=f"the cycle, read as 'is derived from': {path}",
        fix="rename the output of one of these stages, or add a source of one of the features.",
    )


def _mixed(
    target: Target,
    entity: Entity,
    feature: str,
    owner: Entity,
    chain: list[tuple[str, Provider]],
    needs: str,
    project: Project,
) -> FeatureFlowError:
    reader = chain[-1][1] if chain else target
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
        why=needs
        + f"\n`{feature}` belongs to `{owner.name}` ({describe(foreign)[0]})"
        + (f", `{other[0]}` to `{entity.name}`" if other else "")
        + "; no relation says which row of one goes with which row of the other",
        fix=f"bring `{feature}` to `{entity.name}` in a source"
        + (", or name the entity: Target(..., entity=...)." if not target.entity else "."),
    )


