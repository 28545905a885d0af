"""The rows that fits are given: counted, and held against what is declared."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ff_assets.core.buckets import bitmap, describe, ranges
from ff_assets.core.cells import BUCKET
from ff_assets.core.errors import StageError
from ff_assets.core.fitting import Fit, read_by
from ff_assets.core.instance import Instance
from ff_assets.core.refusals import describe as declaration
from ff_assets.core.split import Split, TimeSplit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PARTS = {"folds": "folds", "blocks": "blocks", "slice": "slices"}


def rows_by_bucket(training: "DataFrame") -> dict[int, int]:
    """Bucket -> number of rows, of a frame from which fits are given their rows by bucket.

    It is a pass of its own, over hardly more than the buckets. `DataFrame.observe` costs none, but
    counts 0 where an estimator reads its rows through an RDD, as most of Spark's do.
    """
    return {row[BUCKET]: row["count"] for row in training.groupBy(BUCKET).count().collect()}


def observed(
    instance: Instance, fits: Sequence[Fit], counted: Mapping[int, int]
) -> dict[str, dict[str, Any]]:
    """What each of some fits of an estimator is given, as plain values.

    Args:
        fits: those that are given their rows from one frame.
        counted: bucket -> number of rows in this frame.

    Returns:
        name of the fit -> {"rows": number of rows, "buckets": those that have any, as ranges}.

    Raises:
        StageError: there are rows that no fit may read, or none for one of them.
    """
    given, declared = bitmap(counted), read_by(fits)
    if given & ~declared:
        raise _undeclared(instance, declared, counted)
    found = {}
    for fit in fits:
        rows = sum(count for bucket, count in counted.items() if fit.region >> bucket & 1)
        if not rows:
            raise _without_rows(instance, fit, given, sum(counted.values()))
        found[fit.name] = {"rows": rows, "buckets": ranges(given & fit.region)}
    return found


def _undeclared(instance: Instance, declared: int, counted: Mapping[int, int]) -> StageError:
    outside = {bucket: n for bucket, n in counted.items() if not declared >> bucket & 1}
    return StageError(
        f"`{instance.name}` would be fitted on {sum(outside.values()):,} rows that no fit of it "
        "may read.",
        where=[declaration(instance.provider)],
        why=f"they are in {_words(bitmap(outside), instance.split)}; declared are "
        f"{_words(declared, instance.split)}. Stored files were moved or edited, or a stage "
        "upstream has changed the columns that say where a row belongs.",
        fix="delete the stored tables that it reads and run again; if it persists, let every stage "
        "upstream leave all columns but its outputs as they are.",
        code="UNDECLARED_ROWS",
    )


def _without_rows(instance: Instance, fit: Fit, given: int, total: int) -> StageError:
    split, label = instance.split, instance.stage.operation.label
    parts = _PARTS.get(instance.stage.fitting.scheme)
    where = [declaration(instance.provider)]
    labelled = f" with the label `{label}`" if label else ""
    if parts and given and isinstance(split, TimeSplit) and split.start is None:
        first = split.day((given & -given).bit_length() - 1)
        where.append(("TimeSplit(...)", split.location))
        fix = (
            f'say where train begins, TimeSplit(..., start="{first}"): without it the {parts} '
            "divide all days before the cutoff that have a bucket, whether there are rows or not."
        )
    elif parts:
        fix = f"divide train into fewer {parts}, or load more rows."
    else:
        fix = "load rows for it, or see why those that there are have no label or no inputs."
    return StageError(
        f"`{instance.name}` cannot be fitted{f' for {fit.name}' if fit.name else ''}: there are no "
        f"rows{labelled}.",
        where=where,
        why=f"this fit reads {_words(fit.region, split)}; "
        + (f"the {total:,} rows{labelled} that there are for all its fits are in " if total else "")
        + (f"{_words(given, split)}." if total else "there are no rows for its other fits either."),
        fix=fix,
    )


def _words(buckets: int, split: Split) -> str:
    """Buckets for people, with their days where they are days."""
    if not buckets or not isinstance(split, TimeSplit):
        return f"the buckets {describe(buckets)}"
    first, last = (buckets & -buckets).bit_length() - 1, buckets.bit_length() - 1
    return f"the buckets {describe(buckets)} ({split.day(first)} to {split.day(last)})"
