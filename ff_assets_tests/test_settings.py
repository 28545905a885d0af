"""Where things are, and files that are whole or not there."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from ff_assets.assets.build import spark_config
from ff_assets.engine.memory import usable_memory
from ff_assets.settings import PROJECT_ROOT, Settings, replacing

VARIABLES = ("FF_HOME", "DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that sets nothing; what a test exports is undone after it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_everything_is_in_one_folder_that_git_ignores() -> None:
    settings = Settings.load()

    assert settings.home == PROJECT_ROOT / ".ff"
    assert settings.dagster_home == settings.home / "dagster"
    assert settings.mlflow_tracking_uri == f"sqlite:///{settings.home}/mlflow/mlflow.db"
    assert "/.ff/" in (PROJECT_ROOT / ".gitignore").read_text().splitlines()


def test_the_environment_moves_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FF_HOME", "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")

    settings = Settings.load()

    assert settings.store == tmp_path / "elsewhere" / "store"
    assert settings.mlflow_tracking_uri == "https://mlflow.example.com"


def test_prepare_gives_dagster_an_instance_without_telemetry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dagster import DagsterInstance

    monkeypatch.setenv("FF_HOME", str(tmp_path))

    Settings.load().prepare()
    Settings.load().prepare()

    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "dagster")
    with DagsterInstance.get() as instance:
        assert instance.root_directory == str(tmp_path / "dagster")
        assert not instance.telemetry_enabled


def test_a_dagster_home_of_the_users_own_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    monkeypatch.setenv("FF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(own))

    assert Settings.load().prepare().dagster_home == own

    assert os.environ["DAGSTER_HOME"] == str(own)
    assert list(own.iterdir()) == []


def test_a_moved_project_gets_its_own_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FF_HOME", str(tmp_path))
    link = tmp_path / "dagster" / "dagster.yaml"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "where-the-project-was" / "dagster.yaml")

    Settings.load().prepare()

    assert link.read_text() == (PROJECT_ROOT / "dagster.yaml").read_text()


def test_a_shell_can_read_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "it's $HOME"
    script = f'eval "$("{sys.executable}" -m ff_assets.settings)"; printf %s "$DAGSTER_HOME"'

    shell = subprocess.run(
        ["sh", "-c", script],
        cwd=PROJECT_ROOT,
        env=os.environ | {"FF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shell.stdout == str(home / "dagster")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_runs_that_go_on_at_once_fit_into_memory(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((PROJECT_ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        gigabytes = int(spark_config()["spark.driver.memory"].removesuffix("g"))
        assert 0 < queue.max_concurrent_runs * gigabytes * 2**30 < usable_memory()
