"""The sensor that predicts when an alias moves, by `ff promote` or in MLflow's own UI."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import dagster as dg

from ff_assets.assets.automation import RETRIED
from ff_assets.assets.jobs import ALL_THERE_IS, predict_job_name
from ff_assets.assets.resources import MlflowResource
from ff_assets.core.ab_test import AB_TEST, serving
from ff_assets.core.flow import Flow
from ff_assets.registry import MlflowUnavailable
from ff_assets.registry.aliases import behind_all

SENSOR_NAME = "predict_when_an_alias_moves"
_EVERY = 60  # seconds

Seen = Mapping[str, Mapping[str, str | None]]
"""Target -> alias -> what was behind it."""


@dataclass(frozen=True)
class Memory:
    """What the sensor's cursor holds.

    Attributes:
        seen: what was behind each alias at the last tick that MLflow answered.
        moves: how often each job was launched, by its name. It tells a rollback from the first
            time that the version was there, and a tick that is repeated from a new one.
        name: of this memory. After the cursor was reset in the UI, counting begins anew.
    """

    seen: Seen = field(default_factory=dict)
    moves: Mapping[str, int] = field(default_factory=dict)
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @classmethod
    def of(cls, cursor: str | None) -> "Memory":
        return cls(**json.loads(cursor)) if cursor else cls()

    def text(self) -> str:
        return json.dumps(asdict(self))

    def moved(self, seen: Seen) -> Iterator[tuple[str, str]]:
        """The (target, alias) that have another version behind them than they had.

        A target that is seen for the first time has moved nowhere.
        """
        for target in seen.keys() & self.seen.keys():
            for alias, version in seen[target].items():
                if version is not None and version != self.seen[target].get(alias):
                    yield target, alias

    def after(self, seen: Seen, launched: Sequence[str]) -> "Memory":
        """This memory after a tick that launches jobs."""
        moves = {**self.moves, **{job: self.moves.get(job, 0) + 1 for job in launched}}
        return Memory({**self.seen, **seen}, moves, self.name)


def alias_sensor(flow: Flow, predict_jobs: Sequence[Any]) -> dg.SensorDefinition:
    """One sensor for all targets; off until somebody turns it on.

    The first tick only remembers: what is in place was promoted before somebody asked for this, and
    a project with 100 targets must not answer a switch with 200 runs. The same holds for a target
    that is new. An alias that moved while the sensor was off is noticed when it is on again.

    Where a target has an A/B test, it is the test that predicts, by both models. A prediction that
    fails is launched anew by Dagster, see `RETRIED`.

    Args:
        predict_jobs: those of the flow.
    """
    targets = {target.name: serving(target) for target in flow.project.targets}

    @dg.sensor(
        name=SENSOR_NAME,
        jobs=[job for job in predict_jobs if job.name != ALL_THERE_IS],
        minimum_interval_seconds=_EVERY,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Predicts with a model as soon as it is promoted (or demoted): by "
        "`ff promote`, by the job `promote`, or by an alias that is set in MLflow's UI. What is in "
        "place when it is turned on for the first time is only remembered.",
    )
    def predict_when_an_alias_moves(
        context: dg.SensorEvaluationContext, mlflow: MlflowResource
    ) -> dg.SensorResult | dg.SkipReason:
        memory = Memory.of(context.cursor)
        try:
            seen = behind_all(mlflow.runs(), targets.keys())
        except MlflowUnavailable as error:
            return dg.SkipReason(f"{error}\nWhat moves meanwhile is noticed afterwards.")
        moved = sorted(memory.moved(seen))
        jobs = [
            predict_job_name(target, served_as)
            for target, alias in moved
            for served_as in targets[target]
            if served_as in (alias, AB_TEST)
        ]
        jobs = list(dict.fromkeys(jobs))  # both models of a test may have moved
        later = memory.after(seen, jobs)
        if not moved:
            return dg.SensorResult(skip_reason=_nothing(memory, seen), cursor=later.text())
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=f"{job} {later.name} {later.moves[job]}", job_name=job, tags=RETRIED
                )
                for job in jobs
            ],
            cursor=later.text(),
        )

    return predict_when_an_alias_moves


def _nothing(memory: Memory, seen: Seen) -> str:
    if memory.seen:
        return "no alias has moved."
    held = sum(version is not None for aliases in seen.values() for version in aliases.values())
    return (
        f"{held} of {sum(map(len, seen.values()))} aliases have a version; these are remembered. "
        "From now on a prediction is launched when one moves."
    )
