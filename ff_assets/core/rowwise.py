"""Finding code that mixes rows, in functions and transformers that are declared as row-wise.

A window, a group or a rank makes a row's value depend on other rows, test rows among them, and
is a fit that nobody declared. Bytecode is read and nothing is run: names are resolved through the
function's own globals, closure and imports, so that `F.max` is told from Python's `max`.
"""

import dis
import functools
import inspect
import itertools
import re
from collections import ChainMap, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_type_hints

from ff_assets.core.bytecode import (
    UNKNOWN,
    after_making,
    call,
    end_of_call,
    imported,
    names_of,
    python_function,
)
from ff_assets.core.errors import Location
from ff_assets.core.spark_names import (
    ACROSS_GROUPS,
    BATCHES,
    BY_NAME,
    FUNCTIONS,
    IN_SQL,
    MIXING,
    MIXING_MODULES,
    ON_COLUMNS,
    ON_FRAMES,
    ROW_BY_ROW,
    SQL,
    VOLATILE,
)

_MIXES = "its value for a row depends on other rows, so rows of test have a say in those of train"
_VARIES = "its value for a row is another one each time, so no result can be had again"
# Annotations of what is no data frame consist of these.
_PLAIN = {"abc", "collections", "typing", "None", "Optional"} | {
    *("bool", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"),
    *("Iterable", "Mapping", "Sequence"),
}


@dataclass(frozen=True)
class Mixing:
    """What a row-wise stage must not do.

    Attributes:
        what: names it, as it stands in the code.
        why: what is wrong with it.
        location: where it stands.
    """

    what: str
    why: str
    location: Location


@functools.cache
def mixing(declared: Callable[..., Any], *, grouped: bool = False) -> Mixing | None:
    """The first place where a column function or a transformer class mixes rows.

    Args:
        declared: the function or class.
        grouped: whether it may mix those of one group, as the function of an aggregate does.

    Followed are functions of its own top-level package and, in a class, its own methods. Classes
    of Spark are taken at their word. Of an estimator the fit may mix rows, but not its models, as
    far as its `_fit` tells their class.
    """
    if isinstance(declared, type):
        if hasattr(declared, "fit"):
            return next(filter(None, map(mixing, _models(declared))), None)
        entry = _own_method(declared, "_transform")
        return next(_Search(declared, ON_FRAMES, MIXING).found(entry), None) if entry else None
    function = python_function(declared)
    search = _Search(None, ON_COLUMNS, ACROSS_GROUPS if grouped else MIXING)
    return next(search.found(function), None) if function else None


def _own_method(cls: type, name: str) -> FunctionType | None:
    """A method that is not Spark's."""
    method = getattr(cls, name, None)
    is_own = isinstance(method, FunctionType) and not method.__module__.startswith("pyspark.")
    return method if is_own else None


def _models(estimator: type) -> Iterator[type]:
    """The classes of models that an estimator's fit says it returns, or refers to."""
    fit = _own_method(estimator, "_fit")
    if fit is None:
        return
    with suppress(Exception):  # names that are there for type checkers only
        yield from filter(_is_model, [get_type_hints(fit).get("return")])
    used = _Search(estimator, frozenset(), frozenset()).used(fit)
    yield from filter(_is_model, (value for value, _, _, _ in used))


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and any(
        base.__name__ == "Model" and base.__module__.startswith("pyspark.ml.")
        for base in value.__mro__[1:]
    )


_NO_FRAME = object()  # a value that only a run of the code would tell, but no data frame
_KEEP = ("PUSH_NULL", "SWAP", "POP_TOP", "NOP", "CACHE", "RESUME", "COPY_FREE_VARS", "EXTENDED_ARG")


class _Search:
    """A walk through a function and those that it refers to, each once.

    Args:
        owner: the class whose methods are searched; `None` for a function.
        methods: what must not be called on values that only a run would tell.
        functions: names of Spark's functions that must not be called.
    """

    def __init__(
        self, owner: type | None, methods: frozenset[str], functions: frozenset[str]
    ) -> None:
        self._owner = owner
        self._methods = methods
        self._functions = functions
        self._bases = owner.__mro__ if owner is not None else ()
        self._asked: set[CodeType] = set()

    def found(self, entry: FunctionType) -> Iterator[Mixing]:
        for value, name, code, line in self.used(entry):
            if why := self._objection(value, name):
                yield Mixing(name, why, Location(code.co_filename, line))

    def used(self, entry: FunctionType) -> Iterator[tuple[Any, str, CodeType, int]]:
        """The values that a function and those that it refers to use, as `_loaded` gives them."""
        root = entry.__module__.partition(".")[0]
        seen: set[CodeType] = set()
        agenda = [entry]
        for function in agenda:  # grows while it is walked
            if function.__code__ in seen:
                continue
            seen.add(function.__code__)
            code = function.__code__
            for value, name, line in self._loaded(code, names_of(function), self._given(function)):
                yield value, name, code, line
                used = python_function(value)
                by_row = getattr(value, "evalType", None) is not None
                if used is not None and not by_row and _is_own(used, root):
                    agenda.append(used)

    def _given(self, function: FunctionType) -> dict[str, Any]:
        """What is known of a function's arguments: `self`, and those that are no data frame."""
        code = function.__code__
        given = {
            name: _NO_FRAME
            for name, kind in function.__annotations__.items()
            if name != "return" and _is_plain(kind)
        }
        members = [vars(base).get(function.__name__) for base in self._bases]
        mine = [each for each in members if python_function(each) is function]
        if mine and code.co_argcount and not isinstance(mine[0], staticmethod):
            given[code.co_varnames[0]] = self._owner
        return given

    def _gives_no_frame(self, value: Any) -> bool:
        """Whether a function is known to return no data frame, as those that get parameters do."""
        function = python_function(value) if self._owner is not None else None
        if function is None:
            return False
        if function.__module__.startswith("pyspark.ml."):
            return function.__name__.startswith("get")
        if (kind := function.__annotations__.get("return")) is not None:
            return _is_plain(kind)
        if function.__code__ in self._asked:
            return False
        self._asked.add(function.__code__)
        returned: list[Any] = []
        names, given = names_of(function), self._given(function)
        deque(self._loaded(function.__code__, names, given, returned), maxlen=0)
        self._asked.discard(function.__code__)
        return bool(returned) and all(value is not UNKNOWN for value in returned)

    def _objection(self, value: Any, name: str) -> str:
        """Why a value must not be used; empty if it may."""
        module = str(getattr(value, "__module__", ""))
        if value is UNKNOWN:
            return _MIXES  # a method from the list
        if isinstance(value, str):
            mixes = name in ("over", "select") or name in self._functions
            return _MIXES if mixes else _VARIES if name in VOLATILE else ""
        called = getattr(value, "__name__", "")
        if module.startswith(MIXING_MODULES) or called == "SQLTransformer":
            return _MIXES
        if isinstance(value, type):
            return ""
        if getattr(value, "evalType", None) not in ROW_BY_ROW:
            return _MIXES
        if module.startswith(FUNCTIONS) or (module.startswith("pyspark.") and called in BATCHES):
            mixes = called in self._functions or called in BATCHES
            return _MIXES if mixes else _VARIES if called in VOLATILE else ""
        return ""

    def _loaded(
        self,
        code: CodeType,
        names: Mapping[str, Any],
        outer: Mapping[str, Any],
        returned: list[Any] | None = None,
    ) -> Iterator[tuple[Any, str, int]]:
        """The values that code refers to, as (value, name, line).

        Among them are forbidden methods of unknown values, and calls inside of SQL texts. What is
        given to `udf` gets one row at a time, and is passed over.

        Args:
            outer: local names whose values are known.
            returned: gets the values that are returned.
        """
        known = dict(outer)
        texts: list[tuple[str, int]] = []
        inner: dict[str, CodeType] = {}  # functions that are defined inside, by name
        by_row: set[str] = set()  # those of them that `udf` is given
        elsewhere: set[str] = set()  # those that others use
        module: Any = None
        value: Any = UNKNOWN
        line = code.co_firstlineno
        steps = list(dis.get_instructions(code))
        plain: set[int] = set()  # calls that give no data frame
        udf_ends = -1
        for index, step in enumerate(steps):
            line = (step.positions and step.positions.lineno) or line
            name = step.argval
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
                value = known.get(name, names.get(name, UNKNOWN))
            elif step.opname.startswith("LOAD_FAST"):
                name = name[-1] if isinstance(name, tuple) else name
                value = known.get(name, UNKNOWN)
            elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                if name in self._methods and _may_be_frame(value):
                    yield UNKNOWN, f".{name}", line
                value = self._attribute(value, name)
            elif step.opname == "IMPORT_NAME":
                level, members = (s.argval for s in steps[index - 2 : index])
                value = module = imported(level, name, members, names.get("__package__"))
            elif step.opname == "IMPORT_FROM":
                value = self._attribute(module, name)
            elif step.opname.startswith("STORE_"):
                if isinstance(name, str):
                    known[name] = value
                value = UNKNOWN
            elif step.opname == "LOAD_CONST" and isinstance(name, CodeType):
                after = steps[after_making(steps, index)]
                if after.opname in ("STORE_FAST", "STORE_DEREF"):
                    inner[after.argval] = name
                elif index > udf_ends:
                    yield from self._loaded(name, names, known)
                value = UNKNOWN
            elif step.opname == "LOAD_CONST":
                value = name
            elif step.opname.startswith("RETURN_"):
                if returned is not None:
                    returned.append(value if step.opname == "RETURN_VALUE" else name)
            elif step.opname not in _KEEP:
                value = _NO_FRAME if index in plain else UNKNOWN
            if not step.opname.startswith(("LOAD", "IMPORT")):
                continue
            if name in inner and step.opname != "LOAD_CLOSURE":
                (by_row if index <= udf_ends else elsewhere).add(name)
            if index <= udf_ends:
                continue
            if isinstance(value, str):
                texts.append((value, line))
            elif value is not UNKNOWN:
                yield value, str(name), line
                if _is_udf(value):
                    udf_ends = end_of_call(steps, index)
                elif self._gives_no_frame(value):
                    plain.add(call(steps, index))
        for name, function in inner.items():
            if name in elsewhere or name not in by_row:
                yield from self._loaded(function, names, known)
        if "super" in code.co_names:
            for base, name in itertools.product(self._bases[1:], code.co_names):
                if name in vars(base):
                    yield vars(base)[name], name, code.co_firstlineno
        if not {*BY_NAME}.isdisjoint(code.co_names):
            yield from ((UNKNOWN, f".{t}", at) for t, at in texts if t in self._methods)
        if not {*SQL}.isdisjoint(code.co_names):
            for text, line in texts:
                for found in IN_SQL.finditer(text):
                    yield text, (found[1] or found[2]).lower(), line

    def _attribute(self, value: Any, name: str) -> Any:
        """An attribute, looked up without running anything."""
        if value is UNKNOWN:
            return UNKNOWN
        if isinstance(value, ModuleType):
            return vars(value).get(name, UNKNOWN)
        if isinstance(value, type):
            found = inspect.getattr_static(value, name, UNKNOWN)
            if found is UNKNOWN and _is_plain(_annotations(value).get(name, Any)):
                return _NO_FRAME  # what an object has is its own
            return found
        if type(value).__module__.startswith(("builtins", "pyspark.ml.")):
            return _NO_FRAME
        method = inspect.getattr_static(type(value), name, None)
        return method if isinstance(method, FunctionType) else UNKNOWN


def _may_be_frame(value: Any) -> bool:
    """Whether a value may be a data frame, a session, or what is fitted to one."""
    return value is UNKNOWN or type(value).__module__.startswith("pyspark.sql.")


def _annotations(cls: type) -> Mapping[str, Any]:
    return ChainMap(*(vars(base).get("__annotations__", {}) for base in cls.__mro__))


def _is_plain(annotation: Any) -> bool:
    """Whether an annotation says that a value is no data frame."""
    text = annotation.__name__ if type(annotation) is type else str(annotation)
    return _PLAIN.issuperset(re.findall(r"\w+", text))


def _is_udf(value: Any) -> bool:
    module = str(getattr(value, "__module__", ""))
    return getattr(value, "__name__", "") == "udf" and module.startswith(FUNCTIONS)


def _is_own(function: FunctionType, root: str) -> bool:
    """Whether a function is the project's: of the same top-level package, but not of this core."""
    module = function.__module__ or ""
    return module.partition(".")[0] == root and not module.startswith(f"{__package__}.")
