"""What can be a name. Names become columns, asset keys and file names."""

import re
from collections.abc import Sequence

from ff_assets.core.cells import CELL
from ff_assets.core.errors import DefinitionError, Location

ALIASES = ("production", "staging")  # behind which a version can be

_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")  # a double underscore joins names in asset keys
_OWNER = re.compile(r"team:.+|[\w.%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}", re.ASCII)  # Dagster's rule
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # a leading underscore marks private columns


def check_name(kind: str, name: object, location: Location) -> None:
    """Refuse what cannot be the name of a declaration, feature or key.

    Raises:
        DefinitionError: it is no name, or one that is reserved.
    """
    where = [(f"{kind} {name!r}", location)]
    is_column = kind in ("feature", "key")
    pattern = _COLUMN if is_column else _NAME
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise DefinitionError(
            f"{name!r} cannot be the name of a {kind}.",
            where=where,
            why="it names a column, and a leading underscore marks what is private to a stage."
            if is_column
            else "it becomes part of the tags of assets, by which they are found."
            if kind == "tag"
            else "it becomes part of asset keys, in which a double underscore joins names.",
            fix="use ASCII letters, digits and "
            + ("underscores" if is_column else "single underscores in between")
            + ", and begin with a letter.",
        )
    if is_column and name.lower() == CELL:
        raise DefinitionError(
            f"{name!r} cannot be the name of a {kind}.",
            where=where,
            why=f"stored tables are partitioned by a column `{CELL}` (train or test), and Spark "
            "does not tell upper from lower case.",
            fix="give the column another name; a source's loader can rename it.",
        )


def check_owner(owner: object, where: list[tuple[str, Location]]) -> None:
    """Refuse what Dagster does not take for the owner of an asset; `None` is none.

    Raises:
        DefinitionError: it is neither a team nor an e-mail address.
    """
    if owner is None or (isinstance(owner, str) and _OWNER.fullmatch(owner)):
        return
    raise DefinitionError(
        f"{owner!r} cannot be the owner of a declaration.",
        where=where,
        why="an owner is a team or a person that Dagster can show beside the assets.",
        fix="write a team as 'team:nlp', or a person's e-mail address.",
    )


def check_names(what: str, names: object, where: list[tuple[str, Location]]) -> None:
    """Refuse a bare string, whose letters would pass for names, and what holds no names.

    Raises:
        DefinitionError: it is no list of names.
    """
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence)
        or not all(isinstance(name, str) for name in names)
    ):
        raise DefinitionError(
            f"{what} must be a list of names.",
            where=where,
            why=f"it was given {names!r}.",
            fix=f"write {[names]!r}." if isinstance(names, str) else 'for example ["sentiment"].',
        )
