"""Entities: what rows are about, and how the rows of one belong to those of another."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from ff_assets.core.errors import DefinitionError, Location, caller_location
from ff_assets.core.names import check_name


@dataclass(frozen=True)
class Entity:
    """What a row is about.

    A finer entity (a basket) belongs to a coarser one (its household): it names it as `parent`
    and the column that holds the parent's key as `foreign_key`. Its rows then share the parent's
    bucket, hence its side of the split, and stages about it may read the parent's features.

    Args:
        name: the entity's name, such as `review`.
        key: the column that identifies a row; of a string or integer type, never null.
        parent: the entity that every row belongs to.
        foreign_key: the column with the parent's key; never null.
        time: the column that says when a row's event happened, a date or a timestamp.

    Raises:
        DefinitionError: a name cannot be one, two columns share a name, or one of parent and
            foreign key is missing.
    """

    name: str
    key: str
    parent: "Entity | None" = None
    foreign_key: str | None = None
    time: str | None = None
    location: Location = field(default_factory=caller_location, compare=False, repr=False)

    def __post_init__(self) -> None:
        here = [(f"entity {self.name!r}", self.location)]
        check_name("entity", self.name, self.location)
        check_name("key", self.key, self.location)
        for column in (self.foreign_key, self.time):
            if column is not None:
                check_name("key", column, self.location)
        if (self.parent is None) != (self.foreign_key is None):
            missing = "foreign_key" if self.parent else "parent"
            raise DefinitionError(
                f"entity `{self.name}` lacks its `{missing}`.",
                where=here,
                why="a row is found to belong to its parent by the parent's key in one column.",
                fix='for example parent=household, foreign_key="household_id".',
            )
        lowered = [column.lower() for column in self.columns]
        if len(set(lowered)) < len(lowered):
            raise DefinitionError(
                f"entity `{self.name}` uses one column for two things.",
                where=here,
                why=f"its key, foreign keys and time are {', '.join(self.columns)}; Spark does "
                "not tell upper from lower case.",
                fix="let the loader give each a column of its own.",
            )

    @cached_property
    def chain(self) -> "tuple[Entity, ...]":
        """The entity itself, its parent, and so on to the root."""
        chain = [self]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        return tuple(chain)

    @property
    def root(self) -> "Entity":
        """The coarsest entity that the rows belong to; the split goes by its key."""
        return self.chain[-1]

    @cached_property
    def foreign_keys(self) -> tuple[str, ...]:
        """The columns with the keys of parent, grandparent, and so on."""
        return tuple(e.foreign_key for e in self.chain if e.foreign_key is not None)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that every source of the entity has beside its features."""
        return (self.key, *self.foreign_keys, *([] if self.time is None else [self.time]))

    @property
    def split_key(self) -> str:
        """The column of the entity's rows that decides their bucket: the key of the root."""
        return self.foreign_keys[-1] if self.foreign_keys else self.key

    def key_of(self, ancestor: "Entity") -> str:
        """The column of the entity's rows that holds the key of itself or of an ancestor."""
        return (self.key, *self.foreign_keys)[self.chain.index(ancestor)]

    def is_within(self, other: "Entity") -> bool:
        """Whether every row belongs to one row of another entity, or it is that entity."""
        return other in self.chain

    def is_below(self, other: "Entity") -> bool:
        """Whether it belongs to another entity, directly or through others."""
        return other in self.chain[1:]


def finest(entities: Iterable[Entity]) -> Entity | None:
    """The one of some entities whose rows belong to rows of all others; `None` if none is."""
    among = list(dict.fromkeys(entities))
    best = max(among, key=lambda entity: len(entity.chain))
    return best if all(best.is_within(other) for other in among) else None
