"""Code that mixes rows is found by file and line, and code that does not is left alone."""

import inspect
import linecache
import re
from pathlib import Path

import pyspark.sql
import pytest
from pyspark.ml import Transformer, classification, clustering, feature
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions

from ff_assets.core.rowwise import mixing
from ff_assets.core.spark_names import CLASSES, MIXING, ON_ONE_ROW, VOLATILE, mixing_methods
from ff_assets_tests.core import mixing_code as code
from ff_assets_tests.core.mixing_by_name import BY_NAME
from ff_assets_tests.core.mixing_detours import DETOURS
from ff_assets_tests.core.mixing_kept import KEPT
from ff_assets_tests.core.row_wise_code import ROW_WISE


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
        *ROW_WISE,
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
    assert "other rows" in found.reason.why


@pytest.mark.parametrize("declared", [*DETOURS, *BY_NAME, *KEPT])
def test_a_detour_is_found(declared):
    found = mixing(declared)
    assert found is not None
    line = linecache.getline(found.location.file, found.location.line)
    assert line.endswith("# found\n"), found


def in_batches(age):
    return functions.pandas_udf(lambda ages: ages * 2, "double")(age)


def by_text(age):
    return functions.call_function("upper", age)


class Looking(Transformer):
    """A transformer that looks values up in another frame."""

    def _transform(self, dataset):
        return dataset.join(functions.broadcast(self.lookup), "town")


class Sending(Transformer):
    """A transformer that wants a session that is not Connect's."""

    def _transform(self, dataset):
        return dataset.withColumn("b", dataset.sparkSession.sparkContext.broadcast({"a"}))


@pytest.mark.parametrize(
    ("declared", "way_out"),
    [
        (in_batches, "@F.udf"),
        (by_text, "by its own name"),
        (Looking, "F.create_map"),
        (Sending, "closure"),
        (code.today, "column of a source"),
        (code.Kept, "words: list[str]"),
    ],
)
def test_each_reason_names_its_own_way_out(declared, way_out: str):
    found = mixing(declared)
    assert found is not None
    assert way_out in found.reason.fix


@pytest.mark.parametrize("declared", [code.randomly, code.numbered, code.today])
def test_what_differs_from_run_to_run_is_found(declared):
    found = mixing(declared)
    assert found is not None
    assert "each time" in found.reason.why


def test_what_spark_offers_is_refused_unless_it_is_known_to_be_row_by_row():
    offered = {name for each in CLASSES for name in dir(getattr(pyspark.sql, each))}
    refused = mixing_methods()
    assert offered >= ON_ONE_ROW, "Spark does not have them any more"
    assert ON_ONE_ROW.isdisjoint(refused)
    public = {name for name in offered if not name.startswith("_")}
    assert public - ON_ONE_ROW <= refused
    assert refused >= {
        "groupBy",
        "join",
        "collect",
        "rdd",
        "sql",
        "table",
        "pandas_api",
        "_joinAsOf",
    }


def test_every_fit_of_spark_is_refused():
    modules = (classification, clustering, feature)
    kinds = [each for of in modules for _, each in inspect.getmembers(of, inspect.isclass)]
    methods = {
        name
        for cls in kinds
        for name, _ in inspect.getmembers(cls, inspect.isfunction)
        if re.match("_?fit", name)
    }
    assert methods >= {"fit", "_fit", "fitMultiple"}
    assert methods <= mixing_methods()


def test_every_aggregate_and_window_function_of_spark_is_known():
    text = Path(functions.__file__).read_text()
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
