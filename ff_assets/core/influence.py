"""What lies upstream of a prediction: instances, and the features that it is made from."""

import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

from ff_assets.core.accounts import Accounts, Label, made_from
from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.split import HashSplit

Readers = dict[Instance, Instance | None]


def upstream(instance: Instance, *, trained: bool = True) -> Readers:
    """Every instance upstream, nearest first, with its reader on a shortest path to this one.

    Args:
        trained: whether what only fits read counts as well.
    """
    readers: Readers = {instance: None}
    agenda = deque([instance])
    while agenda:
        current = agenda.popleft()
        for parent in current.parents if trained else current.inputs.values():
            if parent not in readers:
                readers[parent] = current
                agenda.append(parent)
    return readers


def path_to(readers: Readers, instance: Instance) -> tuple[Instance, ...]:
    """The shortest path from an instance upstream to where the walk began."""
    path = [instance]
    while (reader := readers[path[-1]]) is not None:
        path.append(reader)
    return tuple(path)


class Rows(NamedTuple):
    """The rows of an instance that a walk has come to, seen from a row that is to be predicted.

    Attributes:
        whose: `own` if all of them are that row or belong to it; `earlier` if all are, or belong
            to, rows of its entity that were strictly before it; `any` if neither is known.
        entity: the entity whose row it is, while nothing later than the beginning can be meant: an
            aggregate up to that row's own time is all past. `None` if any row may be meant.
        before: how long at least the row, or the earlier one that it belongs to, is before the one
            to be predicted; `None` if it is that row, or one that it belongs to, or any.
    """

    whose: Literal["own", "earlier", "any"] = "any"
    entity: Entity | None = None
    before: timedelta | None = None

    def read_of(self, entity: Entity, by: Entity, row: Entity | None) -> "Rows":
        """The rows of an entity whose features these read, their own or of what they belong to.

        Args:
            by: the entity of these rows.
            row: the entity of the row that is to be predicted.
        """
        if entity == by:
            return self
        # What an earlier row consists of may be of a later time.
        is_known = entity == row or (entity.time is None and row and entity.is_within(row))
        if self.whose == "any" or not is_known:
            return Rows()
        before = self.before if self.whose == "earlier" else None
        return Rows(self.whose, row, before)

    def summed_by(self, operation: AggregateOperation, row: Entity | None) -> "Rows":
        """The rows that an aggregate sums up for these.

        Args:
            row: the entity of the row that is to be predicted.
        """
        before = self.before or timedelta()
        is_past = operation.point_in_time and operation.to == self.entity
        if is_past and operation.of == row:
            return Rows("earlier", row, before + operation.gap)
        whose = self.whose if row and operation.over.is_within(row) else "any"
        if whose == "earlier" and (is_past or operation.of.time is None):
            return Rows(whose, operation.of, before)
        whose = "any" if whose == "earlier" else whose
        return Rows(whose, operation.of, before + operation.gap) if is_past else Rows(whose)

    def know(self, source: Source) -> bool:
        """Whether what a source tells of them was known for good before the row to be predicted."""
        return self.before is not None and timedelta(days=source.label_delay) <= self.before


class _Node(NamedTuple):
    instance: Instance
    feature: str | None  # of a source or aggregate each, of others `None`: all that they make
    rows: Rows


@dataclass(frozen=True)
class Origins:
    """The features that a value is made from by applications: of sources, and aggregates.

    Attributes:
        nodes: each of these features, nearest first, with where the walk met it, at first.
        readers: what reads these and others on a shortest path to the value.
    """

    nodes: Mapping[Label, Sequence[_Node]]
    readers: Mapping[_Node, _Node | None]

    @property
    def features(self) -> tuple[Label, ...]:
        return tuple(self.nodes)

    @property
    def of_sources(self) -> tuple[Label, ...]:
        return tuple((i, name) for i, name in self.nodes if i.is_source)

    @property
    def of_aggregates(self) -> tuple[Label, ...]:
        return tuple((i, name) for i, name in self.nodes if not i.is_source)

    def rows(self, feature: Label) -> list[Rows]:
        """The rows whose values of such a feature the value is made from."""
        return [node.rows for node in self.nodes[feature]]

    def path(self, feature: Label) -> tuple[Instance, ...]:
        """The instances from such a feature to the value."""
        node: _Node | None = self.nodes[feature][0]
        path = []
        while node is not None:
            path.append(node.instance)
            node = self.readers[node]
        return tuple(path)


def origins(
    instance: Instance, feature: str, *, summed: bool = True, row: Entity | None = None
) -> Origins:
    """What a value is made from.

    Args:
        summed: whether the walk goes on through aggregates, to what they sum up.
        row: the entity of the row that is to be predicted, where only what may be of that row or
            later counts. What aggregates up to its own time have of other rows of this entity,
            each strictly before, and of what belongs to these, is left out, if it was known by
            then; not what these rows have from a row that they belong to, which may be the same
            one, nor what an aggregate that is read on the way has of any row.
    """
    is_own = row is not None and instance.entity.is_within(row)
    start = _Node(*node_of(instance, feature), Rows("own" if is_own else "any", row))
    readers: dict[_Node, _Node | None] = {start: None}
    nodes: dict[Label, list[_Node]] = {}
    agenda = deque([start])
    while agenda:
        node = agenda.popleft()
        current, name, rows = node
        names: Sequence[str] = ()
        by = current.entity
        if name is None:
            names = current.stage.inputs
        elif current.is_source:
            if rows.whose == "earlier" and rows.know(current.source):
                continue
            nodes.setdefault((current, name), []).append(node)
        else:
            of = rows.summed_by(sum_of(current), row)
            if of.whose != "earlier":
                nodes.setdefault((current, name), []).append(node)
            if summed:
                names, rows, by = made_from(current, name), of, sum_of(current).of
        for read in names:
            origin = current.inputs[read]
            parent = _Node(*node_of(origin, read), rows.read_of(origin.entity, by, row))
            if parent not in readers:
                readers[parent] = node
                agenda.append(parent)
    return Origins(nodes, readers)


def node_of(instance: Instance, feature: str) -> tuple[Instance, str | None]:
    """What is walked as one: a feature of a source or aggregate, else all that a stage makes."""
    is_single = instance.is_source or isinstance(instance.stage.operation, AggregateOperation)
    return (instance, feature if is_single else None)


def sum_of(instance: Instance) -> AggregateOperation:
    """What an instance that is an aggregate sums up."""
    operation = instance.stage.operation
    assert isinstance(operation, AggregateOperation)
    return operation


def is_declared(feature: Label) -> bool:
    """Whether a source declares the feature as a label."""
    instance, name = feature
    return instance.is_source and name in instance.source.labels


def outcome(parts: Iterable[Label]) -> tuple[Label, ...]:
    """Of the features that a label is made from, those that tell what is to be predicted.

    They are what sources declare as labels; all, where none is, as nothing tells them apart.
    """
    parts = tuple(parts)
    return tuple(filter(is_declared, parts)) or parts


_ACCOUNTS: dict[int, Accounts] = {}  # by the id of a flow, as long as it lives


def accounts_of(flow: Flow) -> Accounts:
    """The provenance of all instances of a flow, made once for each flow.

    Labels are what sources declare as such, what targets measure by, and the outcome among what
    this is made from.
    """
    key = id(flow)  # a flow holds mappings, so it has no hash
    if key not in _ACCOUNTS:
        _ACCOUNTS[key] = _made_accounts(flow)
        weakref.finalize(flow, _ACCOUNTS.pop, key, None)
    return _ACCOUNTS[key]


def _made_accounts(flow: Flow) -> Accounts:
    labels: set[Label] = set()
    for variant in flow.variants:
        if variant.target.label is not None:
            label = variant.features[variant.target.label], variant.target.label
            labels.add(label)
            labels.update(outcome(origins(*label, summed=False).features))
            labels.update(outcome(origins(*label).of_sources))
    split = flow.project.split
    salt = split.salt if isinstance(split, HashSplit) else HashSplit().salt
    return Accounts(flow.instances, labels, salt)
