"""The work through everything: the project's Dagster job, in this process, with its registry."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import ALL_CELLS, EVERYTHING
from ff_assets.core.project import Project
from ff_assets.core.steps import Kind
from ff_assets.settings import Settings


@dataclass(frozen=True)
class Timing:
    """How long a run of the Dagster job took.

    Attributes:
        seconds: from the request to the end of the run.
        registering: seconds that its threads spent in MLflow, added up.
    """

    seconds: float
    registering: float


def run(project: Project, home: Path) -> Timing:
    """Run the job of all targets, with an instance, a store and an MLflow below a folder.

    Raises:
        dg.Failure: a step failed.
    """
    settings = settings_in(home)
    job = build_definitions(project, settings).resolve_job_def(EVERYTHING)
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    with dg.DagsterInstance.local_temp(str(settings.dagster_home)) as instance:
        began = time.monotonic()
        result = job.execute_in_process(instance=instance, tags=ALL_CELLS, run_config=quiet)
        seconds = time.monotonic() - began
    return Timing(seconds, _registering(result.get_asset_materialization_events()))


def settings_in(home: Path) -> Settings:
    """Settings that keep everything below a folder; those for Dagster's instance are made."""
    settings = Settings(
        home=home,
        dagster_home=home / "dagster",
        store=home / "store",
        kept=home / "kept",
        mlflow_tracking_uri=f"sqlite:///{home}/mlflow/mlflow.db",
        mlflow_artifacts=home / "mlflow" / "artifacts",
        data=home / "data",
        java=home / "java",
    )
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    return settings


def _registering(events: Sequence[dg.DagsterEvent]) -> float:
    made = [event.step_materialization_data.materialization for event in events]
    seconds = [
        m.metadata["seconds"].value
        for m in made
        if m.asset_key.path[0] == Kind.REGISTRATION and not m.metadata["reused"].value
    ]
    return sum(value for value in seconds if isinstance(value, float))
