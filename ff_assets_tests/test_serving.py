"""A registered model scores raw text as the run did, bit for bit, where the project is not."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ff_assets.core.instance import Variant
from ff_assets.core.steps import Kind, Step
from ff_assets_tests.running import QUICK_JAVA, WholeRun

pytestmark = pytest.mark.xdist_group("whole")

ELSEWHERE = """
import importlib.util, json, sys
assert importlib.util.find_spec("ff_assets") is None
tracking_uri, java_options, rows, scored, models = sys.argv[1:]
import mlflow
from pyspark.sql import SparkSession
spark = (
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "1g").config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.extraJavaOptions", java_options).getOrCreate()
)
mlflow.set_tracking_uri(tracking_uri)
for name, uri in json.loads(models).items():
    model = mlflow.spark.load_model(uri)
    model.transform(spark.read.parquet(rows)).write.parquet(f"{scored}/{name}")
"""
PRIVATE = ("probability", "rawPrediction")  # Spark's default columns, stored behind `_`


@pytest.fixture(scope="module")
def scored(whole: WholeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every registered version makes of the raw texts, in a process without the project."""
    folder = tmp_path_factory.mktemp("scored")
    raw = pq.read_table(whole.file).drop_columns(["is_positive", "is_severe"])
    pq.write_table(raw, folder / "rows.parquet")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    models = {}
    for variant in whole.flow.variants:
        registered = whole.ran.assets["/".join(Step(Kind.REGISTRATION, variant).path)][""]
        models[variant.slug] = registered["registered_model"]
    # Without `site`, an editable installation of the project is not found either.
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    ended = subprocess.run(
        [
            *(sys.executable, "-S", "-c", ELSEWHERE, whole.home.tracking_uri, QUICK_JAVA),
            *(str(folder / "rows.parquet"), str(folder), json.dumps(models)),
        ],
        cwd=elsewhere,
        env={
            **{name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ},
            "PYTHONPATH": os.pathsep.join(sorted(packages)),
            "HOME": str(elsewhere),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


def exact(value: Any) -> object:
    if isinstance(value, float):
        return value.hex()
    return value.toArray().tobytes() if hasattr(value, "toArray") else value


@pytest.mark.parametrize("index", range(4))
def test_every_variant_scores_bit_for_bit(
    whole: WholeRun, spark: SparkSession, scored: Path, index: int
) -> None:
    variant: Variant = whole.flow.variants[index]
    read = spark.read.parquet(str(scored / variant.slug)).collect()
    there = {row["review_id"]: row for row in read}
    here = whole.stored(spark, variant)
    output = variant.target.outputs[0]

    assert set(there) == set(here) == set(whole.rows)
    assert len({exact(row["_probability"]) for row in here.values()}) > 5
    for key, row in here.items():
        assert exact(there[key][output]) == exact(row[output])
        for name in PRIVATE:
            assert exact(there[key][name]) == exact(row[f"_{name}"])


def test_outputs_beyond_the_first_are_there_too(
    whole: WholeRun, spark: SparkSession, scored: Path
) -> None:
    variant = next(v for v in whole.flow.variants if v.name == "severity[tfidf]")
    path = whole.home.store.table_path(whole.fingerprints[variant.features["topic"]])
    here = {row["review_id"]: row["topic"] for row in spark.read.parquet(str(path)).collect()}
    there = spark.read.parquet(f"{scored}/{variant.slug}").collect()

    assert {row["review_id"]: row["topic"] for row in there} == here
    assert len(set(here.values())) > 1
