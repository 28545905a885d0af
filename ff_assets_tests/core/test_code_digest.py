"""The digest of a function changes with what it computes, and with nothing else."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ff_assets.core.code import code_digest
from ff_assets_tests.core.stubs import Imported, edited

CODE = '''
import functools
import re

import numpy as np

from team import helpers
from team.helpers import LIMIT, shout

WORDS = {"good", "bad", "ugly"}
NESTED = [[1], 2]
PATTERN = re.compile("a" * 300 + "b")
WEIGHTS = np.arange(2000.0)


class Base:
    def scale(self, x):
        return x * 2


class Scaler(Base):
    """Scales."""

    unit = LIMIT

    def __init__(self, factor):
        self.factor = factor

    def apply(self, x):
        return self.scale(x) * self.factor

    @property
    def half(self):
        return shout(self.factor)


SCALER = Scaler(3)


def logged(prefix):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(x):
            return prefix, function(x)

        return wrapper

    return decorate


@functools.cache
def cached(x):
    return x + 10


@logged("info")
def wrapped(x):
    return x + 20


def even(x):
    return x == 0 or odd(x - 1)


def odd(x):
    return x != 0 and even(x - 1)


def entry(x, default=LIMIT):
    """What the digest is of."""
    from team.late import later

    # a comment
    inner = [shout(y) for y in (x, 1)]
    total = helpers.whisper(x) + cached(x) + len(WORDS) + len(NESTED) + WEIGHTS[0]
    if even(x) and PATTERN.match(str(x)):
        return wrapped(x), later(x)
    return SCALER.apply(total), inner, SCALER.half
'''
HELPERS = '''
LIMIT = 5
UNUSED = 1


def shout(x):
    """Loud."""
    return x + quiet(x)


def quiet(x):
    return x - 1


def whisper(x):
    return x


def unused(x):
    return x
'''
LATE = """
def later(x):
    return x * 7
"""


def digest(imported: Imported, code: str = CODE, helpers: str = HELPERS, late: str = LATE) -> str:
    return code_digest(imported(code, helpers=helpers, late=late).entry)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if even(x) and", "if even(x) or"),
        ("[shout(y) for", "[shout(y) + 1 for"),
        ('{"good", "bad", "ugly"}', '{"good", "bad"}'),
        ("[[1], 2]", "[[1, 2]]"),
        ('"a" * 300 + "b"', '"a" * 300 + "c"'),
        ("np.arange(2000.0)", "np.where(np.arange(2000.0) == 1000, 0, np.arange(2000.0))"),
        ("return x * 2", "return x * 3"),
        ("return self.scale(x) * self.factor", "return self.scale(x) + self.factor"),
        ("return shout(self.factor)", "return self.factor"),
        ("SCALER = Scaler(3)", "SCALER = Scaler(4)"),
        ("return prefix, function(x)", "return prefix, function(x + 1)"),
        ('@logged("info")', '@logged("debug")'),
        ("return x + 10", "return x + 11"),
        ("return x + 20", "return x + 21"),
        ("x != 0 and even(x - 1)", "x != 0 and even(x - 3)"),
        ("default=LIMIT", "default=6"),
    ],
)
def test_an_edit_is_noticed(imported: Imported, old: str, new: str):
    assert digest(imported) != digest(imported, edited(CODE, old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 5", "LIMIT = 6"),
        ("return x + quiet(x)", "return x - quiet(x)"),
        ("return x - 1", "return x - 2"),  # a helper of a helper
        ("def whisper(x):\n    return x", "def whisper(x):\n    return -x"),
    ],
)
def test_an_edit_of_a_helper_is_noticed(imported: Imported, old: str, new: str):
    assert digest(imported) != digest(imported, helpers=edited(HELPERS, old, new))


def test_an_edit_behind_an_import_inside_the_function_is_noticed(imported: Imported):
    assert digest(imported) != digest(imported, late=edited(LATE, "x * 7", "x * 8"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # a comment\n", "\n\n    # another comment\n"),
        ('    """What the digest is of."""\n', ""),
        ('    """Scales."""\n', '    """Scales a number."""\n'),
        (
            "return wrapped(x), later(x)",
            "return (\n            wrapped(x),\n            later(x),\n        )",
        ),
        ('{"good", "bad", "ugly"}', '{"ugly",   "good", "bad"}'),
        ("\nclass Base:", "\nUNRELATED = 1\n\n\nclass Base:"),
    ],
)
def test_what_changes_nothing_is_not_noticed(imported: Imported, old: str, new: str):
    assert digest(imported) == digest(imported, edited(CODE, old, new))


def test_what_is_not_used_is_not_noticed(imported: Imported):
    helpers = edited(HELPERS, "def unused(x):\n    return x", "def unused(x):\n    return -x")
    helpers = edited(edited(helpers, '"""Loud."""', '"""Louder."""'), "UNUSED = 1", "UNUSED = 2")
    assert digest(imported) == digest(imported, helpers=helpers)


def test_another_module_is_as_good(imported: Imported):
    plain = "def entry(x):\n    return quiet(x)\n\n\ndef quiet(x):\n    return x - 1\n"
    module = imported("from team.moved import entry\n", moved=plain)
    moved = code_digest(module.entry)
    assert moved == code_digest(imported(plain).entry)


def test_equal_in_another_process(imported: Imported):
    module = imported(CODE, helpers=HELPERS, late=LATE)
    script = """
        import json, sys
        from ff_assets.core.code import code_digest
        from team.flow import entry, Scaler, cached
        made = eval("lambda x: x in {'a', 'b', 'c', 'd'}", {"__name__": "team"})
        print(json.dumps([code_digest(f) for f in (entry, Scaler, cached, Scaler(1).apply, made)]))
    """
    folder = Path(module.__file__).parent.parent
    found = []
    for seed in ("1", "2"):
        path = os.pathsep.join([str(folder), str(Path(__file__).parent.parent.parent)])
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert found[0][0] == code_digest(module.entry)
    assert len(set(found[0])) == len(found[0])
