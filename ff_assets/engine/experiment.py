"""The effect in an A/B test: what came of those who were exposed, one arm beside the other.

Outcomes are summed up for each unit, because units were assigned to arms and not rows; units
without any count as 0. So everybody who was exposed counts, whether or not something came of it.
What is said to have come after the look does not count, and puts all other times in doubt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ff_assets.core.ab_test import AB_TEST, ABTest
from ff_assets.core.assignment import CONTROL, TREATMENT
from ff_assets.core.entities import Entity
from ff_assets.core.fingerprint import digest
from ff_assets.engine.arms import ARM
from ff_assets.engine.exposures import Exposures
from ff_assets.engine.looks import ArmSeen, Look, add_look, looks_at
from ff_assets.engine.outcomes import Outcomes
from ff_assets.engine.published import uses
from ff_assets.engine.store import Staging, Store
from ff_assets.engine.versions import code_version
from ff_assets.stats.sample_ratio import sample_ratio

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Looked:
    """What is known of a test after a look.

    Attributes:
        looks: all of them, the present one last.
        reused: whether nothing is new since the last one.
        data_version: that the source of the outcomes states, if it states any.
    """

    looks: list[Look]
    reused: bool
    data_version: str | None


class Experiment:
    """One look at a test.

    Args:
        target: that has the test.
        unit: the entity that is assigned to arms.
        clock: gives the time, UTC. It is asked once the outcomes are read, so none that has only
            just come is taken for one from the future.
        spark: gives the run's session; called only if something has to be read.
    """

    def __init__(
        self,
        target: str,
        test: ABTest,
        unit: Entity,
        clock: Callable[[], datetime],
        store: Store,
        staging: Staging,
        spark: "Callable[[], SparkSession]",
    ) -> None:
        self._target = target
        self._test = test
        self._unit = unit
        self._clock = clock
        self._store = store
        self._staging = staging
        self._spark = spark

    def run(self) -> Looked | None:
        """Look, unless nothing is new; `None` if nobody was exposed yet.

        Raises:
            DataError: the outcomes are not what their declaration says.
        """
        exposures = Exposures.stored(self._store, self._target, self._test.name)
        if not exposures.predictions:
            return None
        looks = looks_at(self._store, self._target, self._test.name)
        outcomes = Outcomes(self._test, self._unit, self._staging, self._spark)
        made_from = self._fingerprint(exposures, outcomes.version, later=0)
        # What was later than the last look may be earlier than this one, so it has to be read.
        if not looks or looks[-1].later or looks[-1].fingerprint != made_from:
            look = self._look(exposures, outcomes, looks).with_effect()
            if not looks or looks[-1].fingerprint != look.fingerprint:
                looks = add_look(self._store, self._target, self._test.name, look)
                return Looked(looks, reused=False, data_version=outcomes.stated)
        return Looked(looks, reused=True, data_version=outcomes.stated)

    def _fingerprint(self, exposures: Exposures, content: str, later: int) -> str:
        test = self._test
        return digest(
            {
                "exposed": [record.fingerprint for record in exposures.predictions.values()],
                "days": [
                    record.details["predicted_at"] for record in exposures.predictions.values()
                ],
                "end": [str(exposures.end), str(exposures.resumed)],
                "outcomes": [test.outcomes.name, content, later],
                "test": [test.name, test.measure, test.planned, self._unit.name],
                "code": code_version(_CODE),
            }
        )

    def _look(self, exposures: Exposures, outcomes: Outcomes, looks: list[Look]) -> Look:
        rows, at = outcomes.rows, self._clock()
        units = exposures.units(self._spark()).persist()
        try:
            counted, arms = self._joined(exposures, units, rows, at)
        finally:
            units.unpersist()
        test, share = self._test, exposures.shares[-1]
        ratio_p, doubts = None, self.doubts(exposures, counted["moved"], looks)
        if counted["later"]:
            by = timedelta(seconds=counted["latest"] - int(at.timestamp()))
            doubts.insert(
                0,
                f"{counted['later']:,} rows of outcomes are from after this look, by up to {by}, "
                "so times are wrong, such as by their time zone; these rows do not count yet",
            )
        sizes = {arm: seen.units for arm, seen in arms.items()}
        if len(exposures.shares) == 1 and any(sizes.values()):
            ratio = sample_ratio(sizes, {CONTROL: 1 - share, TREATMENT: share})
            ratio_p = ratio.p
            if ratio.mismatch:
                doubts.insert(
                    0,
                    f"the treatment has {ratio.shares[TREATMENT]:.2%} of the units and not "
                    f"{share:.2%} (p {ratio.p:.2g}), so something other than the hash decides who "
                    "is counted",
                )
        return Look(
            fingerprint=self._fingerprint(exposures, outcomes.version, counted["later"]),
            at=at.isoformat(),
            unit=self._unit.name,
            control=arms[CONTROL],
            treatment=arms[TREATMENT],
            share=share,
            ratio_p=ratio_p,
            first_day=exposures.days[0],
            last_day=exposures.days[-1],
            days=len(exposures.days),
            measure=f"{test.outcomes.name}.{test.measure}",
            planned=test.planned,
            doubts=doubts,
            ended=None if exposures.end is None else exposures.end.isoformat(),
            moved=counted["moved"],
            outcomes=counted["outcomes"],
            unknown=counted["unknown"],
            before=counted["before"],
            after=counted["after"],
            later=counted["later"],
            strangers=counted["strangers"],
        )

    def _joined(
        self, exposures: Exposures, units: "DataFrame", rows: "DataFrame", at: datetime
    ) -> tuple[dict[str, int], dict[str, ArmSeen]]:
        """Counts, and what each arm comes to; `latest` is the last time if after the look."""
        from pyspark.sql import functions as F

        known, value = F.col("arms").isNotNull(), F.col("value")
        early = F.coalesce(F.col("time") <= F.col("since"), F.lit(False))
        future = F.coalesce(F.col("time") > F.lit(at), F.lit(False))
        late = F.lit(False)
        if exposures.end is not None:
            late = F.coalesce(F.col("time") > F.lit(exposures.end), F.lit(False)) & ~future
        during = ~early & ~late & ~future
        told = rows.join(units, "unit", "left")
        counts = told.agg(
            F.count_if((F.col("arms") == 1) & during & value.isNotNull()).alias("outcomes"),
            F.count_if(known & during & value.isNull()).alias("unknown"),
            F.count_if(known & early).alias("before"),
            F.count_if(known & late).alias("after"),
            F.count_if(known & future).alias("later"),
            F.max(F.when(known & future, F.unix_seconds("time"))).alias("latest"),
            F.count_distinct(F.when(~known, F.col("unit"))).alias("strangers"),
        ).collect()[0]
        moved = units.where("arms > 1").count()
        sums = (
            told.where((F.col("arms") == 1) & during & value.isNotNull())
            .groupBy("unit")
            .agg(F.sum("value").alias("total"))
        )
        total = F.coalesce("total", F.lit(0.0))
        seen = (
            units.where("arms = 1")
            .join(sums, "unit", "left")
            .groupBy(ARM)
            .agg(
                F.count(F.lit(1)).alias("units"),
                F.count("total").alias("with_outcome"),
                F.avg(total).alias("mean"),
                F.coalesce(F.var_samp(total), F.lit(0.0)).alias("variance"),
            )
        )
        found = {row[ARM]: row.asDict() for row in seen.collect()}
        return {**counts.asDict(), "moved": moved}, {
            arm: _seen(found.get(arm), alias, exposures.versions(arm))
            for arm, alias in self._test.aliases.items()
        }

    def doubts(self, exposures: Exposures, moved: int, looks: list[Look]) -> list[str]:
        """What was changed in the course of the test and ought not to have been.

        Args:
            moved: how many units were in both arms.
            looks: the earlier ones.
        """
        doubts = []
        if len(exposures.shares) > 1:
            shares = ", then ".join(f"{share:g}" for share in exposures.shares)
            doubts.append(
                f"the share was changed under the name `{self._test.name}` ({shares}), so "
                f"{moved:,} units were in both arms and are left out, and the arms were exposed at "
                "different times; another share needs a new name"
            )
        elif moved:
            doubts.append(
                f"{moved:,} units were in both arms and are left out: their keys, or the "
                "unit itself, were changed in the course of the test"
            )
        for arm in (CONTROL, TREATMENT):
            if len(aliases := exposures.aliases(arm)) > 1:
                doubts.append(
                    f"the {arm} was served by {' and by '.join(aliases)} under one name; other "
                    "aliases need a new one"
                )
        doubts += self._versions_changed(exposures)
        if pause := self._pause(exposures):
            span = pause[0] if len(pause) == 1 else f"{pause[0]} to {pause[-1]}"
            doubts.append(
                f"between days of the test there {'is' if len(pause) == 1 else 'are'} {len(pause)} "
                f"on which something else predicted instead ({span}); a test that is taken up "
                "again needs a new name"
            )
        measure = f"{self._test.outcomes.name}.{self._test.measure}"
        for what, now, before in (
            ("measure", measure, [look.measure for look in looks]),
            ("planned number of units", self._test.planned, [look.planned for look in looks]),
        ):
            others = [str(each) for each in dict.fromkeys(before) if each != now]
            if others:
                doubts.append(
                    f"the {what} was changed after a look (it was {', '.join(others)}), and an "
                    "interval holds for what was fixed before the first one"
                )
        return doubts

    def _pause(self, exposures: Exposures) -> list[str]:
        """Days between those of the test that belonged to the control alone, or to another test."""
        days = exposures.days
        others = {
            each.time.date().isoformat()
            for served_as in (self._test.control, AB_TEST)
            for each in uses(self._store, self._target, served_as)
            if each.record.rows and each.path not in exposures.predictions
        }
        return sorted(day for day in others.difference(days) if days[0] < day < days[-1])

    def _versions_changed(self, exposures: Exposures) -> list[str]:
        """What makes the arms other than a test of some versions against others."""
        doubts = []
        if both := exposures.shared_versions:
            named = f"version {both[0]} has"
            if len(both) > 1:
                named = f"versions {' and '.join(map(str, both))} have"
            doubts.append(
                f"{named} served both arms, one after the other, so their difference is not that "
                "between the models of today; other models need a new name"
            )
        if exposures.end is None:
            return doubts
        if self._test.outcomes.entity.time is None:
            doubts.append(
                f"since {exposures.end:%Y-%m-%d} both arms have one version, and "
                f"`{self._test.outcomes.name}` has no time, so what came of it since counts as well"
            )
        if exposures.resumed is not None:
            doubts.append(
                f"the arms have had different versions again since {exposures.resumed:%Y-%m-%d}, "
                f"after the test had ended on {exposures.end:%Y-%m-%d}; that is another test and "
                "needs a new name"
            )
        return doubts


_CODE = (
    "core/assignment",
    "engine/experiment",
    "engine/exposures",
    "engine/looks",
    "engine/outcomes",
    "engine/published",
    "stats/sample_ratio",
    "stats/sequential",
)


def _seen(found: dict[str, Any] | None, alias: str, versions: list[int]) -> ArmSeen:
    row = found or {"units": 0, "with_outcome": 0, "mean": 0.0, "variance": 0.0}
    names = ("units", "with_outcome", "mean", "variance")
    return ArmSeen(alias, versions, **{name: row[name] for name in names})
