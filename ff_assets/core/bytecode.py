"""Reading bytecode: where what is loaded is called, and what the names in a function stand for."""

import builtins
import dis
import functools
import importlib
import importlib.util
import inspect
from collections import ChainMap
from collections.abc import Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

UNKNOWN = object()  # a value that only a run of the code would tell


def call(steps: Sequence[dis.Instruction], index: int) -> int:
    """The step that calls what a step loads; itself if none does."""
    depth = dis.stack_effect(steps[index].opcode, steps[index].arg, jump=False)
    if steps[index].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        depth += 1  # instead of what it is an attribute of
    for position in range(index + 1, len(steps)):
        step = steps[position]
        depth += dis.stack_effect(step.opcode, step.arg, jump=False)
        if depth <= 1 and step.opname.startswith("CALL"):
            return position
        if depth < 1:
            break
    return index


def end_of_call(steps: Sequence[dis.Instruction], index: int) -> int:
    """The last step of a call or, if what it makes decorates a function, of that."""
    end = call(steps, index)
    for position in range(end + 1, len(steps)):
        if isinstance(steps[position].argval, CodeType):
            after = after_making(steps, position)
            return after if steps[after].opname == "CALL" and not steps[after].arg else end
        if steps[position].opname not in ("LOAD_CLOSURE", "LOAD_FAST", "BUILD_TUPLE", "LOAD_CONST"):
            break
    return end


def after_making(steps: Sequence[dis.Instruction], index: int) -> int:
    """The first step after those that make a function of its code."""
    making = ("MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE", "PRECALL", "CACHE")
    return next(i for i in range(index + 1, len(steps)) if steps[i].opname not in making)


def names_of(function: FunctionType) -> Mapping[str, Any]:
    """The values of the names that a function takes from around it."""
    closure = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            closure[name] = cell.cell_contents
        except ValueError:  # a name that is bound after the function was made
            closure[name] = UNKNOWN
    return ChainMap(closure, function.__globals__, vars(builtins))


def imported(level: int, name: str, members: object, package: str | None) -> Any:
    """What an import inside a function gives."""
    try:
        module = importlib.import_module(importlib.util.resolve_name("." * level + name, package))
    except ImportError:  # the run will say so
        return UNKNOWN
    return module if members else importlib.import_module(name.partition(".")[0])


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
    unwrapped = inspect.unwrap(value)
    return unwrapped if isinstance(unwrapped, FunctionType) else None
