"""Where things are on this machine. Everything can be moved through the environment."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """The folders and addresses that a run, the UIs and the command line share.

    Attributes:
        home: Folder of everything that is made here and never committed (``FF_HOME``, by default
            ``.ff`` in the project's folder).
        dagster_home: Dagster's instance: run history, schedules (``DAGSTER_HOME``).
        store: The content-addressed store of features and models, which can be computed again.
        kept: What cannot, on the same file system: predictions, what looks at test rows and A/B
            tests have found, what drift is held against.
        mlflow_tracking_uri: Address of the MLflow tracking server or database
            (``MLFLOW_TRACKING_URI``).
        mlflow_artifacts: Folder of MLflow's artifacts, for a database that has no server.
        data: Example data sets that were fetched.
        java: Home of the launcher that lets Spark run on a trimmed Java runtime.
    """

    home: Path
    dagster_home: Path
    store: Path
    kept: Path
    mlflow_tracking_uri: str
    mlflow_artifacts: Path
    data: Path
    java: Path

    @classmethod
    def load(cls) -> Settings:
        """Read the settings from the environment; touch nothing."""
        home = _folder("FF_HOME", PROJECT_ROOT / ".ff")
        return cls(
            home=home,
            dagster_home=_folder("DAGSTER_HOME", home / "dagster"),
            store=home / "store",
            kept=home / "kept",
            mlflow_tracking_uri=os.environ.get("MLFLOW_TRACKING_URI")
            or f"sqlite:///{home}/mlflow/mlflow.db",
            mlflow_artifacts=home / "mlflow" / "artifacts",
            data=home / "data",
            java=home / "java",
        )

    def prepare(self) -> Settings:
        """Create the folders, configure Dagster's instance and export ``DAGSTER_HOME``.

        Safe to call often and from several processes at once. A ``DAGSTER_HOME`` that the user
        chose is used as it is: its ``dagster.yaml`` is the user's. MLflow's telemetry is off, as
        Dagster's is, unless ``MLFLOW_DISABLE_TELEMETRY`` says otherwise.

        Returns:
            These settings.
        """
        for folder in (
            self.dagster_home,
            self.store,
            self.kept,
            self.mlflow_artifacts,
            self.data,
            self.java,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        configuration = PROJECT_ROOT / "dagster.yaml"
        if self.dagster_home == self.home / "dagster" and configuration.is_file():
            _link(configuration, self.dagster_home / configuration.name)
        os.environ["DAGSTER_HOME"] = str(self.dagster_home)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        return self


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file so that a reader sees the old one or the new one, never a part of it.

    Args:
        path: The file to create or replace. Its folder is created where it is missing.

    Yields:
        A path beside it to write to, renamed to ``path`` at the end of the block, or removed when
        the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _folder(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return Path(value).expanduser().absolute() if value else default


def _link(source: Path, link: Path) -> None:
    if link.is_symlink() and link.readlink() == source:
        return
    with replacing(link) as temporary:
        try:
            temporary.symlink_to(source)
        except OSError:  # a file system without symbolic links
            shutil.copyfile(source, temporary)


if __name__ == "__main__":  # for a shell: eval "$(python -m ff_assets.settings)"
    settings = Settings.load().prepare()
    for name, value in {
        "DAGSTER_HOME": settings.dagster_home,
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": os.environ["MLFLOW_DISABLE_TELEMETRY"],
    }.items():
        print(f"export {name}={shlex.quote(str(value))}")
