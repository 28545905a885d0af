"""The arms of an A/B test in Spark: which rows belong to which arm."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ff_assets.core.ab_test import ABTest
from ff_assets.core.assignment import CONTROL, POSITIONS, TREATMENT, prefix, treated_positions
from ff_assets.core.entities import Entity
from ff_assets.engine.regions import hashed

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ARM = "arm"


def arm_column(key: "Column", test: str, share: float) -> "Column":
    """The arm of a key, as `ff_assets/core/assignment.py` defines it; null where the key is.

    Args:
        test: what is hashed before the key.
        share: of the treatment.
    """
    from pyspark.sql import functions as F

    position = hashed(prefix(test), key) % POSITIONS
    treated = F.when(position < treated_positions(share), TREATMENT).otherwise(CONTROL)
    return F.when(key.isNotNull(), treated)


@dataclass(frozen=True)
class Division:
    """How the rows of a target are divided among the arms of its test.

    Attributes:
        test: its name.
        share: of the treatment.
        salt: what is hashed before the key of a unit.
        unit: the column with that key.
    """

    test: str
    share: float
    salt: str
    unit: str

    @classmethod
    def of(cls, test: ABTest, target: str, entity: Entity) -> "Division":
        """How rows of a target's entity are divided."""
        return cls(test.name, test.share, test.salt(target), entity.split_key)

    @classmethod
    def recorded(cls, details: Mapping[str, Any]) -> "Division | None":
        """How the rows of a record's predictions were divided; `None` without a test."""
        return cls(**{f.name: details[f.name] for f in fields(cls)}) if "arms" in details else None

    def rows(self, frame: "DataFrame", arm: str) -> "DataFrame":
        """Those of an arm."""
        from pyspark.sql import functions as F

        return frame.where(arm_column(F.col(self.unit), self.salt, self.share) == arm)

    def describe(self) -> dict[str, Any]:
        """The division as plain values."""
        return asdict(self)


def by_arm(details: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Arm -> what a record of predictions says of its model; of no arm without a test."""
    found: Mapping[str, Mapping[str, Any]] = details.get("arms", {"": details})
    return found
