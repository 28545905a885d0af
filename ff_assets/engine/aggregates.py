"""Aggregates: measures of events, for each row of another entity.

All measures of a stage come from one join and one grouping. The join is of rows and events of one
group, such as the offers and baskets of a household, where the event is strictly before the row.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ff_assets.core.operations import AggregateOperation, Function, Measure
from ff_assets.engine.columns import structural

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# No column of an entity begins with an underscore.
_GROUP, _EVENT, _EVENT_AT, _ROW_AT = "_group", "_event", "_event_at", "_row_at"
_MICROSECOND = timedelta(microseconds=1)  # in which times are counted
_DAY = timedelta(days=1) // _MICROSECOND


def aggregate(
    events: "DataFrame",
    rows: "DataFrame",
    operation: AggregateOperation,
    names: Mapping[str, str],
) -> "DataFrame":
    """The measures of an aggregate, for every row of an entity exactly once.

    Between entities with times only events strictly before a row's own time count, of an aggregate
    with a gap only those more than that long before it, and for a measure with a window only those
    at most that long before it. Where one of the two times is a
    date, both count as days: what happened on the same day may have come later.

    Nulls never count. `sum`, `count` and `count_distinct` of nothing are 0, other usual functions
    null. A function of the user's own gets columns that are null where an event does not count,
    and decides by what it makes of nulls: `F.count(amount)` of nothing is 0, `F.sum(amount)` null.
    It has to count a column, as `F.count(F.lit(1))` counts what does not count as well.

    Sums of fractions depend on their order, so events are added up in the order of their times and
    keys: equal data give equal measures, to the last bit.

    Args:
        events: rows of `operation.of`, with the entity's columns.
        rows: rows of `operation.to`, with the entity's columns, bucket and cell.
        names: feature -> column of `events`, for every feature that measures read.

    Returns:
        The entity's columns, bucket and cell of `rows`, and a column for each measure; of type
        double, except what a function of the user's own makes.

    Raises:
        TypeError: a function of numbers is asked of something else, or a function of the user's
            own returns no column.
    """
    from pyspark.sql import functions as F

    of, to, timed = operation.of, operation.to, operation.point_in_time
    group = to.key_of(operation.over)
    told = events.select(
        F.col(of.key_of(operation.over)).alias(_GROUP),
        F.col(of.key).alias(_EVENT),
        *([F.col(of.time).alias(_EVENT_AT)] if of.time else []),
        *(F.col(column).alias(_read(feature)) for feature, column in names.items()),
    )
    rows = rows.select(*structural(to))
    if timed:
        heads = rows.withColumn(_ROW_AT, F.col(str(to.time)))
        told, heads = _in_microseconds(told, heads)
        last = F.col(_ROW_AT) - F.lit(operation.gap // _MICROSECOND)
        related = (F.col(_EVENT_AT) < last) & _within(_longest(operation))
    else:  # then all rows of a group have the same measures, which are made once
        heads = rows.select(group).distinct()
        related = F.lit(True)
    # A left join, whichever way it is done, leaves all events of a row in the row's own partition.
    pairs = heads.join(told, _same(heads, group, told) & related, "left").sortWithinPartitions(
        to.key if timed else group, *([_EVENT_AT] if of.time else []), _EVENT
    )
    types = {feature: told.schema[_read(feature)].dataType for feature in names}
    measured = pairs.groupBy(*heads.columns).agg(
        *(_column(measure, types).alias(measure.output) for measure in operation.measures)
    )
    if timed:
        return measured.drop(_ROW_AT)
    outputs = [measure.output for measure in operation.measures]
    return rows.join(measured, on=group, how="left").select(*rows.columns, *outputs)


def _read(feature: str) -> str:
    """The column of an event's feature, beside columns of rows, which may have the same name."""
    return f"_read_{feature}"


def _in_microseconds(told: "DataFrame", heads: "DataFrame") -> tuple["DataFrame", "DataFrame"]:
    """Times as whole numbers that can be compared: microseconds, or days in microseconds."""
    from pyspark.sql import functions as F

    kinds = {
        f[c].dataType.typeName() for f, c in ((told.schema, _EVENT_AT), (heads.schema, _ROW_AT))
    }

    def count(column: str) -> "Column":
        if "date" in kinds:
            return F.unix_date(F.col(column).cast("date")) * F.lit(_DAY)
        return F.unix_micros(F.col(column).cast("timestamp"))

    return told.withColumn(_EVENT_AT, count(_EVENT_AT)), heads.withColumn(_ROW_AT, count(_ROW_AT))


def _longest(operation: AggregateOperation) -> timedelta | None:
    """The window outside of which no measure counts anything."""
    windows = [measure.window for measure in operation.measures]
    limited = [window for window in windows if window is not None]
    return max(limited) if len(limited) == len(windows) else None


def _within(window: timedelta | None) -> "Column":
    """Whether an event is not longer before its row than a window allows."""
    from pyspark.sql import functions as F

    if window is None:
        return F.lit(True)
    return F.col(_EVENT_AT) >= F.col(_ROW_AT) - F.lit(window // _MICROSECOND)


def _same(heads: "DataFrame", group: str, told: "DataFrame") -> "Column":
    """Whether row and event are of one group; keys of two types are compared by their text."""
    from pyspark.sql import functions as F

    ours, theirs = F.col(group), F.col(_GROUP)
    if heads.schema[group].dataType == told.schema[_GROUP].dataType:
        return ours == theirs
    return ours.cast("string") == theirs.cast("string")


def _column(measure: Measure, types: Mapping[str, Any]) -> "Column":
    """A measure as an aggregated column of pairs of a row and an event.

    Args:
        types: feature -> its type.
    """
    from pyspark.sql import Column
    from pyspark.sql import functions as F

    counts = _within(measure.window)
    if measure.where is not None:
        feature, value = measure.where
        counts &= F.col(_read(feature)).cast("string") == value
    read = [F.when(counts, F.col(_read(feature))) for feature in measure.inputs]
    if not callable(measure.function):
        return _usual(measure.function, read[0], measure.inputs[0], types)
    made = measure.function(*read)
    if not isinstance(made, Column):
        raise TypeError(
            f"the function of `{measure.output}` returned {type(made).__name__}, not an aggregated "
            f"column such as F.max({measure.inputs[0]})"
        )
    return made


def _usual(
    function: Function, values: "Column", feature: str, types: Mapping[str, Any]
) -> "Column":
    """One of the usual functions of a feature, of which every null is left out."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import BooleanType, NumericType

    match function:
        case "count":
            return F.count(values).cast("double")
        case "count_distinct":
            # Several `F.count_distinct` of one grouping would multiply its input.
            return F.size(F.collect_set(values)).cast("double")
        case "recency":
            latest = F.max(F.when(values.isNotNull(), F.col(_EVENT_AT)))
            return (F.col(_ROW_AT) - latest) / F.lit(float(_DAY))
    if not isinstance(types[feature], NumericType | BooleanType):
        raise TypeError(
            f"`{function}` is of numbers, but `{feature}` is of type "
            f"{types[feature].simpleString()}; `count`, `count_distinct` and `recency` are of all"
        )
    number = values.cast("double")
    match function:
        case "sum":
            return F.coalesce(F.sum(number), F.lit(0.0))
        case "mean":
            return F.mean(number)
        case "min":
            return F.min(number)
        case "max":
            return F.max(number)
        case "stddev":
            return F.stddev_samp(number)
