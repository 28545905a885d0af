"""The resources of a run: its Spark session, its MLflow run, and the store."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pydantic import PrivateAttr

from ff_assets.core.errors import FeatureFlowError, brief
from ff_assets.engine.java import use_java
from ff_assets.engine.store import Store
from ff_assets.registry.runs import MlflowRuns, ParentRun

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkError(FeatureFlowError):
    """A Spark session cannot be had."""


class SparkResource(LazyPySparkResource):
    """dagster-pyspark's session, started when it is first needed, on a Java that Spark can use.

    `spark_config` holds Spark's own settings. Whatever they say of a master, the driver is in this
    process and needs a Java; only a session at an `sc://` address has its driver elsewhere.
    """

    _seconds: float | None = PrivateAttr(default=None)

    def session(self) -> "SparkSession":
        """The run's session.

        Raises:
            SparkError: it cannot be started; says why and what to do.
        """
        if self._spark_session is None:
            began = time.monotonic()
            master = str(self.spark_config.get("spark.master", ""))
            remote = str(
                self.spark_config.get("spark.remote") or os.environ.get("SPARK_REMOTE", "")
            )
            if not remote.startswith("sc://"):
                use_java()
            if master.startswith("local") or remote.startswith("local"):
                # Spark's own default is any `python3` on the path. The workers of a cluster have
                # paths of their own.
                os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            try:
                self._init_session()
            except Exception as error:
                raise SparkError(
                    "no Spark session could be started.",
                    why=brief(error),
                    fix="`ff doctor` looks at Java, memory and settings.",
                ) from error
            self._seconds = time.monotonic() - began
        return self.spark_session

    @property
    def seconds(self) -> float | None:
        """How long the start of the session took; `None` if none was started."""
        return self._seconds


class MlflowResource(dg.ConfigurableResource[Any]):
    """The MLflow run of a Dagster run, opened when the first variant is registered."""

    tracking_uri: str
    artifact_root: str | None
    experiment: str

    _context: dg.InitResourceContext | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        self._context = context

    def runs(self) -> MlflowRuns:
        return MlflowRuns(self.tracking_uri, self.artifact_root, self.experiment)

    @contextmanager
    def open(self, runs: MlflowRuns) -> Iterator[ParentRun]:
        """The run's MLflow run, for as long as the op works; its end decides the status."""
        assert self._context is not None
        with runs.open(self._context) as parent:
            yield parent


class StoreResource(dg.ConfigurableResource[Any]):
    """The content-addressed store, and beside it what is kept for good."""

    root: str
    kept: str

    def open(self) -> Store:
        return Store(Path(self.root), Path(self.kept))
