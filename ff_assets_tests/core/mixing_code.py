"""Code that mixes rows, for tests that have to find it by file and line."""

import functools

import pyspark.sql.functions
from pyspark.ml import Estimator, Model, Transformer
from pyspark.ml.feature import SQLTransformer, StandardScaler
from pyspark.ml.stat import Correlation
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.functions import max as largest
from pyspark.sql.types import IntegerType

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


class Counter(Transformer):
    """A transformer whose words, and what its Python functions do, look like a data frame's."""

    inputCols = outputCols = sep = Param()
    _between: str

    def getSep(self):  # noqa: N802  # Spark's way
        return self.getOrDefault(self.sep)

    def _transform(self, dataset):
        sep = self.getSep()
        name = sep.join(["a", "b"]) + self._between.join(["c"]) + _joined("-", ["d"])

        def commas(text):
            return text.count(",")

        @F.udf("int")
        def firsts(text, letter="a"):
            return text.count(letter)

        counted = F.udf(commas, "int")(F.col("a")) + firsts(F.col("a"))
        points = F.udf(lambda text: text.count(".") + self.uid.count("."), "int")
        return dataset.withColumn(name, counted + points("a") + _exclamations("a"))


def _joined(separator: str, names: list[str]):
    return separator.join(names)


@F.udf(IntegerType())
def _exclamations(text):
    return text.count("!")


class CarefulModel(Model):
    """It takes what it has learned."""

    def _transform(self, dataset):
        return dataset.withColumn("b", F.col("a") - self._mean)


class Careful(Estimator):
    """An estimator that looks at all rows in its fit only."""

    inputCols = outputCols = Param()

    def _fit(self, dataset):
        learned = Grouped().transform(dataset)
        return CarefulModel(learned.agg(F.avg("a")).first()[0])


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


class Centred(Transformer):
    """A transformer whose static method looks at other rows."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return self._centre(dataset)

    @staticmethod
    def _centre(dataset):
        return dataset.cube("town").count()


class Deduplicated(Transformer):
    """A transformer that drops rows because of others."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.dropDuplicates(["town"])


def subquery(age):
    return F.expr("age - (SELECT age FROM others LIMIT 1)") + age


class Scaled(Transformer):
    """A transformer that hides a fit."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return StandardScaler(inputCol="a", outputCol="b").fit(dataset).transform(dataset)


class Mapped(Transformer):
    """A transformer that asks the rows behind the frame."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.withColumn("b", F.lit(dataset.rdd.map(len).max()))


class Counted(Transformer):
    """A transformer that counts."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.withColumn("b", F.col("a") / dataset.count())


class Named(Transformer):
    """A transformer that goes by the name of a view."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        dataset.createOrReplaceTempView("rows")
        return dataset.sparkSession.table("rows")


class Correlated(Transformer):
    """A transformer that calls a statistic."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.withColumn("b", F.lit(str(Correlation.corr(dataset, "a"))))


class ThroughHelper(Transformer):
    """A transformer that leaves it to a function."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return _by_town(dataset)


def _by_town(frame):
    return frame.groupBy("town")


class Kept(Transformer):
    """A transformer that remembers the frame."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        self._kept = dataset
        return self._kept.groupBy("town")


class ByName(Transformer):
    """A transformer that gets a method by its name."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.withColumn("b", F.lit(getattr(dataset, "collect")()[0][0]))  # noqa: B009


class BySqlTransformer(Transformer):
    """A transformer that puts it into SQL."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return SQLTransformer(statement="SELECT DISTINCT * FROM __THIS__").transform(dataset)


class Observed(Transformer):
    """A transformer that watches rows go by."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.observe("rows", F.col("a"))


class Helper:
    """What a project keeps at the top of a module."""

    def largest(self, frame):
        return frame.first()  # HELPER.largest


HELPER = Helper()


class OfGlobal(Transformer):
    """A transformer that asks an object of the module."""

    inputCols = outputCols = Param()

    def _transform(self, dataset):
        return dataset.withColumn("b", F.lit(HELPER.largest(dataset)))


class Annotated(Estimator):
    """An estimator that says which model it returns."""

    inputCols = outputCols = Param()

    def _fit(self, dataset) -> "Repeating":
        return _made(dataset)


class Repeating(Model):
    """A model that mixes rows."""

    def _transform(self, dataset):
        return dataset.unionByName(dataset)


_made = len


class CarelessModel(Model):
    """A model that learns from what it is applied to."""

    def _transform(self, dataset):
        return dataset.join(dataset.groupBy("town").agg(F.avg("a")), "town")


class Careless(Estimator):
    """An estimator that does not say so."""

    inputCols = outputCols = Param()

    def _fit(self, dataset):
        return self._model(dataset)

    def _model(self, dataset):
        return CarelessModel()


class Inherited(Grouped):
    """A transformer that leaves it to its base class."""

    def _transform(self, dataset):
        return super()._transform(dataset).withColumn("b", F.col("a"))
