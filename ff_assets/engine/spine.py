"""A spine: rows of one's own, for which features are wanted as they were at each row's time.

Aggregates to these rows, and what is made from them, are computed for the spine's own times, if it
has any. All else is looked up by key, as it is stored, and counts where it was known by then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import BUCKET, CELL
from ff_assets.core.entities import Entity, finest
from ff_assets.core.errors import DataError, LeakError
from ff_assets.core.influence import accounts_of
from ff_assets.core.instance import Instance, row_source
from ff_assets.core.known import Known, known
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.reading import Reading
from ff_assets.core.refusals import describe
from ff_assets.core.split import Split, TimeSplit
from ff_assets.engine.columns import structural
from ff_assets.engine.frame_plan import Column as Feature
from ff_assets.engine.regions import bucket_column, cell_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_TIMES = ("date", "timestamp", "timestamp_ntz")


@dataclass(frozen=True)
class Spine:
    """Rows of an entity that somebody has, and how their features are got together.

    Attributes:
        reading: the features that are wanted.
        given: the rows.
        columns: that they have, wherever they are; for the words of an error.
        dated: what is computed for the times of these rows, in order.
        stored: the features that are wanted and looked up by key.
        beside: what else is looked up, for what is computed.
        since: feature -> entity -> how many days after the time of its row the feature was known;
            nothing if the spine has no time.
        timed: entities of which nothing is looked up but the times -> a source of their rows.
    """

    reading: Reading
    given: "DataFrame"
    columns: Sequence[str]
    dated: tuple[Instance, ...]
    stored: tuple[Feature, ...]
    beside: tuple[Feature, ...]
    since: Mapping[str, Mapping[Entity, int]]
    timed: Mapping[Entity, Instance]

    @classmethod
    def of(cls, reading: Reading, given: "DataFrame", columns: Sequence[str]) -> "Spine":
        """Divide what is wanted into what is computed and what is looked up.

        Args:
            columns: of the rows, of which `given` may lack those that are neither key nor time.

        Raises:
            DataError: the rows lack a key or time that is needed, or have a column that is in the
                way.
            LeakError: they have times, and a feature is made from rows of all times.
        """
        entity = reading.entity
        has_time = entity.time in given.columns
        is_own_row = entity.key in given.columns and not has_time
        dated = () if is_own_row else _dated(reading)
        stored = tuple(each for each in reading.columns if each[0] not in dated)
        beside = dict.fromkeys(
            (parent, name)
            for instance in dated
            if not instance.is_aggregate
            for name, parent in instance.inputs.items()
            if parent not in dated
        )
        since, timed = dict[str, Mapping[Entity, int]](), dict[Entity, Instance]()
        if has_time:
            since = {name: _since(reading, (i, name), i in dated) for i, name in reading.columns}
            needed = dict.fromkeys(each for entities in since.values() for each in entities)
            timed = {each: _rows_of(reading, each) for each in needed if each != _found_in(stored)}
        spine = cls(reading, given, columns, dated, stored, tuple(beside), since, timed)
        spine._check()
        return spine

    @property
    def entity(self) -> Entity:
        """What the rows are about."""
        return self.reading.entity

    @property
    def split(self) -> Split:
        return self.reading.split

    @property
    def keys(self) -> list[str]:
        """The keys and time that the rows have; rows that agree in them have the same features."""
        return [column for column in self.entity.columns if column in self.given.columns]

    @property
    def computed(self) -> tuple[Feature, ...]:
        """The features that are wanted and computed."""
        return tuple(each for each in self.reading.columns if each[0] in self.dated)

    @property
    def has_time(self) -> bool:
        return self.entity.time in self.given.columns

    @property
    def carried(self) -> list[str]:
        """Keys by which times are looked up, and which come with what is looked up."""
        found_in = _found_in(self.stored)
        return [
            key
            for entity in self.timed
            if (key := self.entity.key_of(entity)) not in self.given.columns
            and found_in is not None
            and found_in.is_within(entity)
        ]

    @property
    def _divided_by(self) -> str:
        """The column that decides which cell a row is in."""
        entity = self.entity
        return str(entity.time) if isinstance(self.split, TimeSplit) else entity.split_key

    def key_of(self, features: Iterable[Feature]) -> str:
        """The column of the rows by which features are looked up together."""
        looked_up = finest(instance.entity for instance, _ in features)
        assert looked_up is not None
        return self.entity.key_of(looked_up)

    def bucket(self, stored: "Column | None") -> "Column":
        """The bucket of each row, by its own key or time if it has that, else as stored."""
        from pyspark.sql import functions as F

        if self._divided_by in self.given.columns:
            return bucket_column(F.col(self._divided_by), self.split)
        assert stored is not None
        return stored

    def rows(self) -> "DataFrame":
        """Each combination of keys and time once, with the columns that rows of the entity have."""
        from pyspark.sql import functions as F

        by = F.col(self._divided_by)
        absent = [column for column in self.entity.columns if column not in self.keys]
        return (
            self.given.select(*self.keys)
            .dropna()
            .distinct()
            .withColumns({column: F.lit(None).cast("string") for column in absent})
            .withColumns({BUCKET: bucket_column(by, self.split), CELL: cell_column(by, self.split)})
            .select(*structural(self.entity))
        )

    def _check(self) -> None:
        self._check_free()
        needed: dict[str, str] = {}  # column -> what for
        for features in filter(None, (self.stored, self.beside)):
            instance, name = features[0]
            needed[self.key_of(features)] = f"`{name}` is of each {instance.entity.name}"
        for instance in self.dated:
            operation: Any = instance.stage.operation
            if isinstance(operation, AggregateOperation):
                what = f"`{instance.provider.outputs[0]}` sums up {operation.of.name} rows"
                needed[self.entity.key_of(operation.over)] = what
                if operation.point_in_time:
                    needed[str(self.entity.time)] = f"{what} strictly before it"
        for entity in self.timed:
            if (key := self.entity.key_of(entity)) not in self.carried:
                needed.setdefault(key, f"by it the `{entity.time}` of its {entity.name} is found")
        if self.dated:
            needed.setdefault(self._divided_by, "by it rows are divided into cells")
        for column, why in needed.items():
            if column not in self.given.columns:
                raise self._error(
                    f"the spine has no column `{column}`.",
                    f"{why}; the columns of the spine are {', '.join(self.columns)}.",
                    f"add it, or rename the column that holds it to `{column}`.",
                )
        if self.has_time:
            kind = self.given.schema[str(self.entity.time)].dataType.typeName()
            if kind not in _TIMES:
                raise self._error(
                    f"`{self.entity.time}` of the spine is a {kind}.",
                    "it says when each row was, and texts and numbers leave open what they mean.",
                    "make it a date or timestamp, such as with pandas.to_datetime.",
                )

    def _check_free(self) -> None:
        """What is added must not hide, nor be hidden by, what is there."""
        taken = {column.lower() for column in self.given.columns}
        for name in self.reading.features:
            if name.lower() in taken:
                raise self._error(
                    f"the spine has a column `{name}` already.",
                    "the feature of that name would be a second one.",
                    "drop or rename it, or leave the feature out.",
                )

    def check_time(self, stored: str) -> None:
        """See that the spine's time is a date where that of stored rows is one, or neither is.

        Args:
            stored: the type that it has in the store.

        Raises:
            DataError: it is not, so the same moment would have other measures than in a run.
        """
        time = str(self.entity.time)
        ours = self.given.schema[time].dataType.typeName()
        if (ours == "date") != (stored == "date"):
            raise self._error(
                f"`{time}` of the spine is a {ours}, in the store a {stored}.",
                "of a date nobody knows which events of its day came before, so none of them "
                "counts, and days are counted as whole ones; with a time of day that is not so.",
                f"make it a {stored}: pandas has Series.dt.date and to_datetime, Spark to_date and "
                "to_timestamp.",
            )

    def check_type(self, stored: "DataFrame", key: str) -> None:
        """See that a key of the spine is of the type that the store has.

        Raises:
            DataError: a text would be compared with a number.
        """
        ours, theirs = (f.schema[key].dataType.simpleString() for f in (self.given, stored))
        if ours != theirs and not {ours, theirs} <= _WHOLE:
            raise self._error(
                f"`{key}` of the spine is a {ours}, in the store a {theirs}.",
                "rows are found, and split, by the text of a key; '007' and 7 would be two.",
                f"cast it to {theirs}"
                + ("; pandas makes whole numbers with gaps floats." if ours == "double" else "."),
            )

    def _error(self, what: str, why: str, fix: str) -> DataError:
        here = (f"read {', '.join(self.reading.features)}", self.reading.location)
        return DataError(what, where=[here], why=why, fix=fix)


_WHOLE = {"tinyint", "smallint", "int", "bigint"}


def since_column(entity: Entity) -> str:
    """The time of the row of an entity that a row of the spine belongs to."""
    return f"_since_{entity.name}"


def _found_in(stored: Sequence[Feature]) -> Entity | None:
    """The entity in whose rows features are looked up; `None` if none are."""
    return finest(instance.entity for instance, _ in stored) if stored else None


def _since(reading: Reading, feature: Feature, is_dated: bool) -> Mapping[Entity, int]:
    """When a feature was known, by the rows that it is made from."""
    if reading.named is not None and feature[1] == reading.named.label:
        return {}  # the truth of a row, whenever it was known
    found = known(accounts_of(reading.flow), feature, reading.entity)
    if found.timeless:
        raise _not_at_a_time(reading, feature, found)
    own = reading.entity
    return {e: days for e, days in found.since.items() if not (is_dated and e == own)}


def _rows_of(reading: Reading, entity: Entity) -> Instance:
    """A source that has the times of an entity's rows."""
    return next(
        row_source(instance) for instance in reading.variant.instances if instance.entity == entity
    )


def _not_at_a_time(reading: Reading, feature: Feature, found: Known) -> LeakError:
    (instance, name), blamed, rows = feature, found.timeless[0], reading.entity
    operation = blamed.stage.operation
    assert isinstance(operation, AggregateOperation)
    of, to = operation.of.name, operation.to
    path = " -> ".join([of, *(each.name for each in found.timeless)])
    return LeakError(
        f"`{name}` cannot be had as of `{rows.time}`: `{blamed.name}` sums up rows of {of} of all "
        "times.",
        code="FUTURE_ROWS",
        where=[
            describe(blamed.provider),
            (f"entity {to.name!r}", to.location),
            (f"read {', '.join(reading.features)}", reading.location),
        ],
        why=f"so rows of {of} that came later than a row of the spine are among them\npath: {path}",
        fix=f"sum up what was before each row: aggregates(of={of}, to={rows.name}); or say as of "
        f"when it is: Entity({to.name!r}, ..., time=...). Without `{rows.time}`, by "
        f"`{rows.key_of(instance.entity)}` alone, it is read as runs have stored it.",
    )


def _dated(reading: Reading) -> tuple[Instance, ...]:
    """What is made for an entity's rows from aggregates to them, as far as it is wanted."""
    entity, dated, wanted = reading.entity, set[Instance](), set[Instance]()
    for instance in reading.variant.instances:  # in topological order
        if instance.entity == entity and (
            instance.is_aggregate or not dated.isdisjoint(instance.inputs.values())
        ):
            dated.add(instance)
    agenda = [instance for instance, _ in reading.columns]
    while agenda:
        instance = agenda.pop()
        if instance in dated and instance not in wanted:
            wanted.add(instance)
            agenda += instance.inputs.values()
    return tuple(each for each in reading.variant.instances if each in wanted)
