"""Code that only seems to mix rows."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark import keyword_only
from pyspark.ml import Estimator, Model, Transformer
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.param.shared import HasInputCol, HasOutputCol, Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

ROW_WISE: list[Callable[..., Any]] = []


def row_wise(declared):
    ROW_WISE.append(declared)
    return declared


class Expressions:
    """A helper that makes columns."""

    def __init__(self, name):
        self._name = name

    def twice(self):
        return F.col(self._name) * 2

    @staticmethod
    def first(column):
        return F.trim(column)


@dataclass(frozen=True)
class Bounds:
    """A helper with fields."""

    low: float = 0.0
    high: float = 1.0

    def clipped(self, column):
        return F.greatest(F.least(column, F.lit(self.high)), F.lit(self.low))


LOG = logging.getLogger(__name__)
WORD = re.compile(r"\w+")
BOUNDS = Bounds()
COLUMNS = {"upper": F.upper, "trimmed": lambda column: F.trim(column)}
TEXTS = {"more": "age + 1", "known": "coalesce(age, 0) in (1, 2) or name like any ('a', 'b')"}


@row_wise
def of_helpers(age):
    return Expressions("age").twice() + Expressions.first(age) + BOUNDS.clipped(age)


@row_wise
def of_containers(age):
    for name, function in COLUMNS.items():
        LOG.info("the first (of %s) counts", name)
        age = function(age)
    return sum((F.expr(each) for each in TEXTS.values()), COLUMNS["upper"](age))


@row_wise
def of_words(age):
    words = ["a", "b"]
    return age.rlike("|".join(words)) | age.isin(*words) | age.rlike(f"({'|'.join(words)})")


@row_wise
class Thorough(
    Transformer, HasInputCol, HasOutputCol, DefaultParamsReadable, DefaultParamsWritable
):
    """A transformer as Spark's guide writes it; in its words there is a sum(age) over ()."""

    separator: Param = Param(
        Params._dummy(), "separator", "between words", typeConverter=TypeConverters.toString
    )

    @keyword_only
    def __init__(self, *, inputCol=None, outputCol=None, separator=","):
        super().__init__()
        self._setDefault(separator=",")
        self._set(**self._input_kwargs)

    @property
    def dash(self) -> str:
        return "-"

    def getSeparator(self) -> str:  # noqa: N802
        return self.getOrDefault(self.separator)

    def preview(self, dataset):
        """It is for people, and no part of what the transformer does."""
        return dataset.count()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        names = [name for name in dataset.columns if name != "x"]
        given = {}
        given.update(first=names.index("a") + names.count("b"))
        LOG.warning("counting %s", json.dumps(given))
        words = self.getSeparator().join(names) + self.dash.join(WORD.findall("a b"))
        table = np.array([1.0, 2.0])
        highest = table.max() + np.linspace(0, 1).sum()

        @F.udf("double")
        def near(value):
            found = json.loads(re.sub("a", "b", "[]")).count(value) + [1].count(value)
            return float(np.max(table * value)) + found

        if not names:
            raise ValueError(f"there is no sum (of {words})")
        if self.isSet(self.separator):
            dataset = dataset.filter(F.col("a").isNotNull()).where("a > 0")
        for name, column in {"u": F.upper("a"), "v": F.lower("b")}.items():
            dataset = dataset.withColumn(name, column).withColumn(f"{name} (2)", F.lit(highest))
        dataset = VectorAssembler(inputCols=names, outputCol="w").transform(dataset)
        dataset = dataset.selectExpr("*", f"coalesce({words}, 0) as z").na.fill(0)
        return dataset.withColumn(self.getOutputCol(), near(F.col(self.getInputCol()))).drop("w")


class LookupModel(Model, HasInputCol, HasOutputCol):
    """A model that knows a mean for every town."""

    def __init__(self, means=None):
        super().__init__()
        self._means = dict(means or {})

    def _transform(self, dataset):
        pairs = [F.lit(each) for pair in self._means.items() for each in pair]
        known = F.create_map(*pairs)[F.col(self.getInputCol())]
        return dataset.withColumn(
            self.getOutputCol(), F.coalesce(known, F.lit(max(self._means.values())))
        )


@row_wise
class Lookup(Estimator, HasInputCol, HasOutputCol):
    """An estimator as people write them."""

    def _fit(self, dataset):
        return LookupModel(dict(dataset.groupBy("town").mean("age").collect()))


@row_wise
def with_a_comment(age):
    return F.expr("greatest(age, 1) -- max (of all)")


@row_wise
class OfNames(Transformer):
    """A transformer that counts in names, types and what it was constructed with."""

    def __init__(self, words: list[str], prefix="x"):
        super().__init__()
        self.words = words
        self._prefix = prefix

    def _transform(self, dataset):
        names = [name for name in dataset.columns if name.count("_") > 1]
        names.append("x")
        found = names.count("x") + self.words.count("a") + self._prefix.count("b")
        for name, kind in dataset.dtypes:
            found += name.count("_") + kind.count("i")
        for field in dataset.schema.fields:
            found += field.name.count("_")
        for index, name in enumerate(sorted(set(dataset.columns), key=len)):
            found += index + name.count("_")
        return dataset.select("*", *names, F.lit(found).alias("found"))
