"""What a model version is held against: the rows that it comes from, counted once.

What it reads is compared with the rows of train. What it makes is compared with what it makes of
test, which no fit has read: of the rows that it was fitted on it is too sure. Both are counted at
the first prediction of a version; later data do not move what it is held against.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ff_assets.core.cells import TEST, TRAIN
from ff_assets.core.fingerprint import declaration_digest, digest
from ff_assets.core.flow import Flow
from ff_assets.core.steps import rows_of
from ff_assets.engine.execute import Event
from ff_assets.engine.frame_plan import Column
from ff_assets.engine.histograms import Histogram, columns_of, groups_of, sampled
from ff_assets.engine.outputs import ENOUGH, histograms_of
from ff_assets.engine.parts import Part, made
from ff_assets.engine.plan import make_plan
from ff_assets.engine.regions import within
from ff_assets.engine.score import carried_out
from ff_assets.engine.scoring import rows_scored
from ff_assets.engine.store import REFERENCES, Record, Staging, Store
from ff_assets.engine.versions import code_version, fingerprint

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_COUNTING = ("engine/histograms", "engine/outputs", "engine/reference", "stats/drift")
_GROUP = "(group)"
_OF_TRAIN = 10_000  # rows of which features are counted


@dataclass(frozen=True)
class Reference:
    """What a model version is held against.

    Attributes:
        since: when it was counted.
        features: column that the model reads -> rows of train.
        outputs: column that it makes -> rows of test.
    """

    since: str
    features: Mapping[str, Histogram]
    outputs: Mapping[str, Histogram]

    @classmethod
    def of(cls, record: Record) -> "Reference":
        """What a record says."""
        found = record.details
        return cls(
            datetime.fromtimestamp(record.made_at, UTC).isoformat(timespec="seconds"),
            {name: Histogram.read(each) for name, each in found["features"].items()},
            {name: Histogram.read(each) for name, each in found["outputs"].items()},
        )


class References:
    """Finds the reference of a model, or makes it.

    Args:
        part: the model that predicts.
        spark: gives the run's session; called only if it has to be made.
        tell: is told what is computed on the way.
    """

    def __init__(
        self,
        flow: Flow,
        part: Part,
        store: Store,
        staging: Staging,
        spark: "Callable[[], SparkSession]",
        tell: Callable[[Event], None],
    ) -> None:
        self._flow, self._part, self._scoring = flow, part, part.scoring
        self._store, self._staging = store, staging
        self._spark, self._tell = spark, tell

    def get(self) -> Reference:
        """What the store has of this version, or else what is counted now.

        Raises:
            FeatureFlowError: rows of train or test cannot be had.
        """
        found = self._store.note(REFERENCES, self._fingerprint)
        return Reference.of(
            found if found is not None else self._store.add_note(REFERENCES, self._new)
        )

    @property
    def _fingerprint(self) -> str:
        """Of the version and of how rows get its columns, and not of their data."""
        variant, inputs = self._scoring.variant, self._scoring.inputs
        return digest(
            {
                "model": self._part.served.identity,
                "given": {
                    name: declaration_digest(self._scoring.given[name].provider, variant.split)
                    for name in inputs
                },
                "outputs": list(variant.target.outputs),
                "code": code_version(_COUNTING),
            }
        )

    @property
    def _new(self) -> Record:
        began = time.monotonic()
        columns = self._columns
        steps = [rows_of(instance) for instance in dict.fromkeys(i for i, _ in columns)]
        fingerprints, staged = fingerprint(self._flow, steps, self._spark, self._staging)
        plan = make_plan(self._flow, {}, fingerprints, self._store, readings=[columns])
        frames = carried_out(plan, self._store, self._staging, self._spark, staged, self._tell)
        try:
            rows = frames.together(plan.readings[0], columns)
            details = self._counted(rows)
        finally:
            frames.close()
        return Record(self._fingerprint, time.monotonic() - began, details=details)

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        """What is read: the model's columns, and the label, as fits read labelled rows only."""
        variant, given = self._scoring.variant, self._scoring.given
        columns = {name: (given[name], name) for name in given}
        label = variant.target.label
        if label is not None and variant.features[label].entity in variant.entity.chain:
            columns[label] = (variant.features[label], label)
        if all(instance.entity != variant.entity for instance, _ in columns.values()):
            rows = rows_scored(variant)
            columns[rows.provider.outputs[0]] = (rows, rows.provider.outputs[0])
        return tuple(columns.values())

    def _counted(self, rows: "DataFrame") -> dict[str, Any]:
        variant, split = self._scoring.variant, self._scoring.variant.split
        label = variant.target.label
        if label in rows.columns:
            rows = rows.where(rows[label].isNotNull())
        train = within(rows, split, split.bits(TRAIN))
        test = within(rows, split, split.bits(TEST))
        directory = self._staging.directory()
        model = self._part.served.load()
        scored = model.transform(_some(test, variant.entity.key))
        group = variant.entity.split_key
        scored = scored.select(scored[group].alias(_GROUP), *made(variant, model))
        scored.write.parquet(str(directory))
        outputs = histograms_of(directory, scored.columns[1:], _GROUP)
        inputs = self._scoring.inputs
        train, sample = sampled(train, inputs, variant.entity, _OF_TRAIN)
        drawn = train.agg(sample).collect()[0][0]
        groups = groups_of(drawn)
        features = {name: Histogram.of(c, groups) for name, c in columns_of(drawn, inputs).items()}
        return {
            "features": {name: each.describe() for name, each in features.items()},
            "outputs": {name: each.describe() for name, each in outputs.items()},
        }


def _some(rows: "DataFrame", key: str) -> "DataFrame":
    """About as many rows as are enough, the same ones each time."""
    from pyspark.sql import functions as F

    share = ENOUGH / max(ENOUGH, rows.count())
    return rows if share == 1 else rows.where(F.pmod(F.xxhash64(key), 10**6) < 10**6 * share)
