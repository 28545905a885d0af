"""Evaluating a variant: its metrics on the parts of the data."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ff_assets.core.accounts import Accounts
from ff_assets.core.cells import TEST, VALIDATION
from ff_assets.core.certificate import Claim
from ff_assets.core.fitting import WHOLE
from ff_assets.core.refusals import describe
from ff_assets.core.requested import deciding, measured_cells
from ff_assets.engine.measurable import required_cells
from ff_assets.engine.scored import Part, Scored
from ff_assets.engine.slices import sliced
from ff_assets.stats.calibration import bias, calibration
from ff_assets.stats.metrics import NoMetric, evaluate


def evaluate_variant(
    scored: Scored, accounts: Accounts, claims: Sequence[Claim] = ()
) -> dict[str, Any]:
    """The metrics of a variant on the parts of the data, as plain values.

    Args:
        scored: its rows.
        accounts: the provenance of what the variant is made of.
        claims: what is to be certified of them.

    Returns:
        part -> {"rows": rows with a label, "unlabelled": rows without one, "groups": keys of the
        split among the labelled rows, "metrics": metric -> {"value", "low", "high", "method"}}.
        Test has also what is to be seen: "calibration", as `stats.calibration` has it, of a target
        with probabilities, for a number its "bias"; and "slices" by the features that the target
        names, as `engine.slices` has them.
        Parts are train, those of test and validation that no fit behind the prediction has read,
        what is certified, the folds of a cross-fitted prediction, and what the champion is chosen
        on. There are intervals on test, on validation and on what is certified; they allow for
        rows that belong together, those of one key of the split. Validation and
        folds that nobody asks for are left out where there is no metric.

    Raises:
        NoMetric: a metric is not defined, for example because a cell has one class only.
    """
    variant, target = scored.variant, scored.variant.target
    assert target.task is not None
    parts = {cell: variant.split.bits(cell) for cell in measured_cells(accounts, variant)}
    folds = (fit for fit in variant.prediction.fits if fit.name != WHOLE and fit.serves)
    parts |= {fit.name: fit.serves for fit in folds}
    cells = variant.split.cells
    parts |= {part: rows for part, rows in deciding(variant).items() if part not in cells}
    certified = {claim.verdict.cell: claim.verdict.evaluated for claim in claims}
    parts |= certified
    required = {*required_cells(variant), target.select_on, *certified}
    precise = {TEST, VALIDATION, *certified}
    result: dict[str, Any] = {}
    for part, buckets in parts.items():
        rows = scored.part(buckets)
        try:
            metrics = evaluate(
                target.task,
                rows.label,
                rows.prediction,
                **rows.scores,
                groups=rows.groups,
                interval=part in precise,
            )
        except NoMetric as error:
            if part not in required:
                continue
            raise NoMetric(
                f"`{variant.name}` has no metric on {part}: {error.what}",
                where=[describe(target)],
                why=error.why,
                fix=error.fix,
            ) from error
        result[part] = {
            "rows": len(rows.label),
            "unlabelled": rows.unlabelled,
            "groups": len(set(rows.groups)),
            "metrics": {
                m.name: {"value": m.value, "low": m.low, "high": m.high, "method": m.method}
                for m in metrics.values()
            },
        }
        if part == TEST:
            result[part] |= _calibration(target.task, rows)
            found = [
                sliced(variant, feature, scored.values(feature, buckets), rows, next(iter(metrics)))
                for feature in target.slices
            ]
            result[part]["slices"] = [each for of_feature in found for each in of_feature]
    return result


def _calibration(task: str, rows: Part) -> dict[str, Any]:
    """How predictions compare with what came true; nothing where there is no probability."""
    if task == "regression":
        off = bias(rows.label, rows.prediction, rows.groups)
        return {"calibration": {"bias": asdict(off)}}
    probability = rows.scores.get("probability")
    if probability is None:
        return {}
    found = calibration(task, rows.label, rows.prediction, probability, rows.groups)
    return {"calibration": asdict(found)}
