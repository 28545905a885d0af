"""Asset jobs that load in a time that depends on their own assets only.

Dagster resolves an asset job against the whole graph: an op of which it selects a part is copied
with all of its outputs, and what is left out is described anew, for each job. So the time for a job
for each target would be quadratic in their number.
"""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg

# Dagster exports neither what `define_asset_job` gives nor the graph that it is resolved in.
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

Define = Callable[[Sequence[dg.AssetSpec]], dg.AssetsDefinition]


def own_job(
    name: str, keys: Sequence[dg.AssetKey], description: str, define: Define | None = None
) -> UnresolvedAssetJobDefinition:
    """An asset job like those of `dg.define_asset_job`, resolved among what it names and reads.

    Args:
        keys: of the assets that it makes.
        define: makes an op of its own for these assets, if the one that they have holds many more.
    """

    class OwnJob(UnresolvedAssetJobDefinition):
        def resolve(
            self,
            asset_graph: AssetGraph,
            default_executor_def: dg.ExecutorDefinition | None = None,
            resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
        ) -> dg.JobDefinition:
            own = _own(asset_graph, keys, define)
            return super().resolve(own, default_executor_def, resource_defs)

    return OwnJob(name, dg.AssetSelection.assets(*keys), description=description)


def _own(graph: AssetGraph, keys: Sequence[dg.AssetKey], define: Define | None) -> AssetGraph:
    """A graph of the assets, and of what they read as Dagster knows it."""
    definitions = {graph.assets_def_for_key(key) for key in keys}
    if define is not None:
        definitions = {define([graph.assets_def_for_key(k).get_asset_spec(k) for k in keys])}
    made = {key for each in definitions for key in each.keys}
    read = {parent for key in made for parent in graph.get(key).parent_keys} - made
    specs = [graph.assets_def_for_key(key).get_asset_spec(key) for key in sorted(read)]
    outside = [dg.AssetsDefinition(specs=specs)] if specs else []
    return AssetGraph.from_assets([*definitions, *outside])
