"""The work as a usual Dagster project: an asset per stage, each step in a process of its own.

Between the steps stands Parquet. Dagster's default executor starts a process for each step, and
with it a JVM. `run` executes this module's job from outside, as a person would.
"""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame, SparkSession

from ff_assets.core.cells import TRAIN
from ff_assets_tests.bench.workload import (
    KEY,
    LABELS,
    VECTORISERS,
    auc_on_test,
    classifier,
    labels_by_key,
    read_rows,
    spark_session,
    tokenizer,
    variants,
    vectoriser,
    write_predictions,
)

DATA, OUT = "FF_BENCH_DATA", "FF_BENCH_OUT"


def run(data: Path, out: Path) -> dict[str, float]:
    """Do all the work.

    Returns:
        Variant -> test AUC.

    Raises:
        RuntimeError: a step failed.
    """
    home = out / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", "-m", __name__, "-j", "everything"],
        env={**os.environ, "DAGSTER_HOME": str(home), DATA: str(data), OUT: str(out)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the step-per-asset project failed:\n{done.stderr[-4000:]}")
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/auc.json")}


def _out(*parts: str) -> Path:
    return Path(os.environ[OUT], *parts)


def _read(spark: SparkSession, name: str) -> DataFrame:
    return spark.read.parquet(str(_out(name, "rows")))


def _apply(stage: Any, rows: DataFrame, name: str) -> None:
    """Fit a stage where it has a fit, apply it, and write what later steps read."""
    written = stage.getOutputCol()
    if hasattr(stage, "fit"):
        stage = stage.fit(rows.where(rows["cell"] == TRAIN))
        stage.write().save(str(_out(name, "model")))
    kept = stage.transform(rows).select(KEY, "cell", *LABELS.values(), written)
    kept.write.parquet(str(_out(name, "rows")))


@dg.asset
def tokens() -> None:
    rows = read_rows(spark_session(), Path(os.environ[DATA]))
    _apply(tokenizer(), rows, "tokens")


def _stage_asset(name: str, stage: tuple[str, int], parent: str) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=[parent])
    def applied() -> None:
        rows = _read(spark_session(), parent)
        vector, position = stage
        _apply(vectoriser(vector)[position], rows, name)

    return applied


def _variant_asset(target: str, kind: str, vector: str) -> dg.AssetsDefinition:
    name = f"{target}_{kind}_{vector}"

    @dg.asset(name=name, deps=[vector])
    def measured() -> None:
        data, label, predictions = Path(os.environ[DATA]), LABELS[target], _out(name, "predictions")
        rows = _read(spark_session(), vector)
        train = rows.where((rows["cell"] == TRAIN) & rows[label].isNotNull())
        model = classifier(kind, label).fit(train)
        model.write().save(str(_out(name, "model")))
        write_predictions(model.transform(rows), predictions)
        auc = auc_on_test(predictions, labels_by_key(data), label)
        _out(name, "auc.json").write_text(json.dumps(auc))

    return measured


def _assets() -> list[dg.AssetsDefinition]:
    assets = [tokens]
    for vector, steps in VECTORISERS.items():
        names = ["tokens", *(f"{vector}_{i}" for i in range(len(steps) - 1)), vector]
        for position, (parent, name) in enumerate(pairwise(names)):
            assets.append(_stage_asset(name, (vector, position), parent))
    return assets + [_variant_asset(*variant) for variant in variants()]


defs = dg.Definitions(
    assets=_assets(),
    jobs=[dg.define_asset_job("everything")],
    executor=dg.multiprocess_executor.configured({"max_concurrent": 2}),
)
