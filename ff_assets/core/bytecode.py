"""Reading bytecode: what a function refers to, found by following values through its stack.

Nothing is run. Of a value that only a run would tell it is known at most of what kind it is.
"""

import builtins
import dis
import functools
import importlib
import importlib.util
import inspect
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import EnumType
from types import CodeType, FunctionType
from typing import Any, NamedTuple

UNKNOWN = object()  # anything
PLAIN = object()  # a text, a number, or what consists of them
CONTAINER = object()  # a list, a tuple, a dictionary or a set of anything
COUNTED = object()  # what a function for one row changes beside its result
HOLE = "\0"  # the unknown part of a text
_NULL = object()  # what the interpreter puts beside a function that is no method
_CONSTANTS = (str, bytes, int, float, complex, range)
_CONTAINERS = (list, tuple, dict, set, frozenset)
# What instructions do to the stack, by how their names begin: nothing goes on after the first, the
# second take values from it, the third leave it as it is. Others put something in place of values.
_LEAVING = ("JUMP_FORWARD", "JUMP_BACKWARD", "RETURN_VALUE", "RETURN_CONST", "RAISE", "RERAISE")
_TAKING = (*("STORE_", "POP_", "DELETE_", "END_FOR"),)
_FILLING = ("LIST_APPEND", "LIST_EXTEND", "SET_ADD", "SET_UPDATE", "MAP_ADD", "DICT_")
_KEEPING = (
    *("PRECALL", "KW_NAMES", "RESUME", "NOP", "CACHE", "COPY_FREE_VARS", "MAKE_CELL", "GET_ITER"),
    *("EXTENDED_ARG", "RETURN_GENERATOR", "LIST_TO_TUPLE", "FORMAT_SIMPLE", "TO_BOOL", "JUMP_"),
    "SETUP_ANNOTATIONS",
)


@dataclass(eq=False)
class Use:
    """A value on the stack, and how it came there.

    Attributes:
        value: as far as it is known.
        name: how it stands in the code.
        owner: of what it is an attribute, as a tuple; empty for other names.
        is_harmless: whether what the code does with it is of no interest.
        is_outer: whether it comes from outside of the function, so that it outlives a call.
    """

    value: Any
    name: str = ""
    line: int = 0
    owner: tuple[Any, ...] = ()
    is_harmless: bool = False
    is_outer: bool = False


class Made(NamedTuple):
    """A function or the body of a class, as code.

    Attributes:
        names: what its global names stand for.
        known: the values of local names, as far as they are known before.
    """

    code: CodeType
    names: Mapping[str, Any]
    known: Mapping[str, Any]


class Walk:
    """The uses in a piece of code, in its order.

    A local name that is bound several times is known for what all these values have in common.

    Attributes:
        returned: the values that the code may return.
        kept: the values that it sets attributes to, with their names.
        counted: what is of outside and changed in place, such as a counter.

    Args:
        attribute: (value, name) -> the attribute, looked up without running anything.
        called: (this, what is called, arguments) -> the result. It may call `load`, `drop` and
            `distrust`.
        trusts: whether a list of plain values that the code has made holds nothing else later on.
    """

    def __init__(
        self,
        made: Made,
        attribute: Callable[[Any, str], Any],
        called: "Callable[[Walk, Use, list[Use]], Any]",
        *,
        trusts: bool = True,
    ) -> None:
        self._code, self._names = made.code, made.names
        self._known = {**dict.fromkeys(_parameters(self._code), UNKNOWN), **made.known}
        self._attribute = attribute
        self._called = called
        self._trusts = trusts
        self._is_settled = False
        while not self._is_settled:  # a loop may bind a name after its use
            self._is_settled = True
            self._uses: list[Use] = []
            self.returned: list[Any] = []
            self.kept: list[tuple[str, Any]] = []
            self.counted: list[Use] = []
            self._stored: dict[CodeType, Use] = {}
            self._dropped: set[CodeType] = set()
            self._read()

    def __iter__(self) -> Iterator[Use]:
        used = [use for use in self._uses if not use.is_harmless]
        yield from used
        # What is made and given to nobody here may be called from a function that is made, too.
        elsewhere = {each.value.code for each in used if isinstance(each.value, Made)}
        for code in self._stored.keys() - elsewhere - self._dropped:
            yield self._stored[code]

    def load(self, value: Any, name: str, line: int, *owner: Any) -> Use:
        """Take note of a use."""
        self._uses.append(Use(value, name, line, owner))
        return self._uses[-1]

    def drop(self, use: Use) -> None:
        """Take no note of a use, as what is done with the value looks at one row at a time."""
        use.is_harmless = True
        if isinstance(use.value, Made):
            self._dropped.add(use.value.code)

    def distrust(self) -> None:
        """Take plain values that the code makes for containers, as anything may be put there."""
        self._is_settled &= not self._trusts
        self._trusts = False

    def is_inline(self, use: Use) -> bool:
        """Whether what is made here is used here only, as it has no name."""
        return isinstance(use.value, Made) and use.value.code not in self._stored

    def _plain(self, value: Any) -> Any:
        return CONTAINER if value is PLAIN and not self._trusts else value

    def _read(self) -> None:
        self._stack: list[Use] = []
        jumped: dict[int, list[Use]] = {}  # stacks by where they go on
        is_reached = True
        line = self._code.co_firstlineno
        for step in dis.get_instructions(self._code):
            line = (step.positions and step.positions.lineno) or line
            if not is_reached:
                # A comprehension that fails gives names back, and nothing else begins like this.
                gives_back = [Use(_NULL)] * 9 if step.opname == "SWAP" else []
                self._stack = jumped.get(step.offset, gives_back)
            elif step.offset in jumped:
                self._stack = _merged(jumped[step.offset], self._stack)
            if step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
                effect = dis.stack_effect(step.opcode, step.arg, jump=True)
                stack = self._stack[: max(len(self._stack) + effect, 0)] + [Use(UNKNOWN)] * effect
                jumped[step.argval] = _merged(jumped.get(step.argval, stack), stack)
            put = self._do(step, line)
            self._stack += put
            is_reached = not step.opname.startswith(_LEAVING)

    def _pop(self, count: int = 1) -> list[Use]:
        """What is on top; unknown values where the stack is not known as far down."""
        unknown = [Use(UNKNOWN)] * (count - len(self._stack))
        rest = max(len(self._stack) - count, 0)
        popped, self._stack = unknown + self._stack[rest:], self._stack[:rest]
        return popped

    def _do(self, step: dis.Instruction, line: int) -> list[Use]:
        """What an instruction puts on the stack, after it has taken values from it."""
        op, name, number = step.opname, step.argval, step.arg or 0
        effect = dis.stack_effect(step.opcode, step.arg, jump=False)
        match op:
            case "LOAD_CONST" | "RETURN_CONST":
                value = Made(name, self._names, self._known) if inspect.iscode(name) else name
                if op == "RETURN_CONST":
                    self.returned.append(value)
                return [self.load(value, str(getattr(name, "co_name", name)), line)]
            case "LOAD_GLOBAL" | "LOAD_NAME" | "LOAD_DEREF" | "LOAD_CLASSDEREF":
                value = self._known.get(name, self._names.get(name, UNKNOWN))
                use = self.load(value, name, line)
                use.is_outer = op == "LOAD_GLOBAL" or name in self._code.co_freevars
                return [Use(_NULL)] * (effect - 1) + [use]
            case "IMPORT_NAME":
                level, members = (use.value for use in self._pop(2))
                value = imported(level, name, members, self._names.get("__package__"))
                return [self.load(value, name, line)]
            case "IMPORT_FROM":
                return [self.load(self._attribute(self._stack[-1].value, name), name, line)]
            case "LOAD_ATTR" | "LOAD_METHOD":
                (owner,) = self._pop()
                value = self._plain(self._attribute(owner.value, name))
                found = self.load(value, name, line, owner.value)
                if isinstance(value, property | functools.cached_property):
                    found = Use(self._plain(self._called(self, found, [])))
                found.is_outer = owner.is_outer
                return [found] + [Use(_NULL)] * effect
            case "STORE_ATTR":
                value, _ = self._pop(2)
                self.kept.append((name, value.value))
                return []
            case "STORE_SUBSCR" | "STORE_SLICE":
                value, owner, *_ = self._pop(-effect)
                if is_plain(owner.value) and not is_plain(value.value):
                    self.distrust()
                return []
            case "MAKE_FUNCTION" | "SET_FUNCTION_ATTRIBUTE":
                function = self._pop()
                self._pop(-effect)
                return function
            case "CALL" | "CALL_KW" | "CALL_FUNCTION_EX":
                if op == "CALL_KW" or (op == "CALL_FUNCTION_EX" and number & 1):
                    self._pop()
                arguments = self._pop(1 if op == "CALL_FUNCTION_EX" else number)
                pair = [use for use in self._pop(2) if use.value is not _NULL]
                result = self._called(self, pair[0], pair[1:] + arguments)
                return [Use(self._plain(result), line=line)]
            case "COPY" if number <= len(self._stack):
                return [self._stack[-number]]
            case "SWAP" if number <= len(self._stack):
                self._stack[-number], self._stack[-1] = self._stack[-1], self._stack[-number]
                return []
            case "BUILD_STRING" | "FORMAT_VALUE" | "FORMAT_WITH_SPEC" | "BINARY_OP":
                parts = self._pop(1 - effect)
                if op == "BINARY_OP" and step.argrepr.endswith("=") and parts[0].is_outer:
                    self.counted.append(Use(UNKNOWN, parts[0].name, line))
                texts = [use for use in parts if isinstance(use.value, str)]
                if "FORMAT" in op:
                    return texts[:1] or [Use(HOLE)]
                if not texts:
                    return [Use(functools.reduce(either, (use.value for use in parts)))]
                for use in texts:  # what matters is the whole
                    use.is_harmless = True
                text = "".join(use.value if use in texts else HOLE for use in parts)
                return [self.load(text, text, line)]
            case "BINARY_SUBSCR":
                owner, key = self._pop(2)
                found = _element(owner.value, key.value)
                return [Use(found, owner.name, line, is_outer=owner.is_outer)]
            case "BINARY_SLICE":
                owner, *_ = self._pop(3)
                return [Use(either(owner.value, PLAIN))]
            case "FOR_ITER":
                return [Use(_element(self._stack[-1].value if self._stack else UNKNOWN))]
            case "UNPACK_SEQUENCE" | "UNPACK_EX":
                (owner,) = self._pop()
                return [Use(_element(owner.value))] * (effect + 1)
            case "RETURN_VALUE":
                self.returned += [use.value for use in self._pop()]
                return []
            case "STORE_FAST" | "STORE_NAME" | "STORE_GLOBAL" | "STORE_DEREF":
                return self._store(name)
            case "LOAD_FAST_AND_CLEAR" if name not in self._known:
                return [Use(_NULL)]  # a comprehension's name, which it gives back in the end
            case _ if op.startswith(("LOAD_FAST", "STORE_FAST_")):  # one name or two
                first, *second = [name] if isinstance(name, str) else name
                put = self._store(first) if op.startswith("STORE") else [self._local(first, line)]
                for each in second:
                    put += [self._local(each, line)] if "LOAD" in op else self._store(each)
                return put
            case _ if op.startswith("BUILD_"):
                are_plain = all(is_plain(use.value) for use in self._pop(1 - effect))
                return [Use(self._plain(PLAIN) if are_plain else CONTAINER)]
            case _ if op.startswith(_FILLING):
                are_plain = all(is_plain(use.value) for use in self._pop(-effect))
                if not are_plain and number <= len(self._stack):
                    self._stack[-number].value = CONTAINER
                return []
            case _ if op.startswith(_TAKING):
                self._pop(-effect)
                return []
            case _ if op.startswith(_KEEPING):
                return []
            case _:
                self._pop(max(1 - effect, 0))
                return [Use(UNKNOWN)] * max(effect, 1)

    def _local(self, name: str, line: int) -> Use:
        return self.load(self._known.get(name, UNKNOWN), name, line)

    def _store(self, name: str) -> list[Use]:
        (use,) = self._pop()
        if isinstance(use.value, Made):  # what matters is where it is used
            use.is_harmless = True
            self._stored[use.value.code] = use
        if use.value is _NULL:
            return []
        before = self._known.get(name, use.value)
        self._known[name] = either(before, use.value)
        self._is_settled &= self._known[name] is before
        return []


def either(one: Any, other: Any) -> Any:
    """What is known of a value that is one or the other."""
    if one is other or (isinstance(one, Made) and isinstance(other, Made) and one[0] is other[0]):
        return one
    if is_plain(one) and is_plain(other):
        return PLAIN
    if all(is_plain(value) or is_container(value) for value in (one, other)):
        return CONTAINER
    kind, second = (each if isinstance(each, type) else type(each) for each in (one, other))
    return kind if kind is second and kind is not object else UNKNOWN


def is_plain(value: Any) -> bool:
    """Whether it is a text, a number, or consists of them and cannot be changed."""
    if isinstance(value, tuple | frozenset):
        return all(map(is_plain, value))
    return value is PLAIN or isinstance(value, _CONSTANTS)


def is_container(value: Any) -> bool:
    """Whether it is a list or the like, which may hold anything."""
    return value is CONTAINER or isinstance(value, _CONTAINERS)


def _merged(one: list[Use], other: list[Use]) -> list[Use]:
    """The stack where two ways meet."""
    if len(one) != len(other):
        return [Use(UNKNOWN)] * max(len(one), len(other))
    pairs = zip(one, other, strict=True)
    return [a if a is b else Use(either(a.value, b.value)) for a, b in pairs]


def _element(owner: Any, *key: Any) -> Any:
    """What a container has at a key, or at any."""
    if is_plain(owner):
        return PLAIN
    if isinstance(owner, EnumType):
        return owner  # stands for its members
    if not isinstance(owner, _CONTAINERS) or not owner:
        return UNKNOWN
    if not key or isinstance(owner, set | frozenset):
        return functools.reduce(either, owner)
    try:
        return owner[key[0]]
    except (LookupError, TypeError):
        return UNKNOWN


def _parameters(code: CodeType) -> list[str]:
    args, varargs, varkw = inspect.getargs(code)
    return [*args, *filter(None, (varargs, varkw))]


def names_of(function: FunctionType) -> Mapping[str, Any]:
    """The values of the names that a function takes from around it."""
    closure = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            closure[name] = cell.cell_contents
        except ValueError:  # a name that is bound after the function was made
            closure[name] = UNKNOWN
    return ChainMap(closure, function.__globals__, vars(builtins))


def stores(code: CodeType, name: str) -> bool:
    """Whether code, or a function inside it, sets an attribute of that name, or of any."""
    return (
        "setattr" in code.co_names
        or any(inspect.iscode(inner) and stores(inner, name) for inner in code.co_consts)
        or (
            name in code.co_names
            and any(
                s.opname == "STORE_ATTR" and s.argval == name for s in dis.get_instructions(code)
            )
        )
    )


def imported(level: int, name: str, members: object, package: str | None) -> Any:
    """What an import inside a function gives."""
    try:
        module = importlib.import_module(importlib.util.resolve_name("." * level + name, package))
    except ImportError:  # the run will say so
        return UNKNOWN
    return module if members else importlib.import_module(name.partition(".")[0])
