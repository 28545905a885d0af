"""A digest of what a function does, so that an edit is noticed and a comment is not."""

import ast
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any


def code_digest(function: Callable[..., Any]) -> str:
    """A hex digest of a function's code, of its defaults and closure, and of what it uses.

    Followed are functions and classes of the function's own top-level package, constants of
    its modules, and closures; other packages count by name. White space, comments and
    docstrings do not matter.
    """
    digest = hashlib.sha256()
    for part in _describe(function, root=_package(function), seen=set()):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _package(value: Any) -> str:
    return (getattr(value, "__module__", None) or "").partition(".")[0]


def _describe(value: Any, root: str, seen: set[int]) -> Iterator[str]:
    if isinstance(value, functools.partial):
        yield "partial"
        for part in (value.func, *value.args, *sorted(value.keywords.items())):
            yield from _describe(part, root, seen)
        return
    if isinstance(value, staticmethod | classmethod) or inspect.ismethod(value):
        value = value.__func__
    if isinstance(value, FunctionType | type) and _package(value) == root:
        if id(value) in seen:
            return
        seen.add(id(value))
        yield f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, type):
            yield _source(value) or repr(sorted(vars(value)))
            for member in vars(value).values():
                if isinstance(member, FunctionType | staticmethod | classmethod):
                    yield from _uses(inspect.unwrap(getattr(member, "__func__", member)), root, seen)
        else:
            yield _source(value) or _bytecode(value.__code__)
            yield from _uses(value, root, seen)
    elif isinstance(value, ModuleType):
        yield f"module {value.__name__}"
    elif isinstance(value, FunctionType | type) or callable(value):
        yield f"{_package(value)}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    elif isinstance(value, tuple | list | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        yield type(value).__name__
        for item in items:
            yield from _describe(item, root, seen)
    elif isinstance(value, dict):
        yield "dict"
        for item in value.items():
            yield from _describe(item, root, seen)
    else:
        text = repr(value)
        # A default repr holds a memory address, which differs in every process.
        yield type(value).__qualname__ if " at 0x" in text else text


def _uses(function: FunctionType, root: str, seen: set[int]) -> Iterator[str]:
    """What a function refers to beyond its own text."""
    for default in (function.__defaults__ or (), function.__kwdefaults__ or {}):
        yield from _describe(default, root, seen)
    for cell in function.__closure__ or ():
        try:
            yield from _describe(cell.cell_contents, root, seen)
        except ValueError:  # an empty cell: a name that is bound after the function was made
            yield "unbound"
    for name in sorted(set(_global_names(function.__code__))):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield name
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] == root:
            # `module.helper(...)`: follow the attributes of own modules that are named.
            for attribute in sorted(set(_global_names(function.__code__)) & set(vars(value))):
                yield from _describe(getattr(value, attribute), root, seen)
        else:
            yield from _describe(value, root, seen)


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _source(value: Any) -> str | None:
    """The syntax tree of a definition, without decorators and docstrings."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):
        return None  # no source (a REPL), or a lambda amid an expression
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.decorator_list = []
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _bytecode(code: CodeType) -> str:
    parts = [f"{sys.version_info[:2]}", code.co_code.hex(), repr(code.co_names)]
    parts += [_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return "|".join(parts)
