"""The names in Spark by which code looks at other rows than one at a time."""

import re

FUNCTIONS = ("pyspark.sql.functions", "pyspark.sql.connect.functions")
# Windows, and what computes from whole data frames when it is constructed or called.
MIXING_MODULES = (
    "pyspark.ml.stat",
    "pyspark.mllib",
    "pyspark.pandas",
    "pyspark.sql.connect.window",
    "pyspark.sql.window",
)

# Spark's aggregate and window functions, as its reference groups them.
_MIXING_NAMES = """
    any_value approx_count_distinct approx_percentile array_agg avg bit_and bit_or bit_xor
    bitmap_and_agg bitmap_construct_agg bitmap_or_agg bool_and bool_or collect_list collect_set
    collect_union corr count count_distinct countDistinct count_if count_min_sketch covar_pop
    covar_samp every first first_value grouping grouping_id histogram_numeric hll_sketch_agg
    hll_union_agg kll_merge_agg_bigint kll_merge_agg_double kll_merge_agg_float
    kll_sketch_agg_bigint kll_sketch_agg_double kll_sketch_agg_float kurtosis last last_value
    listagg listagg_distinct max max_by mean median min min_by mode percentile percentile_approx
    product regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
    regr_syy skewness some std stddev stddev_pop stddev_samp string_agg string_agg_distinct sum
    sum_distinct sumDistinct theta_intersection_agg theta_sketch_agg theta_union_agg try_avg
    try_sum tuple_intersection_agg_double tuple_intersection_agg_integer tuple_sketch_agg_double
    tuple_sketch_agg_integer tuple_union_agg_double tuple_union_agg_integer var_pop var_samp
    variance
"""
_WINDOW_NAMES = """
    counter_diff cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number
"""
# They are given many rows at a time, or a function that only its name tells of.
_BATCH_NAMES = "arrow_udf call_function call_udf pandas_udf"
ACROSS_GROUPS = frozenset(f"{_WINDOW_NAMES} {_BATCH_NAMES}".split())
MIXING = ACROSS_GROUPS | frozenset(_MIXING_NAMES.split())
ROW_BY_ROW = (None, 100, 101)  # Spark's numbers of Python functions that get one row at a time
# Their value differs from one computation of a row to the next.
_VOLATILE_NAMES = """
    current_date current_time current_timestamp curdate input_file_block_length
    input_file_block_start input_file_name localtimestamp monotonically_increasing_id now rand randn
    random randstr shuffle spark_partition_id uniform uuid
"""
VOLATILE = frozenset(_VOLATILE_NAMES.split())
SQL = ("expr", "selectExpr", "sql")
IN_SQL = re.compile(
    rf"\b(over|{'|'.join(sorted(MIXING | VOLATILE))})\s*\(|\(\s*(select)\b", re.IGNORECASE
)
ON_COLUMNS = frozenset({"over"})
BATCHES = frozenset(f"{_BATCH_NAMES} predict_batch_udf".split())
# What a data frame does with other rows than one at a time: it groups, joins or counts them, gives
# them to Python or to others, or makes them known by a name. `test_rowwise.py` decides on each
# method of Spark's.
_FRAME_METHODS = """
    agg approxQuantile asTable collect corr count cov createGlobalTempView
    createOrReplaceGlobalTempView createOrReplaceTempView createTempView crossJoin crosstab cube
    describe distinct dropDuplicates dropDuplicatesWithinWatermark drop_duplicates exceptAll
    executionInfo exists first foreach foreachPartition freqItems groupBy groupby groupingSets head
    intersect intersectAll isEmpty join lateralJoin limit mapInArrow mapInPandas mergeInto
    nearestByJoin observe offset pandas_api pivot plot randomSplit rdd registerTempTable rollup
    sample sampleBy scalar subtract summary tail take toArrow toJSON toLocalIterator toPandas
    transpose union unionAll unionByName write writeStream writeTo zip zipWithIndex
"""
# What a session does to reach rows that were made known, and what is done with a whole data frame.
_SESSION_METHODS = "catalog sparkContext sql table tvf udtf"
_FITS = """
    approxNearestNeighbors approxSimilarityJoin assignClusters evaluate
    findFrequentSequentialPatterns fit fitMultiple logLikelihood logPerplexity
"""
_UNREADABLE = "_jc _jdf _jsparkSession _jvm _sc"
ON_FRAMES = ON_COLUMNS | frozenset(
    f"{_FRAME_METHODS} {_SESSION_METHODS} {_FITS} {_UNREADABLE}".split()
)
# Functions that take the name of what they get as a text.
BY_NAME = ("attrgetter", "getattr", "methodcaller")
