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
from ff_assets.core.accounts import Accounts
from ff_assets.core.cells import BUCKET
from ff_assets.core.errors import DataError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import infer
from ff_assets.core.influence import accounts_of
from ff_assets.core.instance import Variant
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS
from ff_assets.engine.evaluation import evaluate_variant
from ff_assets.engine.scored import Scored
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
    prints = Fingerprints({"items": "1"}, engine="4.3.0", reading="1", metrics="1", comparing="1")
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

    result = evaluate_variant(Scored(variant, prints, store), accounts_of(FLOW))["test"]

    labelled = keys % 5 != 0
    assert (result["rows"], result["unlabelled"]) == (80, 20)
    auc = roc_auc_score(good[labelled], p[labelled])
    assert result["metrics"]["auc"]["value"] == pytest.approx(auc, abs=1e-12)


# Rows that are not on both sides

household = Entity("household", key="household_id")
offer = Entity("offer", key="offer_id", parent=household, foreign_key="household_id")


def scored(predicted: Entity, labelled: Entity) -> Variant:
    """A variant that predicts for rows of one entity a label of another, or of the same."""
    given = {"load": len, "version": "1"}
    seen = Source("seen", entity=predicted, features={"x": "double"}, **given)
    told = Source("told", entity=labelled, features={"y": "double"}, labels=["y"], **given)
    target = Target("t", outputs=["x"], label="y", task="regression")
    (variant,) = infer(Project((seen, told), (), (target,))).variants
    return variant


def measured(
    folder: Path, variant: Variant, predictions: pa.Table, labels: pa.Table
) -> dict[str, Any]:
    prints = Fingerprints(
        {"seen": "1", "told": "1"}, engine="4.3.0", reading="1", metrics="1", comparing="1"
    )
    prints.add(variant.instances)
    store, accounts = Store(folder), Accounts(variant.instances, labels=(), salt="")
    for instance, table in ((variant.prediction, predictions), (variant.features["y"], labels)):
        for cell in CELLS:
            path = store.table_path(prints[instance]) / f"cell={cell}"
            path.mkdir(parents=True)
            bucket = pa.array([HashSplit().cells[cell].start] * len(table), pa.int32())
            pq.write_table(table.append_column(BUCKET, bucket), path / "part.parquet")
    found: dict[str, Any] = evaluate_variant(Scored(variant, prints, store), accounts)["test"]
    return found


def of_offers(name: str, *keys: int) -> pa.Table:
    """Two offers to each household."""
    belongs = [f"h{key // 2}" for key in keys]
    return pa.table(
        {"offer_id": list(keys), "household_id": belongs, name: [float(key) for key in keys]}
    )


def of_households(name: str, *keys: int) -> pa.Table:
    return pa.table(
        {"household_id": [f"h{key}" for key in keys], name: [float(key) for key in keys]}
    )


def test_a_row_whose_label_is_nowhere_is_unlabelled(tmp_path: Path) -> None:
    found = measured(
        tmp_path,
        scored(offer, household),
        of_offers("x", *range(8)),
        of_households("y", 0, 1, 3, 7),  # h2 is missing; h7 has no offer
    )
    assert (found["rows"], found["unlabelled"], found["groups"]) == (6, 2, 3)
    assert found["metrics"]["mae"]["value"] == pytest.approx((0 + 1 + 1 + 2 + 3 + 4) / 6)


def test_so_is_one_of_the_same_entity(tmp_path: Path) -> None:
    found = measured(
        tmp_path,
        scored(household, household),
        of_households("x", 0, 1, 2, 3),
        of_households("y", 3, 1, 0),
    )
    assert (found["rows"], found["unlabelled"]) == (3, 1)


@pytest.mark.parametrize("predicted", [household, offer])
def test_a_label_without_its_prediction_is_an_error(tmp_path: Path, predicted: Entity) -> None:
    predictions = (
        of_households("x", 0, 1, 2) if predicted == household else of_offers("x", *range(6))
    )
    with pytest.raises(DataError) as caught:
        measured(tmp_path, scored(predicted, offer), predictions, of_offers("y", *range(8)))
    assert caught.value.what == "2 of the 8 rows in train with `y` have no prediction of `t`."
    assert "rows of source `seen`" in caught.value.why


def test_a_prediction_about_a_household_is_one_about_each_of_its_offers(tmp_path: Path) -> None:
    found = measured(
        tmp_path, scored(household, offer), of_households("x", *range(9)), of_offers("y", *range(8))
    )
    assert (found["rows"], found["unlabelled"], found["groups"]) == (8, 0, 4)
