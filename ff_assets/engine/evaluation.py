"""Evaluating a variant: its stored predictions beside the stored truth, per cell.

Two columns of one cell fit into a driver's memory long before a model's training data does,
so the rows are read from the store directly, without a Spark job.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Instance, Variant
from ff_assets.core.operations import SparkOperation
from ff_assets.core.refusals import describe
from ff_assets.core.split import TEST
from ff_assets.core.steps import CELLS
from ff_assets.engine.columns import private_columns
from ff_assets.engine.metrics import NoMetric, evaluate
from ff_assets.engine.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def evaluate_variant(variant: Variant, fingerprints: Fingerprints, store: Store) -> dict[str, Any]:
    """The metrics of a variant on train and test, as plain values.

    Returns:
        cell -> {"rows": rows with a label, "unlabelled": rows without one, "metrics": metric ->
        {"value", "low", "high", "method"}}; the interval is there on test only.

    Raises:
        NoMetric: a metric is not defined, for example because a cell has one class only.
    """
    target = variant.target
    assert target.label is not None
    assert target.task is not None
    key = variant.entity.key
    predicted, truth = variant.prediction, variant.features[target.label]
    scores = _score_columns(predicted)
    result: dict[str, Any] = {}
    for cell in CELLS:
        predictions = _read(
            store, fingerprints, predicted, cell, [key, target.outputs[0], *scores.values()]
        )
        labels = _read(store, fingerprints, truth, cell, [key, target.label])
        if target.label == target.outputs[0]:
            labels = labels.rename(columns={target.label: "__label"})
        label = target.label if target.label in labels else "__label"
        rows = predictions.merge(labels, on=key, validate="one_to_one")
        labelled = rows[rows[label].notna()]
        try:
            metrics = evaluate(
                target.task,
                labelled[label].to_numpy(dtype="float64"),
                labelled[target.outputs[0]].to_numpy(dtype="float64"),
                **{name: _matrix(labelled[column]) for name, column in scores.items()},
                interval=cell == TEST,
            )
        except NoMetric as error:
            raise NoMetric(
                f"`{variant.name}` has no metric on {cell}: {error.what}",
                where=[describe(target)],
                why=error.why,
                fix=error.fix,
            ) from error
        result[cell] = {
            "rows": len(labelled),
            "unlabelled": len(rows) - len(labelled),
            "metrics": {
                m.name: {"value": m.value, "low": m.low, "high": m.high, "method": m.method}
                for m in metrics.values()
            },
        }
    return result


def _score_columns(instance: Instance) -> dict[str, str]:
    """Which stored column holds the probability, or else what a stage ranks by."""
    operation = getattr(instance.provider, "operation", None)
    if not isinstance(operation, SparkOperation):
        return {}
    columns = {**operation.writes, **private_columns(instance)}
    for name, parameter in (("probability", "probabilityCol"), ("score", "rawPredictionCol")):
        column = columns.get(parameter)
        if isinstance(column, str):
            return {name: column}
    return {}


def _read(
    store: Store, fingerprints: Fingerprints, instance: Instance, cell: str, columns: list[str]
) -> "pd.DataFrame":
    import pyarrow.parquet as pq

    path: Path = store.table_path(fingerprints[instance]) / f"cell={cell}"
    # Partitioning is off: the cell is in the path already.
    return pq.read_table(path, columns=columns, partitioning=None).to_pandas()


def _matrix(vectors: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
    """Spark's vectors, as Parquet has them, as rows of a matrix."""
    import numpy as np

    if len(vectors) == 0 or not isinstance(vectors.iloc[0], dict):
        return vectors.to_numpy(dtype="float64")
    first = vectors.iloc[0]
    if any(vector["type"] != 1 for vector in vectors):  # 1: dense, 0: sparse
        size = max(v["size"] or len(v["values"]) for v in vectors)
        dense = np.zeros((len(vectors), size))
        for row, vector in enumerate(vectors):
            indices = slice(None) if vector["type"] == 1 else vector["indices"]
            dense[row, indices] = vector["values"]
        return dense
    return np.concatenate([v["values"] for v in vectors]).reshape(-1, len(first["values"]))
