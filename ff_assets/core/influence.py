"""What lies upstream of a prediction: instances, and the features that it is made from."""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.ledger import Label, Ledger, made_from
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


_Node = tuple[Instance, str | None]  # of a source or aggregate each feature, of others all


@dataclass(frozen=True)
class Origins:
    """The features that a value is made from by applications: of sources, and aggregates.

    Attributes:
        features: these features, nearest first.
        readers: what reads them on a shortest path to the value.
    """

    features: tuple[Label, ...]
    readers: dict[_Node, _Node | None]

    @property
    def of_sources(self) -> tuple[Label, ...]:
        return tuple((i, name) for i, name in self.features if i.is_source)

    @property
    def of_aggregates(self) -> tuple[Label, ...]:
        return tuple((i, name) for i, name in self.features if not i.is_source)

    def path(self, feature: Label) -> tuple[Instance, ...]:
        """The instances from such a feature to the value."""
        node: _Node | None = feature
        path = []
        while node is not None:
            path.append(node[0])
            node = self.readers[node]
        return tuple(path)


def through_all(instance: Instance, feature: str) -> bool:  # noqa: ARG001  # says so of every one
    """Go on through every aggregate, to what it sums up."""
    return True


def through_none(instance: Instance, feature: str) -> bool:  # noqa: ARG001  # says so of every one
    """End at aggregates."""
    return False


def origins(
    instance: Instance, feature: str, passes: Callable[[Instance, str], bool] = through_all
) -> Origins:
    """What a value is made from.

    Args:
        passes: whether the walk goes on through a feature of an aggregate.
    """
    start = node_of(instance, feature)
    readers: dict[_Node, _Node | None] = {start: None}
    features: list[Label] = []
    agenda = deque([start])
    while agenda:
        node = agenda.popleft()
        current, name = node
        names: Sequence[str] = ()
        if name is None:
            names = current.stage.inputs
        else:
            features.append((current, name))
            if not current.is_source and passes(current, name):
                names = made_from(current, name)
        for read in names:
            parent = node_of(current.inputs[read], read)
            if parent not in readers:
                readers[parent] = node
                agenda.append(parent)
    return Origins(tuple(features), readers)


def node_of(instance: Instance, feature: str) -> _Node:
    """What is walked as one: a feature of a source or aggregate, else all that a stage makes."""
    is_single = instance.is_source or isinstance(instance.stage.operation, AggregateOperation)
    return (instance, feature if is_single else None)


def only_past(ledger: Ledger, instance: Instance, feature: str) -> bool:
    """Whether an aggregate's feature tells only what was known before a row's own time."""
    operation = instance.stage.operation
    assert isinstance(operation, AggregateOperation)
    if not operation.point_in_time or ledger[instance].delays[feature]:
        return False
    # What events have from the row that they belong to is not of the events' own time.
    return not any(
        origin.is_source and name in origin.source.labels and operation.of.is_below(origin.entity)
        for read in made_from(instance, feature)
        for origin, name in origins(instance.inputs[read], read, through_none).features
    )


_LEDGERS: dict[int, Ledger] = {}  # by the id of a flow, as long as it lives


def ledger_of(flow: Flow) -> Ledger:
    """The provenance of all instances of a flow, made once for each flow.

    Labels are what sources declare as such, what targets measure by, and what alone determines
    these.
    """
    key = id(flow)  # a flow holds mappings, so it has no hash
    if key not in _LEDGERS:
        _LEDGERS[key] = _made_ledger(flow)
        weakref.finalize(flow, _LEDGERS.pop, key, None)
    return _LEDGERS[key]


def _made_ledger(flow: Flow) -> Ledger:
    labels: set[Label] = set()
    for variant in flow.variants:
        if variant.target.label is not None:
            label = variant.features[variant.target.label], variant.target.label
            labels.add(label)
            for behind in (origins(*label, through_none).features, origins(*label).of_sources):
                if len(behind) == 1:
                    labels.update(behind)
    split = flow.project.split
    salt = split.salt if isinstance(split, HashSplit) else HashSplit().salt
    return Ledger(flow.instances, labels, salt)
