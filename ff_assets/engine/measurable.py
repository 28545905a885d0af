"""Metrics that cannot be, found in what sources say of their labels before anything is fitted."""

from collections.abc import Collection, Iterable

from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.refusals import describe
from ff_assets.core.steps import CELLS, Kind, Step, rows_of
from ff_assets.engine.store import Store
from ff_assets.stats.metrics import NoMetric, too_few_labels


def label_source(variant: Variant) -> Instance | None:
    """The source of a variant's label, unless a stage makes it or there is none."""
    label = variant.target.label
    truth = variant.features[label] if label is not None else None
    return truth if truth is not None and truth.is_source else None


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
        NoMetric: a cell of each such variant has no label, or one and the same in all rows.
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
    for cell in CELLS:
        record = store.table(fingerprints[source], cell)
        if record is None:
            continue
        rows, only = record.details["labelled"][label], record.details["only"][label]
        if not rows or only is not None:
            error = too_few_labels(rows, only)
            return NoMetric(
                f"`{variant.name}` has no metric on {cell}: {error.what}",
                where=[describe(variant.target), describe(source.provider)],
                why=error.why,
                fix=error.fix,
            )
    return None
