"""Code that mixes rows is found by file and line, and code that does not is left alone."""

import linecache
import re
from pathlib import Path

import pyspark.sql.functions
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import (
    DataFrame,
    DataFrameNaFunctions,
    DataFrameStatFunctions,
    SparkSession,
)

from ff_assets.core.rowwise import mixing
from ff_assets.core.spark_names import MIXING, ON_FRAMES, VOLATILE
from ff_assets_tests.core import mixing_code as code


@pytest.mark.parametrize(
    "declared",
    [
        code.greatest,
        code.over_an_array,
        code.in_sql,
        code.hashed,
        code.Doubler,
        code.Counter,
        code.Careful,
        VectorAssembler,
        LogisticRegression,
    ],
)
def test_row_wise_code_is_left_alone(declared):
    assert mixing(declared) is None


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        (code.segments, "F.rank().over"),
        (code.total, "F.sum(age)"),
        (code.renamed, "largest(age)"),
        (code.spelled_out, "functions.lag(age)"),
        (code.imported_inside, "G.row_number()"),
        (code.import_of_one, "import collect_list"),
        (code.only_over, "age.over(None)"),
        (code.aliased, "f = F.avg"),
        (code.inside_a_lambda, "F.stddev(column)"),
        (code.through_a_helper, "F.mean(age)"),
        (code.sql_window, "avg(age) OVER"),
        (code.sql_constant, "F.expr(SQL)"),
        (code.closure, "function(age)"),
        (code.partly, "F.count(age)"),
        (code.Oversampler, "unionByName"),
        (code.Grouped, "groupBy"),
        (code.Centred, 'cube("town")'),
        (code.Deduplicated, "dropDuplicates"),
        (code.subquery, "(SELECT age"),
        (code.Scaled, ".fit(dataset)"),
        (code.Mapped, ".rdd"),
        (code.Counted, ".count()"),
        (code.Named, "createOrReplaceTempView"),
        (code.Correlated, "Correlation.corr"),
        (code.ThroughHelper, "frame.groupBy"),
        (code.Kept, "self._kept.groupBy"),
        (code.ByName, '"collect"'),
        (code.BySqlTransformer, "SQLTransformer"),
        (code.Observed, ".observe("),
        (code.OfGlobal, "HELPER.largest"),
        (code.Annotated, "unionByName"),
        (code.Careless, "groupBy"),
        (code.Inherited, "groupBy"),
    ],
)
def test_code_that_mixes_rows_is_found(declared, line: str):
    found = mixing(declared)
    assert found is not None
    assert found.location.file == code.__file__
    assert line in linecache.getline(found.location.file, found.location.line)
    assert "other rows" in found.why


@pytest.mark.parametrize("declared", [code.randomly, code.numbered, code.today])
def test_what_differs_from_run_to_run_is_found(declared):
    found = mixing(declared)
    assert found is not None
    assert "each time" in found.why


# What Spark's data frames do with one row at a time, or with none; and sessions.
ROW_WISE = """
    alias cache checkpoint coalesce colRegex columns drop dropna dtypes explain fill fillna filter
    hint inputFiles isLocal isStreaming localCheckpoint melt metadataColumn na orderBy persist
    printSchema repartition repartitionById repartitionByRange replace sameSemantics schema select
    selectExpr semanticHash show sort sortWithinPartitions sparkSession stat storageLevel to toDF
    transform unpersist unpivot where withColumn withColumnRenamed withColumns withColumnsRenamed
    withMetadata withWatermark
"""
OF_SESSIONS = """
    Builder active addArtifact addArtifacts addTag builder clearProgressHandlers clearTags client
    conf copyFromLocalToFs createDataFrame dataSource emptyDataFrame getActiveSession getTags
    interruptAll interruptOperation interruptTag newSession profile range read readStream
    registerProgressHandler removeProgressHandler removeTag stop streams udf version
"""


@pytest.mark.parametrize(
    ("classes", "harmless"),
    [
        ((DataFrame, DataFrameNaFunctions, DataFrameStatFunctions), ROW_WISE),
        ((SparkSession,), OF_SESSIONS),
    ],
)
def test_it_is_decided_for_every_method_of_spark_whether_it_looks_at_other_rows(classes, harmless):
    methods = {name for cls in classes for name in dir(cls) if not name.startswith("_")}
    row_wise = set(harmless.split())
    assert row_wise <= methods
    assert row_wise.isdisjoint(ON_FRAMES)
    assert methods - row_wise <= ON_FRAMES, "decide on them, here or in core/spark_names.py"


def test_every_aggregate_and_window_function_of_spark_is_known():
    text = Path(pyspark.sql.functions.__file__).read_text()
    listed: dict[str, set[str]] = {}
    for line in text.splitlines():
        if title := re.match(r"    # (\w+ Functions)", line):
            group = listed.setdefault(title[1], set())
        elif (name := re.match(r'    "(\w+)"', line)) and listed:
            group.add(name[1])
    known = listed["Aggregate Functions"] | listed["Window Functions"]
    assert len(known) > 50
    assert known <= MIXING
    assert VOLATILE.isdisjoint(MIXING)
    assert all(hasattr(pyspark.sql.functions, name) for name in MIXING | VOLATILE)
