"""Whether an output is made from what it is to predict: a label that comes back by a detour.

Label and output are followed back by applications to features of sources. A declared label on the
way to both is a leak, and so is every feature that the label is made from: together they determine
it. An aggregate of what was strictly before a row's own time ends the way of the output, as past
labels may be known.

It does not where the label is an aggregate itself. Nothing in a declaration says that such a label
sums up later rows than the output does: both go up to a time of their own, or have none. So of the
rows that the label sums up, an output must not be made from the same features; nor from others of
theirs, row by row or summed up, unless the source tells features from outcomes by declaring what
the label sums up as a label. What a row is made of, and what it is a part of, tells of it as well:
the items of a basket that is summed up, or the basket of items that are.
"""

from collections.abc import Iterator, Sequence

from ff_assets.core.declare import describe
from ff_assets.core.influence import Origins, only_past, origins, through_none
from ff_assets.core.instance import Instance
from ff_assets.core.leak_refusals import Finding, Judged, route
from ff_assets.core.ledger import Label, Ledger
from ff_assets.core.operations import AggregateOperation


def target_paths(ledger: Ledger, judged: Judged) -> Iterator[Finding]:
    """The reason to refuse an output because it is made from the label; at most one."""
    name = judged.variant.target.label
    assert name is not None
    label = judged.variant.features[name], name
    output = judged.instance, judged.output
    near = origins(*label, through_none)
    summed = dict.fromkeys(
        part for each in near.of_aggregates for part in origins(*each).of_sources
    )
    apart = [part for part in near.of_sources if part not in summed]

    known = origins(*output, lambda instance, read: not only_past(ledger, instance, read))
    ever = origins(*output) if summed else known
    shared = {part: known for part in apart if part in known.readers}
    shared |= {part: ever for part in summed if part in ever.readers}
    declared = [part for part in shared if _is_declared(part)]
    if declared or len(shared) == len(apart) + len(summed):
        parts = declared or list(shared)
        path = shared[parts[0]].path(parts[0])
        yield _made_from_label(judged, path, [feature for _, feature in parts])
    elif summed:
        yield from _same_events(judged, origins(*label).of_aggregates, ever)


def _same_events(judged: Judged, truth: tuple[Label, ...], used: Origins) -> Iterator[Finding]:
    for summed in truth:
        parts = origins(*summed).of_sources
        if any(_is_declared(part) for part in parts):
            continue  # which tells the outcome from what was known
        for other in used.features:
            if _tells_of(other, _sum(summed)):
                source = parts[0][0].name
                yield _of_same_events(judged, used.path(other), other[1], summed[0], source)
                return


def _tells_of(feature: Label, summed: AggregateOperation) -> bool:
    """Whether a feature is of rows that an aggregate sums up, of their parts or of their wholes."""
    if not feature[0].is_source:
        rows = _sum(feature).of
        return rows.is_within(summed.of) or summed.of.is_within(rows)
    entity = feature[0].entity
    is_whole = summed.of.is_within(entity) and entity.is_below(summed.over)
    return entity.is_within(summed.of) or is_whole


def _sum(aggregated: Label) -> AggregateOperation:
    operation = aggregated[0].stage.operation
    assert isinstance(operation, AggregateOperation)
    return operation


def _is_declared(part: Label) -> bool:
    instance, feature = part
    return feature in instance.source.labels


def _made_from_label(
    judged: Judged, path: tuple[Instance, ...], features: Sequence[str]
) -> Finding:
    """An output is made from what is to be predicted."""
    label = judged.variant.target.label
    names = ", ".join(f"`{name}`" for name in features)
    verb = "determine" if len(features) > 1 else "determines"
    same = list(features) == [label]
    return Finding(
        "TARGET_PATH",
        f"{judged.title} is made from {names}, which {'is' if same else verb} the label"
        + ("." if same else f" `{label}`."),
        f"path: {route(path, f'{judged.title} of {judged.variant.name}')}",
        f"to see {names} beside the prediction, name it in Target(keep=[...])."
        if judged.output in features
        else f"leave {names} and what is made of it out of the inputs.",
        path,
    )


def _of_same_events(
    judged: Judged, path: tuple[Instance, ...], feature: str, summed: Instance, of: str
) -> Finding:
    """Output and label are made from the same rows, and nothing says what of them is the outcome.

    Args:
        feature: of the source or aggregate at the beginning of the path.
        summed: the aggregate that the label is, or is made from.
        of: a source of the rows that it sums up.
    """
    first, label = path[0], judged.variant.target.label
    rows = _sum((summed, "")).of.name
    if first.is_source:
        told = f"which is of rows of `{first.entity.name}`, and the label `{label}` sums up " + (
            "these" if first.entity.name == rows else f"rows of `{rows}`"
        )
    else:
        events = _sum((first, feature)).of.name
        told = f"which sums up rows of `{events}`, as the label `{label}` does" + (
            "" if events == rows else f" with rows of `{rows}`"
        )
    return Finding(
        "TARGET_PATH",
        f"{judged.title} is made from `{feature}`, {told}.",
        "nothing says that the label is made of later rows, or of what nobody knew yet: what could "
        "be known cannot be told from the outcome\n"
        f"path: {route(path, f'{judged.title} of {judged.variant.name}')}",
        f"tell them apart in a loader: give source `{of}` a column that is the outcome, declare it "
        f"in labels=[...] and let `{summed.name}` sum up that; or load the sum over the days after "
        f"as a label of `{summed.entity.name}`.",
        path,
        where=(describe(path[0].provider), describe(summed.provider)),
    )
