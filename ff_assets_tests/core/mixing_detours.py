"""Code that mixes rows where nobody looks first.

The line in which a detour is found ends in `# found`.
"""

import functools
from collections.abc import Callable
from typing import Any

from pyspark.ml import Estimator, Model, Transformer
from pyspark.ml.feature import Imputer, StringIndexer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

DETOURS: list[Callable[..., Any]] = []


def detour(declared):
    DETOURS.append(declared)
    return declared


def transformer(function):
    """A transformer that does what a function does."""
    members = {"_transform": function, "__module__": __name__}
    return type(function.__name__, (Transformer,), members)


# Objects


def distinct(frame):
    return frame.distinct()  # found


class Helper:
    """What a project may well have."""

    def go(self, frame):
        return frame.groupBy("town").count()  # found


class Heir(Helper):
    """It has that from its base."""


def make_helper():
    return Helper()


@detour
@transformer
def of_a_new_object(self, dataset):
    return Helper().go(dataset)


@detour
@transformer
def of_a_base(self, dataset):
    return Heir().go(dataset)


@detour
@transformer
def of_a_returned_object(self, dataset):
    return make_helper().go(dataset)


OBJECTS = {"first": [Helper()]}


@detour
@transformer
def of_an_object_in_a_list(self, dataset):
    return OBJECTS["first"][0].go(dataset)


@detour
class MadeBefore(Transformer):
    """A transformer that makes its helper when it is made."""

    def __init__(self):
        super().__init__()
        self._helper = Helper()

    def _transform(self, dataset):
        return self._helper.go(dataset)


class Borrower:
    """It borrows what it does."""

    def __init__(self, lender):
        self._lender = lender

    def go(self, frame):
        return self._lender._mix(frame)


@detour
class Lender(Transformer):
    """A transformer that leaves it to another object to use a method of its own."""

    def _transform(self, dataset):
        return Borrower(self).go(dataset)

    def _mix(self, dataset):
        return dataset.distinct()  # found


@detour
class ByAnyName(Transformer):
    """A transformer whose methods are chosen while it runs."""

    def _transform(self, dataset):
        return getattr(self, "_mix_" + self.uid)(dataset)

    def _mix_rows(self, dataset):
        return dataset.distinct()  # found


@detour
class Overriding(Transformer):
    """A transformer that does not keep to Spark's way."""

    def transform(self, dataset, params=None):
        return dataset.distinct()  # found


@detour
class Itself(Estimator, Model):
    """An estimator that is its own model."""

    def _fit(self, dataset):
        return self

    def _transform(self, dataset):
        return dataset.distinct()  # found


@detour
class Late(Transformer):
    """A transformer that keeps a data frame where there was nothing."""

    _kept = ""

    def _transform(self, dataset):
        self._kept = dataset
        return self._kept.limit(1)  # found


class Registry:
    """It has functions that are not its methods, and one that is given anything."""

    step = distinct

    def counted(self):
        return self.count()  # found


@detour
@transformer
def of_a_registry(self, dataset):
    return Registry.step(dataset)


@detour
@transformer
def with_a_frame_as_self(self, dataset):
    return Registry.counted(dataset)


@detour
@transformer
def bound_again(self, dataset):
    frame = ", "
    for _ in range(2):
        frame.join(dataset)  # found
        frame = dataset
    return frame


# Methods of frames, and fits, without a frame before the dot


@detour
@transformer
def reduced(self, dataset):
    return functools.reduce(DataFrame.join, [dataset, dataset])  # found


@detour
@transformer
def transformed(self, dataset):
    return dataset.transform(DataFrame.distinct)  # found


@detour
@transformer
def counted(self, dataset):
    return list(map(DataFrame.count, [dataset]))  # found


@detour
@transformer
def privately(self, dataset):
    return Imputer(inputCols=["a"], outputCols=["b"])._fit(dataset)  # found


@detour
@transformer
def indexed(self, dataset):
    return StringIndexer(inputCol="a", outputCol="b").fit(dataset).transform(dataset)  # found


@detour
@transformer
def computed_for_a_udf(self, dataset):
    shifted = F.udf((lambda shift: lambda value: value - shift)(dataset.count()))  # found
    return dataset.withColumn("b", shifted("a"))


@detour
@transformer
def given_to_a_udf(self, dataset):
    same = F.udf(lambda value: value)
    return dataset.withColumn("b", same(F.sum("a")))  # found


@detour
def of_the_session(age):
    return F.lit(SparkSession.active().table("people").first()[0])  # found


# Containers, defaults, decorators


STEPS = {"distinct": distinct}
TOTALS = (F.sum,)


@detour
@transformer
def by_key(self, dataset):
    return STEPS["distinct"](dataset)


@detour
@transformer
def one_of_two(self, dataset):
    step = distinct
    if self.uid:
        step = str
    return step(dataset)


@detour
def of_a_tuple(age):
    return TOTALS[0](age)  # found


class Settings:
    """Where a project keeps them."""

    totals = (F.sum,)
    query = "avg(age)"


@detour
def of_a_class(age):
    return Settings.totals[0](age)  # found


@detour
def of_the_text_of_a_class(age):
    return F.expr(Settings.query)  # found


@detour  # found
def by_default(age, total=F.sum):
    return total(age)


@detour  # found
def by_a_named_default(age, *, totals=(F.sum,)):
    return totals[0](age)


def _closed(totals):
    def closed(age):
        return totals["mean"](age)  # found

    return closed


detour(_closed({"mean": F.avg}))


def summed(function):
    @functools.wraps(function)
    def wrapper(age):
        return F.sum(function(age))  # found

    return wrapper


@detour
@summed
def decorated(age):
    return age
