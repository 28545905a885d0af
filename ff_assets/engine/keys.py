"""Errors of keys that do not fit together, within an entity and between two."""

from collections.abc import Sequence

from ff_assets.core.errors import DataError
from ff_assets.core.instance import Instance
from ff_assets.core.refusals import describe


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


def other_types(children: Instance, parents: Instance, child: str, parent: str) -> DataError:
    """A foreign key has another type than the key that it stands for."""
    column = children.entity.key_of(parents.entity)
    return DataError(
        f"`{column}` of source `{children.name}` is a {child}, `{parents.entity.key}` of source "
        f"`{parents.name}` a {parent}.",
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
        + ", ".join(repr(example) for example in examples)
        + f"; without that row nothing is known of their {parent.name}.",
        fix=f"let the loader of `{parents.name}` bring these rows, with nulls where it has nothing "
        f"to say, or leave rows without a {parent.name} out of `{children.name}`.",
    )
