"""Running a project for real: Spark, a Dagster instance, MLflow on SQLite.

As a program, `python -m ff_assets_tests.running FOLDER PROJECT`, it runs one in a process of its
own and prints what was materialised.
"""

import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import dagster as dg
import pyarrow.parquet as pq
from mlflow import MlflowClient
from pyspark.sql import SparkSession

from ff_assets.assets.build import resources, spark_config
from ff_assets.assets.experiments import experiment_assets
from ff_assets.assets.jobs import (
    ALL_CELLS,
    ALL_THERE_IS,
    EVERYTHING,
    experiment_job_name,
    experiment_jobs,
    fit_jobs,
    predict_job_name,
    predict_jobs,
)
from ff_assets.assets.op import flow_assets
from ff_assets.assets.predictions import prediction_assets
from ff_assets.assets.resources import SparkResource
from ff_assets.assets.specs import asset_key
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow, infer
from ff_assets.core.instance import Variant
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS, steps_of
from ff_assets.engine.store import Store
from ff_assets.engine.versions import code_versions
from ff_assets.settings import Settings

# Java's second compiler takes half of the time of runs as short as these, and pays off in none.
# With the first alone Java has room for little code, and spends a sixth of its time on clearing up.
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m -XX:+UseSerialGC"
SPARK = spark_config() | {
    "spark.driver.extraJavaOptions": (
        f"{spark_config()['spark.driver.extraJavaOptions']} {QUICK_JAVA}"
    ),
    "spark.master": "local[2]",
    "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": "2",
}

PLAIN = (bool, int, float, str)


class WatchedSpark(SparkResource):
    """The project's resource, which notes that somebody asked for the session."""

    asked: ClassVar[list[None]] = []

    def session(self) -> SparkSession:
        self.asked.append(None)
        return super().session()


@dataclass(frozen=True)
class Home:
    """Where runs keep what they make."""

    store_root: Path
    mlflow: Path
    instance: dg.DagsterInstance

    @classmethod
    def at(cls, folder: Path) -> "Home":
        """Everything in one folder, found again by other processes."""
        dagster = folder / "dagster"
        dagster.mkdir(parents=True, exist_ok=True)
        quiet = {"telemetry": {"enabled": False}}
        instance = dg.DagsterInstance.local_temp(str(dagster), overrides=quiet)
        return cls(folder / "store", folder / "mlflow", instance)

    @property
    def store(self) -> Store:
        return Store(self.store_root, self.kept)

    @property
    def kept(self) -> Path:
        """What outlives the store."""
        return self.store_root.parent / "kept"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.mlflow}/mlflow.db"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.tracking_uri)

    def run(
        self,
        project: Project,
        only: Collection[str] | None = None,
        cells: Collection[str] = CELLS,
        tracking_uri: str | None = None,
    ) -> "Ran":
        """Run a project, or the assets of these paths, as one Dagster run in this process."""
        flow = infer(project)
        tags = ALL_CELLS if set(cells) == set(CELLS) else {}
        if len(cells) == 1:
            tags = {"dagster/partition": next(iter(cells))}
        keys = [asset_key(step) for step in steps_of(flow)]
        selected = [k for k in keys if only is None or "/".join(k.path) in only]
        return self._execute(flow, EVERYTHING, tags, tracking_uri, asset_selection=selected)

    def predict(self, project: Project, target: str, alias: str = "staging") -> "Ran":
        """Run the job that predicts with the model behind an alias, or for the A/B test."""
        return self._execute(infer(project), predict_job_name(target, alias))

    def experiment(self, project: Project, target: str) -> "Ran":
        """Run the job that looks at the effect in a target's A/B test."""
        return self._execute(infer(project), experiment_job_name(target))

    def run_all_there_is(self, project: Project) -> "Ran":
        """Run all assets, as "Materialize all" of the whole graph does."""
        return self._execute(infer(project), ALL_THERE_IS, ALL_CELLS)

    def _execute(
        self,
        flow: Flow,
        job: str,
        tags: Mapping[str, str] = MappingProxyType({}),
        tracking_uri: str | None = None,
        **more: Any,
    ) -> "Ran":
        settings = Settings(
            home=self.store_root.parent,
            dagster_home=self.mlflow,
            store=self.store_root,
            kept=self.kept,
            mlflow_tracking_uri=tracking_uri or self.tracking_uri,
            mlflow_artifacts=self.mlflow / "artifacts",
            data=self.store_root.parent,
            java=self.store_root.parent,
        )
        definitions = dg.Definitions(
            assets=[flow_assets(flow), *prediction_assets(flow), *experiment_assets(flow)],
            jobs=[*fit_jobs(flow), *predict_jobs(flow), *experiment_jobs(flow)],
            resources=resources(settings) | {"spark": WatchedSpark(spark_config=SPARK)},
            executor=dg.in_process_executor,
        )
        WatchedSpark.asked.clear()
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags=dict(tags),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            **more,
        )
        return Ran(result, self.instance, asked_for_spark=bool(WatchedSpark.asked))


@dataclass(frozen=True)
class Ran:
    """A run that has ended."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance
    asked_for_spark: bool

    @property
    def success(self) -> bool:
        return self.result.success

    @property
    def run_id(self) -> str:
        return self.result.run_id

    @cached_property
    def events(self) -> list[dg.EventLogEntry]:
        return self.instance.all_logs(self.run_id)

    @cached_property
    def assets(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Asset -> cell ("" for the whole) -> metadata, as the instance has recorded them."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for entry in self.events:
            made = entry.asset_materialization
            if made is not None:
                assert made.tags is not None
                found.setdefault("/".join(made.asset_key.path), {})[made.partition or ""] = {
                    "data_version": made.tags["dagster/data_version"],
                    **{name: value.value for name, value in made.metadata.items()},
                }
        return found

    @property
    def computed(self) -> set[str]:
        """The assets of which not all was there before."""
        return {
            name
            for name, cells in self.assets.items()
            if not all(metadata["reused"] for metadata in cells.values())
        }

    @property
    def messages(self) -> list[str]:
        """What the op logged, in order."""
        return [entry.user_message for entry in self.events if not entry.is_dagster_event]

    @property
    def failure(self) -> str:
        """What the run says of its failure, as the UI shows it."""
        (failed,) = (e for e in self.result.all_events if e.is_step_failure)
        data = failed.step_failure_data
        if data.user_failure_data is not None:
            return data.user_failure_data.description or ""
        return data.error_display_string

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors of the steps that failed, as plain values."""
        (failed,) = (e for e in self.result.all_events if e.is_step_failure)
        data = failed.step_failure_data.user_failure_data
        return data.metadata["errors"].value if data is not None else []


@dataclass(frozen=True)
class WholeRun:
    """One run of a project that many tests look at."""

    home: Home
    project: Project
    file: Path
    ran: Ran

    @cached_property
    def flow(self) -> Flow:
        return infer(self.project)

    @cached_property
    def fingerprints(self) -> Fingerprints:
        """Of every instance, made anew."""
        versions = {source.name: str(source.version) for source in self.project.sources}
        made = Fingerprints(versions, **code_versions())
        made.add(self.flow.instances)
        return made

    @cached_property
    def rows(self) -> dict[int, dict[str, Any]]:
        """Key -> the row that the source has."""
        return {row["review_id"]: row for row in pq.read_table(self.file).to_pylist()}

    def cell_of(self, key: int) -> str:
        return self.project.split.cell(key)

    def stored(self, spark: SparkSession, variant: Variant) -> dict[int, dict[str, Any]]:
        """Key -> the stored prediction, with its cell and Spark's private columns."""
        path = self.home.store.table_path(self.fingerprints[variant.prediction])
        read = spark.read.parquet(str(path)).collect()
        return {row["review_id"]: row.asDict() for row in read}


if __name__ == "__main__":
    from ff_assets_tests.projects import PROJECTS

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    folder = Path(sys.argv[1])
    ran = Home.at(folder).run(PROJECTS[sys.argv[2]](folder / "reviews.parquet"))
    plain = {
        name: {cell: {k: v for k, v in m.items() if type(v) in PLAIN} for cell, m in cells.items()}
        for name, cells in ran.assets.items()
    }
    print(json.dumps({"success": ran.success, "assets": plain}))
