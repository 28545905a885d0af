"""Keys that do not fit together, within an entity and between two."""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from ff_assets.core.entities import Entity
from ff_assets.core.errors import DataError
from ff_assets.core.instance import Instance
from ff_assets.core.refusals import describe
from ff_assets.core.sensitivity import masked, tags_beside

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def refuse_unrelated(
    children: Instance, parents: Instance, rows: "DataFrame", known: "DataFrame"
) -> None:
    """See that every row finds the row that it belongs to, and that both belong to the same others.

    A row's bucket comes from its own foreign keys. If those of its parent were other ones, the two
    could be on different sides of the split, and one would bring the other what it must not see.
    A null key passes: the checks of a source refuse it, and say more.

    Args:
        rows: of a finer entity, with its columns.
        known: of a coarser one that it belongs to, with its columns; no two have one key.

    Raises:
        DataError: a row finds none, names other ancestors than that one, or a key has another type.
    """
    pairs = _Pairs(children, parents, parents.entity)
    related = pairs.joined(rows, known, "left")
    lost, apart = related[pairs.theirs[0]].isNull(), pairs.apart(related)
    if related.where(lost | apart).limit(1).collect():
        orphans = related.where(lost)
        if found := orphans.limit(3).collect():
            key = children.entity.key_of(parents.entity)
            raise orphaned(children, parents, [row[key] for row in found], orphans.count())
        raise pairs.refusal(related)


def refuse_divided(
    events: Instance, counting: Instance, over: Entity, told: "DataFrame", rows: "DataFrame"
) -> None:
    """See that events and the rows that they count for belong to the same others.

    They are brought together by one key, such as a basket's, and split by that of its root.

    Args:
        over: the entity by whose key they are brought together.
        told: the events, with their entity's columns.
        rows: for which they are summed up, with their entity's columns.

    Raises:
        DataError: an event names other ancestors than such a row, or a key has another type.
    """
    if over.parent is None:
        return
    pairs = _Pairs(events, counting, over)
    related = pairs.joined(told, rows, "inner")
    if related.where(pairs.apart(related)).limit(1).collect():
        raise pairs.refusal(related)


class _Pairs:
    """The columns in which rows of two entities name the same rows of coarser ones.

    Attributes:
        theirs: the columns of the other rows in what `joined` gives, that of `over` first.

    Args:
        over: the finest of the coarser ones, by whose key they are joined.
    """

    def __init__(self, first: Instance, other: Instance, over: Entity) -> None:
        self._first, self._other, self._over = first, other, over
        self._mine = [first.entity.key_of(entity) for entity in over.chain]
        self._named = [other.entity.key_of(entity) for entity in over.chain]
        # No column of an entity begins with an underscore.
        self.theirs = [f"_{column}" for column in self._named]

    def joined(self, rows: "DataFrame", others: "DataFrame", how: str) -> "DataFrame":
        """Rows whose key is not null with those that they are related to, keys only."""
        from pyspark.sql import functions as F

        for mine, named in zip(self._mine, self._named, strict=True):
            types = rows.schema[mine].dataType, others.schema[named].dataType
            if types[0] != types[1]:
                told = types[0].simpleString(), types[1].simpleString()
                raise other_types(self._first, self._other, (mine, named), told)
        known = others.select(
            *(F.col(n).alias(t) for n, t in zip(self._named, self.theirs, strict=True))
        )
        if self._over != self._other.entity:  # then several of them have one key
            known = known.distinct()
        key = self._mine[0]
        columns = dict.fromkeys([self._first.entity.key, *self._mine])
        given = rows.select(*columns).where(F.col(key).isNotNull())
        return given.join(known, given[key] == known[self.theirs[0]], how)

    def apart(self, related: "DataFrame") -> Any:
        """Whether related rows name different rows of a coarser entity."""
        from pyspark.sql import functions as F

        differ = [
            related[mine] != related[theirs]
            for mine, theirs in zip(self._mine[1:], self.theirs[1:], strict=True)
        ]
        return reduce(or_, differ, F.lit(False))  # Spark's own parameter has no name

    def refusal(self, related: "DataFrame") -> DataError:
        """The error of related rows of which some are `apart`."""
        key = self._first.entity.key
        wrong = related.where(self.apart(related))
        row = wrong.limit(1).collect()[0]
        at = next(
            at
            for at, (mine, theirs) in enumerate(zip(self._mine, self.theirs, strict=True))
            if None not in (row[mine], row[theirs]) and row[mine] != row[theirs]
        )
        count = wrong.select(key).distinct().count()
        example = row[key], row[self._mine[0]], row[self._mine[at]], row[self.theirs[at]]
        chain = self._over.chain
        return disagreeing(self._first, self._other, chain[0], chain[at], count, example)


def key_shown(instance: Instance, column: str, value: object, other: Instance) -> str:
    """A key of a source's rows in an error about these and those of another source."""
    sources = (each.source for each in (instance, other) if each.is_source)
    return masked(repr(value), tags_beside(instance.entity, column, *sources))


def other_keys(
    first: Instance, other: Instance, cell: str, rows: int, other_rows: int
) -> DataError:
    """Two sources of one entity have different rows."""
    return DataError(
        f"the sources `{first.name}` and `{other.name}` of entity "
        f"`{first.entity.name}` do not have the same keys, foreign keys and times.",
        where=[describe(first.provider), describe(other.provider)],
        why=f"in {cell} they have {rows:,} and {other_rows:,} rows, and not each row of one has "
        "its counterpart in the other; variants are compared on the same rows.",
        fix="let one loader bring the rows of the other, with nulls or defaults where it has "
        "nothing to say.",
    )


def other_types(
    children: Instance, parents: Instance, columns: tuple[str, str], types: tuple[str, str]
) -> DataError:
    """A foreign key has another type than the key that it stands for."""
    return DataError(
        f"`{columns[0]}` of source `{children.name}` is a {types[0]}, `{columns[1]}` of source "
        f"`{parents.name}` a {types[1]}.",
        where=[describe(children.provider), describe(parents.provider)],
        why="rows belong together, and are split, by the text of these keys; '007' and 7 would "
        "be one key for a join and two for the split.",
        fix="cast one of them in its loader.",
    )


def orphaned(
    children: Instance, parents: Instance, examples: Sequence[object], count: int
) -> DataError:
    """Rows of a finer entity belong to rows of a coarser one that are not there."""
    child, parent = children.entity, parents.entity
    return DataError(
        f"{count:,} rows of source `{children.name}` belong to no row of `{parents.name}`.",
        where=[describe(children.provider), describe(parents.provider)],
        why=f"their `{child.key_of(parent)}` is no `{parent.key}` there, for example "
        + ", ".join(key_shown(children, child.key_of(parent), each, parents) for each in examples)
        + f"; without that row nothing is known of their {parent.name}.",
        fix=f"let the loader of `{parents.name}` bring these rows, with nulls where it has nothing "
        f"to say, or leave rows without a {parent.name} out of `{children.name}`.",
    )


def disagreeing(
    children: Instance,
    others: Instance,
    by: Entity,
    ancestor: Entity,
    count: int,
    example: tuple[object, object, object, object],
) -> DataError:
    """Rows that are brought together belong to different rows of a coarser entity.

    Args:
        by: the entity by whose keys they are brought together.
        count: of the rows of `children`.
        example: of one of them the key, that of `by`, and that of `ancestor`; then what its
            counterpart has for the latter.
    """
    entity = children.entity
    key, common, named = entity.key, entity.key_of(by), entity.key_of(ancestor)
    columns = (key, common, named, named)
    own, joined, mine, theirs = (
        key_shown(children, column, value, others)
        for column, value in zip(columns, example, strict=True)
    )
    return DataError(
        f"{count:,} rows of source `{children.name}` belong to another {ancestor.name} than their "
        f"counterpart in `{others.name}`.",
        where=[describe(children.provider), describe(others.provider)],
        why=f"for example {key} {own} with {common} {joined} has the {ancestor.name} {mine}, its "
        f"counterpart {theirs}. Rows are split by the {ancestor.root.name} that they name "
        "themselves, so what is joined could be of train on one side and of test on the other.",
        fix=f"let both loaders take the {ancestor.name} of a row from one place, such as what "
        f"`{others.name}` says.",
    )
