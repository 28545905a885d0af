"""A Dagster job that opens the MLflow run of its run, on a store of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import PrivateAttr

from ff_assets.registry.runs import MlflowRuns, ParentRun

EXPERIMENT = "test"


class MlflowResource(dg.ConfigurableResource):
    """What the project's own resource does."""

    tracking_uri: str
    artifact_root: str
    _context: dg.InitResourceContext = PrivateAttr()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        self._context = context

    def open(self) -> Any:
        return MlflowRuns(self.tracking_uri, self.artifact_root, EXPERIMENT).open(self._context)


Body = Callable[[ParentRun], None]


def run_job(
    folder: Path,
    body: Body,
    *,
    tracking_uri: str | dg.EnvVar | None = None,
    retry_policy: dg.RetryPolicy | None = None,
) -> dg.ExecuteInProcessResult:
    """A real Dagster run of one op, which opens the MLflow run and then does `body` in it."""

    @dg.op(retry_policy=retry_policy)
    def work(mlflow_runs: MlflowResource) -> None:
        with mlflow_runs.open() as parent:
            body(parent)

    @dg.job
    def work_job() -> None:
        work()

    resource = MlflowResource(
        tracking_uri=tracking_uri or uri_of(folder), artifact_root=str(folder / "artifacts")
    )
    return work_job.execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        resources={"mlflow_runs": resource},
        raise_on_error=False,
    )


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder}/store/mlflow.db"


def runs_in(folder: Path) -> tuple[list[Run], list[Run]]:
    """The runs of Dagster runs, and the nested ones."""
    client = MlflowClient(uri_of(folder))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    nested = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    return [run for run in found if run not in nested], nested


def one_variant(parent: ParentRun) -> None:
    with parent.variant_run("tfidf", {"ff.variant": "tfidf"}):
        pass
