"""When the values of a row were known: by the times of the rows behind them, as declared.

What a row reads of a row that it belongs to is as of that row's own time, and known only then; if
it is made from labels, as late as these (`label_horizon`). An aggregate to rows that have no time
sums up rows of all times, so it knows later ones whatever is asked.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ff_assets.core.accounts import Accounts, Label, made_from
from ff_assets.core.entities import Entity
from ff_assets.core.instance import Instance
from ff_assets.core.operations import AggregateOperation


@dataclass(frozen=True)
class Known:
    """What has to have happened before a value of a row was known.

    Attributes:
        since: entity with a time -> how many days after the time of the row that this row belongs
            to, or of itself.
        timeless: the instances from an aggregate over rows of all times to the value; none if
            there is no such aggregate.
    """

    since: Mapping[Entity, int]
    timeless: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class _Node:
    feature: Label
    over: Entity  # whose row, or what that belongs to, all rows behind it have in common


def known(accounts: Accounts, feature: Label, entity: Entity) -> Known:
    """Walk through all that a value is made from when it is applied.

    Fits are left out: what they have read, and when that was known, is for the judge of metrics.

    Args:
        entity: whose rows have the value, as their own or as that of what they belong to.
    """
    since: dict[Entity, int] = {}
    start = _Node(feature, entity)
    readers: dict[_Node, _Node | None] = {start: None}
    agenda = deque([start])
    while agenda:
        node = agenda.popleft()
        instance, name = node.feature
        if _sums_up_all_times(instance):
            path = [node]
            while (reader := readers[path[-1]]) is not None:
                path.append(reader)
            passed = (each.feature[0] for each in path)
            return Known(since, tuple(dict.fromkeys(passed)))
        own = instance.entity
        if own.time is not None and node.over.is_within(own):
            # A label of the rows themselves is there to be learned.
            delay = 0 if own == entity else accounts[instance].delays[name] or 0
            since[own] = max(since.get(own, 0), delay)
        for parent in _behind(node):
            if parent not in readers:
                readers[parent] = node
                agenda.append(parent)
    return Known(since)


def _behind(node: _Node) -> Iterator[_Node]:
    instance, name = node.feature
    if instance.is_source:
        return
    over, operation = node.over, instance.stage.operation
    if isinstance(operation, AggregateOperation) and over.is_within(operation.over):
        over = operation.over
    for read in made_from(instance, name):
        yield _Node((instance.inputs[read], read), over)


def _sums_up_all_times(instance: Instance) -> bool:
    """Whether an aggregate takes rows that have a time, or belong to such, whenever they were."""
    operation = None if instance.is_source else instance.stage.operation
    if not isinstance(operation, AggregateOperation) or operation.point_in_time:
        return False
    summed = operation.of.chain[: operation.of.chain.index(operation.over)]
    return any(entity.time is not None for entity in summed)
