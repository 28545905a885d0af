"""Edges through which a model would read test rows, whoever has drawn them.

Dagster maps an edge from an asset with cells to one without to *all* cells, unless a mapping is
named. A report may read them all; what is fitted may read train only. The rule:

* An asset fits if it has the kind `model`, `sparkml` or `mlflow`. Of the project's own assets only
  models fit, each on the cells that it declares, which the leak check has judged; registrations
  have these kinds too, but hold what was fitted.
* With partitions, it is fitted once for each. If these are the cells, or have them as a dimension,
  Dagster by default gives each the cell of its own name: that of test would be fitted on test.
  Nobody can tell a model for each cell from scores for each cell but by its kinds, so what only
  applies a model must not have those of one.
* An asset of the kind `evaluation` only measures, whatever its other kinds are.
* What fits must not read the test cell of any asset with cells: neither over an edge of its own
  nor through other assets in between that hand rows on, which all but those that fit or measure
  may do. Of a team's own table with cells, what train is made from counts.
"""

import inspect
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import dagster as dg

from ff_assets.assets.specs import CELL_PARTITIONS, steps_by_key
from ff_assets.core.cells import TRAIN
from ff_assets.core.declare import describe
from ff_assets.core.errors import LeakError, Location
from ff_assets.core.flow import Flow
from ff_assets.core.steps import CELLS, Kind, Step
from ff_assets.engine.plan import fit_cells

Asset = dg.AssetsDefinition | dg.AssetSpec
FITTING_KINDS = frozenset({"model", "sparkml", "mlflow"})
MEASURING_KIND = "evaluation"


class _Node(NamedTuple):
    """An asset of the graph."""

    asset: Asset
    spec: dg.AssetSpec
    step: Step | None  # what it is of the flow; `None` if it is none of the project's own

    @property
    def name(self) -> str:
        return self.spec.key.to_user_string()

    @property
    def has_cells(self) -> bool:
        return self.spec.partitions_def == CELL_PARTITIONS

    @property
    def fits_on(self) -> Sequence[str] | None:
        """The cells whose rows it may be fitted on; `None` if it is not fitted."""
        if self.step is not None:
            return fit_cells(self.step.instance) if self.step.kind is Kind.MODEL else None
        kinds = self.spec.kinds
        return [TRAIN] if kinds & FITTING_KINDS and MEASURING_KIND not in kinds else None

    @property
    def hands_rows_on(self) -> bool:
        """Whether it is a team's own asset that may hold rows of what it reads."""
        return self.step is None and self.fits_on is None and MEASURING_KIND not in self.spec.kinds

    @property
    def place(self) -> tuple[str, Location] | None:
        """Where it is declared, if that can be known."""
        if self.step is not None:
            return describe(self.step.declaration)
        if isinstance(self.asset, dg.AssetSpec) or not self.asset.is_executable:
            return None
        code = getattr(inspect.unwrap(self.asset.node_def), "__code__", None)
        if code is None:
            return None
        return f"asset {self.name!r}", Location(code.co_filename, code.co_firstlineno)


class _Edge(NamedTuple):
    """An edge to an asset with cells, with the assets that it is reached through."""

    dep: dg.AssetDep
    read: tuple[str, ...]  # the cells that it stands for
    path: tuple[_Node, ...]  # from the asset with cells to the one that fits


class _Reached(NamedTuple):
    """An asset whose rows a model reads, with those through which it does, it first."""

    path: tuple[_Node, ...]
    cells: tuple[str, ...]  # those of it that are read; none if it has no cells


def check_edges(flow: Flow, assets: Iterable[Asset]) -> None:
    """Refuse assets that would be fitted on rows that they must not see.

    Args:
        assets: the flow's own, and whatever else is loaded with them.

    Raises:
        LeakError: there is such an asset.
    """
    steps = steps_by_key(flow)
    nodes = {
        spec.key: _Node(asset, spec, steps.get(spec.key))
        for asset in assets
        for spec in ([asset] if isinstance(asset, dg.AssetSpec) else asset.specs)
    }
    for node in nodes.values():
        if (allowed := node.fits_on) is not None:
            for edge in _edges(nodes, node):
                if not set(allowed).issuperset(edge.read):
                    raise _refusal(edge)


def _edges(nodes: Mapping[dg.AssetKey, _Node], model: _Node) -> Iterator[_Edge]:
    """The edges to cells behind an asset that is fitted, nearest first."""
    agenda = deque([_Reached((model,), CELLS if model.has_cells else ())])
    seen = {(model.spec.key, agenda[0].cells)}
    while agenda:
        path, cells = agenda.popleft()
        for dep in path[0].spec.deps:
            parent = nodes.get(dep.asset_key)
            if parent is None:
                continue
            read = _cells(dep, path[0].spec.partitions_def, cells) if parent.has_cells else ()
            if parent.has_cells:
                yield _Edge(dep, read, (parent, *path))
            if parent.hands_rows_on and (dep.asset_key, read) not in seen:
                seen.add((dep.asset_key, read))
                agenda.append(_Reached((parent, *path), read))


def _cells(
    dep: dg.AssetDep, partitions: dg.PartitionsDefinition[str] | None, cells: Sequence[str]
) -> tuple[str, ...]:
    """The cells that an edge to an asset with cells stands for.

    Args:
        partitions: of the asset that reads.
        cells: those of its partitions that count, if these are cells; else all do.
    """
    mapping = dep.partition_mapping
    if mapping is None:  # those without parameters count as false
        mapping = _default(partitions)
    mapping.validate_partition_mapping(CELL_PARTITIONS, partitions)  # else it fails without reason
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        partitions = None  # nobody knows them yet
    subset = None
    if partitions == CELL_PARTITIONS:
        subset = CELL_PARTITIONS.subset_with_partition_keys(cells)
    elif partitions is not None:
        subset = partitions.subset_with_all_partitions()
    mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
        subset, partitions, CELL_PARTITIONS
    )
    read = set(mapped.partitions_subset.get_partition_keys())
    return tuple(cell for cell in CELLS if cell in read)


def _default(partitions: dg.PartitionsDefinition[str] | None) -> dg.PartitionMapping:
    """What Dagster takes for an edge to an asset with cells if no mapping is named."""
    if partitions is None:
        return dg.AllPartitionMapping()
    if isinstance(partitions, dg.MultiPartitionsDefinition) and any(
        each.partitions_def == CELL_PARTITIONS for each in partitions.partitions_defs
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.MultiToSingleDimensionPartitionMapping()
    return dg.IdentityPartitionMapping()


def _refusal(edge: _Edge) -> LeakError:
    source, reader, model = edge.path[0], edge.path[1], edge.path[-1]
    mapping, partitioned = edge.dep.partition_mapping, reader.spec.partitions_def is not None
    cells = " and ".join(edge.read)
    through = "" if reader is model else f" through `{reader.name}`"
    names = " -> ".join(node.name for node in edge.path)
    key = ", ".join(f'"{part}"' for part in source.spec.key.path)
    return LeakError(
        f"the model `{model.name}` reads {cells} of `{source.name}`{through}.",
        code="MODEL_READS_TEST",
        where=[node.place for node in reversed(edge.path) if node.place is not None],
        why=f"the edge from `{source.name}` to `{reader.name}` "
        + (
            "names no partition mapping; Dagster then takes "
            + ("for each partition the cell of its name" if partitioned else f"all cells, {cells}")
            if mapping is None
            else f"is mapped by {type(mapping).__name__} to {cells}"
        )
        + f"\npath: {names}",
        fix=f"name train in `{reader.name}`: dg.AssetDep(dg.AssetKey([{key}]), "
        f'partition_mapping=dg.SpecificPartitionsPartitionMapping(["{TRAIN}"])); an asset that '
        f"only measures says so by the kind `{MEASURING_KIND}`"
        + (
            "; one that only applies a model has no kind of a model."
            if model.spec.partitions_def is not None
            else "."
        ),
    )
