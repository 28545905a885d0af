"""The names in Spark by which code looks at one row at a time, and those by which it does not."""

import functools
import re
import sys
from collections.abc import Iterator

FUNCTIONS = ("pyspark.sql.functions", "pyspark.sql.connect.functions")
# Modules of pyspark that hold nothing else, beside what is listed below by name.
ON_ROWS = (
    *("pyspark.errors", "pyspark.ml.", "pyspark.sql.avro.", "pyspark.sql.protobuf."),
    *("pyspark.sql.classic.column", "pyspark.sql.column", "pyspark.sql.connect.column"),
    "pyspark.sql.types",
)
FRAMES = ("pyspark.sql.dataframe", "pyspark.sql.session")
# What computes from whole data frames when it is constructed or called.
MIXING_MODULES = (
    *("pyspark.ml.connect.", "pyspark.ml.stat", "pyspark.ml.torch.", "pyspark.pandas"),
    *("pyspark.sql.classic.window", "pyspark.sql.connect.group", "pyspark.sql.connect.window"),
    *("pyspark.sql.group", "pyspark.sql.observation", "pyspark.sql.window"),
)

# Spark's aggregate and window functions, as its reference groups them; those of SQL are among them.
_MIXING_NAMES = """
    any any_value approx_count_distinct approx_percentile approx_top_k approx_top_k_accumulate
    approx_top_k_combine array_agg avg bit_and bit_or bit_xor bitmap_and_agg bitmap_construct_agg
    bitmap_or_agg bool_and bool_or collect_list collect_set collect_union corr count count_distinct
    countDistinct count_if count_min_sketch covar_pop covar_samp every first first_value grouping
    grouping_id histogram_numeric hll_sketch_agg hll_union_agg kll_merge_agg_bigint
    kll_merge_agg_double kll_merge_agg_float kll_sketch_agg_bigint kll_sketch_agg_double
    kll_sketch_agg_float kurtosis last last_value listagg listagg_distinct max max_by mean measure
    median min min_by mode percentile percentile_approx percentile_cont percentile_disc product
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    skewness some std stddev stddev_pop stddev_samp string_agg string_agg_distinct sum sum_distinct
    sumDistinct theta_intersection_agg theta_sketch_agg theta_union_agg try_avg try_sum
    tuple_intersection_agg_double tuple_intersection_agg_integer tuple_sketch_agg_double
    tuple_sketch_agg_integer tuple_union_agg_double tuple_union_agg_integer var_pop var_samp
    variance
"""
_WINDOW_NAMES = """
    counter_diff cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number
"""
# What they make is given many rows at a time.
IN_BATCHES = frozenset({"arrow_udf", "arrow_udtf", "pandas_udf", "predict_batch_udf", "udtf"})
# They call a function that only a text tells of.
BY_TEXT = frozenset({"call_function", "call_udf", "java_method", "reflect", "try_reflect"})
ACROSS_GROUPS = IN_BATCHES | BY_TEXT | frozenset(_WINDOW_NAMES.split())
MIXING = ACROSS_GROUPS | frozenset(_MIXING_NAMES.split())
ROW_BY_ROW = (None, 100, 101)  # Spark's numbers of Python functions that get one row at a time
# Their value differs from one computation of a row to the next.
_VOLATILE_NAMES = """
    current_date current_time current_timestamp curdate input_file_block_length
    input_file_block_start input_file_name localtimestamp monotonically_increasing_id now rand randn
    random randstr shuffle spark_partition_id uniform uuid
"""
VOLATILE = frozenset(_VOLATILE_NAMES.split())
TAKING_SQL = ("filter", "selectExpr", "where")  # methods; of the functions it is `expr`
# A function whose name only a run would tell is as good as one that mixes rows.
_IN_SQL = re.compile(
    rf"(?<!like )\b(over|{'|'.join(sorted(MIXING | VOLATILE))})\s*\("
    r"|\b(current_date|current_time|current_timestamp|localtimestamp)\b"
    r"|\(\s*(from|select|table|values|with)\s+[\w(]|(\0|%s|\{\w*\})\(",
    re.IGNORECASE,
)
_BESIDE_SQL = re.compile(r"`|/\*.*?\*/|--[^\r\n]*", re.DOTALL)
_QUOTES = re.compile("[`'\"\0]")  # within them, as maybe within what is unknown, is no comment

# What data frames do with one row at a time, or with none.
_FRAME_NAMES = """
    alias cache checkpoint coalesce colRegex columns drop dropna dtypes explain fill fillna filter
    hint inputFiles isLocal isStreaming localCheckpoint melt metadataColumn na orderBy persist
    printSchema repartition repartitionById repartitionByRange replace sameSemantics schema select
    selectExpr semanticHash show sort sortWithinPartitions sparkSession storageLevel to toDF
    transform unpersist unpivot where withColumn withColumnRenamed withColumns withColumnsRenamed
    withMetadata withWatermark
"""
# What sessions offer that is of use in a row-wise stage, or that columns may well be called.
_SESSION_NAMES = "active client conf range stop streams version"
ON_ONE_ROW = frozenset(f"{_FRAME_NAMES} {_SESSION_NAMES}".split())
# Fits and other looks at whole data frames, by Spark's ML, and ways around all that is read here.
_OTHER_NAMES = """
    _evaluate _fit _fit_java approxNearestNeighbors approxSimilarityJoin assignClusters evaluate
    evaluateEachIteration findFrequentSequentialPatterns fit fitMultiple logLikelihood logPerplexity
    __dict__ __getattr__ _jc _jdf _jsparkSession _jvm _plan _sc _session
"""
OVER = frozenset({"over"})
JOINS = ("crossJoin", "join")
CLASSES = (
    *("DataFrame", "DataFrameNaFunctions", "DataFrameStatFunctions", "GroupedData"),
    "SparkSession",
)


def mixing_methods() -> frozenset[str]:
    """All that Spark's data frames and sessions offer, but for what is known to be row by row."""
    return _mixing_methods(sys.modules.get("pyspark.sql"))  # it is there if anything is of Spark


@functools.cache
def _mixing_methods(spark: object) -> frozenset[str]:
    classes = [getattr(spark, name) for name in CLASSES if hasattr(spark, name)]
    offered = {name for cls in classes for name in dir(cls) if not name.startswith("__")}
    return OVER | (offered - ON_ONE_ROW) | {*_OTHER_NAMES.split()}


def named_in_sql(text: str) -> Iterator[str]:
    """Functions in a text of SQL that look at other rows or change from run to run.

    A subquery is called by its first word, and a function whose name only a run would tell by what
    stands in its place.
    """
    without = _BESIDE_SQL.sub(" ", text)
    for written in (text, without) if _QUOTES.search(text) else (without,):
        for found in _IN_SQL.finditer(written):
            yield next(filter(None, found.groups())).lower()
