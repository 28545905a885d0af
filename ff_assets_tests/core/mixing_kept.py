"""Code that mixes rows by what it puts into containers and objects, or counts from row to row.

The line in which it is found ends in `# found`.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from pyspark.ml import Transformer
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType

from ff_assets_tests.core.mixing_detours import transformer

KEPT: list[Callable[..., Any]] = []


def detour(declared):
    KEPT.append(declared)
    return declared


class Pair(NamedTuple):
    """A frame with a name."""

    frame: Any
    name: str


class Slotted:
    """A frame without a dictionary."""

    __slots__ = ("frame",)

    def __init__(self, frame):
        self.frame = frame


@detour
@transformer
def appended(self, dataset):
    names = dataset.columns
    names.append(dataset)
    return names[-1].count()  # found


@detour
@transformer
def collected(self, dataset):
    frames = [each.alias("a") for each in [dataset]]
    return frames[0].count()  # found


@detour
@transformer
def assigned(self, dataset):
    names = ["a", "b"]
    names[0] = dataset
    return names[0].count()  # found


@detour
@transformer
def by_default(self, dataset):
    return {}.get("frame", dataset).count()  # found


@detour
@transformer
def merged(self, dataset):
    known = {"a": 1}
    known |= {"frame": dataset}
    return known["frame"].count()  # found


@detour
@transformer
def of_a_pair(self, dataset):
    return Pair(dataset, "a").frame.count()  # found


@detour
@transformer
def of_a_slot(self, dataset):
    return Slotted(dataset).frame.count()  # found


@detour
@transformer
def of_a_namespace(self, dataset):
    return SimpleNamespace(columns=dataset).columns.count()  # found


@detour
class SetByName(Transformer):
    """A transformer that keeps a frame without a dot."""

    _kept = ""

    def _transform(self, dataset):
        setattr(self, "_ke" + "pt", dataset)
        return self._kept.limit(1)  # found


@detour
class SetInside(Transformer):
    """A transformer whose inner function keeps the frame."""

    _kept = ""

    def _transform(self, dataset):
        def keep():
            self._kept = dataset

        keep()
        return self._kept.limit(1)  # found


@detour
class Filled(Transformer):
    """A transformer with a list that is empty at first."""

    def __init__(self):
        super().__init__()
        self._steps = []

    def _transform(self, dataset):
        self._steps.append(dataset)
        return self._first()

    def _first(self):
        return self._steps[0].limit(1)  # found


@detour
def after_a_comment_that_ends(age):
    return F.expr("age -- years\r + sum(age)")  # found


@detour
def after_no_comment(age):
    return F.expr("concat('--', sum(age))")  # found


class Seen:
    """What is counted."""

    rows = 0


SEEN = {"rows": 0}
ROWS = 0


@F.udf(IntegerType())
def _numbered(value):
    global ROWS
    ROWS += 1  # found
    return ROWS


@detour
def by_a_global(age):
    return _numbered(age)


@detour
def by_a_class(age):
    def numbered(value):
        Seen.rows += 1  # found
        return Seen.rows

    return F.udf(numbered, "int")(age)


@detour
def by_a_dictionary(age):
    @F.udf("int")
    def numbered(value):
        SEEN["rows"] += 1  # found
        return SEEN["rows"]

    return numbered(age)


@detour
def by_a_closure(age):
    rows = 0

    @F.udf("int")
    def numbered(value):
        nonlocal rows
        rows += 1  # found
        return rows

    return numbered(age)
