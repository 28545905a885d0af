"""What a function refers to, and what that refers to in turn, as far as it is the project's."""

import functools
import inspect
import operator
import re
from collections import ChainMap, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import EnumType
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

from ff_assets.core.bytecode import (
    CONTAINER,
    COUNTED,
    HOLE,
    PLAIN,
    UNKNOWN,
    Made,
    Use,
    Walk,
    either,
    is_container,
    is_plain,
    names_of,
    stores,
)
from ff_assets.core.spark_names import FUNCTIONS, ROW_BY_ROW

# Words in annotations of what is no data frame; those of the latter alone may hold some.
_PLAIN_WORDS = {"None", "bool", "bytes", "float", "int", "ndarray", "str"}
# What a data frame tells about its columns, and not about its rows.
_NAMES_AND_TYPES = {"columns", "dtypes", "schema"}
_CONTAINER_WORDS = {"Iterable", "Mapping", "Optional", "Sequence", "abc", "collections", "dict"} | {
    *("frozenset", "list", "numpy", "set", "tuple", "typing", "ClassVar", "Final", "Union"),
}
_GIVING_PLAIN = (bool, bytes, float, format, int, isinstance, len, range, repr, str)
_GIVING_CONTAINERS = (
    *(dict, enumerate, filter, frozenset, list, map, reversed, set, sorted, tuple, zip),
)
_GIVING_ELEMENTS = (iter, max, min, next)
_ITERATED = ".0"  # Python's name for what a comprehension goes through
_COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>")
BY_NAME = (getattr, operator.attrgetter, operator.methodcaller)
_UDF = object()  # what `udf` returns


@dataclass(frozen=True)
class _OnRows:
    """A function that `udf` is given."""

    function: Any


class References:
    """A walk through what some values refer to, each once.

    Followed are functions of the project's, containers, and classes and objects as a whole. What
    is given to `udf` gets one row at a time, and is passed over.

    Args:
        values: functions first of all.
        first: a function; what is of its top-level package is the project's.
        owner: the class that they are methods of. Of it, only what they use is followed.
    """

    def __init__(
        self, values: Sequence[Any], first: FunctionType, owner: type | None = None
    ) -> None:
        self._values = values
        self._first = first
        self._owner = owner
        self._classes: dict[FunctionType, type] = {}  # of methods
        self._results: dict[CodeType, Any] = {}
        self._kept: dict[tuple[type, str], Any] = {}
        if owner is not None:
            self._members(owner)

    def __iter__(self) -> Iterator[tuple[Use, CodeType]]:
        """Uses, and the code in which they are."""
        code = self._first.__code__
        line = code.co_firstlineno
        agenda = deque((Use(each, code.co_name, line), code) for each in self._values)
        seen: dict[int, Any] = {}  # by identity, as not all values can be hashed
        while agenda:
            use, code = agenda.popleft()
            yield use, code
            if isinstance(use.value, _OnRows) or eval_type(use.value) in ROW_BY_ROW[1:]:
                yield from self._counted(use.value)
                continue
            value = use.value.code if isinstance(use.value, Made) else use.value
            if id(value) in seen or eval_type(value) is not None:
                continue
            seen[id(value)] = value
            agenda.extend((Use(each, use.name, use.line), code) for each in self._in(value))
            if (made := self._made(use.value)) is not None:
                agenda.extend((each, made.code) for each in self._read(made))

    def _in(self, value: Any) -> Iterator[Any]:
        """The values that are kept in a value."""
        if isinstance(value, functools.partial):
            yield from (value.func, *value.args, *value.keywords.values())
        elif isinstance(value, dict | MappingProxyType):
            yield from (*value.keys(), *value.values())
        elif isinstance(value, list | tuple | set | frozenset | deque):
            yield from value
        elif isinstance(value, MethodType):
            yield from (value.__func__, value.__self__)
        elif isinstance(value, SimpleNamespace | ChainMap):
            yield from vars(value).values()
        elif isinstance(value, FunctionType):
            if self._is_own(value):
                yield from (value.__defaults__, value.__kwdefaults__, *vars(value).values())
        elif isinstance(value, type):
            if self._is_own(value) and not issubclass(self._owner or object, value):
                yield from (type(value), *self._members(value))
        elif (function := python_function(value)) is not None:
            yield function
        elif self._is_own(type(value)):
            yield from (type(value), getattr(value, "__dict__", None))

    def _members(self, cls: type) -> list[Any]:
        """What a class and its bases of the project consist of."""
        members = []
        for base in filter(self._is_own, cls.__mro__):
            for name, member in vars(base).items():
                function = python_function(member)
                is_method = getattr(function, "__qualname__", "") == f"{base.__qualname__}.{name}"
                if function is not None and is_method and not isinstance(member, staticmethod):
                    self._classes.setdefault(function, cls)
                if name != "__doc__":
                    members.append(member)
        return members

    def _made(self, value: Any) -> Made | None:
        """The code of a function of the project's, with what is known of its names."""
        if isinstance(value, Made):
            names = (*value.code.co_freevars, _ITERATED)
            around = {name: value.known[name] for name in names if name in value.known}
            return value._replace(known=around)
        if not isinstance(value, FunctionType) or not self._is_own(value):
            return None
        code, kinds = value.__code__, value.__annotations__
        given = {name: _annotated(kind) for name, kind in kinds.items()}
        if value in self._classes and code.co_argcount:
            given[code.co_varnames[0]] = cls = self._classes[value]
            if value.__name__ == "__init__" and issubclass(self._owner or object, cls):
                given = {**_defaults(value), **given}  # nobody has a data frame as yet
        return Made(code, names_of(value), given)

    def _read(self, made: Made) -> Iterator[Use]:
        yield from Walk(made, self._attribute, self._called)
        if "super" in made.code.co_names and self._owner is not None:
            for base in self._owner.__mro__[1:]:
                for name in vars(base).keys() & made.code.co_names:
                    yield Use(vars(base)[name], name, made.code.co_firstlineno)

    def _attribute(self, owner: Any, name: str) -> Any:
        """An attribute, looked up without running anything."""
        if isinstance(owner, ModuleType):
            return vars(owner).get(name, UNKNOWN)
        if is_plain(owner) or is_container(owner):
            return PLAIN if is_plain(owner) else CONTAINER
        if owner is UNKNOWN or owner is None:  # it may be `self`, given to another object
            method = inspect.getattr_static(self._owner, name, None)
            if isinstance(method, FunctionType) and self._is_own(method):
                return method
            is_known = name in _NAMES_AND_TYPES and not (self._owner and sets(self._owner, name))
            return PLAIN if is_known and method is None else UNKNOWN
        if isinstance(owner, type):  # stands for its objects as well, which may have their own
            found = inspect.getattr_static(owner, name, None)
            is_known = is_plain(found) or is_container(found)
            kinds = ChainMap(*(vars(base).get("__annotations__", {}) for base in owner.__mro__))
            members: list[Any] = list(owner) if isinstance(owner, EnumType) else []
            if members and name == "value":
                return functools.reduce(either, (member.value for member in members))
            if found is None or _is_slot(found) or (is_known and sets(owner, name)):
                kind = _annotated(kinds.get(name, Any))
                return self._set_to(owner, name, found) if kind is UNKNOWN else kind
            return found
        if self._is_own(type(owner)) and name in getattr(owner, "__dict__", {}):
            return vars(owner)[name]
        return inspect.getattr_static(type(owner), name, UNKNOWN)

    def _called(self, walk: Walk, callee: Use, given: list[Use]) -> Any:
        """The result of a call, as far as it is known."""
        called = callee.value
        if is_function(called, "udf") or called is _UDF:
            for use in given:
                if python_function(use.value) or isinstance(use.value, Made):
                    walk.drop(use)
                    walk.load(_OnRows(use.value), callee.name, callee.line)
            return _UDF
        if _speaks_to_people(called):
            for use in given:
                if isinstance(use.value, str):
                    walk.drop(use)
        if _is_one_of(called, BY_NAME):
            return self._by_name(walk, callee, [use.value for use in given])
        are_plain = all(is_plain(use.value) for use in given)
        if isinstance(called, Made):
            if given and walk.is_inline(callee):  # a comprehension, of what it goes through
                callee.value = called = called._replace(
                    known={**called.known, _ITERATED: given[0].value}
                )
            return self._listed(called) if called.code.co_name in _COMPREHENSIONS else UNKNOWN
        if is_plain(called) and not are_plain and not hasattr(str, callee.name):
            walk.distrust()  # it may be a list to which something is added
            return UNKNOWN
        if is_plain(called) or _is_one_of(called, _GIVING_PLAIN):
            return PLAIN
        if _is_one_of(called, (*_GIVING_CONTAINERS, *_GIVING_ELEMENTS)):
            items = [use.value for use in given if not _is_code(use.value)]
            if items and all(map(is_plain, items)) and called is not map:
                return PLAIN
            return CONTAINER if _is_one_of(called, _GIVING_CONTAINERS) else UNKNOWN
        if module_of(called).startswith("numpy"):
            return CONTAINER
        if isinstance(called, type):
            is_known = self._is_own(called) or called.__module__.startswith("pyspark.ml.")
            return called if is_known or called is SimpleNamespace else UNKNOWN
        function = python_function(called)
        return self._result(function) if function is not None else UNKNOWN

    def _by_name(self, walk: Walk, callee: Use, given: list[Any]) -> Any:
        """An attribute that the code gets by its name, if that is known."""
        owner, name = (*given, "")[:2] if callee.value is getattr else (UNKNOWN, *given[:1], "")[:2]
        if name and isinstance(name, str) and HOLE not in name:
            walk.drop(callee)
            for part in name.split("."):
                owner = walk.load(self._attribute(owner, part), part, callee.line, owner).value
            return owner
        if isinstance(owner, type):  # it may be any of these
            walk.drop(callee)
            walk.load(self._members(owner), owner.__name__, callee.line)
        return UNKNOWN

    def _result(self, function: FunctionType) -> Any:
        """What is known of all that a function returns."""
        if function.__module__.startswith("pyspark.ml."):
            return PLAIN if function.__name__.startswith("get") else UNKNOWN  # a parameter
        if (kind := function.__annotations__.get("return")) is not None:
            return _annotated(kind)
        made = self._made(function)
        if made is None:
            return UNKNOWN
        if made.code not in self._results:
            self._results[made.code] = UNKNOWN  # as long as it is being looked at
            returned = Walk(made, self._attribute, self._called).returned
            self._results[made.code] = _common(returned)
        return self._results[made.code]

    def _listed(self, made: Made) -> Any:
        """What is known of what a comprehension gives."""
        around = self._made(made) or made
        listed = _common(Walk(around, self._attribute, self._called).returned)
        return PLAIN if listed is PLAIN else CONTAINER

    def _set_to(self, cls: type, name: str, default: Any) -> Any:
        """What is known of an attribute, from all that the methods of the class set it to."""
        if (cls, name) not in self._kept:
            self._kept[cls, name] = UNKNOWN  # as long as it is being looked at
            values = [] if default is None or _is_slot(default) else [default]
            for function in _setting(cls, name):
                made = self._made(function)
                walk = made and Walk(made, self._attribute, self._called, trusts=False)
                found = [value for each, value in walk.kept if each == name] if walk else []
                values += found or [UNKNOWN]  # set in another way
            self._kept[cls, name] = _common(values)
        return self._kept[cls, name]

    def _counted(self, value: Any) -> Iterator[tuple[Use, CodeType]]:
        """What a function that gets one row at a time counts from row to row."""
        function = value.function if isinstance(value, _OnRows) else value
        if not isinstance(function, Made):
            function = python_function(inspect.unwrap(function))
        if (made := self._made(function)) is not None:
            for use in Walk(made, self._attribute, self._called).counted:
                yield Use(COUNTED, use.name, use.line), made.code

    def _is_own(self, value: Any) -> bool:
        """Whether it is the project's: of the same top-level package, but not of this core."""
        module, root = value.__module__ or "", self._first.__module__.partition(".")[0]
        return module.partition(".")[0] == root and not module.startswith(f"{__package__}.")


def python_function(value: Any) -> FunctionType | None:
    """The Python function behind a value, such as a partial or a static method; or nothing."""
    while not isinstance(value, FunctionType):
        inner = (
            value.func
            if isinstance(value, functools.partial | functools.cached_property)
            else value.fget
            if isinstance(value, property)
            else value.__func__
            if isinstance(value, staticmethod | classmethod)
            else inspect.getattr_static(value, "__wrapped__", None)
        )
        if inner is None:
            return None
        value = inner
    return value


def sets(cls: type, name: str) -> bool:
    """Whether the methods of a class set an attribute of its objects."""
    return bool(_setting(cls, name))


def _setting(cls: type, name: str) -> list[FunctionType]:
    """The methods of a class that set an attribute of its objects."""
    bases = [base for base in cls.__mro__ if not base.__module__.startswith("pyspark.")]
    members = (member for base in bases for member in vars(base).values())
    functions = filter(None, map(python_function, members))
    return [function for function in functions if stores(function.__code__, name)]


def _is_code(value: Any) -> bool:
    is_callable = isinstance(value, Made | type) or inspect.isroutine(value)
    return is_callable or python_function(value) is not None


def _is_slot(value: Any) -> bool:
    """Whether a member of a class only tells where its objects keep their own."""
    return inspect.isdatadescriptor(value) and not isinstance(value, property)


def _defaults(function: FunctionType) -> dict[str, Any]:
    """The parameters that are plain by default."""
    parameters = inspect.signature(function).parameters
    return {name: PLAIN for name, each in parameters.items() if is_plain(each.default)}


def _common(values: Sequence[Any]) -> Any:
    """What kind all values are of."""
    common = functools.reduce(either, values) if values else UNKNOWN
    return PLAIN if is_plain(common) else CONTAINER if common is CONTAINER else UNKNOWN


def eval_type(value: Any) -> int | None:
    """Spark's number of the way in which it calls a Python function, such as by row."""
    found = inspect.getattr_static(value, "evalType", None)
    return found if isinstance(found, int) else None


def name_of(value: Any) -> str:
    """The name of a function or a class; empty for anything else."""
    is_named = isinstance(value, type | FunctionType | BuiltinFunctionType)
    return str(value.__name__) if is_named else ""


def module_of(value: Any) -> str:
    """The module of a function or a class, or of an object's class."""
    named = type(value) if isinstance(value, ModuleType) else value
    return str(getattr(named, "__module__", None) or type(value).__module__)


def is_function(value: Any, name: str) -> bool:
    """Whether a value is a certain function of Spark's."""
    return name_of(value) == name and module_of(value).startswith(FUNCTIONS)


def _speaks_to_people(value: Any) -> bool:
    """Whether it is an error or writes to a log, so that no text given to it is SQL."""
    is_error = isinstance(value, type) and issubclass(value, BaseException)
    return is_error or module_of(value) == "logging"


def _is_one_of(value: Any, many: Sequence[Any]) -> bool:
    return any(value is each for each in many)  # equality may be anybody's


def _annotated(annotation: Any) -> Any:
    """What an annotation says of a value."""
    text = annotation.__name__ if type(annotation) is type else str(annotation)
    words = {*re.findall(r"\w+", text)}
    if not words <= _PLAIN_WORDS | _CONTAINER_WORDS:
        return UNKNOWN
    return CONTAINER if words.isdisjoint(_PLAIN_WORDS) else PLAIN
