"""The metric of a variant on slices of test: rows that have the same value of a feature.

A slice is there to be seen. It has fewer rows than test, so its interval is wider; of twenty slices
one differs from the whole by luck alone.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ff_assets.core.errors import DataError
from ff_assets.core.instance import Variant
from ff_assets.core.refusals import describe
from ff_assets.engine.scored import Part
from ff_assets.stats.metrics import NoMetric, evaluate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Mask = np.ndarray[Any, np.dtype[np.bool_]]

LARGEST = 20
"""So many values of a feature have a slice of their own."""
FEWEST = 10
"""So many rows a slice needs for a metric."""
NONE, REST = "(none)", "(the rest)"
_LONGEST = 40  # characters of a value that are shown


def sliced(
    variant: Variant, feature: str, values: "pa.ChunkedArray", part: Part, metric: str
) -> list[dict[str, Any]]:
    """A metric on each slice of a part, as plain values.

    Args:
        values: the feature of each row of the part.
        metric: the name of one that the whole part has.

    Returns:
        For each slice its "feature", "value" in words, "rows" and "groups"; "metric" and its
        "estimate" ("value", "low", "high", "method"), both `None` where it has none, and then
        "why".

    Raises:
        DataError: the feature has values that slice nothing, such as vectors.
    """
    target = variant.target
    assert target.task is not None
    found = []
    for value, rows in _slices(variant, feature, values):
        count = int(rows.sum())
        estimate, why = None, f"fewer than {FEWEST} rows"
        if count >= FEWEST:
            try:
                metrics = evaluate(
                    target.task,
                    part.label[rows],
                    part.prediction[rows],
                    **{name: scores[rows] for name, scores in part.scores.items()},
                    groups=part.groups[rows],
                    interval=[metric],
                )
                estimate, why = metrics.get(metric), f"{metric} needs rows of every class"
            except NoMetric as error:
                why = error.what
        found.append(
            {
                "feature": feature,
                "value": value,
                "rows": count,
                "groups": len(set(part.groups[rows])),
                "metric": None if estimate is None else metric,
                "estimate": None
                if estimate is None
                else {name: v for name, v in asdict(estimate).items() if name != "name"},
                "why": why if estimate is None else None,
            }
        )
    return found


def _slices(
    variant: Variant, feature: str, values: "pa.ChunkedArray"
) -> "Iterator[tuple[str, Mask]]":
    """The slices in words and by rows, (n,); those of numbers in order, others by size."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
        raise _unsliceable(variant, feature, str(values.type))
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    if is_number:
        values = pc.cast(values, pa.float64(), safe=False)
    present = pc.is_valid(values).to_numpy()
    if is_number:
        present &= ~np.isnan(values.to_numpy())
    known = values.filter(pa.array(present)).to_numpy()
    if is_number and len(np.unique(known)) > LARGEST:
        named = _quartiles(known)
    else:
        named = _each(known, is_number)
    for name, rows in named:
        mask = np.zeros(len(values), dtype=bool)
        mask[np.flatnonzero(present)[rows]] = True
        yield name, mask
    if not present.all():
        yield NONE, ~present


def _quartiles(known: "np.ndarray[Any, Any]") -> "Iterator[tuple[str, Mask]]":
    import numpy as np

    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75], method="lower"))
    edges = edges[edges < known.max()]
    place = np.searchsorted(edges, known)  # an edge belongs to what is below it
    told = [f"{edge:.4g}" for edge in edges]
    for number in range(len(edges) + 1):
        if number == 0:
            name = f"up to {told[0]}"
        elif number == len(edges):
            name = f"above {told[-1]}"
        else:
            name = f"above {told[number - 1]}, up to {told[number]}"
        yield name, place == number


def _each(known: "np.ndarray[Any, Any]", is_number: bool) -> "Iterator[tuple[str, Mask]]":
    import numpy as np

    if is_number:
        for number in np.unique(known):
            yield f"{number:.12g}", known == number
        return
    texts = np.array([str(value) for value in known], dtype=object)
    names, counts = np.unique(texts, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    alone = order if len(names) <= LARGEST else order[:LARGEST]
    for name in names[alone]:
        yield (name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"), texts == name
    if len(alone) < len(names):
        yield REST, ~np.isin(texts, names[alone])


def _unsliceable(variant: Variant, feature: str, kind: str) -> DataError:
    return DataError(
        f"`{variant.target.name}` cannot be sliced by `{feature}`, which is {kind}.",
        where=[describe(variant.target), describe(variant.features[feature].provider)],
        why="a slice is the rows of one value: of a text, a truth value, a time or a number.",
        fix="slice by a feature that is made of it, such as its length or its largest element.",
    )
