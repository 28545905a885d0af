"""Sensitivity tags: which of them every feature of every instance carries, and along which path.

Sources tag features and columns; what is made from these carries the tags as well:

* A stage's outputs have the tags of all that it is applied to; a measure of an aggregate only those
  of its own inputs, and, where it goes by time, of both entities' times.
* A fitted model has the tags of all that its fit has read, weights and labels too, and so have the
  values that it makes: nobody can tell by its declaration what a model has memorised, and a
  prediction of something sensitive is a statement about it.
* Keys, foreign keys and times stand beside the features of their entity. They are read by no
  stage, but every table of rows that has the column carries its tags, those of finer entities by
  their foreign keys too.

Where a stage is declassified its outputs lose a tag, but not its model. All this holds for an
instance, so one variant may carry a tag and another one not.

Tags are bits and stages hand on one number, so a flow is looked at in time linear in its edges.
"""

import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ff_assets.core.ab_test import ABTest
from ff_assets.core.accounts import made_from
from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.errors import shortened
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.operations import AggregateOperation, SparkOperation
from ff_assets.core.policy import Declassified
from ff_assets.core.stage import Stage


class Carrier(NamedTuple):
    """What can carry a tag: a feature of an instance, its model, or a column of an entity.

    Attributes:
        holder: the instance, or the entity whose key or time the column is.
        name: the feature or column; `None` for the model.
    """

    holder: Instance | Entity
    name: str | None

    def __str__(self) -> str:
        if isinstance(self.holder, Entity):
            return f"{self.holder.name}.{self.name}"
        if self.name is None:
            return f"the fit of {self.holder.name}"
        own = self.name == self.holder.provider.name
        return self.holder.name if own else f"{self.holder.name}.{self.name}"


@dataclass(frozen=True)
class Trail:
    """A shortest way of a tag.

    Attributes:
        source: that declares the tag.
        feature: the feature or column of it that has the tag.
        carriers: what has it from there on; that feature or column is the first.
    """

    tag: str
    source: Source
    feature: str
    carriers: tuple[Carrier, ...]

    @property
    def steps(self) -> list[str]:
        """The way in words, the source first."""
        return [f"{self.source.name}.{self.feature}", *map(str, self.carriers[1:])]

    def route(self, end: str) -> str:
        """The way in words, without the middle where it is long."""
        return " -> ".join([*shortened(self.steps), end])

    @property
    def is_column(self) -> bool:
        """Whether it is a column that stands beside features."""
        return isinstance(self.carriers[0].holder, Entity)


@dataclass(frozen=True)
class Ended:
    """Where a tag ends.

    Attributes:
        carrier: the feature that does not carry it any more.
        because: the reason that its stage states.
    """

    tag: str
    carrier: Carrier
    because: str

    @property
    def stage(self) -> Stage:
        assert isinstance(self.carrier.holder, Instance)
        return self.carrier.holder.stage


class Sensitivity:
    """The tags of all features, models and columns of a flow.

    Args:
        flow: its sources declare the tags; those that no target reaches count for columns, and
            those of A/B tests for what is measured.
    """

    def __init__(self, flow: Flow) -> None:
        self._sources = (*flow.project.sources, *flow.project.outcomes)
        self._bits: dict[str, int] = {}
        self._decoded: dict[int, tuple[str, ...]] = {0: ()}
        self._columns: dict[Carrier, int] = {}
        self._models: dict[Instance, int] = {}
        self._features: dict[Instance, Mapping[str, int]] = {}
        for source in self._sources:
            for name, tags in source.sensitivity.items():
                bits = self._encoded(tags)
                column = _beside(source, name)
                self._columns[column] = self._columns.get(column, 0) | bits
        for instance in flow.instances:
            self._account(instance)

    def _encoded(self, tags: Iterable[str]) -> int:
        bits = 0
        for tag in tags:
            bits |= self._bits.setdefault(tag, 1 << len(self._bits))
        return bits

    def _account(self, instance: Instance) -> None:
        if instance.is_source:
            tagged = instance.source.sensitivity
            self._features[instance] = {
                name: self._encoded(tagged.get(name, ())) for name in instance.source.features
            }
            return
        stage = instance.stage
        if instance.is_estimator:
            self._models[instance] = self._all(read_by(Carrier(instance, None)))
        names = made_by(instance)
        if isinstance(stage.operation, AggregateOperation):
            made = {name: self._all(read_by(Carrier(instance, name))) for name in names}
        else:
            made = dict.fromkeys(names, self._all(read_by(Carrier(instance, names[0]))))
        for ended in stage.declassifications:
            lost = self._encoded(tag for tag in ended.tags if tag in self._bits)
            made |= {name: made[name] & ~lost for name in made if ended.is_about(name)}
        self._features[instance] = made

    def _carried(self, carrier: Carrier) -> int:
        holder, name = carrier
        if isinstance(holder, Entity):
            return self._columns.get(carrier, 0)
        return self._models[holder] if name is None else self._features[holder][name]

    def _all(self, carriers: Iterable[Carrier]) -> int:
        bits = 0
        for carrier in carriers:
            bits |= self._carried(carrier)
        return bits

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag that a source declares, sorted."""
        return tuple(sorted(self._bits))

    def of(self, *carriers: Carrier) -> tuple[str, ...]:
        """The tags that some carriers have together, sorted."""
        bits = self._all(carriers)
        if bits not in self._decoded:
            self._decoded[bits] = tuple(tag for tag in self.tags if self._bits[tag] & bits)
        return self._decoded[bits]

    def arriving(self, carriers: Iterable[Carrier]) -> tuple[str, ...]:
        """The tags of what some features are made from, sorted; they may lose some."""
        return self.of(*(read for carrier in carriers for read in read_by(carrier)))

    def trail(self, carriers: Iterable[Carrier], tag: str) -> Trail | None:
        """The shortest way of a tag to any of some carriers; `None` if it reaches none."""
        bit = self._bits.get(tag, 0)
        readers: dict[Carrier, Carrier | None] = {
            carrier: None for carrier in carriers if self._carried(carrier) & bit
        }
        agenda = deque(readers)
        while agenda:
            current = agenda.popleft()
            if origin := self._origin(current, tag):
                path = [current]
                while (reader := readers[path[-1]]) is not None:
                    path.append(reader)
                return Trail(tag, *origin, tuple(path))
            for carrier in read_by(current):
                if carrier not in readers and self._carried(carrier) & bit:
                    readers[carrier] = current
                    agenda.append(carrier)
        return None

    def _origin(self, carrier: Carrier, tag: str) -> tuple[Source, str] | None:
        """The source that tags it, with the feature or column."""
        holder, name = carrier
        if isinstance(holder, Entity):
            return next(
                (source, column)
                for source in self._sources
                for column, tags in source.sensitivity.items()
                if tag in tags and _beside(source, column) == carrier
            )
        return (holder.source, str(name)) if holder.is_source else None

    def ends(self, carrier: Carrier) -> Iterator[Ended]:
        """The tags of what a feature is made from that it does not carry."""
        for statement in _statements(carrier):
            for tag in self.arriving([carrier]):
                if tag in statement.tags:
                    yield Ended(tag, carrier, statement.because)

    def ended(self, carriers: Iterable[Carrier]) -> list[Ended]:
        """Where tags end behind some carriers, nearest first; each tag of a stage once."""
        found: dict[tuple[str, Instance | Entity], Ended] = {}
        seen = dict.fromkeys(carriers)
        agenda = deque(seen)
        while agenda:
            current = agenda.popleft()
            for end in self.ends(current):
                found.setdefault((end.tag, current.holder), end)
            for carrier in read_by(current):
                if carrier not in seen:
                    seen[carrier] = None
                    agenda.append(carrier)
        return list(found.values())


def _statements(carrier: Carrier) -> list[Declassified]:
    """What is said of a feature that loses tags."""
    holder, name = carrier
    if isinstance(holder, Entity) or holder.is_source:
        return []
    return [each for each in holder.stage.declassifications if each.is_about(name)]


def made_by(instance: Instance) -> tuple[str, ...]:
    """The features of an instance, then the private columns that are stored beside them."""
    outputs = instance.provider.outputs
    if instance.is_source or not isinstance(instance.stage.operation, SparkOperation):
        return outputs
    return (*outputs, *(f"_{column}" for column in instance.stage.operation.private.values()))


def read_by(carrier: Carrier) -> Iterator[Carrier]:
    """What a feature or a model is made from."""
    holder, name = carrier
    if isinstance(holder, Entity) or holder.is_source:
        return
    if name is None:
        yield from (Carrier(read, feature) for feature, read in holder.fit_inputs.items())
        yield from (Carrier(read, feature) for feature, read in holder.inputs.items())
        return
    yield from (Carrier(holder.inputs[read], read) for read in made_from(holder, name))
    if holder.is_estimator:
        yield Carrier(holder, None)
    operation = holder.stage.operation
    if isinstance(operation, AggregateOperation) and operation.point_in_time:
        for entity in (operation.of, operation.to):
            yield Carrier(entity, entity.time)


def column_of(entity: Entity, name: str) -> Carrier:
    """What a column of an entity's rows is: the key of itself or an ancestor, or its time."""
    for ancestor in entity.chain:
        if name == entity.key_of(ancestor):
            return Carrier(ancestor, ancestor.key)
    return Carrier(entity, entity.time)


def outcome_of(test: ABTest) -> Carrier:
    """What an A/B test is measured by, which is a feature of no instance."""
    return _beside(test.outcomes, test.measure)


def _beside(source: Source, name: str) -> Carrier:
    """What carries the tags that a source declares, where no instance of it is meant."""
    if name in source.features:
        return Carrier(source.entity, f"{source.name}.{name}")  # no column's name has a dot
    return column_of(source.entity, name)


def masked(text: str, tags: Iterable[str]) -> str:
    """A value as an error or a report shows it, or which tags it is not shown for.

    Args:
        text: the value.
        tags: that it carries.
    """
    among = sorted(set(tags))
    return f"(masked: {', '.join(among)})" if among else text


def tags_beside(entity: Entity, column: str, *sources: Source) -> set[str]:
    """The tags that some sources declare for a column of an entity's rows, as far as they do.

    A run that finds a wrong row has the sources at hand that it comes from, and not the project.
    """
    carrier = column_of(entity, column)
    return {
        tag
        for source in sources
        for name, tags in source.sensitivity.items()
        if _beside(source, name) == carrier
        for tag in tags
    }


def columns_of(entity: Entity) -> tuple[Carrier, ...]:
    """The columns that stand beside the features of an entity's rows."""
    return tuple(dict.fromkeys(column_of(entity, name) for name in entity.columns))


_KNOWN: dict[int, Sensitivity] = {}  # by the id of a flow, as long as it lives


def sensitivity_of(flow: Flow) -> Sensitivity:
    """The tags of a flow, looked at once for each flow."""
    key = id(flow)  # a flow holds mappings, so it has no hash
    if key not in _KNOWN:
        _KNOWN[key] = Sensitivity(flow)
        weakref.finalize(flow, _KNOWN.pop, key, None)
    return _KNOWN[key]
