"""The rows of test that a variant was measured on, kept beside its evaluation.

Key, label, prediction, and what the stage ranks by, under the evaluation's fingerprint, which the
certificate of a registered version names. So two versions can be compared on the same rows long
after the declarations and the data that they were made from.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import CELL, TEST
from ff_assets.core.instance import Variant
from ff_assets.engine.scored import Part
from ff_assets.engine.store import Record, Staging, Store, size_of
from ff_assets.stats.metrics import NoMetric
from ff_assets.stats.paired import Difference, Predictions, compare

if TYPE_CHECKING:
    import pandas as pd

_KEY, _LABEL, _PREDICTION, _GROUP = "key", "label", "prediction", "group"
_SCORES = ("probability", "score")  # as `Part` and `Predictions` have them
_MEASURED = "measured"


class NotTogether(Exception):
    """Two variants cannot be compared on the same rows; its text says why, within a sentence."""


@dataclass(frozen=True)
class OnCommonRows:
    """Two variants on the rows of test that both were measured on.

    Attributes:
        difference: the first one's metric minus the second's.
        rows: how many rows both have, with equal labels.
        relabelled: how many more both have, with another label each. They are left out.
        of: how many rows of test each of them has.
    """

    difference: Difference
    rows: int
    relabelled: int
    of: tuple[int, int]


def keep(variant: Variant, rows: Part, evaluation: str, staging: Staging) -> None:
    """Keep the rows of test that a variant was measured on.

    Args:
        evaluation: the fingerprint of the evaluation.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        _KEY: rows.keys,
        _LABEL: rows.label,
        _PREDICTION: rows.prediction,
        _GROUP: rows.groups,
        **{
            f"{name}_{place}": values
            for name, scores in rows.scores.items()
            for place, values in enumerate(scores.reshape(len(scores), -1).T)
        },
    }
    directory = staging.directory()
    cell = directory / f"{CELL}={TEST}"
    cell.mkdir(parents=True)
    pq.write_table(pa.table(columns), cell / "rows.parquet")
    measured = {"entity": variant.entity.name, "label": variant.target.label}
    record = Record(
        evaluation, 0.0, rows=len(rows.keys), size=size_of(cell), details={_MEASURED: measured}
    )
    staging.add_table(directory, {TEST: record})


def on_common_rows(
    store: Store, task: str, metric: str, first: tuple[str, str], second: tuple[str, str]
) -> OnCommonRows:
    """Compare two variants on the rows that both have in test, as each was split and measured.

    A row that one of them has in train, or under another label, has no part in it.

    Args:
        task: of the target, as `evaluate` takes it.
        first: how it is called, and the fingerprint of its evaluation.
        second: likewise.

    Raises:
        NotTogether: rows are gone from the store, none is common, or these have no such metric.
    """
    (one, asked), (other, asked_of_other) = (_kept(store, *each) for each in (first, second))
    if asked != asked_of_other:
        raise NotTogether(f"one is measured by {_told(asked)}, and one by {_told(asked_of_other)}")
    sizes = len(one), len(other)
    places = other.index.get_indexer(one.index)
    one, other = one[places >= 0], other.iloc[places[places >= 0]]
    if one.empty:
        raise NotTogether("no row of test is common to both")
    agree = one[_LABEL].to_numpy() == other[_LABEL].to_numpy()
    if not agree.any():
        raise NotTogether("all rows of test that are common to both are labelled differently")
    one, other = one[agree], other[agree]
    groups = one[_GROUP].to_numpy()
    try:
        found = compare(
            task,
            metric,
            one[_LABEL].to_numpy(),
            {first[0]: _predictions(one), second[0]: _predictions(other)},
            groups=groups if len(set(groups)) < len(groups) else None,
        )
    except NoMetric as error:
        raise NotTogether(
            f"on the {len(one):,} rows of test that both have with the same label, {error.what}"
        ) from error
    difference = found.difference(first[0], second[0])
    if difference.low is None:
        raise NotTogether(
            f"the {len(one):,} rows of test that both have with the same label do not say how sure "
            f"the difference of {difference.value:+.4f} is"
        )
    return OnCommonRows(difference, len(one), int((~agree).sum()), sizes)


def _kept(store: Store, name: str, evaluation: str) -> "tuple[pd.DataFrame, dict[str, str]]":
    """The rows that were kept, by their keys, and what they were measured by."""
    import pyarrow.parquet as pq

    if not evaluation:
        raise NotTogether(f"{name} has no certificate, which would name its rows of test")
    record = store.table(evaluation, TEST)
    if record is None:
        raise NotTogether(f"the rows of test that {name} was measured on are gone from the store")
    path = store.table_path(evaluation) / f"{CELL}={TEST}"
    rows = pq.read_table(path, partitioning=None).to_pandas().set_index(_KEY)
    return rows, record.details[_MEASURED]


def _told(measured: dict[str, str]) -> str:
    return f"`{measured['label']}` of each {measured['entity']}"


def _predictions(rows: "pd.DataFrame") -> Predictions:
    scores = {}
    for name in _SCORES:
        columns = [column for column in rows if column.startswith(f"{name}_")]
        if columns:
            values = rows[columns].to_numpy()
            scores[name] = values if len(columns) > 1 else values[:, 0]
    return Predictions(rows[_PREDICTION].to_numpy(), **scores)
