"""Code that mixes rows is found by file and line, and code that does not is left alone."""

import linecache
import re
from pathlib import Path

import pyspark.sql.functions
import pytest
from pyspark.ml.feature import VectorAssembler

from ff_assets.core.rowwise import MIXING, VOLATILE, mixing
from ff_assets_tests.core import mixing_code as code


@pytest.mark.parametrize(
    "declared",
    [code.greatest, code.over_an_array, code.in_sql, code.hashed, code.Doubler, VectorAssembler],
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
        (code.Deduplicated, "dropDuplicates"),
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
