"""Finding code that mixes rows, in functions and transformers that are declared as row-wise.

A window, a group or a rank makes a row's value depend on other rows, test rows among them, and
is a fit that nobody declared. Bytecode is read and nothing is run: names are resolved through the
function's own globals, closure and imports, so that `F.max` is told from Python's `max`. Of what
Spark's data frames offer, that is allowed which is known to be row by row, and nothing else.
"""

import builtins
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, get_type_hints

from ff_assets.core.bytecode import COUNTED, UNKNOWN, Use
from ff_assets.core.errors import Location
from ff_assets.core.references import (
    BY_NAME,
    References,
    eval_type,
    is_function,
    module_of,
    name_of,
    python_function,
    sets,
)
from ff_assets.core.spark_names import (
    ACROSS_GROUPS,
    BY_TEXT,
    FRAMES,
    FUNCTIONS,
    IN_BATCHES,
    JOINS,
    MIXING,
    MIXING_MODULES,
    ON_ROWS,
    OVER,
    ROW_BY_ROW,
    TAKING_SQL,
    VOLATILE,
    mixing_methods,
    named_in_sql,
)


@dataclass(frozen=True)
class Reason:
    """Why a row-wise stage must not use something.

    Attributes:
        why: what is wrong with it.
        fix: what to do instead.
    """

    why: str
    fix: str


_LOOKUP = "to look values up in a small table, make it a column with F.create_map"
_MIXES = Reason(
    "its value for a row depends on other rows, so rows of test have a say in those of train",
    "use @aggregate for sums over rows of a finer entity, or an estimator, whose fit is on train "
    "only",
)
_JOINS = Reason(_MIXES.why, f"{_LOOKUP}; for anything else {_MIXES.fix}")
_MAY_MIX = Reason(
    "on a data frame it looks at other rows than one at a time, so rows of test have a say in "
    "those of train, and nothing says that this is no data frame",
    "if it is none, annotate the parameter, the attribute or the function that it comes from, as "
    "in `words: list[str]` or `-> str`, or convert it where it is used, as in str(word); if it is "
    f"one, {_MIXES.fix}",
)
_MAY_JOIN = Reason(_MAY_MIX.why, f"{_MAY_MIX.fix}; {_LOOKUP}")
_UNLISTED = Reason(
    "nothing says that it works row by row, so it counts as a look at other rows",
    "write it with pyspark.sql.functions, or as a function of one row, with F.udf",
)
_IN_BATCHES = Reason(
    "it is given many rows at a time, and nothing says that it keeps them apart",
    "use @F.udf, which gets one row",
)
_VARIES = Reason(
    "its value for a row is another one each time, so no result can be had again",
    "read dates and times from a column of a source, and take what is to look random from a hash "
    "of a key, such as F.xxhash64(key); a seed alone does not hold where rows are split otherwise",
)
_UNTOLD = Reason(
    "only a run would tell what it gets, which may look at other rows",
    "write out what is used, by its own name",
)
_COUNTS = Reason(
    "it is changed from row to row and outlives them, so the value of a row depends on which other "
    "rows came before, in an order that nobody gave",
    "keep what is counted inside the function, or count with @aggregate",
)
_NO_CONTEXT = Reason(
    "Spark Connect has no sparkContext, so there is neither a broadcast nor an RDD",
    "leave the value to the function that needs it: Spark sends what the closure of an F.udf "
    f"holds; {_LOOKUP}",
)
_TELLING_NOTHING = (
    *(compile, eval, exec, globals, vars, builtins.__import__, importlib.import_module),
    *(inspect.getattr_static, inspect.getmembers),
    *BY_NAME,  # as far as they are not called with a name
)


@dataclass(frozen=True)
class Mixing:
    """What a row-wise stage must not do.

    Attributes:
        what: names it, as it stands in the code.
        reason: why not, and what to do instead.
        location: where it stands.
    """

    what: str
    reason: Reason
    location: Location


@functools.cache
def mixing(declared: Callable[..., Any], *, grouped: bool = False) -> Mixing | None:
    """The first place where a column function or a transformer class mixes rows.

    Args:
        declared: the function or class.
        grouped: whether it may mix those of one group, as the function of an aggregate does.

    Followed is what it refers to in its own top-level package: functions, whole classes, and what
    stands in containers and objects; of the class itself, what its application uses. Transformers
    of Spark are taken at their word. Of an estimator the fit may mix rows, but not its models, as
    far as its `_fit` tells their class.
    """
    if not isinstance(declared, type):
        function = python_function(declared)
        refused = ACROSS_GROUPS if grouped else MIXING
        found = _found(References([declared], function), refused) if function else iter(())
        return next(found, None)
    classes = dict.fromkeys([declared, *_models(declared)])
    return next((mixed for cls in classes for mixed in _where_applied(cls)), None)


def _where_applied(cls: type) -> Iterator[Mixing]:
    """What mixes rows in the application of a transformer."""
    applied = [_own_method(cls, name) for name in ("_transform", "transform")]
    if (entry := next(filter(None, applied), None)) is not None:
        # Python itself calls the special ones; `__init__` makes what the others use.
        special = [_own_method(cls, name) for name in dir(cls) if name.startswith("__")]
        followed = [*filter(None, applied), *filter(None, special)]
        yield from _found(References(followed, entry, cls), MIXING, frames=True)


def _own_method(cls: type, name: str) -> FunctionType | None:
    """A method that is not Spark's."""
    method = getattr(cls, name, None)
    is_own = isinstance(method, FunctionType) and not method.__module__.startswith("pyspark")
    return method if is_own else None


def _models(estimator: type) -> Iterator[type]:
    """The classes of models that an estimator's fit says it returns, or refers to."""
    fit = _own_method(estimator, "_fit") or _own_method(estimator, "fit")
    if fit is None:
        return
    with suppress(Exception):  # names that are there for type checkers only
        yield from filter(_is_model, [get_type_hints(fit).get("return")])
    yield from (use.value for use, _ in References([fit], fit, estimator) if _is_model(use.value))


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and any(
        base.__name__ == "Model" and base.__module__.startswith("pyspark.ml.")
        for base in value.__mro__[1:]
    )


def _found(
    references: References, functions: frozenset[str], *, frames: bool = False
) -> Iterator[Mixing]:
    """What mixes rows among what code uses.

    Args:
        functions: names of Spark's functions that must not be called.
        frames: whether the code is given data frames, and not columns.
    """
    takes_sql = False
    texts: list[tuple[str, Location]] = []
    for use, code in references:
        location = Location(code.co_filename, use.line)
        reason = _of_attribute(use, frames=frames)
        reason = reason or _of_value(use.value, functions, frames=frames)
        if reason is not None:
            yield Mixing(_named(use), reason, location)
        takes_sql |= is_function(use.value, "expr") or (use.name in TAKING_SQL and bool(use.owner))
        if isinstance(use.value, str):
            texts.append((use.value, location))
    for text, location in texts if takes_sql else ():
        for name in named_in_sql(text):
            if name in VOLATILE or name not in MIXING - functions:
                yield Mixing(name, _VARIES if name in VOLATILE else _MIXES, location)


def _named(use: Use) -> str:
    """A name as it stands in the code, with Spark's where that is another one."""
    name, known = f".{use.name}" if use.owner else use.name, name_of(use.value)
    return f"{name} ({known})" if known and known != use.name else name


def _of_attribute(use: Use, *, frames: bool) -> Reason | None:
    """Why an attribute must not be used; nothing if it may."""
    if not use.owner:
        return None
    (owner,) = use.owner
    if use.name == "__getattribute__" or (use.name == "__dict__" and isinstance(owner, ModuleType)):
        return _UNTOLD
    if use.name in OVER and not isinstance(owner, type | ModuleType):
        return _MIXES
    joins = use.name in JOINS
    if use.name not in mixing_methods():
        return None
    if module_of(owner).startswith("pyspark."):
        return _NO_CONTEXT if use.name == "sparkContext" else _JOINS if joins else _MIXES
    if not frames:
        return None
    # A method may be given a frame as its `self`.
    is_foreign = isinstance(owner, type) and use.value is UNKNOWN and not sets(owner, use.name)
    if owner is not UNKNOWN and owner is not None and not is_foreign:
        return None
    return _NO_CONTEXT if use.name == "sparkContext" else _MAY_JOIN if joins else _MAY_MIX


def _of_value(value: Any, functions: frozenset[str], *, frames: bool) -> Reason | None:
    """Why a value must not be used; nothing if it may."""
    if value is COUNTED:
        return _COUNTS
    if any(value is each for each in _TELLING_NOTHING):
        return _UNTOLD
    if eval_type(value) not in ROW_BY_ROW:
        return _IN_BATCHES
    module, name = module_of(value), name_of(value)
    if isinstance(value, ModuleType) or not module.startswith("pyspark."):
        return None
    if name in IN_BATCHES:
        return _IN_BATCHES
    if module.startswith(FUNCTIONS):
        if name in BY_TEXT:
            return _UNTOLD
        mixes = name in functions or name.startswith("_")  # Spark's own way to call any of them
        return _MIXES if mixes else _VARIES if name in VOLATILE else None
    if module.startswith(MIXING_MODULES) or name in mixing_methods() | MIXING | {"SQLTransformer"}:
        return _MIXES
    return None if module.startswith((*ON_ROWS, *FRAMES) if frames else ON_ROWS) else _UNLISTED
