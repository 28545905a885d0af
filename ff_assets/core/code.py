"""A digest of what a function does, so that an edit is noticed and a comment is not."""

import ast
import dis
import functools
import hashlib
import importlib
import importlib.util
import inspect
import pickle
import re
import sys
import textwrap
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any


def code_digest(function: Callable[..., Any]) -> str:
    """A hex digest of the code of a function or class, and of all that it uses.

    Followed are functions, classes and objects of its own top-level package (declarations
    excepted), through wrappers, partials, methods, closures and imports inside functions. What
    other packages have counts by name, constants count by value. A value of another package's class
    counts by its pickle or, failing that, by its `repr`.
    White space, comments, docstrings, the place in a file and the project's folder do not matter.
    """
    return _Describer(function).digest()


def module_digest(text: str) -> str:
    """A hex digest of a module's code; comments and what docstrings say do not matter.

    Args:
        text: of the module.
    """
    # Level 2 empties docstrings. A dump of the syntax tree would take three times as long.
    code = compile(text, "", "exec", dont_inherit=True, optimize=2)
    return hashlib.sha256(_bytecode(code).encode()).hexdigest()


class _Describer:
    """Describes one function, its entry, as a sequence of texts; everything it uses once."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry
        self._root = _module(entry).partition(".")[0]
        self._folder = _folder(self._root)
        self._seen: set[int] = set()

    def digest(self) -> str:
        digest = hashlib.sha256()
        for text in self._describe(self._entry):
            digest.update(text.encode())
            digest.update(b"\0")
        return digest.hexdigest()

    def _is_own(self, value: Any) -> bool:
        module = _module(value)
        return module.partition(".")[0] == self._root and not module.startswith(f"{__package__}.")

    def _describe(self, value: Any) -> Iterator[str]:
        if isinstance(value, functools.partial):
            yield "partial"
            yield from self._describe([value.func, value.args, value.keywords])
        elif isinstance(value, MethodType):
            yield from self._describe(value.__self__)
            yield from self._describe(value.__func__)
        elif isinstance(value, staticmethod | classmethod):
            yield from self._describe(value.__func__)
        elif isinstance(value, property):
            yield from self._describe([value.fget, value.fset])
        elif isinstance(value, functools.cached_property):
            yield from self._describe(value.func)
        elif isinstance(value, FunctionType | type) and self._is_own(value):
            yield from self._once(value, self._definition)
        elif hasattr(value, "__wrapped__"):  # another package's wrapper, such as functools.cache
            yield from self._describe(value.__wrapped__)
        elif isinstance(value, ModuleType):
            yield f"module {value.__name__}"
        elif self._is_own(type(value)):
            yield from self._once(value, self._object)
        elif inspect.isroutine(value) or isinstance(value, type):
            yield f"{_module(value).partition('.')[0]}.{value.__qualname__}"
        else:
            yield from self._constant(value)

    def _once(self, value: Any, describe: Callable[[Any], Iterator[str]]) -> Iterator[str]:
        if id(value) not in self._seen:
            self._seen.add(id(value))
            yield from describe(value)

    def _definition(self, value: Any) -> Iterator[str]:
        source = _source(value, decorated=value is not self._entry)
        if isinstance(value, type):
            yield source or value.__qualname__
            for base in value.__bases__:
                yield from self._describe(base)
            for name, member in vars(value).items():
                if isinstance(member, FunctionType) and self._is_own(member):
                    # Its text is part of the class's.
                    yield name if source else _bytecode(member.__code__)
                    yield from self._uses(member)
                elif not name.startswith("__"):
                    yield name
                    yield from self._describe(member)
        else:
            yield source or _bytecode(value.__code__)
            yield from self._uses(value)

    def _object(self, value: Any) -> Iterator[str]:
        yield from self._describe(type(value))
        state = _state(value)
        if state:
            yield from self._describe(state)
        if not state or isinstance(value, dict | list | tuple | set | frozenset):
            yield from self._constant(value)

    def _constant(self, value: Any) -> Iterator[str]:
        if isinstance(value, set | frozenset):
            value = sorted(value, key=self._text)
        if isinstance(value, Mapping):
            yield f"{type(value).__name__} of {len(value)}"
            if isinstance(value, defaultdict):
                yield from self._describe(value.default_factory)
            for item in value.items():
                yield from self._describe(item)
        elif isinstance(value, list | tuple):
            yield f"{type(value).__name__} of {len(value)}"
            for item in value:
                yield from self._describe(item)
        elif isinstance(value, re.Pattern):  # a long one is cut short by `repr`, as are arrays
            yield from self._describe((value.pattern, value.flags))
        elif type(value).__module__ == "numpy" and hasattr(value, "tolist"):  # not a ufunc
            yield from self._describe((type(value).__qualname__, value.tolist()))
        else:
            yield self._text(value)

    def _text(self, value: Any) -> str:
        """A text that is the same in every process and in every folder."""
        text = repr(value)
        opaque = " at 0x" in text  # a memory address
        package = _module(type(value)).partition(".")[0]
        # The `repr` of other packages' objects, such as a pandas DataFrame, may leave out a part.
        if package != self._root and (opaque or package not in sys.stdlib_module_names):
            with suppress(Exception):  # which one is up to the class
                return hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()
        if opaque:
            return type(value).__qualname__
        return text.replace(self._folder, ".") if self._folder else text

    def _uses(self, function: FunctionType) -> Iterator[str]:
        """What a function refers to beyond its own text."""
        yield from self._describe([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                yield from self._describe(cell.cell_contents)
            except ValueError:  # an empty cell: a name that is bound after the function was made
                yield "unbound"
        names = _names(function.__code__)
        for name in sorted(names.globals):
            # Names such as `__file__` are Python's, and no part of what is computed.
            if name in function.__globals__ and not name.startswith("__"):
                yield name
                yield from self._describe_used(function.__globals__[name], names.attributes)
        for level, module, members in sorted(names.imports):
            package = function.__globals__.get("__package__")
            name = importlib.util.resolve_name("." * level + module, package)
            yield name
            if name.partition(".")[0] == self._root:
                used = importlib.import_module(name)
                for member in set(members).difference(vars(used)):
                    with suppress(ImportError):  # not a module either: using it will fail
                        importlib.import_module(f"{name}.{member}")
                yield from self._describe_used(used, names.attributes)

    def _describe_used(self, value: Any, attributes: set[str]) -> Iterator[str]:
        """A value; of an own module, such as in `module.helper(...)`, the attributes named."""
        agenda, visited = [value], set()
        while agenda:
            value = agenda.pop()
            if not isinstance(value, ModuleType) or not self._is_own(value):
                yield from self._describe(value)
            elif value not in visited:
                visited.add(value)
                named = sorted(attributes.intersection(vars(value)), reverse=True)
                agenda.extend(vars(value)[name] for name in named)


def _state(value: Any) -> dict[str, Any]:
    """The attributes of an object, wherever its classes keep them."""
    state = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            is_slot = isinstance(member, MemberDescriptorType) and not name.startswith("__")
            if is_slot and hasattr(value, name):
                state[name] = getattr(value, name)
    return state


class _Names:
    """The names in a function's code and in the functions inside it.

    Attributes:
        globals: names of its module.
        attributes: names that stand after a dot, among others.
        imports: imports inside the function, as (level, module, members).
    """

    def __init__(self, code: CodeType) -> None:
        self.globals: set[str] = set()
        self.attributes: set[str] = set()
        self.imports: set[tuple[int, str, tuple[str, ...]]] = set()
        self._collect(code)

    def _collect(self, code: CodeType) -> None:
        self.attributes.update(code.co_names)
        instructions = [i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG"]
        for index, instruction in enumerate(instructions):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                self.globals.add(instruction.argval)
            elif instruction.opname == "IMPORT_NAME":
                level, members = (i.argval for i in instructions[index - 2 : index])
                self.imports.add((level, instruction.argval, members or ()))
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._collect(constant)


_names = functools.cache(_Names)


def _module(value: Any) -> str:
    """The module that a function, class or module comes from, or that of an object's class."""
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, functools.partial):
        return _module(value.func)
    if isinstance(value, FunctionType):  # a wrapper's `__module__` may be that of what it wraps
        return str(value.__globals__.get("__name__", ""))
    return getattr(value, "__module__", None) or ""


def _folder(package: str) -> str:
    """The folder that holds a top-level package; empty if that is unknown, or the root."""
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None:
        return ""
    folder = Path(file).parent.parent if Path(file).stem == "__init__" else Path(file).parent
    return str(folder) if folder.name else ""


@functools.cache
def _source(value: Any, *, decorated: bool) -> str | None:
    """The syntax tree of a definition, without docstrings.

    Args:
        decorated: whether its decorators are part of it.
    """
    try:
        # The code object stands for a function, as `inspect` would look behind a wrapper.
        tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(value, "__code__", value))))
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        return None  # no source (a REPL), or a lambda amid an expression
    if value.__name__ == "<lambda>":
        lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        return ast.dump(lambdas[0]) if len(lambdas) == 1 else None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    definition = tree.body[0]
    if isinstance(definition, ast.FunctionDef | ast.ClassDef) and not decorated:
        definition.decorator_list = []
    return ast.dump(tree)


def _bytecode(code: CodeType) -> str:
    arguments = (code.co_posonlyargcount, code.co_argcount, code.co_kwonlyargcount, code.co_flags)
    parts = [str(sys.version_info[:2]), str(arguments), code.co_code.hex()]
    parts += [code.co_exceptiontable.hex(), *code.co_freevars, *code.co_cellvars]
    parts += [*code.co_names, *code.co_varnames]
    return "|".join([*parts, *_constants(code.co_consts)])


def _constants(constants: Iterable[object]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, CodeType):
            yield _bytecode(constant)
        elif isinstance(constant, frozenset):
            yield from sorted(map(repr, constant))
        else:
            yield repr(constant)
