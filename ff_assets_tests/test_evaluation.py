"""A variant is measured by its stored predictions, however Spark stored them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.classification import LogisticRegression
from sklearn.metrics import roc_auc_score

from ff_assets import Entity, HashSplit, Source, Target, stage
from ff_assets.core.cells import BUCKET
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS
from ff_assets.engine.evaluation import evaluate_variant
from ff_assets.engine.store import Store

FLOW = infer(
    Project(
        (
            Source(
                "items",
                entity=Entity("item", key="item_id"),
                load=len,
                features={"vector": "array<double>", "good": "double"},
                labels=["good"],
                version="1",
            ),
        ),
        (stage(LogisticRegression, featuresCol="vector", labelCol="good", predictionCol="p"),),
        (Target("t", outputs=["p"], label="good", task="binary"),),
    )
)
VECTOR = pa.struct(
    {
        "type": pa.int8(),
        "size": pa.int32(),
        "indices": pa.list_(pa.int32()),
        "values": pa.list_(pa.float64()),
    }
)

Vector = dict[str, Any]


def dense(p: float) -> Vector:
    return {"type": 1, "size": None, "indices": None, "values": [1 - p, p]}


def sparse(p: float) -> Vector:
    return {"type": 0, "size": 2, "indices": [0, 1], "values": [1 - p, p]}


def mixed(p: float) -> Vector:
    return dense(p) if p < 0.5 else sparse(p)


@pytest.mark.parametrize("vector", [dense, sparse, mixed])
def test_labels_and_probabilities_of_a_row_find_together(
    tmp_path: Path, vector: Callable[[float], Vector]
) -> None:
    """In other orders, some without a label, and in several parts of a file."""
    random = np.random.default_rng(1)
    keys, good = np.arange(100), random.integers(0, 2, 100).astype(float)
    p = np.clip(random.normal(0.4 + 0.2 * good, 0.2), 0.01, 0.99)
    labels = [None if key % 5 == 0 else good[key] for key in keys]
    order = random.permutation(keys)

    store = Store(tmp_path)
    prints = Fingerprints({"items": "1"}, engine="4.3.0", metrics="1")
    prints.add(FLOW.instances)
    (variant,) = FLOW.variants
    source, predicted = variant.features["good"], variant.prediction
    truth = pa.table({"item_id": keys, "good": pa.array(labels, pa.float64())})
    scored = pa.table(
        {
            "item_id": order,
            "p": (p[order] > 0.5).astype(float),
            "_probability": pa.array([vector(p[key]) for key in order], VECTOR),
        }
    )
    for instance, table in ((source, truth), (predicted, scored)):
        for cell in CELLS:
            folder = store.table_path(prints[instance]) / f"cell={cell}"
            folder.mkdir(parents=True)
            bucket = pa.array([HashSplit().cells[cell].start] * len(table), pa.int32())
            whole = table.append_column(BUCKET, bucket)
            pq.write_table(whole, folder / "part.parquet", row_group_size=30)

    result = evaluate_variant(variant, prints, store)["test"]

    labelled = keys % 5 != 0
    assert (result["rows"], result["unlabelled"]) == (80, 20)
    auc = roc_auc_score(good[labelled], p[labelled])
    assert result["metrics"]["auc"]["value"] == pytest.approx(auc, abs=1e-12)
