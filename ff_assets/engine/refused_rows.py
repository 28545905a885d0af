"""The errors of a source whose rows are not what its declaration says."""

from collections.abc import Mapping, Sequence

from ff_assets.core.declare import Source
from ff_assets.core.errors import DataError
from ff_assets.core.refusals import describe
from ff_assets.core.sensitivity import masked, tags_beside
from ff_assets.core.split import Split, TimeSplit

_NULL = {
    "key": ("a row without a key belongs to no cell and cannot be found again.", "keys"),
    "foreign key": ("a row that belongs to nothing else has no side of the split.", "foreign keys"),
    "time": ("a row without a time comes neither before nor after others.", "times"),
}


def null(source: Source, column: str, role: str, count: int, total: int) -> DataError:
    """Rows lack a key, foreign key or time."""
    why, what = _NULL[role]
    return DataError(
        f"source `{source.name}` has {count} of {total} rows with a null `{column}`.",
        where=[describe(source)],
        why=why,
        fix=f"drop such rows in the loader, or give them {what}.",
    )


def misplaced(source: Source, count: int, total: int) -> DataError:
    """Rows were stored elsewhere than their keys or times say."""
    return DataError(
        f"source `{source.name}` has {count} of {total} rows on a wrong side of the split.",
        where=[describe(source)],
        why="cell and bucket do not agree with the keys and times that are stored beside them: the "
        "loader gave other ones when it was asked again, or the files were changed since.",
        fix="run again; if it persists, let the loader write down what is random before it "
        "returns it.",
    )


def duplicate(
    source: Source, count: int, examples: Sequence[tuple[object, int, Sequence[str]]]
) -> DataError:
    """Several rows have one key.

    Args:
        examples: keys, each with the number of its rows and the cells that these are in.
    """
    entity = source.entity
    tags = tags_beside(entity, entity.key, source)
    named = [
        f"{masked(repr(key), tags)} ({times} times"
        f"{', in ' + ' and '.join(cells) if len(cells) > 1 else ''})"
        for key, times, cells in examples
    ]
    return DataError(
        f"source `{source.name}` has {count} rows whose `{entity.key}` occurred before.",
        where=[describe(source)],
        why="for example " + ", ".join(named),
        fix=f"give one row per {entity.name}: drop duplicates or aggregate in the loader.",
    )


def alike(source: Source, column: str, examples: Sequence[Sequence[str]]) -> DataError:
    """Keys differ by nothing but white space or the way a number is written."""
    tags = tags_beside(source.entity, column, source)
    return DataError(
        f"source `{source.name}` has values of `{column}` that look alike but are not equal.",
        where=[describe(source)],
        why="for example "
        + ", ".join(" and ".join(masked(repr(text), tags) for text in texts) for texts in examples)
        + "; each text is a key of its own, so what is one thing may be on both sides of the "
        "split.",
        fix=f'let the loader write each key in one way, for example F.trim("{column}").',
    )


def empty_cell(source: Source, split: Split, filled: Mapping[str, int], total: int) -> DataError:
    """A cell has no rows.

    Args:
        filled: cell -> number of rows in it.
    """
    empty = next(cell for cell, count in filled.items() if not count)
    held = {**filled, "neither cell": total - sum(filled.values())}
    why = f"of its {total} rows " + " and ".join(
        f"{'all' if count == total else count} belong to {cell}"
        for cell, count in held.items()
        if count
    )
    if not isinstance(split, TimeSplit):
        where = []
        fix = "give it more rows; with the default split, about one in five is for test."
    else:
        where = [("TimeSplit(...)", split.location)]
        why += (
            f"; test begins on {split.first_day}, and train ends {split.embargo_days} days before"
        )
        fix = "load rows of these days as well, or move the cutoff."
    return DataError(
        f"source `{source.name}` leaves the cell {empty} empty.",
        where=[describe(source), *where],
        why=why + ".",
        fix=fix,
    )
