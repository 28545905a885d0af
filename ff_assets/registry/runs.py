"""One MLflow run per Dagster run, with one nested run per variant.

dagster-mlflow finds or makes the run that belongs to a Dagster run. It does so on construction,
leaves the run active, keeps the settings that it makes for the rest of the process, and trusts a
hook at the end of the process for the run's status. Here the run is opened when the first variant
asks for it, ends with the status that the Dagster run has, and every setting is put back.
"""

import fcntl
import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.registry import MlflowUnavailable

if TYPE_CHECKING:
    from dagster import InitResourceContext
    from mlflow import MlflowClient

DAGSTER_RUN_TAG = "ff.dagster_run_id"
"""Names the Dagster run on nested runs and model versions.

dagster-mlflow finds its run again by the tag `dagster_run_id`, so nothing else may bear that one.
"""

# MLflow's own patience, two minutes and more, is meant for a busy server and not for a missing one.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class MlflowRuns:
    """Where the runs of this project are kept.

    Args:
        tracking_uri: MLflow's store, such as `sqlite:////absolute/path/mlflow.db` or a server's
            `https://` address. The model registry is the same store, unless MLflow's own
            `MLFLOW_REGISTRY_URI` says otherwise.
        artifact_root: Folder or URI below which models are kept, fixed when the experiment is first
            made. `None` leaves it to the server.
        experiment: Name of the MLflow experiment, made if it does not exist.
    """

    def __init__(
        self, tracking_uri: str, artifact_root: str | os.PathLike[str] | None, experiment: str
    ) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root
        self.experiment = experiment
        self._lock = threading.Lock()
        self._client: MlflowClient | None = None

    def client(self) -> "MlflowClient":
        """A client of the store, which is made ready at the first call.

        Raises:
            MlflowUnavailable: The store does not answer, or cannot be made.
        """
        with self._lock:
            if self._client is None:
                with self._asked(), _initialisation_lock(self.tracking_uri):
                    self._client = self._connect()
            return self._client

    @contextmanager
    def asking(self) -> Iterator["MlflowClient"]:
        """A client for the length of a `with` block that asks, and waits for no missing server.

        Raises:
            MlflowUnavailable: The store does not answer, or cannot be made, or the block raises.
        """
        client = self.client()
        with self._asked():
            yield client

    @contextmanager
    def _asked(self) -> Iterator[None]:
        with _environment(**_PATIENCE, **_QUIET), quiet_log(), self._explained():
            yield

    def _connect(self) -> "MlflowClient":
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        client = MlflowClient(self.tracking_uri)
        if client.get_experiment_by_name(self.experiment) is None:
            root = None if self.artifact_root is None else os.fspath(self.artifact_root)
            try:
                client.create_experiment(self.experiment, artifact_location=root)
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                    raise
        client.search_registered_models(max_results=1)
        return client

    @contextmanager
    def open(self, init_context: "InitResourceContext") -> Iterator["ParentRun"]:
        """The MLflow run of a Dagster run, for the length of a `with` block inside its op.

        The block's end decides the status: `FINISHED`, `FAILED` after an exception, `KILLED` after
        an interrupt. A block of the same Dagster run that is entered again, as a retry does,
        continues the same MLflow run. Nothing happens in MLflow until a variant is opened.

        Args:
            init_context: What Dagster hands to a resource's `setup_for_execution`.
        """
        run = ParentRun(self, init_context)
        try:
            yield run
        except BaseException as error:
            # What went wrong with the work must not be hidden by what MLflow then says of it.
            with suppress(MlflowUnavailable):
                run._close(_status_after(error))
            raise
        run._close("FINISHED")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise MlflowUnavailable(
                f"MLflow at {self.tracking_uri} cannot be used, so nothing is published.",
                why=str(error),
                fix="check that this is the right address, that its server runs or its file can "
                "be written, and that this machine may reach it. Then run again: work that is "
                "complete is found again.",
            ) from error


@dataclass(frozen=True)
class VariantRun:
    """A nested MLflow run, active in the thread that opened it."""

    run_id: str
    artifact_uri: str
    dagster_run_id: str
    client: "MlflowClient"


class ParentRun:
    """The MLflow run of a Dagster run, opened by the first variant. Threads may share it."""

    def __init__(self, runs: MlflowRuns, init_context: "InitResourceContext") -> None:
        dagster_run = init_context.run
        assert dagster_run is not None, "MlflowRuns.open needs the context of a Dagster run"
        self.dagster_run_id = dagster_run.run_id
        self._runs = runs
        self._init_context = init_context
        self._lock = threading.Lock()
        self._settings = ExitStack()
        self._opened: tuple[str, str] | None = None
        # So that of many variants only the first one waits for a store that does not answer.
        self._unavailable: MlflowUnavailable | None = None

    @contextmanager
    def variant_run(self, name: str, tags: Mapping[str, str]) -> Iterator[VariantRun]:
        """A run for one variant, nested in the Dagster run's, with a status of its own.

        Args:
            name: Name of the run.
            tags: Its tags. The Dagster run's id is added as `ff.dagster_run_id`.

        Raises:
            MlflowUnavailable: The store does not answer, or cannot be made.
        """
        experiment_id, parent_run_id = self._open()
        import mlflow

        with self._runs._explained():
            run = mlflow.start_run(
                experiment_id=experiment_id,
                parent_run_id=parent_run_id,
                nested=True,
                run_name=name,
                tags={**tags, DAGSTER_RUN_TAG: self.dagster_run_id},
            )
        status = "FINISHED"
        try:
            yield VariantRun(
                run.info.run_id, run.info.artifact_uri, self.dagster_run_id, self._runs.client()
            )
        except BaseException as error:
            status = _status_after(error)
            raise
        finally:
            mlflow.end_run(status)

    def give_up(self, error: MlflowUnavailable) -> None:
        """Let every variant of this run fail at once with what was found to be wrong."""
        self._unavailable = error

    def _open(self) -> tuple[str, str]:
        with self._lock:
            if self._unavailable is not None:
                raise self._unavailable
            if self._opened is None:
                try:
                    self._runs.client()
                    with ExitStack() as settings, self._runs._explained():
                        settings.enter_context(_environment(**_QUIET))
                        settings.enter_context(quiet_log())
                        settings.enter_context(_tracking_uri(self._runs.tracking_uri))
                        self._opened = self._dagster_mlflow_run()
                        self._settings = settings.pop_all()
                except MlflowUnavailable as error:
                    self._unavailable = error
                    raise
            return self._opened

    def _dagster_mlflow_run(self) -> tuple[str, str]:
        """Ids of the experiment and the run. The run is going on, but active in no thread."""
        import mlflow

        config = {
            "experiment_name": self._runs.experiment,
            "mlflow_tracking_uri": self._runs.tracking_uri,
        }
        # dagster-mlflow is marked as beta, and reads what Dagster renamed.
        with warnings.catch_warnings():
            from dagster import BetaWarning

            warnings.simplefilter("ignore", BetaWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            from dagster_mlflow.resources import MlFlow

            MlFlow(self._init_context.replace_config(config))
        run = mlflow.active_run()
        assert run is not None
        mlflow.end_run("RUNNING")
        return run.info.experiment_id, run.info.run_id

    def _close(self, status: str) -> None:
        with self._settings, self._runs._explained():
            if self._opened is not None:
                self._runs.client().set_terminated(self._opened[1], status)


def _status_after(error: BaseException) -> str:
    # Dagster drops an op's generator, which raises GeneratorExit in it, when an output is refused.
    return "FAILED" if isinstance(error, (Exception, GeneratorExit)) else "KILLED"


@contextmanager
def _environment(**defaults: str) -> Iterator[None]:
    """MLflow's environment variables with these defaults, all as before at the end."""
    before = {name: value for name, value in os.environ.items() if "MLFLOW" in name}
    # It would make MLflow take that run for this one.
    os.environ.pop("MLFLOW_RUN_ID", None)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name in [name for name in os.environ if "MLFLOW" in name and name not in before]:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def quiet_log() -> Iterator[None]:
    """Let MLflow say only what is wrong, for the length of a `with` block."""
    import mlflow  # noqa: F401  # it sets the level that is changed here

    log = logging.getLogger("mlflow")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _tracking_uri(uri: str) -> Iterator[None]:
    import mlflow

    before: Any = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def _initialisation_lock(tracking_uri: str) -> Iterator[None]:
    """Keeps two processes from making the tables of one new SQLite store at the same time."""
    from sqlalchemy.engine import make_url

    if not tracking_uri.startswith("sqlite:"):
        yield
        return
    file = Path(make_url(tracking_uri).database or "")
    file.parent.mkdir(parents=True, exist_ok=True)
    # Where this fails, MLflow would try again for minutes.
    file.open("ab").close()
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
