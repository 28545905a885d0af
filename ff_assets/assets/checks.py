"""Checks on predictions: are the rows that were scored, and what came of them, as they used to be?

They warn and never block. What they say was counted when the rows were scored and is in the record
of the predictions, so predictions that are reused have the same checks, and need no Spark.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ff_assets.assets.pictures import drift_picture
from ff_assets.core.assignment import of_arm
from ff_assets.engine.arms import by_arm
from ff_assets.engine.drift import Drifted, compare
from ff_assets.engine.predict import Predicted
from ff_assets.stats.drift import DISTANCE_LIMIT, PSI_LIMIT

# name of the check -> what is recorded of the predictions, what it is called, its reference
_CHECKS = {
    "drift_of_features": ("features", "features", "the rows of train"),
    "drift_of_predictions": (
        "outputs",
        "columns of predictions",
        "predictions on the rows of test",
    ),
}
_FEW = 100  # rows with which only a large drift is sure
_PICTURED = 4
_WIDTH = 40  # characters of a value


def drift_checks(key: dg.AssetKey, arms: Iterable[str]) -> list[dg.AssetCheckSpec]:
    """The checks on predictions, for the model of each arm; of no arm for those of an alias."""
    return [
        dg.AssetCheckSpec(
            of_arm(name, arm),
            asset=key,
            description=f"Compares the {called}{f' of the {arm}' if arm else ''} with {reference}, "
            "as they were when the model first predicted. Warns if a PSI is surely above "
            f"{PSI_LIMIT:g}, or more than {DISTANCE_LIMIT:.0%} of the rows surely lie elsewhere.",
        )
        for arm in arms
        for name, (_, called, reference) in _CHECKS.items()
    ]


def nothing_predicted(
    key: dg.AssetKey,
    selected: Collection[dg.AssetCheckKey],
    why: str = "nothing was predicted, so there is nothing to compare",
) -> Iterator[dg.AssetCheckResult]:
    """The results of the checks that are selected where there are no predictions that count."""
    for check in sorted(each for each in selected if each.asset_key == key):
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=check.name,
            passed=True,
            severity=dg.AssetCheckSeverity.WARN,
            description=why,
        )


@dataclass(frozen=True)
class DriftChecks:
    """What the checks say of the predictions of one model.

    Args:
        predicted: the predictions.
        arm: of the model.
        hidden: columns of which no value is shown, as they are sensitive.
    """

    predicted: Predicted
    arm: str
    hidden: Collection[str]

    def results(
        self, key: dg.AssetKey, selected: Collection[dg.AssetCheckKey]
    ) -> Iterator[dg.AssetCheckResult]:
        """The results of the checks that are selected.

        Args:
            key: of the predictions.
        """
        for name in _CHECKS:
            if dg.AssetCheckKey(key, of_arm(name, self.arm)) in selected:
                yield self._result(key, name)

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """What the predictions themselves say: numbers to plot, and a sentence if any drifted."""
        if "failed" in self._recorded or not self._recorded:
            return {}
        counts = {
            name: dg.MetadataValue.int(sum(each.drift.drifted for each in self._compared(name)))
            for name in _CHECKS
        }
        told = [self.sentence(name) for name, count in counts.items() if count.value]
        said = {"drift": dg.MetadataValue.text("; ".join(told))} if told else {}
        return {of_arm(name, self.arm): value for name, value in {**counts, **said}.items()}

    def sentence(self, name: str) -> str:
        """What a check says."""
        _, called, reference = _CHECKS[name]
        rows = self._model["rows"]
        if not rows:
            return "no row was scored, so there is nothing to compare"
        if "failed" in self._recorded:
            return f"{called} could not be compared with {reference}: {self._recorded['failed']}"
        columns = self._compared(name)
        if not columns:
            return f"there is nothing to compare with: {reference} are none"
        drifted = [each for each in columns if each.drift.drifted]
        few = f"; with {rows:,} rows only a large drift would show" if rows < _FEW else ""
        if not drifted:
            return f"none of {len(columns)} {called} drifted{few}"
        worst = drifted[0]
        new = f", with a new value {value!r}" if (value := self._new(worst)) else ""
        return (
            f"{len(drifted)} of {len(columns)} {called} drifted; most: {worst.column}, "
            f"{_size(worst)}{new}{few}"
        )

    @property
    def _recorded(self) -> Mapping[str, object]:
        found: Mapping[str, object] = self._model["drift"]
        return found

    @property
    def _model(self) -> Mapping[str, Any]:
        return by_arm(self.predicted.record.details)[self.arm]

    def _compared(self, name: str) -> list[Drifted]:
        recorded: object = self._recorded.get(_CHECKS[name][0], [])
        assert isinstance(recorded, list)
        return compare(recorded)

    def _result(self, key: dg.AssetKey, name: str) -> dg.AssetCheckResult:
        columns = self._compared(name)
        metadata: dict[str, dg.MetadataValue] = {}
        if columns:
            shown = [each for each in columns if not self._is_hidden(each)][:_PICTURED]
            metadata = {
                "drifted": dg.MetadataValue.int(sum(each.drift.drifted for each in columns)),
                "compared": dg.MetadataValue.int(len(columns)),
                "reference": dg.MetadataValue.text(
                    f"{_CHECKS[name][2]}, counted {self._recorded['since']}"
                ),
                "columns": dg.MetadataValue.table([self._row(each) for each in columns]),
                **({"picture": dg.MetadataValue.md(drift_picture(shown))} if shown else {}),
            }
        failed = "failed" in self._recorded or any(each.drift.drifted for each in columns)
        return dg.AssetCheckResult(
            asset_key=key,
            check_name=of_arm(name, self.arm),
            passed=not failed,
            severity=dg.AssetCheckSeverity.WARN,
            description=self.sentence(name),
            metadata=metadata,
        )

    def _row(self, column: Drifted) -> dg.TableRecord:
        before, now = column.missing()
        return dg.TableRecord(
            {
                "column": column.column,
                "counted by": column.bins.of,
                "drifted": column.drift.drifted,
                "PSI": round(column.drift.psi, 4),
                "PSI at least": round(column.drift.psi_low, 4),
                "rows elsewhere": round(column.drift.distance, 4),
                "elsewhere at least": round(column.drift.distance_low, 4),
                "rows before": sum(column.before),
                "rows now": sum(column.now),
                "missing before": round(before, 4),
                "missing now": round(now, 4),
                "new value": self._new(column),
            }
        )

    def _new(self, column: Drifted) -> str:
        """A category that the reference does not know, if there is one to be shown."""
        new = "" if column.new is None or self._is_hidden(column) else column.new
        return new if len(new) <= _WIDTH else f"{new[: _WIDTH - 1]}…"

    def _is_hidden(self, column: Drifted) -> bool:
        return column.column.partition("[")[0] in self.hidden  # `probability[2]` of a class


def _size(column: Drifted) -> str:
    """How large a drift is, by the limit that it exceeds."""
    found = column.drift
    if found.psi_low > PSI_LIMIT:
        return f"PSI {found.psi:.2f} [at least {found.psi_low:.2f}]"
    return f"{found.distance:.0%} of rows lie elsewhere [at least {found.distance_low:.0%}]"
