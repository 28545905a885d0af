"""Who was exposed in an A/B test: read back from all predictions that are stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.assignment import CONTROL, TREATMENT
from ff_assets.engine.arms import ARM
from ff_assets.engine.store import Record, Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Exposures:
    """The predictions of a test so far.

    Attributes:
        predictions: folder -> record, of those that have rows and whose arms had different
            models: whoever was predicted by one and the same was not exposed to a difference.
    """

    predictions: Mapping[Path, Record]

    @classmethod
    def stored(cls, store: Store, target: str, test: str) -> "Exposures":
        """Those of a test, oldest first."""
        folders = store.ab_test_path(target, test).glob("versions=*/data=*/day=*")
        found = {folder: store.predictions(folder) for folder in folders}
        kept = {f: r for f, r in found.items() if r is not None and r.rows and _differ(r)}
        return cls(dict(sorted(kept.items(), key=lambda item: item[1].details["predicted_at"])))

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

    def aliases(self, arm: str) -> list[str]:
        """The aliases that have served an arm, in order; more than one were another test."""
        return self._of(arm, "alias")

    def _of(self, arm: str, what: str) -> list[Any]:
        details = [record.details["arms"][arm] for record in self.predictions.values()]
        return list(dict.fromkeys(each[what] for each in details))

    def units(self, spark: "SparkSession") -> "DataFrame":
        """A row for each unit that was ever exposed.

        Its columns are `unit` (the text of its key), `arm`, `since` (the time of its first
        prediction) and `arms`, the number of arms that it was in, which ought to be 1.
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
        return rows.groupBy("unit").agg(
            F.min(ARM).alias(ARM),
            F.min("predicted_at").alias("since"),
            F.count_distinct(ARM).alias("arms"),
        )


def _differ(record: Record) -> bool:
    arms = record.details["arms"]
    return arms[CONTROL]["version"] != arms[TREATMENT]["version"]
