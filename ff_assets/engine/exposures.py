"""Who was exposed in an A/B test: read back from all predictions that are stored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.ab_test import AB_TEST
from ff_assets.core.assignment import CONTROL, TREATMENT
from ff_assets.engine.arms import ARM
from ff_assets.engine.published import Published, uses
from ff_assets.engine.store import Record, Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Exposures:
    """The predictions of a test so far.

    Attributes:
        predictions: folder -> record, of those that have rows and whose arms had different
            models, up to the end: whoever was predicted by one and the same was not exposed to a
            difference. What was never published did not expose anybody.
        since: folder -> when it was published first. A run takes its time, and whoever is
            predicted cannot be exposed before its end.
        end: when both arms were first predicted by one version after they had had two; from then
            on nothing differs, so nothing counts. None as long as the test goes on.
        resumed: when arms had two versions again after the end, which does not count either.
    """

    predictions: Mapping[Path, Record]
    since: Mapping[Path, datetime]
    end: datetime | None = None
    resumed: datetime | None = None

    @classmethod
    def stored(cls, store: Store, target: str, test: str) -> "Exposures":
        """Those of a test, oldest first."""
        folder = store.ab_test_path(target, test)
        used = uses(store, target, AB_TEST)
        return cls.among(each for each in used if each.path.is_relative_to(folder))

    @classmethod
    def among(cls, used: Iterable[Published]) -> "Exposures":
        """Those among all predictions of a test.

        Args:
            used: what was published or used again, in this order: versions may come to be the same
                on a day on which they were so before.
        """
        ordered = [each for each in used if each.record.rows]
        differ = [each for each in ordered if _differ(each.record)]
        same = [each.time for each in ordered if not _differ(each.record)]
        end = next((at for at in same if differ and at > differ[0].time), None)
        kept = [each for each in differ if end is None or each.time < end]
        resumed = next((e.time for e in differ if end is not None and e.time > end), None)
        since = {each.path: each.time for each in reversed(kept)}  # the first time of each
        return cls({e.path: e.record for e in kept}, since, end, resumed)

    @property
    def days(self) -> list[str]:
        """The days on which somebody was predicted, in order."""
        days = {record.details["predicted_at"][:10] for record in self.predictions.values()}
        return sorted(days)

    @property
    def shares(self) -> list[float]:
        """The shares of the treatment, in the order in which they were in force."""
        return list(dict.fromkeys(r.details["share"] for r in self.predictions.values()))

    def versions(self, arm: str) -> list[int]:
        """The versions that have served an arm, in order."""
        return self._of(arm, "version")

    @property
    def shared_versions(self) -> list[int]:
        """The versions that have served both arms, one after the other."""
        treatment = self.versions(TREATMENT)
        return [version for version in self.versions(CONTROL) if version in treatment]

    def aliases(self, arm: str) -> list[str]:
        """The aliases that have served an arm, in order; more than one were another test."""
        return self._of(arm, "alias")

    def _of(self, arm: str, what: str) -> list[Any]:
        details = [record.details["arms"][arm] for record in self.predictions.values()]
        return list(dict.fromkeys(each[what] for each in details))

    def units(self, spark: "SparkSession") -> "DataFrame":
        """A row for each unit that was ever exposed.

        Its columns are `unit` (the text of its key), `arm`, `since` (when its first prediction was
        published) and `arms`, the number of arms that it was in, which ought to be 1.
        """
        from pyspark.sql import functions as F

        alike: dict[tuple[str, str], list[str]] = {}  # files whose key has one name and type
        for folder, record in self.predictions.items():
            unit = record.details["unit"]
            alike.setdefault((unit, record.columns[unit]), []).append(str(folder))
        rows = reduce(
            lambda one, other: one.union(other),
            (
                spark.read.parquet(*folders).select(
                    F.col(unit).cast("string").alias("unit"), ARM, "predicted_at"
                )
                for (unit, _), folders in alike.items()
            ),
        )
        times = [(_at(record), self.since[folder]) for folder, record in self.predictions.items()]
        published = spark.createDataFrame(times, "predicted_at timestamp, since timestamp")
        dated = rows.join(F.broadcast(published), "predicted_at")
        return dated.groupBy("unit").agg(
            F.min(ARM).alias(ARM),
            F.min("since").alias("since"),
            F.count_distinct(ARM).alias("arms"),
        )


def _at(record: Record) -> datetime:
    return datetime.fromisoformat(record.details["predicted_at"])


def _differ(record: Record) -> bool:
    arms = record.details["arms"]
    return arms[CONTROL]["version"] != arms[TREATMENT]["version"]
