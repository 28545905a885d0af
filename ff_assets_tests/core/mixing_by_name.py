"""Code that mixes rows by names and texts.

The line in which it is found ends in `# found`.
"""

import operator
import sys
from collections.abc import Callable
from typing import Any

import pyspark.sql.functions
from pyspark.sql import functions as F
from pyspark.sql.functions import expr as text

from ff_assets_tests.core.mixing_detours import transformer

BY_NAME: list[Callable[..., Any]] = []


def detour(declared):
    BY_NAME.append(declared)
    return declared


NAMES = ["sum"]
QUERIES = ["sum(age) over ()"]


@detour
def by_name(age):
    return getattr(F, NAMES[0])(age)  # found


@detour
def by_a_dictionary(age):
    return F.__dict__["sum"](age)  # found


@detour
def by_module(age):
    return sys.modules["pyspark.sql.functions"].sum(age)  # found


@detour
def by_spark_s_own_way(age):
    return pyspark.sql.functions.builtin._invoke_function_over_columns("sum", age)  # found


@detour
@transformer
def by_a_caller(self, dataset):
    return operator.methodcaller("count")(dataset)  # found


@detour
@transformer
def by_a_path(self, dataset):
    return operator.attrgetter("rdd.map")(dataset)  # found


@detour
@transformer
def evaluated(self, dataset):
    return eval("dataset.count()")  # found


@detour
@transformer
def by_a_list_of_texts(self, dataset):
    return dataset.selectExpr(*QUERIES)  # found


@detour
@transformer
def filtered(self, dataset):
    return dataset.filter("age > (SELECT avg(age) FROM people)")  # found


@detour
def formatted(age):
    return F.expr(f"{NAMES[0]}(age) + 1")  # found


@detour
def added(age):
    return F.expr(NAMES[0] + "(age)")  # found


@detour
def of_unknown_functions(age):
    return [F.expr(f"{name}(age)") for name in NAMES]  # found


@detour
def under_another_name(age):
    return text("max(age)")  # found


@detour
def quoted(age):
    return F.expr("`sum`(age)")  # found


@detour
def commented(age):
    return F.expr("sum/* of all */(age)")  # found
