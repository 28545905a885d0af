"""The arms of an A/B test in Spark: which rows belong to which arm."""

from dataclasses import dataclass
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
        test: decides the share.
        salt: what is hashed before the key of a unit.
        unit: the column with that key.
    """

    test: ABTest
    salt: str
    unit: str

    @classmethod
    def of(cls, test: ABTest, target: str, entity: Entity) -> "Division":
        """How rows of a target's entity are divided."""
        return cls(test, test.salt(target), entity.split_key)

    def rows(self, frame: "DataFrame", arm: str) -> "DataFrame":
        """Those of an arm."""
        from pyspark.sql import functions as F

        return frame.where(arm_column(F.col(self.unit), self.salt, self.test.share) == arm)

    def describe(self) -> dict[str, Any]:
        """The division as plain values."""
        return {"test": self.test.name, "unit": self.unit, "share": self.test.share}
