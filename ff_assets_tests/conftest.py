"""What tests share: a Spark session, places to run projects in, and one run of a whole project."""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import SparkSession
from sqlalchemy import event
from sqlalchemy.engine import Engine

from ff_assets.engine.java import use_java

if TYPE_CHECKING:
    from ff_assets_tests.running import Home, WholeRun


@event.listens_for(Engine, "connect")
def wait_for_no_disk(connection: object, _: object) -> None:
    """Dagster commits some ten times per asset; what tests leave need not outlive the machine."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The project's own settings on two cores, so that runs in this process find this session."""
    from ff_assets_tests.running import SPARK

    use_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder
    for name, value in SPARK.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def new_home(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], "Home"]]:
    """Makes an empty store; Dagster's instance and MLflow are shared, as their tables take long."""
    from ff_assets_tests.running import Home

    shared = Home.at(tmp_path_factory.mktemp("shared"))

    def make() -> Home:
        return replace(shared, store_root=tmp_path_factory.mktemp("home") / "store")

    with shared.instance:
        yield make


@pytest.fixture
def home(new_home: Callable[[], "Home"]) -> "Home":
    return new_home()


@pytest.fixture(scope="session")
def reviews_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ff_assets_tests.projects import make_rows, write_rows

    return write_rows(tmp_path_factory.mktemp("data") / "reviews.parquet", make_rows())


@pytest.fixture(scope="session")
def whole(new_home: Callable[[], "Home"], reviews_file: Path) -> "WholeRun":
    """The whole project, run once where nothing existed; tests that use it share a worker."""
    from ff_assets_tests.projects import whole_project
    from ff_assets_tests.running import WholeRun

    home, project = new_home(), whole_project(reviews_file)
    return WholeRun(home, project, reviews_file, home.run(project))
