"""Evaluating a variant: its metrics on the parts of the data."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import TRAIN, VALIDATION
from ff_assets.core.certificate import Claim
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.fitting import WHOLE
from ff_assets.core.instance import Variant
from ff_assets.core.refusals import describe
from ff_assets.engine.scored import Scored
from ff_assets.engine.store import Store
from ff_assets.stats.metrics import NoMetric, evaluate

if TYPE_CHECKING:
    pass


def evaluate_variant(
    variant: Variant, fingerprints: Fingerprints, store: Store, claims: Sequence[Claim] = ()
) -> dict[str, Any]:
    """The metrics of a variant on the parts of the data, as plain values.

    Args:
        claims: what is to be certified of them.

    Returns:
        part -> {"rows": rows with a label, "unlabelled": rows without one, "groups": keys of the
        split among the labelled rows, "metrics": metric -> {"value", "low", "high", "method"}}.
        Parts are train, test, validation where the split has it and no fit has read it, what is
        certified, and the folds of a cross-fitted prediction. There are intervals on test, on
        validation and on what is certified.

    Raises:
        NoMetric: a metric is not defined, for example because a cell has one class only.
        DataError: a row that has to have a prediction has none.
    """
    target = variant.target
    assert target.task is not None
    scored = Scored(variant, fingerprints, store)
    parts = {cell: variant.split.bits(cell) for cell in _cells(variant)}
    required = set(parts)
    folds = (fit for fit in variant.prediction.fits if fit.name != WHOLE and fit.serves)
    parts |= {fit.name: fit.serves for fit in folds}
    certified = {claim.verdict.cell: claim.verdict.evaluated for claim in claims}
    required |= certified.keys()
    result: dict[str, Any] = {}
    for part, buckets in (parts | certified).items():
        rows = scored.part(buckets)
        try:
            metrics = evaluate(
                target.task,
                rows.label,
                rows.prediction,
                **rows.scores,
                interval=part in required - {TRAIN} or part in certified,
            )
        except NoMetric as error:
            if part not in required:
                continue  # a fold that nobody asked for
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
    return result


def _cells(variant: Variant) -> Iterator[str]:
    """The cells of the split that have metrics; one on validation that a fit has read is none."""
    read = 0
    for instance in variant.instances:
        for fit in instance.fits:
            read |= fit.region
    for cell in variant.split.cells:
        if cell != VALIDATION or not variant.split.bits(cell) & read:
            yield cell
