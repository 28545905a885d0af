"""Metrics that cannot be, found in what sources say of their labels before anything is fitted."""

from collections.abc import Collection, Iterable

from ff_assets.core.cells import TEST, TRAIN, stored_with
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.refusals import describe
from ff_assets.core.steps import Kind, Step, rows_of
from ff_assets.engine.store import Store
from ff_assets.stats.metrics import NoMetric, too_few_labels


def label_source(variant: Variant) -> Instance | None:
    """The source of a variant's label, unless a stage makes it or there is none."""
    label = variant.target.label
    truth = variant.features[label] if label is not None else None
    return truth if truth is not None and truth.is_source else None


def required_cells(variant: Variant) -> list[str]:
    """The cells of the split that have to have a metric; validation only if it is asked for."""
    target = variant.target
    asked = {TRAIN, TEST, target.select_on, *target.certify}
    return [cell for cell in variant.split.cells if cell in asked]


def refuse_unmeasurable(
    instance: Instance,
    variants: Iterable[Variant],
    todo: Collection[Step],
    fingerprints: Fingerprints,
    store: Store,
) -> None:
    """Refuse a fit if no variant that this run makes with it can have its metric.

    Labels that a stage makes are not known yet; where they are too few, the evaluation says so.

    Args:
        todo: the steps that the run does.

    Raises:
        NoMetric: a part of each such variant has no label, or one and the same in all rows.
    """
    errors = []
    for variant in variants:
        if instance in variant.instances and _is_made(variant, todo):
            error = None
            if Step(Kind.EVALUATION, variant) in todo:
                error = _no_metric(variant, fingerprints, store)
            if error is None:
                return
            errors.append(error)
    if errors:
        raise errors[0]


def _is_made(variant: Variant, todo: Collection[Step]) -> bool:
    steps = {Step(kind, variant) for kind in (Kind.EVALUATION, Kind.REGISTRATION)}
    steps |= {rows_of(variant.features[output]) for output in variant.target.outputs}
    return not steps.isdisjoint(todo)


def _no_metric(variant: Variant, fingerprints: Fingerprints, store: Store) -> NoMetric | None:
    source, label = label_source(variant), variant.target.label
    if source is None or label is None:
        return None
    for part in required_cells(variant):
        record = store.table(fingerprints[source], stored_with(part))
        if record is None:
            continue
        found = record.details["labels"][part][label]
        if not found["rows"] or found["only"] is not None:
            error = too_few_labels(found["rows"], found["only"])
            return NoMetric(
                f"`{variant.name}` has no metric on {part}: {error.what}",
                where=[describe(variant.target), describe(source.provider)],
                why=error.why,
                fix=error.fix,
            )
    return None
