"""The leaderboard of a target: all variants on the same rows of test, and who was chosen elsewhere.

The order on test is a report. Whoever picks the best there picks luck as well, so the champion, if
the target names a part to choose on, is the best of that part.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ff_assets.core.cells import TEST
from ff_assets.core.errors import DataError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.instance import Contest, Variant
from ff_assets.core.metrics import LOSSES
from ff_assets.core.refusals import describe
from ff_assets.core.requested import deciding
from ff_assets.engine.scored import Part, Scored
from ff_assets.engine.store import Store
from ff_assets.stats.leaderboard import leaderboard
from ff_assets.stats.metrics import NoMetric
from ff_assets.stats.paired import Comparison, Predictions, compare
from ff_assets.stats.simultaneous import LEVEL

Evaluations = Mapping[Variant, Mapping[str, Any]]


def compared(
    contest: Contest, evaluations: Evaluations, fingerprints: Fingerprints, store: Store
) -> dict[str, Any]:
    """The variants of a target, best first, as plain values.

    Args:
        evaluations: the details of each variant's evaluation.

    Returns:
        "metric": the first that all variants have; "rows" and "groups": how many rows of test, and
        keys of the split among them; "by": the entity that rows belong together by, `None` if each
        is on its own; "method": how differences' intervals were made; "variants":
        for each its "variant", "value", "low", "high", "verdict", and "difference" to the best
        (`None` for the best itself); "sentence": the same in words; "champion": "variant",
        "label", "part", "value" and "metric" of the one to choose, or `None` if the target selects
        on no part.

    Raises:
        DataError: variants have been evaluated on different rows.
        NoMetric: the part to choose on has no metric.
    """
    metric = _common_metric(contest, evaluations)
    found = on_the_same_rows(contest, metric, fingerprints, store)
    board = leaderboard(found, greater_is_better=metric not in LOSSES)
    champion = _champion(contest, evaluations, metric)
    names = {variant.label: variant.name for variant in contest.variants}
    return {
        "metric": metric,
        "rows": found.rows,
        "groups": found.groups,
        "by": contest.entity.root.name if found.groups < found.rows else None,
        "method": found.method,
        "variants": [asdict(row) | {"variant": names[row.variant]} for row in board.rows],
        "sentence": _sentence(board.sentence, champion) if champion else board.sentence,
        "champion": champion,
    }


def on_the_same_rows(
    contest: Contest,
    metric: str,
    fingerprints: Fingerprints,
    store: Store,
    level: float = LEVEL,
) -> Comparison:
    """Variants compared by their stored predictions on test, by their labels.

    Args:
        level: how often any of the differences' intervals may miss.

    Raises:
        DataError: they have predictions of different rows.
        NoMetric: one of them lacks what the metric reads.
    """
    task = contest.target.task
    assert task is not None
    parts = {
        variant: Scored(variant, fingerprints, store).part(variant.split.bits(TEST))
        for variant in contest.variants
    }
    first = parts[contest.variants[0]]
    aligned = {variant: _aligned(contest, variant, first, part) for variant, part in parts.items()}
    return compare(
        task,
        metric,
        first.label,
        {variant.label: Predictions(p.prediction, **p.scores) for variant, p in aligned.items()},
        groups=first.groups if len(set(first.groups)) < len(first.groups) else None,
        level=level,
    )


def _common_metric(contest: Contest, evaluations: Evaluations) -> str:
    """The first metric, in the order of `evaluate`, that all variants have on test."""
    names, *others = ([*evaluations[v]["cells"][TEST]["metrics"]] for v in contest.variants)
    return next(name for name in names if all(name in other for other in others))


def _aligned(contest: Contest, variant: Variant, first: Part, part: Part) -> Part:
    """A part with its rows in the order of another one's."""
    import numpy as np

    order, wanted = np.argsort(part.keys, kind="stable"), np.argsort(first.keys, kind="stable")
    if not np.array_equal(part.keys[order], first.keys[wanted]):
        one = contest.variants[0]
        raise DataError(
            f"the variants of `{contest.name}` are measured on different rows of test.",
            where=[describe(contest.target)],
            why=f"`{one.name}` has {len(first.keys):,} labelled rows there and `{variant.name}` "
            f"{len(part.keys):,}; on other rows a metric is another one.",
            fix="let both predict about the same entity, or make two targets of them.",
        )
    rows = np.empty_like(order)
    rows[wanted] = order
    return Part(
        keys=part.keys[rows],
        label=part.label[rows],
        prediction=part.prediction[rows],
        scores={name: values[rows] for name, values in part.scores.items()},
        groups=part.groups[rows],
        unlabelled=part.unlabelled,
    )


def _champion(contest: Contest, evaluations: Evaluations, metric: str) -> dict[str, Any] | None:
    """The variant with the best metric on the part that the target selects on."""
    part = contest.target.select_on
    if part is None or len(contest.variants) == 1:  # one of one is no choice
        return None
    values = {v: _value_on(part, metric, v, evaluations[v]["cells"]) for v in contest.variants}
    best = (min if metric in LOSSES else max)(values, key=values.__getitem__)
    return {
        "variant": best.name,
        "label": best.label,
        "part": part,
        "value": values[best],
        "metric": metric,
    }


def _value_on(part: str, metric: str, variant: Variant, cells: Mapping[str, Any]) -> float:
    """A metric on a part; on `folds` the mean over folds or blocks, weighted by their rows."""
    if part in cells:
        value: float = cells[part]["metrics"][metric]["value"]
        return value
    folds = [cells[name] for name in deciding(variant) if name in cells]
    if not folds:
        raise NoMetric(
            f"`{variant.name}` has no metric on any of its folds, so no champion can be chosen.",
            where=[describe(variant.target)],
            why="each of them holds one class only.",
            fix="divide train into fewer folds.",
        )
    total = sum(cell["rows"] for cell in folds)
    return sum(cell["metrics"][metric]["value"] * cell["rows"] for cell in folds) / total


def _sentence(compared: str, champion: Mapping[str, Any]) -> str:
    return (
        f"{compared}; {champion['label']} is the champion, chosen on {champion['part']} "
        f"({champion['metric']} {champion['value']:.3f})"
    )
