"""Whether an output is made from what it is to predict: a label that comes back by a detour.

Label and output are followed back by applications to features of sources. What source declares as
a label among those that the label is made from is the outcome; all of them are, where none is
declared, as nothing tells the outcome from what was known. An output that is made from it is a
leak. What an aggregate has of rows strictly before a row's own time ends the way of the output, as
past labels may be known: only where the row is one of those that the outcome is of, and only of
outcomes that were known by then. Carried to rows of other times, the past may be their future.

It does not where the label is an aggregate itself. Nothing in a declaration says that such a label
sums up later rows than the output does: both go up to a time of their own, or have none. So of the
rows that the label sums up, an output must not be made from the same features; nor from others of
theirs, row by row or summed up, unless the source tells features from outcomes by declaring what
the label sums up as a label. What a row is made of, and what it is a part of, tells of it as well:
the items of a basket that is summed up, or the basket of items that are. Apart from these are the
rows that belong to an earlier row, if all that the label sums up belongs to its own: last week's
sales tell of this week's honestly. And a change against earlier rows, as of a value against its own
past mean, is about the value: what it is compared with was known.

What else sources declare as labels is no input either: of the rows that the outcome is of, as it is
known no earlier; and under a split by time whatever is known only after a row's own time.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice

from ff_assets.core.accounts import Label
from ff_assets.core.declare import describe
from ff_assets.core.entities import Entity
from ff_assets.core.influence import Origins, is_declared, origins, outcome, sum_of
from ff_assets.core.instance import Instance
from ff_assets.core.leak_refusals import Finding, Judged, route
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.split import TimeSplit


def target_paths(judged: Judged) -> Iterator[Finding]:
    """The reason to refuse an output because it is made from the label; at most one."""
    yield from islice(_reasons(judged), 1)


def _reasons(judged: Judged) -> Iterator[Finding]:
    name = judged.variant.target.label
    assert name is not None
    label = judged.variant.features[name], name
    row, output = label[0].entity, (judged.instance, judged.output)
    truth = _sums(label)
    summed = dict.fromkeys(part for each in truth for part in origins(*each).of_sources)
    told = outcome([*origins(*label, summed=False).of_sources, *summed])
    every = origins(*output)
    later = {entity: origins(*output, row=entity) for entity in {row, *(i.entity for i, _ in told)}}
    own = _of_own_row(label)

    def used(part: Label) -> Origins:
        if part not in summed:
            return later[part[0].entity]
        return later[row] if part in own else every

    shared = [part for part in told if part in used(part).nodes]
    if shared:
        yield _made_from_label(judged, used(shared[0]).path(shared[0]), shared, told)
    for each in dict.fromkeys(a for near in truth for a in origins(*near).of_aggregates):
        parts = origins(*each).of_sources
        if not any(map(is_declared, parts)):  # which tells the outcome from what was known
            yield from _same_events(judged, each, later[row] if own.issuperset(parts) else every)
    yield from _outcomes(judged, row, later[row])
    for part in told:
        yield from _outcomes(judged, part[0].entity, used(part))
    if isinstance(judged.variant.split, TimeSplit):
        yield from _unknown_yet(judged, later[row])


def _sums(label: Label) -> list[Label]:
    """The aggregates that a label is made from, but for what the outcome is only compared with.

    A change against earlier rows is made from what these had, which was known by then.
    """
    row = label[0].entity

    def news(made: Label) -> set[Label]:
        """What it is made from that is of its own row, or was not known by then."""
        walk = origins(*made, row=row)
        return {
            (source, name)
            for source, name in walk.of_sources
            if any(r.whose == "own" or not r.know(source.source) for r in walk.rows((source, name)))
        }

    fresh = news(label)
    return [
        each
        for each in origins(*label, summed=False).of_aggregates
        if news(each)
        or not (any(map(is_declared, fresh)) or fresh.issuperset(origins(*each).of_sources))
    ]


def _of_own_row(label: Label) -> set[Label]:
    """Of what a label is made from, the features that it has of its own row and its parts only."""
    walk = origins(*label, row=label[0].entity)
    return {p for p in walk.of_sources if all(rows.whose == "own" for rows in walk.rows(p))}


def _outcomes(judged: Judged, row: Entity, used: Origins) -> Iterator[Finding]:
    """Labels that sources declare of the row to be predicted, its parts or its wholes.

    An order is refunded because an item came back. Those of earlier parts that were known by then
    are no outcome of this row.
    """
    for feature in filter(is_declared, used.of_sources):
        other = feature[0].entity
        if other != row and all(rows.know(feature[0].source) for rows in used.rows(feature)):
            continue
        if row.is_within(other) or other.is_within(row):
            yield _outcome_as_input(judged, used.path(feature), feature[1])


def _unknown_yet(judged: Judged, used: Origins) -> Iterator[Finding]:
    """Labels that sources declare which are known only after a row's own time."""
    for feature in filter(is_declared, used.of_sources):
        if not all(rows.know(feature[0].source) for rows in used.rows(feature)):
            yield _outcome_as_input(judged, used.path(feature), feature[1])


def _same_events(judged: Judged, summed: Label, used: Origins) -> Iterator[Finding]:
    """What is made from the rows that an aggregate sums up, where no outcome among it is told."""
    for other in used.features:
        if _tells_of(other, sum_of(summed[0])):
            source = origins(*summed).of_sources[0][0].name
            yield _of_same_events(judged, used.path(other), other[1], summed[0], source)


def _tells_of(feature: Label, summed: AggregateOperation) -> bool:
    """Whether a feature is of rows that an aggregate sums up, of their parts or of their wholes."""
    if not feature[0].is_source:
        rows = sum_of(feature[0]).of
        return rows.is_within(summed.of) or summed.of.is_within(rows)
    entity = feature[0].entity
    is_whole = summed.of.is_within(entity) and entity.is_below(summed.over)
    return entity.is_within(summed.of) or is_whole


def _made_from_label(
    judged: Judged, path: tuple[Instance, ...], shared: Sequence[Label], told: Sequence[Label]
) -> Finding:
    """An output is made from what is to be predicted.

    Args:
        shared: the features of the outcome that the output is made from.
        told: all features of the outcome.
    """
    label = judged.variant.target.label
    features = [feature for _, feature in shared]
    names = _quoted(features)
    why = f"path: {route(path, f'{judged.title} of {judged.variant.name}')}"
    fix = f"leave {names} and what is made of it out of the inputs"
    verb = "determine" if len(features) > 1 else "determines"
    what = "is the label" if features == [label] else f"{verb} the label `{label}`"
    if judged.output in features:
        fix = f"to see {names} beside the prediction, name it in Target(keep=[...])"
    elif len(shared) < len(told) and not is_declared(shared[0]):
        others = _quoted([feature for _, feature in told])
        what = f"is a part of what the label `{label}` is made from"
        why = f"nothing says which of {others} is the outcome\n{why}"
        fix += ", or declare which of them is the outcome: labels=[...] of its source"
    elif any(instance.is_aggregate for instance in path):
        fix += _lag_instead(path, shared[0][1])
    return Finding(
        "TARGET_PATH", f"{judged.title} is made from {names}, which {what}.", why, f"{fix}.", path
    )


def _quoted(features: Sequence[str]) -> str:
    return ", ".join(f"`{feature}`" for feature in features)


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
    rows = sum_of(summed).of.name
    if first.is_source:
        told = f"which is of rows of `{first.entity.name}`, and the label `{label}` sums up " + (
            "these" if first.entity.name == rows else f"rows of `{rows}`"
        )
    else:
        events = sum_of(first).of.name
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


def _outcome_as_input(judged: Judged, path: tuple[Instance, ...], feature: str) -> Finding:
    """An output is made from another outcome, which nobody knows in time.

    Args:
        path: from the source of the outcome.
        feature: the outcome.
    """
    source = path[0].source
    known = f"{source.label_delay} days after their time (label_horizon)"
    return Finding(
        "OUTCOME_AS_INPUT",
        f"{judged.title} is made from `{feature}`, which source `{source.name}` declares as a "
        "label.",
        f"a label is an outcome: those of `{path[0].entity.name}` are known "
        + (known if source.label_delay else "no earlier than what is predicted")
        + f"\npath: {route(path, f'{judged.title} of {judged.variant.name}')}",
        f"leave `{feature}` out of the inputs; if it is known beforehand, leave it out of the "
        f"labels=[...] of `{source.name}`, or load it by a source of its own without label_horizon"
        f"{_lag_instead(path, feature)}.",
        path,
    )


def _lag_instead(path: Sequence[Instance], feature: str) -> str:
    """How to read what earlier rows had of a feature of a source, where that can be.

    Args:
        path: from the source; there is nothing to say if it goes through what would be advised.
        feature: of the source.
    """
    entity, delay = path[0].entity, timedelta(days=path[0].source.label_delay)
    lags = [sum_of(each) for each in path if each.is_aggregate]
    is_there = any(lag.of == lag.to == entity and lag.gap >= delay for lag in lags)
    if is_there or entity.time is None or entity.parent is None:
        return ""
    gap = f", gap='{delay.days}d'" if delay else ""
    return (
        f"; of rows before each row's own time, aggregates(..., of={entity.name}, "
        f"to={entity.name}, measures={{'{feature}': [...]}}{gap}) may tell"
    )
