"""What a loader or a feature can be beside a plain function, and what its digest then counts."""

import functools
import json

import pytest

from ff_assets.core.code import code_digest
from ff_assets_tests.core.stubs import Imported, edited


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Slotted(1)", "Slotted(2)"),
        ("Table(f=double)", "Table(f=half)"),
        ("defaultdict(int)", "defaultdict(float)"),
        ("MappingProxyType({'f': double})", "MappingProxyType({'f': half})"),
        ("OrderedDict(f=double)", "OrderedDict(f=half)"),
        ("pd.DataFrame({'n': [0] * 999})", "pd.DataFrame({'n': [0] * 500 + [1] + [0] * 498})"),
        ("itemgetter(1)", "itemgetter(2)"),
        ("np.log1p", "np.expm1"),
    ],
)
def test_objects_count_by_all_that_they_hold(imported: Imported, one: str, other: str):
    text = """
        from collections import OrderedDict, defaultdict
        from operator import itemgetter
        from types import MappingProxyType

        import numpy as np
        import pandas as pd

        class Slotted:
            __slots__ = ("__number",)

            def __init__(self, number):
                self.__number = number

        class Table(dict):
            pass

        def double(x):
            return x * 2

        def half(x):
            return x / 2

        VALUE = ...

        def entry():
            return VALUE
    """

    def digest(value: str) -> str:
        return code_digest(imported(edited(text, "VALUE = ...", f"VALUE = {value}")).entry)

    assert digest(one) == digest(one) != digest(other)


def test_the_checkout_does_not_count(imported: Imported):
    text = """
        from pathlib import Path

        DATA = Path(__file__).parent.parent / "data"

        def entry():
            return DATA, str(DATA), __file__
    """
    assert code_digest(imported(text).entry) == code_digest(imported(text).entry)
    other = edited(text, '"data"', '"more"')
    assert code_digest(imported(text).entry) != code_digest(imported(other).entry)


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


def test_wrappers_of_other_packages_count_by_how_they_are_used(imported: Imported):
    vendor = """
        import functools

        def times(number):
            def decorate(function):
                @functools.wraps(function)
                def wrapper(x):
                    return number * function(x)
                return wrapper
            return decorate
    """
    flow = """
        import vendor

        @vendor.times(2)
        def helper(x):
            return deeper(x)

        def deeper(x):
            return x + 1

        def entry(x):
            return helper(x)
    """

    def found(flow: str, vendor: str = vendor) -> str:
        return code_digest(imported(flow, vendor=vendor).entry)

    assert found(flow) != found(edited(flow, "times(2)", "times(3)"))
    assert found(flow) != found(edited(flow, "x + 1", "x + 2"))
    assert found(flow) == found(
        flow, edited(vendor, "number * function(x)", "function(x) * number")
    )


def test_other_packages_count_by_name():
    def one(x: object) -> object:
        return json.dumps(x)

    def two(x: object) -> object:
        return json.loads(x)

    assert code_digest(one) != code_digest(two)
    assert code_digest(len) != code_digest(print)
