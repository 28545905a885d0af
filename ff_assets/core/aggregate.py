"""Aggregates: measures of an entity's rows, for each row of another entity or for later ones."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from ff_assets.core.durations import duration, short
from ff_assets.core.entities import Entity
from ff_assets.core.errors import (
    DefinitionError,
    Location,
    MixedEntities,
    caller_location,
    nearest,
)
from ff_assets.core.names import check_names
from ff_assets.core.operations import FUNCTIONS, AggregateOperation, Function, Measure
from ff_assets.core.stage import Stage, parameters_of

Places = list[tuple[str, Location]]


def aggregate(
    *,
    of: Entity,
    to: Entity,
    window: str | timedelta | None = None,
    gap: str | timedelta = "0d",
    owner: str | None = None,
) -> Callable[[Callable[..., Any]], Stage]:
    """Declare a feature that sums up rows of a finer entity, as a function of Spark columns.

    The function's parameter names are the features of the finer entity that it reads; it returns an
    aggregated column. Its own name is the feature it provides for the other entity.

    Where both entities have a time, only rows strictly before a row's own time count. A row
    for which none count is there as well: its columns are null. With `of` and `to` the same, a
    row gets what earlier rows of the same parent had: `aggregate(of=offer, to=offer)` sums up
    what the household did with earlier offers.

    Args:
        of: the entity whose rows are summed up (baskets).
        to: the entity that gets the feature: one that these rows belong to (the household), one
            that belongs to the same (an offer to that household), or, with a parent and a time,
            the same one (earlier baskets of the basket's household).
        window: how long before a row's own time rows count, such as `"90d"`; all of them without.
        gap: how long before a row's own time rows end to count. Where it is no shorter than the
            `label_horizon` of their source, their labels were known by then.
        owner: `team:nlp` or an e-mail address.

    Raises:
        MixedEntities: no relation connects the entities.
        DefinitionError: the function has no plain parameters, a window or gap is given to entities
            without time, or no window is longer than the gap.
    """

    def declare(function: Callable[..., Any]) -> Stage:
        inputs, location = parameters_of(function, "aggregate")
        here = [(f"aggregate {function.__name__!r}", location)]
        length = None if window is None else duration(window, here)
        made = Measure(function.__name__, inputs, function, length)
        described = inspect.getdoc(function)
        waited = duration(gap, here)
        return _stage(function.__name__, of, to, [made], waited, location, owner, described)

    return declare


def aggregates(
    name: str,
    *,
    of: Entity,
    to: Entity,
    measures: Mapping[str, Sequence[Function]],
    windows: Sequence[str | timedelta] = (),
    gap: str | timedelta = "0d",
    pivot: Mapping[str, Sequence[str]] | None = None,
    owner: str | None = None,
    description: str | None = None,
) -> Stage:
    """Declare many features at once: measures x functions x windows, and once more for each pivot.

    `measures={"amount": ["sum", "mean"]}, windows=["30d", "90d"]` provides `amount_sum_30d`,
    `amount_mean_30d`, `amount_sum_90d` and `amount_mean_90d`. With
    `pivot={"department": ["grocery"]}` there is `amount_sum_30d_grocery` and so on besides. All
    are computed in one pass. `sum`, `count` and `count_distinct` of nothing are 0, others null.

    Args:
        name: of the stage.
        of: the entity whose rows are summed up.
        to: the entity that gets the features; it may be the same, see `aggregate`.
        measures: feature of the finer entity -> functions of it (see `FUNCTIONS`).
        windows: lengths of time before a row's own time; all rows before it without.
        gap: how long before a row's own time rows end to count.
        pivot: feature of the finer entity -> values; a feature is made for each value.
        owner: `team:nlp` or an e-mail address.
        description: Markdown.

    Raises:
        MixedEntities: no relation connects the entities.
        DefinitionError: a function is unknown, there are no measures, a window, a gap or `recency`
            is asked of entities without time, or a window is no longer than the gap.
    """
    location = caller_location()
    here = [(f"aggregates({name!r}, ...)", location)]
    lengths: list[timedelta | None] = [duration(window, here) for window in windows]
    made: list[Measure] = []
    cases: list[tuple[str, str] | None] = [None]
    for feature, values in (pivot or {}).items():
        check_names(f"`pivot` of `{name}` for `{feature}`", values, here)
        cases += [(feature, value) for value in values]
    for where in cases:
        for length in lengths or [None]:
            for feature, functions in measures.items():
                check_names(f"`measures` of `{name}` for `{feature}`", functions, here)
                for function in functions:
                    _check_function(function, name, here)
                    made.append(_measure(feature, function, length, where))
    if not made:
        raise DefinitionError(
            f"aggregates `{name}` has no measures.",
            where=here,
            why="every feature is a function of one feature of the finer entity.",
            fix='for example measures={"amount": ["sum", "mean"]}.',
        )
    return _stage(name, of, to, made, duration(gap, here), location, owner, description)


def _measure(
    feature: str, function: Function, window: timedelta | None, where: tuple[str, str] | None
) -> Measure:
    parts = [feature, function]
    if window is not None:
        parts.append(short(window))
    if where is not None:
        parts.append("_".join("".join(c if c.isalnum() else " " for c in where[1]).split()).lower())
    inputs = dict.fromkeys([feature, *([where[0]] if where else [])])
    return Measure("_".join(parts), tuple(inputs), function, window, where)


def _check_function(function: str, name: str, here: Places) -> None:
    if function not in FUNCTIONS:
        raise DefinitionError(
            f"aggregates `{name}` names the unknown function {function!r}.",
            where=here,
            why=nearest(function, FUNCTIONS),
            fix="use one of these, or write an @aggregate function.",
        )


def _stage(
    name: str,
    of: Entity,
    to: Entity,
    measures: Sequence[Measure],
    gap: timedelta,
    location: Location,
    owner: str | None,
    description: str | None,
) -> Stage:
    here = [(f"aggregate {name!r}", location)]
    over = _over(name, of, to, here)
    untimed = [entity for entity in (of, to) if entity.time is None]
    windows = [measure.window for measure in measures if measure.window is not None]
    needs_time = bool(windows or gap) or any(m.function == "recency" for m in measures)
    if untimed and needs_time:
        raise DefinitionError(
            f"aggregate `{name}` counts back from a time that is not there.",
            where=[*here, *((f"entity {e.name!r}", e.location) for e in untimed)],
            why=" and ".join(f"`{entity.name}`" for entity in untimed) + " has no time.",
            fix='name the column with the time of the event: Entity(..., time="bought_at").',
        )
    if windows and min(windows) <= gap:
        raise DefinitionError(
            f"aggregate `{name}` counts nothing: its window is over before its gap.",
            where=here,
            why=f"with window {short(min(windows))!r} and gap {short(gap)!r}, rows count that are "
            "at most the one and more than the other before a row's own time.",
            fix="choose a window longer than the gap.",
        )
    return Stage(
        name=name,
        operation=AggregateOperation(of, to, over, tuple(measures), gap),
        inputs=tuple(dict.fromkeys(i for measure in measures for i in measure.inputs)),
        fit_inputs=(),
        outputs=tuple(measure.output for measure in measures),
        entity=to,
        materialization="table",
        location=location,
        owner=owner,
        description=description,
    )


def _over(name: str, of: Entity, to: Entity, here: Places) -> Entity:
    """The entity whose rows say which rows of two others go together."""
    is_lag = of == to  # then earlier rows of the same parent are summed up
    among = to.chain[1:2] if is_lag else to.chain
    over = next((entity for entity in among if of.is_within(entity)), None)
    if is_lag and of.time is None:
        why = f"rows of `{of.name}` have no time, so none is before another."
        fix = 'name the column with the time of the event: Entity(..., time="bought_at").'
    elif over is None:
        why = f"`{of.name}` belongs to {_chain(of)}, `{to.name}` to {_chain(to)}."
        fix = "declare how rows belong together: Entity(..., parent=..., foreign_key=...)."
    elif over == of:
        why = f"a row of `{to.name}` belongs to one row of `{of.name}`: there is nothing to sum up."
        fix = f"read the features of `{of.name}` directly."
    else:
        return over
    raise MixedEntities(
        f"aggregate `{name}` cannot sum up rows of `{of.name}` for rows of `{to.name}`.",
        where=[*here, *((f"entity {e.name!r}", e.location) for e in dict.fromkeys((of, to)))],
        why=why,
        fix=fix,
    )


def _chain(entity: Entity) -> str:
    return " and ".join(f"`{e.name}`" for e in entity.chain[1:]) or "no other entity"
