"""Scored rows: a variant's stored predictions beside the stored truth.

Key, label, prediction and a number per class are little beside the features that a model is fitted
on, so those of one cell are read into the driver's memory, without a Spark job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.buckets import members
from ff_assets.core.cells import BUCKET
from ff_assets.core.errors import DataError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.instance import Instance, Variant, row_source
from ff_assets.core.operations import SparkOperation
from ff_assets.core.refusals import describe
from ff_assets.core.steps import CELLS
from ff_assets.engine.columns import private_columns
from ff_assets.engine.keys import disagreeing
from ff_assets.engine.regions import stored_bits
from ff_assets.engine.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """Labelled rows of a part of the data, as arrays of equal lengths.

    Attributes:
        keys: of the rows, of the finer of the entities that predictions and labels are about.
        label: the truth, as numbers.
        prediction: as numbers.
        scores: `probability` or `score`, if the stage gives one, as `evaluate` takes it.
        groups: the key by which rows were split.
        unlabelled: how many further rows have no label.
    """

    keys: "np.ndarray[Any, Any]"
    label: "np.ndarray[Any, Any]"
    prediction: "np.ndarray[Any, Any]"
    scores: Mapping[str, "np.ndarray[Any, Any]"]
    groups: "np.ndarray[Any, Any]"
    unlabelled: int


class Scored:
    """The rows of a variant that have a prediction.

    Attributes:
        variant: whose rows they are.

    Raises:
        DataError: a row that has to have a prediction has none, or a label is one of another group.
    """

    def __init__(self, variant: Variant, fingerprints: Fingerprints, store: Store) -> None:
        self.variant, self._split = variant, variant.split
        self._fingerprints, self._store = fingerprints, store
        self._cells = {cell: _Cell(variant, cell, fingerprints, store) for cell in CELLS}

    def part(self, buckets: int) -> Part:
        """The rows in some buckets, given as a bitmap."""
        import numpy as np

        touched = self._touched(buckets)
        rows = [cell.within(buckets) for cell in touched]
        labelled = [_labelled(each) for each in rows]
        scores = [cell.scores(each) for cell, each in zip(touched, labelled, strict=True)]

        def joined(name: str, dtype: str | None = None) -> "np.ndarray[Any, Any]":
            return np.concatenate([each[name].to_numpy(dtype=dtype) for each in labelled])

        return Part(
            keys=joined(touched[0].entity.key),
            label=joined(_LABEL, "float64"),
            prediction=joined(_PREDICTION, "float64"),
            scores={name: np.concatenate([s[name] for s in scores]) for name in scores[0]},
            groups=joined(_GROUP),
            unlabelled=sum(map(len, rows)) - sum(map(len, labelled)),
        )

    def values(self, feature: str, buckets: int) -> "pa.ChunkedArray":
        """A feature of the rows of `part`, in their order, or of what each of them belongs to.

        Null where there is none.
        """
        import pandas as pd
        import pyarrow as pa

        instance = self.variant.features[feature]
        tables = [
            _read(self._store, self._fingerprints, instance, cell, [feature]) for cell in CELLS
        ]
        table = pa.concat_tables(tables)
        known = pd.Index(table[instance.entity.key].to_pandas())
        touched = self._touched(buckets)
        rows = pd.concat([_labelled(cell.within(buckets)) for cell in touched])
        place = known.get_indexer(rows[touched[0].entity.key_of(instance.entity)])
        return table[feature].take(pa.array(place, mask=place < 0))

    def _touched(self, buckets: int) -> "list[_Cell]":
        """The stored cells that have rows in some buckets."""
        return [
            each for cell, each in self._cells.items() if stored_bits(self._split, cell) & buckets
        ]


# No feature begins with an underscore.
_LABEL, _PREDICTION, _POSITION, _GROUP = "_label", "_prediction", "_position", "_group"
_NAMED = "_named_"


class _Cell:
    """The rows of a stored cell that have a prediction.

    Attributes:
        entity: what a row is about.
        rows: with their label, prediction, bucket, key of the split, and position among the stored
            predictions. A prediction about a household is one about each of its offers, and the
            same goes for labels. A row whose label is null, or is to come from a row that is not
            there, is unlabelled.

    Raises:
        DataError: a row of the labels has to have a prediction, and has none; or a row belongs to
            another one of a coarser entity than what it is compared with.
    """

    def __init__(
        self, variant: Variant, cell: str, fingerprints: Fingerprints, store: Store
    ) -> None:
        target = variant.target
        assert target.label is not None
        predicted, truth = variant.prediction, variant.features[target.label]
        self._columns = _score_columns(predicted)
        features = [target.outputs[0], *self._columns.values()]
        self._predictions = _read(store, fingerprints, predicted, cell, features)
        predictions = self._predictions.drop_columns(list(self._columns.values())).to_pandas()
        predictions = predictions.rename(columns={target.outputs[0]: _PREDICTION})
        predictions[_POSITION] = range(len(predictions))
        labels = _read(store, fingerprints, truth, cell, [target.label]).to_pandas()
        labels = labels.rename(columns={target.label: _LABEL})
        predictable = labels[labels[BUCKET].isin(list(members(predicted.available)))]
        if truth.entity.is_below(predicted.entity):
            self.entity = truth.entity
            self.rows = _with(predictable, truth, predictions, predicted)
            lost = int(self.rows[_POSITION].isna().sum())
        else:
            self.entity = predicted.entity
            self.rows = _with(predictions, predicted, labels, truth)
            is_same = truth.entity == predicted.entity
            key = truth.entity.key
            lost = int((~predictable[key].isin(predictions[key])).sum()) if is_same else 0
        self.rows[_GROUP] = self.rows[self.entity.split_key]
        if lost:
            raise _unpredicted(variant, cell, lost, len(predictable))

    def within(self, buckets: int) -> "pd.DataFrame":
        """Those of its rows that are in some buckets."""
        return self.rows[self.rows[BUCKET].isin(list(members(buckets)))]

    def scores(self, rows: "pd.DataFrame") -> dict[str, "np.ndarray[Any, Any]"]:
        """What the stage ranks some of the rows by, as `evaluate` takes it."""
        return {
            name: matrix(self._predictions[column])[rows[_POSITION]]
            for name, column in self._columns.items()
        }


def _labelled(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows[rows[_LABEL].notna()]


def _with(
    rows: "pd.DataFrame", instance: Instance, others: "pd.DataFrame", other: Instance
) -> "pd.DataFrame":
    """Every row of an instance with what the row of another one has that it is, or belongs to.

    Raises:
        DataError: the two belong to different rows of a coarser entity.
    """
    mine, theirs = instance.entity, other.entity
    named = {key: f"{_NAMED}{key}" for key in theirs.foreign_keys}
    found = rows.merge(
        others.drop(columns=[BUCKET, *({theirs.time} - {None})]).rename(columns=named),
        how="left",
        left_on=mine.key_of(theirs),
        right_on=theirs.key,
        validate="many_to_one",
    )
    for ancestor in theirs.chain[1:]:
        key, known = mine.key_of(ancestor), named[theirs.key_of(ancestor)]
        apart = found[found[known].notna() & (found[key] != found[known])]
        if len(apart):
            row = apart.iloc[0]
            raise disagreeing(
                row_source(instance),
                row_source(other),
                theirs,
                ancestor,
                len(apart),
                (row[mine.key], row[mine.key_of(theirs)], row[key], row[known]),
            )
    return found.drop(columns=[*named.values()])


def _unpredicted(variant: Variant, cell: str, lost: int, rows: int) -> DataError:
    label = variant.target.label
    assert label is not None
    predicted, truth = row_source(variant.prediction), row_source(variant.features[label])
    return DataError(
        f"{lost:,} of the {rows:,} rows in {cell} with `{label}` have no prediction of "
        f"`{variant.name}`.",
        where=[describe(predicted.provider), describe(truth.provider), describe(variant.target)],
        why=f"predictions are made for the rows of source `{predicted.name}`, labels are of the "
        f"rows of `{truth.name}`. A metric without those rows would be one of another population.",
        fix=f"let the loader of `{predicted.name}` bring their rows, or that of `{truth.name}` "
        "leave out what is not to be predicted.",
    )


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
    store: Store, fingerprints: Fingerprints, instance: Instance, cell: str, features: list[str]
) -> "pa.Table":
    import pyarrow.parquet as pq

    path: Path = store.table_path(fingerprints[instance]) / f"cell={cell}"
    # Partitioning is off: the cell is in the path already.
    columns = [*instance.entity.columns, BUCKET, *features]
    return pq.read_table(path, columns=columns, partitioning=None)


def matrix(column: "pa.ChunkedArray") -> "np.ndarray[Any, Any]":
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
