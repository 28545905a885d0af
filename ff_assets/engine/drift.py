"""Drift: the rows of a prediction beside those that its model comes from.

What the model reads is counted on a sample that the pass draws which scores the rows; what it makes
on what was written, also on a sample if that is long. The counts are in the record of the
prediction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.entities import Entity
from ff_assets.core.errors import brief
from ff_assets.engine.histograms import SAMPLING, Bins, columns_of, groups_of, sampled
from ff_assets.engine.outputs import counts_of
from ff_assets.engine.reference import Reference
from ff_assets.stats.drift import ALPHA, Drift, drift

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS = 5000  # of which features are counted; enough to be sure of a drift that is just too large


class Watch:
    """Draws from the rows of one prediction as they pass by, and counts them like a reference.

    Whatever fails on the way is told in place of the drift: whoever waits for a prediction shall
    not wait for this.

    Args:
        reference: what they are held against.
        entity: what a row is about.
    """

    def __init__(self, reference: Reference, entity: Entity) -> None:
        from pyspark.sql import Observation

        self._reference, self._entity = reference, entity
        self._failed: dict[str, str] = {}
        self._observation = Observation("rows that are scored")

    def observed(self, given: "DataFrame") -> "DataFrame":
        """The same rows; when a job has read them, `describe` knows what they were."""
        if not self._reference.features:
            return given
        try:
            features = list(self._reference.features)
            rows, drawn = sampled(given, features, self._entity, _ROWS)
            return rows.observe(self._observation, drawn.alias("drawn")).drop(*SAMPLING)
        except Exception as error:
            self._failed = {"failed": brief(error)}
            return given

    def describe(self, files: Sequence[Path], rows: int) -> dict[str, Any]:
        """What is recorded of the drift, as plain values; or as `failed`, why it is not known.

        Args:
            files: with the rows that were scored.
            rows: how many there are.
        """
        if not rows:
            return {}
        if self._failed:
            return self._failed
        try:
            return self._described(files)
        except Exception as error:
            return {"failed": brief(error)}

    def _described(self, files: Sequence[Path]) -> dict[str, Any]:
        reference, entity = self._reference, self._entity
        names = list(reference.features)
        sample = self._observation.get["drawn"] if names else None
        drawn, groups = columns_of(sample, names), groups_of(sample)
        features = {
            name: each.bins.count(drawn[name], groups) for name, each in reference.features.items()
        }
        bins = {name: each.bins for name, each in reference.outputs.items()}
        together = None if entity.split_key == entity.key else entity.split_key
        outputs = counts_of(files, bins, together)
        return {
            "since": reference.since,
            "features": [
                {
                    "column": name,
                    **each.describe(),
                    "now": features[name].rows,
                    "effect_now": features[name].effect,
                    "new": each.bins.unknown(drawn[name]),
                }
                for name, each in reference.features.items()
            ],
            "outputs": [
                {
                    "column": name,
                    **each.describe(),
                    "now": outputs[name].rows,
                    "effect_now": outputs[name].effect,
                    "new": None,
                }
                for name, each in reference.outputs.items()
            ],
        }


@dataclass(frozen=True)
class Drifted:
    """A column, then and now.

    Attributes:
        before: rows per bin of the reference.
        now: the same of the rows that were scored.
        new: a category that the reference does not know; `None` if there is none.
        drift: how far they are from each other.
    """

    column: str
    bins: Bins
    before: tuple[int, ...]
    now: tuple[int, ...]
    new: str | None
    drift: Drift

    def missing(self) -> tuple[float, float]:
        """The share of rows without a value, before and now."""
        return self.before[0] / sum(self.before), self.now[0] / sum(self.now)


def compare(described: Sequence[Mapping[str, Any]]) -> list[Drifted]:
    """Compare columns with their reference, the worst first.

    The limits hold for all columns together: of many that have not changed none is called drifted,
    19 times out of 20.

    Args:
        described: `features` or `outputs` of what `Watch.describe` gave.
    """
    known = [each for each in described if sum(each["counts"])]
    found = [
        Drifted(
            each["column"],
            bins := Bins.read(each["bins"]),
            tuple(each["counts"]),
            tuple(each["now"]),
            each["new"],
            drift(
                *(each["counts"], each["now"]),
                ordered=bins.ordered,
                alpha=ALPHA / len(known),
                effects=(each["effect"], each["effect_now"]),
            ),
        )
        for each in known
    ]
    return sorted(
        found, key=lambda c: (not c.drift.drifted, -c.drift.psi_low, -c.drift.psi, c.column)
    )
