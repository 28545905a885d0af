"""Code that mixes rows, for tests that have to find it by file and line."""

import functools

import pyspark.sql.functions
from pyspark.ml import Transformer
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.functions import max as largest

from ff_assets_tests.core.stubs import Param

SEPARATOR = ", "
SQL = "sum(age) over (partition by town)"

# Row-wise


def greatest(age, spend):
    """The greater one; not max(age), nor a sum(...) over (...) rows."""
    return F.greatest(age, spend) + max(1, 2) + sum([1, 2])


def over_an_array(history):
    total = F.aggregate(history, F.lit(0.0), lambda a, b: a + b)
    return F.when(F.size(history) > 0, total / F.size(history)) + F.array_max(history)


def in_sql(age):
    return F.expr("aggregate(history, 0, (a, b) -> a + b) + greatest(age, 1)") + age


def hashed(age):
    return F.sha2(F.concat_ws(SEPARATOR.join("ab"), age.cast("string")), 256)


class Doubler(Transformer):
    """A transformer that looks at one row at a time."""

    inputCols = outputCols = Param()
    separator = "-"

    def _transform(self, dataset):
        names = self.separator.join(["a", "b"]) + SEPARATOR.join(["c"]) + "-".join(["d"])
        return dataset.withColumn(names, F.col("a") * 2).select("*")


# Not row-wise


def segments(age):
    return F.rank().over(Window.orderBy(age))


def total(age):
    return F.sum(age)


def renamed(age):
    return largest(age)


def spelled_out(age):
    return pyspark.sql.functions.lag(age)


def imported_inside(age):
    from pyspark.sql import functions as G

    return G.row_number() + age


def import_of_one(age):
    from pyspark.sql.functions import collect_list

    return collect_list(age)


def only_over(age):
    return age.over(None)


def aliased(age):
    f = F.avg
    return f(age)


def inside_a_lambda(age):
    return (lambda column: F.stddev(column))(age)


def through_a_helper(age):
    return _standardised(age)


def _standardised(age):
    return (age - _centre(age)) / 2


@functools.cache
def _centre(age):
    return F.mean(age)


def sql_window(age):
    return F.expr("age - avg(age) OVER (PARTITION BY town)") + age


def sql_constant(age):
    return F.expr(SQL) + age


def _closing_over(function):
    def closed(age):
        return function(age)

    return closed


closure = _closing_over(F.median)
partly = functools.partial(lambda extra, age: F.count(age) + extra, 1)


def randomly(age):
    return age + F.rand(seed=1)


def numbered(age):
    return age + F.monotonically_increasing_id()


def today(age):
    return F.datediff(F.current_timestamp(), age)


class Oversampler(Transformer):
    """A transformer that repeats rows."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return self._twice(dataset)

    def _twice(self, dataset):
        return dataset.unionByName(dataset)


class Grouped(Transformer):
    """A transformer that joins with a sum over groups."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        means = dataset.groupBy("town").agg(F.mean("age"))
        return dataset.join(means, "town")


class Deduplicated(Transformer):
    """A transformer that drops rows because of others."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.dropDuplicates(["town"])
