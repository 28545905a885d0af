"""An MLflow run follows its Dagster run, and touches nothing else of the process."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import mlflow
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from mlflow import MlflowClient

from ff_assets.registry import MlflowUnavailable
from ff_assets.registry.runs import MlflowRuns, ParentRun
from ff_assets_tests.mlflow_job import EXPERIMENT, one_variant, run_job, runs_in, uri_of

pytestmark = pytest.mark.xdist_group("mlflow runs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests that tell their runs apart: making its tables takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    assert run_job(folder, one_variant).success
    return folder


def delete_runs(folder: Path) -> None:
    parents, nested = runs_in(folder)
    for run in parents + nested:
        MlflowClient(uri_of(folder)).delete_run(run.info.run_id)


@pytest.fixture
def clean(folder: Path) -> Path:
    delete_runs(folder)
    return folder


def test_a_dagster_run_has_one_finished_run_with_a_nested_run_per_variant(clean: Path) -> None:
    def two_variants(parent: ParentRun) -> None:
        for name in ("tfidf", "word2vec"):
            with parent.variant_run(name, {"ff.variant": name}):
                pass

    result = run_job(clean, two_variants)

    (parent,), nested = runs_in(clean)
    assert result.success
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["dagster_run_id"] == result.run_id
    assert parent.info.run_name == "work_job"
    assert {run.info.run_name for run in nested} == {"tfidf", "word2vec"}
    assert {run.info.status for run in nested} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}
    assert {run.data.tags["ff.dagster_run_id"] for run in nested} == {result.run_id}
    assert nested[0].info.artifact_uri.startswith(str(clean / "artifacts"))


def test_mlflow_settings_of_the_process_are_put_back(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if "MLFLOW" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "17")
    environment = dict(os.environ)
    address = mlflow.get_tracking_uri()

    assert run_job(clean, one_variant).success
    assert dict(os.environ) == environment
    assert mlflow.get_tracking_uri() == address
    assert mlflow.active_run() is None


def test_variants_of_several_threads_are_nested_in_one_run(clean: Path) -> None:
    def in_threads(parent: ParentRun) -> None:
        def variant(name: str) -> None:
            with parent.variant_run(name, {}):
                time.sleep(0.05)
                assert mlflow.active_run().info.run_name == name  # type: ignore[union-attr]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(variant, "abcdefgh"))

    assert run_job(clean, in_threads).success
    (parent,), nested = runs_in(clean)
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}
    assert sorted(run.info.run_name for run in nested) == list("abcdefgh")
    assert {run.info.status for run in nested} == {"FINISHED"}


def test_a_failure_ends_the_run_and_its_variant_as_failed(clean: Path) -> None:
    def fail(parent: ParentRun) -> None:
        one_variant(parent)
        with parent.variant_run("word2vec", {}):
            raise ValueError("the work failed")

    assert not run_job(clean, fail).success
    (parent,), nested = runs_in(clean)
    assert parent.info.status == "FAILED"
    statuses = {run.info.run_name: run.info.status for run in nested}
    assert statuses == {"tfidf": "FINISHED", "word2vec": "FAILED"}
    assert mlflow.active_run() is None


def test_an_interrupt_ends_the_run_and_its_variant_as_killed(clean: Path) -> None:
    def interrupted(parent: ParentRun) -> None:
        with parent.variant_run("tfidf", {}):
            raise DagsterExecutionInterruptedError

    assert not run_job(clean, interrupted).success
    (parent,), (nested,) = runs_in(clean)
    assert (parent.info.status, nested.info.status) == ("KILLED", "KILLED")
    assert mlflow.active_run() is None


def test_a_retry_continues_the_run_and_ends_it_as_finished(clean: Path) -> None:
    attempts: list[str] = []

    def fail_once(parent: ParentRun) -> None:
        one_variant(parent)
        attempts.append(parent.dagster_run_id)
        if len(attempts) == 1:
            raise ValueError("the first attempt failed")

    result = run_job(clean, fail_once, retry_policy=dg.RetryPolicy(max_retries=1))

    (parent,), nested = runs_in(clean)
    assert result.success
    assert attempts == [result.run_id, result.run_id]
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}


def test_a_run_of_the_surroundings_is_not_taken_over(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert run_job(clean, one_variant).success
    assert os.environ["MLFLOW_RUN_ID"] == "0" * 32
    assert len(runs_in(clean)[0]) == 1


def test_the_address_may_come_from_an_environment_variable(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_MLFLOW", uri_of(clean))
    assert run_job(clean, one_variant, tracking_uri=dg.EnvVar("TEAM_MLFLOW")).success
    assert len(runs_in(clean)[0]) == 1


def test_an_unreachable_server_fails_publishing_at_once_and_nothing_else(tmp_path: Path) -> None:
    errors: list[MlflowUnavailable] = []

    def publish_twice(parent: ParentRun) -> None:
        for _ in range(2):
            try:
                one_variant(parent)
            except MlflowUnavailable as error:
                errors.append(error)

    started = time.monotonic()
    result = run_job(tmp_path, publish_twice, tracking_uri="http://127.0.0.1:9")

    assert result.success
    assert time.monotonic() - started < 20
    assert len(errors) == 2
    assert "http://127.0.0.1:9" in str(errors[0])
    assert "server runs" in errors[0].fix


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").touch()  # where a folder should be
    with pytest.raises(MlflowUnavailable, match=r"store/mlflow\.db cannot be used"):
        MlflowRuns(uri_of(tmp_path), None, EXPERIMENT).client()


FRESH = """
import sys, time, warnings
from pathlib import Path
import dagster as dg
from pydantic import PrivateAttr
from ff_assets.registry.runs import MlflowRuns

warnings.simplefilter("error", dg.BetaWarning)
folder, me = Path(sys.argv[1]), sys.argv[2]

class MlflowResource(dg.ConfigurableResource):
    _context: dg.InitResourceContext = PrivateAttr()
    def setup_for_execution(self, context):
        self._context = context
    def open(self):
        return MlflowRuns(f"sqlite:///{folder}/store/mlflow.db", folder / "artifacts", "test").open(
            self._context
        )

def job_of(publishes):
    @dg.op
    def work(mlflow_runs: MlflowResource):
        with mlflow_runs.open() as parent:
            if publishes:
                with parent.variant_run(me, {}):
                    pass
    @dg.job
    def work_job():
        work()
    return work_job

def execute(publishes):
    with dg.DagsterInstance.ephemeral() as instance:
        job_of(publishes).execute_in_process(
            instance=instance, resources={"mlflow_runs": MlflowResource()}
        )

execute(publishes=False)
assert "mlflow" not in sys.modules
import mlflow.store.model_registry.sqlalchemy_store, mlflow.store.tracking.sqlalchemy_store
(folder / f"{me}.ready").touch()
while len(list(folder.glob("*.ready"))) < 2:
    time.sleep(0.001)
execute(publishes=True)
"""


def test_two_processes_may_be_the_first_to_touch_a_store(tmp_path: Path) -> None:
    """Also that MLflow is loaded by the first variant only, and that no beta warning shows."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FRESH, str(tmp_path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two")
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    parents, nested = runs_in(tmp_path)
    assert [run.info.status for run in parents + nested] == ["FINISHED"] * 4
    assert {run.info.run_name for run in nested} == {"one", "two"}
