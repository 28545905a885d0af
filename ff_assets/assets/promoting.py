"""Moving an alias of a target of the project, from a terminal or the UI, under the same gates."""

from collections.abc import Iterator
from functools import cache, partial

from ff_assets.assets.champion import champion, chooses
from ff_assets.assets.promotion import gates_of
from ff_assets.core.flow import Flow
from ff_assets.engine.store import Store
from ff_assets.registry.promotion import Moved, promote
from ff_assets.registry.runs import MlflowRuns


def promote_target(
    flow: Flow,
    runs: MlflowRuns,
    store: Store,
    target: str,
    alias: str,
    why: str,
    *,
    variant: str | None = None,
    version: int | None = None,
    override: str = "",
    who: str | None = None,
) -> Moved:
    """Move an alias to a version of a target, if that passes the target's gates.

    Args:
        store: where the rows lie that versions are compared on.
        alias, why, variant, version, override, who: as for `registry.promotion.promote`. If neither
            variant nor version is named, the champion is meant where the target chooses one.

    Raises:
        DefinitionError: there is no such target.
        NoChampion: it is not known. Nothing was moved.
        RegistryError: nothing was moved, or it is said how far it came.
    """
    name = flow.project.target(target).name
    chosen = cache(partial(champion, flow, name, runs, store))
    if variant is None and version is None and chooses(flow, name):
        variant = chosen().variant
    return promote(
        runs,
        name,
        alias,
        why=why,
        variant=variant,
        version=version,
        gates=gates_of(flow, name, store, chosen),
        given=dict(scoring_gives(flow, name)),
        override=override,
        who=who,
    )


def scoring_gives(flow: Flow, target: str) -> Iterator[tuple[str, str | None]]:
    """What scoring gives to a target's models; an aggregate's types are not known before a run."""
    for variant in flow.variants_of(target):
        for instance in variant.serving_instances():
            for name, parent in instance.inputs.items() if not instance.is_given else ():
                if parent.is_given:
                    yield name, parent.source.features[name] if parent.is_source else None
