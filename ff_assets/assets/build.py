"""Dagster definitions of a project."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from ff_assets.assets.automation import automation_sensor
from ff_assets.assets.edges import Asset, check_edges
from ff_assets.assets.experiments import experiment_assets
from ff_assets.assets.jobs import experiment_jobs, fit_jobs, predict_jobs
from ff_assets.assets.observations import observation_assets, observe_jobs, observe_schedules
from ff_assets.assets.op import flow_assets
from ff_assets.assets.predictions import prediction_assets
from ff_assets.assets.promotion_jobs import promotion_jobs
from ff_assets.assets.resources import MlflowResource, SparkResource, StoreResource
from ff_assets.assets.schedules import target_schedules
from ff_assets.assets.sensors import alias_sensor
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.memory import usable_memory
from ff_assets.settings import Settings

_QUIET_LOG = Path(__file__).with_name("log4j2.properties")


def build_definitions(
    project: Project, settings: Settings, assets: Sequence[Asset] = ()
) -> dg.Definitions:
    """Infer a project's flow and give it to Dagster.

    Args:
        assets: assets that a team has beside the flow. They are held to the rule of
            `assets/edges.py`: what is fitted reads no test row.

    Raises:
        DefinitionError: a declaration is wrong.
        LeakError: a metric would not be honest, or a model asset reads test rows.
    """
    flow = infer(project)
    every = [
        *observation_assets(flow),
        flow_assets(flow),
        *prediction_assets(flow),
        *experiment_assets(flow),
        *assets,
    ]
    check_edges(flow, every)
    predicting = predict_jobs(flow)
    return dg.Definitions(
        assets=every,
        jobs=[
            *fit_jobs(flow),
            *predicting,
            *experiment_jobs(flow),
            *observe_jobs(flow),
            *promotion_jobs(flow),
        ],
        schedules=[*target_schedules(flow), *observe_schedules(flow)],
        sensors=[alias_sensor(flow, predicting), automation_sensor()],
        resources=resources(settings),
        # One op needs one process; a process per step would load everything a second time.
        executor=dg.in_process_executor,
    )


def resources(settings: Settings) -> dict[str, dg.ConfigurableResource[Any]]:
    """The resources that the op needs."""
    return {
        "spark": SparkResource(spark_config=spark_config()),
        "mlflow": MlflowResource(
            tracking_uri=settings.mlflow_tracking_uri,
            artifact_root=str(settings.mlflow_artifacts),
            experiment="ff_assets",
        ),
        "store": StoreResource(root=str(settings.store), kept=str(settings.kept)),
    }


def spark_config() -> dict[str, str]:
    """Spark on this machine: all cores, and a third of its memory (1 to 8 GiB)."""
    cores = os.cpu_count() or 1
    gigabytes = min(8, max(1, usable_memory() // 3 // 2**30))
    return {
        "spark.master": "local[*]",
        "spark.app.name": "ff_assets",
        "spark.driver.memory": f"{gigabytes}g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Small data on few cores: the default of 200 partitions is for clusters.
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_QUIET_LOG.as_uri()}",
    }
