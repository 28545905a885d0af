"""The digest of a function changes with what it computes, and with nothing else."""

import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ff_assets.core.code import code_digest
from ff_assets_tests.core.stubs import Imported

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


def edited(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


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


# What a function can be


def test_lambdas_are_told_apart_and_apart_from_what_stands_beside_them(imported: Imported):
    def both(text: str) -> tuple[str, str]:
        functions = imported(text).functions
        return code_digest(functions[0]), code_digest(functions[1])

    one, two = both("functions = [lambda x: x + 1, lambda x: x + 2]")
    assert one != two
    assert both("functions = [lambda x: x + 1, lambda x: x + 3]")[0] == one

    alone = "functions = [dict(load=lambda x: x + 1, owner='a')['load'], len]"
    assert both(alone)[0] == both(alone.replace("'a'", "'b'"))[0]
    assert both(alone)[0] != both(alone.replace("+ 1", "+ 2"))[0]


def test_closures_count_by_what_they_hold(imported: Imported):
    def made(value: str) -> str:
        text = """
            def make(value):
                def entry(x):
                    return x + value
                return entry

            entry = make(VALUE)
        """
        return code_digest(imported(text.replace("VALUE", value)).entry)

    assert made("1") == made("1")
    assert made("1") != made("2")


def test_a_closure_may_hold_itself_or_nothing_yet(imported: Imported):
    module = imported("""
        def make():
            def entry(x):
                return entry(x - 1) if x else later
            return entry
            later = 1

        entry = make()
    """)
    assert code_digest(module.entry)


def test_partials_count_by_function_and_arguments(imported: Imported):
    module = imported(
        "def add(x, y=1):\n    return x + y\n\n\ndef sub(x, y=1):\n    return x - y\n"
    )
    add, sub = module.add, module.sub
    digests = [
        code_digest(part)
        for part in (
            add,
            functools.partial(add),
            functools.partial(add, 1),
            functools.partial(add, 2),
            functools.partial(add, y=1),
            functools.partial(add, y=2),
            functools.partial(sub, 1),
        )
    ]
    assert len(set(digests)) == len(digests)
    assert code_digest(functools.partial(add, 1)) == digests[2]


def test_methods_count_by_their_object(imported: Imported):
    text = """
        class Loader:
            def __init__(self, path):
                self.path = path

            def load(self, spark):
                return spark, self.path

            @classmethod
            def whole(cls, spark):
                return spark

            @staticmethod
            def plain(spark):
                return spark

            def __call__(self, spark):
                return self.load(spark)
    """
    loader = imported(text).Loader
    one, same, other = loader("one"), loader("one"), loader("other")
    assert code_digest(one.load) == code_digest(same.load) != code_digest(other.load)
    assert code_digest(one) == code_digest(same) != code_digest(other)
    assert code_digest(loader.whole) != code_digest(loader.plain)
    before = [code_digest(f) for f in (one.load, one, loader.whole, loader)]
    changed = imported(text.replace("return spark, self.path", "return self.path, spark")).Loader
    one = changed("one")
    after = [code_digest(f) for f in (one.load, one, changed.whole, changed)]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_objects_with_addresses_count_by_their_class(imported: Imported):
    text = """
        class Lock:
            pass

        LOCK = object()
        OWN = Lock()

        def entry():
            return LOCK, OWN
    """
    assert code_digest(imported(text).entry) == code_digest(imported(text).entry)


def test_the_checkout_does_not_count(imported: Imported):
    text = "def entry():\n    return __file__, __name__\n"
    assert code_digest(imported(text).entry) == code_digest(imported(text).entry)


def test_code_without_a_file_counts_by_its_bytecode():
    def made(text: str) -> str:
        namespace: dict[str, object] = {"__name__": "notebook"}
        exec(compile(text, "<cell>", "exec"), namespace)
        return code_digest(namespace["f"])

    plain = "def f(x):\n    return x + 1\n"
    assert made(plain) == made("\n\n" + plain + "# a comment\n")
    assert made(plain) != made(plain.replace("1", "2"))
    assert made("f = lambda x: [y for y in x]") != made("f = lambda x: [-y for y in x]")
    helper = "\n\ndef g(x):\n    return x\n"
    calls = "def f(x):\n    return g(x)\n"
    assert made(calls + helper) != made(calls + helper.replace("return x", "return -x"))


def test_other_packages_count_by_name():
    def one(x: object) -> object:
        return json.dumps(x)

    def two(x: object) -> object:
        return json.loads(x)

    assert code_digest(one) != code_digest(two)
    assert code_digest(len) != code_digest(print)
