"""Evaluating a variant: its stored predictions beside the stored truth, per cell.

Key, label, prediction and a number per class are little beside the features that a model is fitted
on, so those of one cell are read into the driver's memory, without a Spark job.
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
    import pyarrow as pa


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
        stored = _read(
            store, fingerprints, predicted, cell, [key, target.outputs[0], *scores.values()]
        )
        predictions = stored.select([key, target.outputs[0]]).to_pandas()
        predictions["__row"] = range(len(predictions))
        labels = _read(store, fingerprints, truth, cell, [key, target.label]).to_pandas()
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
                **{n: _matrix(stored[column])[labelled["__row"]] for n, column in scores.items()},
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
) -> "pa.Table":
    import pyarrow.parquet as pq

    path: Path = store.table_path(fingerprints[instance]) / f"cell={cell}"
    # Partitioning is off: the cell is in the path already.
    return pq.read_table(path, columns=columns, partitioning=None)


def _matrix(column: "pa.ChunkedArray") -> "np.ndarray[Any, Any]":
    """Spark's vectors, as Parquet has them, as rows of a matrix; or a column of numbers."""
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_struct(column.type):
        return column.to_numpy()
    parts = [_rows(vectors) for vectors in column.chunks if len(vectors)]
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def _rows(vectors: "pa.StructArray") -> "np.ndarray[Any, Any]":
    import numpy as np

    if np.all(vectors.field("type").to_numpy(zero_copy_only=False) == 1):  # 1: dense, 0: sparse
        return vectors.field("values").flatten().to_numpy().reshape(len(vectors), -1)
    values = vectors.to_pylist()
    size = max(v["size"] or len(v["values"]) for v in values)
    dense = np.zeros((len(values), size))
    for row, vector in enumerate(values):
        indices = slice(None) if vector["type"] == 1 else vector["indices"]
        dense[row, indices] = vector["values"]
    return dense
