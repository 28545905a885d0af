"""Running a job of Dagster's UI in this process, on the same instance."""

import fcntl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from rich.console import Console

from ff_assets.cli.progress import PROGRESS_LOGGER
from ff_assets.settings import Settings

Metadata = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a run has ended.

    Attributes:
        status: Dagster's.
        failure: what the run says of its failure.
    """

    run_id: str
    status: str
    seconds: float
    failure: str

    @property
    def exit_code(self) -> int:
        return {"SUCCESS": 0, "CANCELED": 130}.get(self.status, 1)

    def as_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "failure": self.failure,
        }

    def print(self, console: Console) -> None:
        colour = "green" if self.exit_code == 0 else "red"
        console.print(
            f"\n[{colour}]{self.status}[/] in {self.seconds:.0f} s, Dagster run {self.run_id[:8]}"
        )
        if self.failure:
            console.print(self.failure, markup=False, soft_wrap=True)


def the_instance(settings: Settings) -> dg.DagsterInstance:
    """Dagster's instance. Two processes that made its tables at once would break it for good."""
    with (settings.dagster_home / "instance.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return dg.DagsterInstance.get()


def launch(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    command: str,
    tags: Mapping[str, str],
    logger: dg.LoggerDefinition,
    add: Callable[[dg.AssetKey, Metadata], None],
) -> Ended:
    """Run a job of the code location to its end.

    Args:
        command: that was given, for the run's tags.
        logger: shows the progress.
        add: is told what was recorded of each asset that is made.
    """
    # Dagster's public ways of running a job in this process leave out the code location, and with
    # it the links and the re-execution of the run in the UI.
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run_iterator
    from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    location = InProcessCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(module_name="ff_assets.definitions"),
        location_name="ff_assets",
    )
    job = job.with_logger_defs({PROGRESS_LOGGER: logger})
    run = instance.create_run_for_job(
        job_def=job,
        tags={**tags, "ff/launched_by": command},
        run_config={"loggers": {PROGRESS_LOGGER: {}}},
        asset_selection=job.asset_selection,
        remote_job_origin=RemoteRepositoryOrigin(location, "__repository__").get_job_origin(
            job.name
        ),
    )
    failure = ""
    began = time.monotonic()
    for event in execute_run_iterator(InMemoryJob(job), run, instance):
        if event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            recorded = {
                name: getattr(value, "value", None)
                for name, value in materialization.metadata.items()
            }
            add(materialization.asset_key, recorded)
        elif event.is_step_failure:
            error = event.step_failure_data.error
            if error is not None and error.cls_name in _INTERRUPTS:
                instance.report_run_canceling(run)  # so that the run ends as CANCELED
            else:
                failure = _failure_text(event)
    finished = instance.get_run_by_id(run.run_id)
    assert finished is not None
    return Ended(run.run_id, finished.status.value, time.monotonic() - began, failure)


_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


def _failure_text(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None:
        return data.user_failure_data.description or ""
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else ""
