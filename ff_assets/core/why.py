"""Why a metric is honest, or is not: what each model and value behind it was fitted on."""

from collections.abc import Iterator
from dataclasses import dataclass

from ff_assets.core.buckets import describe
from ff_assets.core.flow import Flow
from ff_assets.core.influence import accounts_of, upstream
from ff_assets.core.leakage import FitSet, on
from ff_assets.core.split import Space, Split
from ff_assets.core.verdict import Verdict


@dataclass(frozen=True)
class Line:
    """What is known of one instance behind a prediction; all of it in words.

    Attributes:
        name: of the instance.
        kind: `source`, `transformer`, `aggregate` or `estimator`.
        fits: which rows each of its fits reads, as (name of the fit, rows).
        features: X, the rows that were read by a fit behind its values on the evaluated rows.
        labels: Y, those whose labels were read.
        verdict: `clean`, or which of the evaluated rows are among them.
    """

    name: str
    kind: str
    fits: tuple[tuple[str, str], ...]
    features: str
    labels: str
    verdict: str


def why(flow: Flow, verdict: Verdict) -> Iterator[Line]:
    """What is behind a verdict: every instance upstream of the prediction, sources first."""
    accounts = accounts_of(flow)
    variant, evaluated = verdict.variant, verdict.evaluated
    space = variant.split.space(variant.entity)
    behind = upstream(variant.prediction)
    for instance in variant.instances:
        if instance not in behind:
            continue
        provenance = on(accounts[instance].pieces, evaluated)
        seen = provenance.everywhere.within(space, evaluated)
        foreign = any(other != space for other in provenance.everywhere.buckets)
        yield Line(
            name=instance.name,
            kind=instance.provider.kind,
            fits=tuple((f.name or "all", rows(f.region, variant.split)) for f in instance.fits),
            features=fit_set(provenance.features, space, variant.split),
            labels=fit_set(provenance.labels, space, variant.split),
            verdict=f"has read {rows(seen, variant.split)} of {verdict.cell}"
            if seen
            else "cannot be compared"
            if foreign
            else "clean",
        )


def rows(bits: int, split: Split) -> str:
    """Buckets in words, with the cell that they are: `train (0-799)`, `160-799`."""
    shown = describe(bits)
    cells = [cell for cell in split.cells if bits and split.bits(cell) == bits]
    return f"{cells[0]} ({shown})" if cells else shown


def fit_set(read: FitSet, space: Space, split: Split) -> str:
    """Rows that fits have read, in words; those of another space are named with it."""
    if read.everything:
        return "unknown"
    return (
        "; ".join(
            rows(bits, split)
            if each == space
            else f"{describe(bits)} of {each.root} by {each.axis!r}"
            for each, bits in read.buckets.items()
        )
        or "none"
    )
