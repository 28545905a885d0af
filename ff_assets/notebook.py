"""Features for notebooks: `ff_assets.read` and `ff_assets.read_many`.

They compute with the project's own flow, store and Spark settings, so that what is explored is what
runs train on. Importing this imports no framework.
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ff_assets.core.cells import CELL, TRAIN
from ff_assets.core.errors import DefinitionError, LeakError, Location, nearest
from ff_assets.core.governance import deliver
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.project import Project
from ff_assets.core.reading import Reading, reading_of
from ff_assets.core.training_set import judge, judge_alone

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

    from ff_assets.engine.store import Store

Frame = TypeVar("Frame", "DataFrame", "pd.DataFrame")
_ROW = "_row"


@overload
def read(
    feature: str,
    *,
    variant: str | None = ...,
    cell: str | None = ...,
    training: bool = ...,
    as_pandas: Literal[False] = ...,
) -> "DataFrame": ...
@overload
def read(
    feature: str,
    *,
    variant: str | None = ...,
    cell: str | None = ...,
    training: bool = ...,
    as_pandas: Literal[True],
) -> "pd.DataFrame": ...
def read(
    feature: str,
    *,
    variant: str | None = None,
    cell: str | None = None,
    training: bool = True,
    as_pandas: bool = False,
) -> "DataFrame | pd.DataFrame":
    """A feature as runs have made it, for all rows of its entity or those of a cell.

    Nothing is fitted: what a fit is needed for has to be there, by `ff run`. What has none is
    computed, also if no target uses it yet.

    Args:
        feature: its name.
        variant: which one, where several stages provide the feature or something behind it: what
            stands in the brackets of assets and of `ff plan`, such as `tfidf`.
        cell: `train`, `test`, or another cell of the split; all rows if it is left out.
        training: whether something is going to be fitted on the values, or measured by them. They
            are refused if they are in sample, made by a fit that has read the labels of the very
            rows, as predictions on train are; or if a fit behind them has read test. To look at
            them, False. Labels may be read, and what is to be trained with what is known only to
            `read_many`.
        as_pandas: give a pandas DataFrame, which has to fit into memory.

    Returns:
        The columns of the entity (key, foreign keys, time), the feature, and `cell`.

    Raises:
        LeakError: nothing may be trained on the values; says through which path.
        PolicyViolation: the project keeps them out of notebooks; says through which path.
        DefinitionError: there is no such feature, variant or cell, or there are several variants.
        DataError: a run has to make the feature first.
    """
    return _features().read(feature, variant, cell, training, as_pandas, _caller())


def read_many(
    features: Sequence[str],
    *,
    spine: Frame,
    variant: str | None = None,
    target: str | None = None,
    training: bool = True,
) -> Frame:
    """Features for rows of your own, as they were known at each row's time.

    A row finds the features of its entity, and of those that it belongs to, by the keys that the
    spine has. If it has the entity's time as well, or not its key, then aggregates and all that is
    made from them are computed for the row's own time, from what was strictly before it. All else
    is as it is stored, and null for rows before the time of what they belong to (`as_of` of the
    household): it was not known yet; labels of that are known `label_horizon` later. What sums up
    rows of all times is refused for a row that has one. Without a time, all is as runs have it.

    Args:
        features: their names; all of one variant.
        spine: a Spark or pandas DataFrame with the keys, and the time, under the entity's names
            for them; a time is a date where that of the entity is one. Its rows are of the finest
            entity that the features are of, or that it has the time of. Its other columns are
            kept, but for `cell`.
        variant: as for `read`; of several choices all, in any order: `with_length, tfidf`.
        target: that the rows are for. It decides the split, and what counts as the label. Without
            it they are for any target about such rows, by the project's split.
        training: whether something is going to be fitted on the rows. They are refused if rows of
            anything but train are among them, or if a model on these features would be refused in
            a flow, under `LeakPolicy(strict=True)`: because a fit behind them has read test, or
            the labels of the very rows. The target's label itself may be among the features.

    Returns:
        Every row of the spine once, of the same kind (of pandas in the same order, with the same
        index), with the features and `cell`. Where no row has a key, or none had at that time,
        features are null; a warning counts such rows.

    Raises:
        LeakError: the rows or the features are no training set, or a feature knows later rows
            than those of the spine; says through which path.
        PolicyViolation: the project keeps a feature out of notebooks; says through which path.
        DefinitionError: as for `read`; or no target tells what the rows may be used for.
        DataError: the spine lacks a key or time, or a run has to make something first.
    """
    return _features().read_many(features, spine, variant, target, training, _caller())


def _caller() -> Location:
    frame = sys._getframe(2)
    return Location(frame.f_code.co_filename, frame.f_lineno)


def _features() -> "Features":
    """Those of this project, on this machine."""
    from ff_assets.assets.build import spark_config
    from ff_assets.assets.resources import SparkResource
    from ff_assets.engine.store import Store
    from ff_assets.settings import Settings

    spark = SparkResource(spark_config=spark_config())
    project = Project.from_package("ff_assets.flows")
    settings = Settings.load()
    return Features(project, Store(settings.store, settings.kept), spark.session)


@dataclass(frozen=True)
class Features:
    """The features of a project in a store.

    Attributes:
        spark: gives the session.
    """

    project: Project
    store: "Store"
    spark: "Callable[[], SparkSession]"

    def read(
        self,
        feature: str,
        variant: str | None,
        cell: str | None,
        training: bool,
        as_pandas: bool,
        location: Location,
    ) -> Any:
        """What `read` gives."""
        from ff_assets.engine.delivery import read_rows

        reading = reading_of(self.project, [feature], variant, None, location)
        if cell is not None and cell not in reading.split.cells:
            raise DefinitionError(
                f"there is no cell {cell!r} of `{feature}`.",
                where=[(f"read {feature}", location)],
                why=f"{nearest(cell, reading.split.cells)}, of the split `{reading.split.name}`",
                fix="name one of them, or none for all rows.",
            )
        deliver(reading, with_rows=True)
        if training:
            _doubt(reading, judge_alone(reading, cell))
        rows = read_rows(reading, cell, self.store, self.spark)
        return rows.toPandas() if as_pandas else rows

    def read_many(
        self,
        features: Sequence[str],
        spine: Any,
        variant: str | None,
        target: str | None,
        training: bool,
        location: Location,
    ) -> Any:
        """What `read_many` gives."""
        import pandas as pd

        reading = reading_of(self.project, features, variant, target, location)
        reading = reading.of_rows(spine.columns)
        deliver(reading, with_rows=False)
        if training:
            _doubt(reading, judge(reading))
        if isinstance(spine, pd.DataFrame):
            return self._of_pandas(reading, spine, training)
        return self._of_spark(reading, spine, training)

    def _of_spark(self, reading: Reading, spine: "DataFrame", training: bool) -> "DataFrame":
        from ff_assets.engine.delivery import KNOWN, read_at

        rows = read_at(reading, spine, spine.columns, self.store, self.spark)
        counted = rows.groupBy(CELL, KNOWN).count().collect()
        _check(reading, {(row[0], row[1]): row[2] for row in counted}, training)
        return rows.drop(KNOWN)

    def _of_pandas(self, reading: Reading, spine: "pd.DataFrame", training: bool) -> "pd.DataFrame":
        """Only keys and times go to Spark; all else stays as it is."""
        import pyarrow as pa

        from ff_assets.engine.delivery import KNOWN, read_at

        kept = spine.drop(columns=CELL, errors="ignore")
        own = [column for column in kept.columns if column in reading.entity.columns]
        taken = [name for name in kept.columns if str(name).lower() in _lower(reading.features)]
        sent = kept[own + taken].reset_index(drop=True)
        sent[_ROW] = range(len(sent))
        given = self.spark().createDataFrame(pa.Table.from_pandas(sent, preserve_index=False))
        columns = [str(name) for name in spine.columns]
        joined: Any = read_at(reading, given, columns, self.store, self.spark).drop(*own)
        rows = joined.toPandas()
        rows = rows.sort_values(_ROW).set_axis(spine.index)
        counted = rows.groupby([CELL, KNOWN], dropna=False).size()
        cells = {(_text(cell), bool(known)): int(n) for (cell, known), n in counted.items()}
        _check(reading, cells, training)
        return kept.assign(**{name: rows[name] for name in (*reading.features, CELL)})


def _check(
    reading: Reading, counted: Mapping[tuple[str | None, bool], int], training: bool
) -> None:
    """Refuse rows that are not of train in a training set; warn of what was not found.

    Args:
        counted: number of rows, by their cell and whether all of their features were found.
    """
    others: dict[str, int] = {}
    for (cell, _), count in counted.items():
        if cell != TRAIN:
            others[cell or "none"] = others.get(cell or "none", 0) + count
    if training and others:
        raise _not_train(reading, others, sum(counted.values()))
    unknown = sum(count for (_, known), count in counted.items() if not known)
    if unknown:
        _warn(
            reading,
            f"{unknown:,} of {sum(counted.values()):,} rows of the spine have keys that the store "
            "does not know, or did not know at their time; features of theirs are null",
        )


def _not_train(reading: Reading, others: Mapping[str, int], rows: int) -> LeakError:
    found = ", ".join(f"{count:,} of {cell}" for cell, count in sorted(others.items()))
    names = ", ".join(reading.features)
    return LeakError(
        f"{sum(others.values()):,} of {rows:,} rows of the spine are not of train.",
        code="TEST_IN_TRAINING" if "test" in others else "OUTSIDE_TRAIN",
        where=[(f"read {names}", reading.location)],
        why=f"{found}; what is fitted on them can no longer be measured there"
        + (
            "\nnone: days of an embargo, or keys that the store does not know"
            if "none" in others
            else ""
        ),
        fix="take a spine of train, such as ff_assets.read(..., cell='train'); or keep the rows "
        "whose `cell` is 'train' of what training=False gives.",
    )


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


def _text(cell: object) -> str | None:
    return cell if isinstance(cell, str) else None


def _doubt(reading: Reading, doubts: Iterable[Finding]) -> None:
    for doubt in doubts:
        _warn(reading, f"{doubt.text} [{doubt.code}]\n{doubt.why}\n{doubt.fix}")


def _warn(reading: Reading, text: str) -> None:
    where = reading.location
    warnings.warn_explicit(text, UserWarning, where.file, where.line)
