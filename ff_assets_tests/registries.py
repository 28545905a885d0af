"""Real MLflow registries, versions in them that need no Spark, and somebody else who promotes.

PostgreSQL needs `apt-get install postgresql` (any version; no cluster has to run, each test session
starts one of its own and removes it) and `pip install psycopg2-binary`.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature

from ff_assets.core.certificate import FORMAT, digest
from ff_assets.core.errors import FeatureFlowError
from ff_assets.registry.move_log import Book, MoveLog
from ff_assets.registry.promotion import Moved, promote
from ff_assets.registry.publish import schema
from ff_assets.registry.runs import MlflowRuns

EXPERIMENT = "ff_assets"
PRODUCTION = "production"


@dataclass(frozen=True)
class Registry:
    """A store with its models.

    Attributes:
        uri: what MLflow is told.
        artifacts: folder of the files; `None` if a server keeps them.
    """

    uri: str
    artifacts: Path | None

    @property
    def runs(self) -> MlflowRuns:
        return MlflowRuns(self.uri, self.artifacts, EXPERIMENT)

    @property
    def client(self) -> MlflowClient:
        return self.runs.client()

    def holder(self, target: str, alias: str = PRODUCTION) -> int | None:
        held = self.client.get_registered_model(target).aliases.get(alias)
        return None if held is None else int(held)

    def book(self, target: str) -> Book:
        return MoveLog(self.runs, target).read()

    def told(self, target: str) -> list[tuple[str, int | None, int | None]]:
        """What the ledger says of production: what became of a move, from where, to where."""
        found = self.book(target).histories[PRODUCTION].moves
        return [(move.state.value, move.before, move.after) for move in found]

    def promote(self, target: str, version: int, **more: Any) -> Moved:
        return promote(self.runs, target, PRODUCTION, version=version, why=f"try {version}", **more)

    def register(
        self,
        target: str,
        *,
        variant: str = "",
        auc: float | None = 0.8,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        certificate: dict[str, Any] | None = None,
    ) -> int:
        """A version as a run leaves it, but for the model itself.

        Args:
            auc: on test; `None` for a target without a label.
            certificate: what takes the place of the right one.
        """
        client, variant = self.client, variant or target
        experiment = client.get_experiment_by_name(EXPERIMENT)
        run = client.create_run(experiment.experiment_id)
        tags = {"ff.target": target, "ff.variant": variant}
        if auc is not None:
            right = make_certificate(target, variant, auc)
            for end, value in (("", auc), ("_low", auc - 0.02), ("_high", auc + 0.02)):
                client.log_metric(run.info.run_id, f"auc_test{end}", value)
            client.log_dict(run.info.run_id, certificate or right, "certificate.json")
            tags |= {"honest.certificate": right["digest"], "honest.grade": "A"}
        with tempfile.TemporaryDirectory() as folder:
            columns = schema(inputs or {"text": "string"}), schema(outputs or {target: "double"})
            Model(signature=ModelSignature(*columns)).save(f"{folder}/MLmodel")
            Path(folder, "requirements.txt").write_text("mlflow==3.17.2\npyspark==4.3.0\n")
            client.log_artifacts(run.info.run_id, folder, "model")
        if not client.search_registered_models(f"name = '{target}'"):
            client.create_registered_model(target)
        source = f"{run.info.artifact_uri}/model"
        return int(client.create_model_version(target, source, run.info.run_id, tags).version)

    def artifact(self, target: str, version: int, name: str) -> Path:
        """A file of a version, where no server is in between."""
        run = self.client.get_run(self.client.get_model_version(target, str(version)).run_id)
        return Path(run.info.artifact_uri) / name

    def other(self, target: str, version: int, how: str = "") -> "Other":
        """Somebody else who promotes, in a process of its own.

        Args:
            how: what happens to it; see `chances`.
        """
        here, there = _PROCESSES.Pipe()
        process = _PROCESSES.Process(target=_promote, args=(there, self.uri, target, version, how))
        process.start()
        there.close()
        return Other(process, here)


def make_certificate(target: str, variant: str, auc: float, **changes: Any) -> dict[str, Any]:
    """A certificate that is whole; what it says of the flow is not looked at here."""
    said: dict[str, Any] = {
        **{part: {} for part in ("evaluated", "split", "fit_set", "label", "data")},
        **{part: [] for part in ("chain", "warnings", "refusals", "assumptions")},
        **{part: [] for part in ("not_covered", "checks")},
        "sentence": "Honest: none of the 100 evaluated reviews was used to fit the model.",
        "verdict": "honest",
        "code": "",
        "grade": "A",
        "target": target,
        "variant": variant,
        "cell": "test",
        "selected_on": None,
        "format": FORMAT,
        "metrics": {"auc": {"value": auc, "low": None, "high": None}},
        "reads": None,
        "evaluation": "f00d",
        **changes,
    }
    return said | {"digest": digest(said)}


# A process that has imported MLflow once, of which others are copies.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Other:
    """A process that promotes."""

    process: BaseProcess
    pipe: Connection

    def waiting(self) -> "Other":
        """Wait until it waits."""
        assert self.pipe.recv() == "waiting"
        return self

    def go_on(self) -> "Other":
        self.pipe.send("go on")
        return self

    def ended(self) -> dict[str, Any]:
        """What it says: `moved`, or `error` with its `text`, or nothing if it was killed."""
        try:
            said: dict[str, Any] = self.pipe.recv()
        except EOFError:
            said = {}
        self.process.join(60)
        assert said or self.process.exitcode == -signal.SIGKILL
        return said


# Stores


@contextmanager
def sqlite(folder: Path) -> Iterator[Registry]:
    registry = Registry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")
    registry.client  # noqa: B018  # makes the tables
    yield registry


class Server:
    """An MLflow server on a store of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.registry = Registry(f"http://127.0.0.1:{self.port}", None)

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        files = ["--artifacts-destination", str(self.folder / "artifacts")]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", *store, *files),
                *("--port", str(self.port), "--workers", "1"),
            ],
            start_new_session=True,
            stdout=(self.folder / "server.log").open("ab"),
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five more processes
            },
        )
        give_up = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.registry.uri}/health", timeout=5).close()
                return
            except OSError:
                assert time.monotonic() < give_up, (self.folder / "server.log").read_text()
                time.sleep(0.2)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    started = Server(folder)
    started.start()
    try:
        yield started
    finally:
        if started.process.returncode is None:
            started.kill()


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's programs."""
    found = shutil.which("pg_ctl")
    installed = (
        [Path(found).resolve()] if found else Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    )
    return next((path.parent for path in installed), None)


@contextmanager
def postgresql(programs: Path) -> Iterator[Registry]:
    """A cluster that is made for this, without a port, and removed again."""
    # The name of a socket is short; and PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="ff-pg-", dir="/tmp"))
    user: dict[str, Any] = {}
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data, quiet = folder / "data", {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}

    def run(program: str, *arguments: str) -> None:
        subprocess.run([str(programs / program), *arguments], **quiet, **user)

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "ff", "--no-sync")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        registry = Registry(
            f"postgresql+psycopg2://ff@/postgres?host={folder}", folder / "artifacts"
        )
        try:
            yield registry
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


# Somebody else


def _promote(pipe: Connection, uri: str, target: str, version: int, how: str) -> None:
    chances[how](pipe)
    runs = MlflowRuns(uri, None, EXPERIMENT)
    try:
        moved = promote(
            runs, target, PRODUCTION, version=version, why=f"try {version}", who="other"
        )
        pipe.send({"moved": moved.logged.number})
    except FeatureFlowError as error:
        pipe.send({"error": type(error).__name__, "text": str(error)})


def around(
    name: str, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
) -> None:
    """Let something happen the first time that a method of the log is called in this process."""
    real = getattr(MoveLog, name)

    def once(*arguments: Any) -> None:
        setattr(MoveLog, name, real)
        if before is not None:
            before()
        real(*arguments)
        if after is not None:
            after()

    setattr(MoveLog, name, once)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _waits(pipe: Connection) -> Callable[[], None]:
    def wait() -> None:
        pipe.send("waiting")
        pipe.recv()

    return wait


chances: dict[str, Callable[[Any], None]] = {
    "": lambda pipe: None,
    "waits before its entry": lambda pipe: around("add", before=_waits(pipe)),
    "dies before it moves": lambda pipe: around("move", before=_die),
    "waits before it moves": lambda pipe: around("move", before=_waits(pipe)),
    "dies after it moved": lambda pipe: around("move", after=_die),
    "waits after it moved": lambda pipe: around("move", after=_waits(pipe)),
}
