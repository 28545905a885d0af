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
  may do. Of a table in between, with whatever partitions, those count that are read, and what
  these are made from.
* An asset has cells if its partitions, or those of one dimension of them, are named train and test;
  validation, where a table of a team's own has it, may be read as train may.
"""

import inspect
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import dagster as dg

from ff_assets.assets.specs import steps_by_key
from ff_assets.core.cells import TEST, TRAIN, VALIDATION, stored_with
from ff_assets.core.declare import describe
from ff_assets.core.errors import LeakError, Location
from ff_assets.core.flow import Flow
from ff_assets.core.steps import CELLS, Kind, Step
from ff_assets.engine.plan import fit_cells

Asset = dg.AssetsDefinition | dg.AssetSpec
Partitions = dg.PartitionsDefinition[str] | None
FITTING_KINDS = frozenset({"model", "sparkml", "mlflow"})
MEASURING_KIND = "evaluation"
_SHOWN = 4  # a table by day has many partitions


class _Node(NamedTuple):
    """An asset of the graph."""

    asset: Asset
    spec: dg.AssetSpec
    step: Step | None  # what it is of the flow; `None` if it is none of the project's own

    @property
    def name(self) -> str:
        return self.spec.key.to_user_string()

    @property
    def partitions(self) -> Partitions:
        given = self.spec.partitions_def
        return None if given is None else _known(given)

    @property
    def has_cells(self) -> bool:
        return _is_cells(self.partitions) or _cell_dimension(self.partitions) is not None

    def cells(self, read: Iterable[str]) -> tuple[str, ...]:
        """The cells, as tables are stored, that some of its partitions are of."""
        parts, dimension = self.partitions, _cell_dimension(self.partitions)
        if isinstance(parts, dg.MultiPartitionsDefinition) and dimension is not None:
            keys = (parts.get_partition_key_from_str(key).keys_by_dimension for key in read)
            read = [key[dimension] for key in keys]
        stored = {stored_with(key) for key in read if key in (TRAIN, VALIDATION, TEST)}
        return tuple(cell for cell in CELLS if cell in stored)

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
    cells: tuple[str, ...]  # those that it stands for
    path: tuple[_Node, ...]  # from the asset with cells to the one that fits


class _Reached(NamedTuple):
    """An asset whose rows a model reads, with those through which it does, it first."""

    path: tuple[_Node, ...]
    read: frozenset[str]  # its partitions that are read; none if it has none


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
                if not set(allowed).issuperset(edge.cells):
                    raise _refusal(edge)


def _edges(nodes: Mapping[dg.AssetKey, _Node], model: _Node) -> Iterator[_Edge]:
    """The edges to cells behind an asset that is fitted, nearest first."""
    own = model.partitions
    agenda = deque([_Reached((model,), frozenset(own.get_partition_keys() if own else ()))])
    seen: dict[dg.AssetKey, frozenset[str]] = {}
    while agenda:
        path, keys = agenda.popleft()
        for dep in path[0].spec.deps:
            parent = nodes.get(dep.asset_key)
            if parent is None:
                continue
            read = _read(dep, path[0].partitions, keys, parent.partitions)
            if parent.has_cells:
                yield _Edge(dep, parent.cells(read), (parent, *path))
            before = seen.get(dep.asset_key)
            if parent.hands_rows_on and (before is None or read - before):
                seen[dep.asset_key] = read | (before or read)
                agenda.append(_Reached((parent, *path), read - (before or frozenset())))


def _read(
    dep: dg.AssetDep, reader: Partitions, keys: Iterable[str], parent: Partitions
) -> frozenset[str]:
    """The partitions of an asset that an edge stands for; none if it has none.

    Args:
        reader: the partitions of the asset that reads.
        keys: those of them that count.
        parent: the partitions of the asset that is read.
    """
    if parent is None:
        return frozenset()
    mapping = dep.partition_mapping
    if mapping is None:  # those without parameters count as false
        mapping = _default(reader, parent)
    mapping.validate_partition_mapping(parent, reader)  # else it fails without reason
    subset = None if reader is None else reader.subset_with_partition_keys(keys)
    mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, reader, parent)
    return frozenset(mapped.partitions_subset.get_partition_keys())


def _default(reader: Partitions, parent: dg.PartitionsDefinition[str]) -> dg.PartitionMapping:
    """What Dagster takes for an edge between assets if no mapping is named."""
    if reader is None:
        return dg.AllPartitionMapping()
    timed = [isinstance(each, dg.TimeWindowPartitionsDefinition) for each in (reader, parent)]
    if all(timed):
        return dg.TimeWindowPartitionMapping()
    for many, one in ((reader, parent), (parent, reader)):
        if not isinstance(many, dg.MultiPartitionsDefinition) or many == one:
            continue
        dimensions = [each.partitions_def for each in many.partitions_defs]
        days = any(timed) and [isinstance(d, dg.TimeWindowPartitionsDefinition) for d in dimensions]
        if sum(days or [each == one for each in dimensions]) == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.BetaWarning)
                return dg.MultiToSingleDimensionPartitionMapping()
    return dg.IdentityPartitionMapping()


_ANY = dg.StaticPartitionsDefinition(["(any)"])  # for partitions that only data will name


def _known(partitions: dg.PartitionsDefinition[str]) -> dg.PartitionsDefinition[str]:
    """The same partitions, with one in the place of all that nobody knows yet."""
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return _ANY
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        known = {each.name: _known(each.partitions_def) for each in partitions.partitions_defs}
        return dg.MultiPartitionsDefinition(known)
    return partitions


def _is_cells(partitions: Partitions) -> bool:
    return isinstance(partitions, dg.StaticPartitionsDefinition) and {TRAIN, TEST}.issubset(
        partitions.get_partition_keys()
    )


def _cell_dimension(partitions: Partitions) -> str | None:
    """The name of the dimension that is the cell."""
    if not isinstance(partitions, dg.MultiPartitionsDefinition):
        return None
    found = (each.name for each in partitions.partitions_defs if _is_cells(each.partitions_def))
    return next(found, None)


def _refusal(edge: _Edge) -> LeakError:
    source, reader, model = edge.path[0], edge.path[1], edge.path[-1]
    mapping, partitioned = edge.dep.partition_mapping, reader.spec.partitions_def is not None
    cells = " and ".join(edge.cells)
    through = "" if reader is model else f" through `{reader.name}`"
    names = " -> ".join(node.name for node in edge.path)
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
        fix=f"{_mended(edge)}; an asset that only measures says so by the kind "
        f"`{MEASURING_KIND}`"
        + (
            "; one that only applies a model has no kind of a model."
            if model.spec.partitions_def is not None
            else "."
        ),
    )


def _mended(edge: _Edge) -> str:
    """How the edge would be right."""
    source, reader, model = edge.path[0], edge.path[1], edge.path[-1]
    if reader is not model and reader.has_cells:
        how = "" if edge.dep.partition_mapping is None else ": leave its partition mapping out"
        return f"let each cell of `{reader.name}` be made from that cell of `{source.name}`{how}"
    assert source.partitions is not None
    keys = [
        key for key in source.partitions.get_partition_keys() if source.cells([key]) == (TRAIN,)
    ]
    named = ", ".join(f'"{key}"' for key in keys[:_SHOWN]) + (", ..." if keys[_SHOWN:] else "")
    path = ", ".join(f'"{part}"' for part in source.spec.key.path)
    return (
        f"name {TRAIN} in `{reader.name}`: dg.AssetDep(dg.AssetKey([{path}]), "
        f"partition_mapping=dg.SpecificPartitionsPartitionMapping([{named}]))"
    )
