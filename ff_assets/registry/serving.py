"""The version behind an alias, loaded to predict."""

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.core.errors import brief
from ff_assets.registry import RegistryError
from ff_assets.registry.publish import SENTENCE_TAG
from ff_assets.registry.runs import MlflowRuns, quiet_log
from ff_assets.registry.versions import Version, is_missing

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel


class NotLoaded(RegistryError):
    """A registered model cannot be loaded here."""


@dataclass(frozen=True)
class Behind:
    """What is behind an alias.

    Attributes:
        version: the registered version.
        sentence: of its certificate.
        alias: behind which it is.
    """

    version: Version
    sentence: str
    alias: str

    @property
    def identity(self) -> str:
        """Tells the model from one of the same number in another registry."""
        return f"{self.version.number} {self.version.run_id} {self.version.source}"


def behind(runs: MlflowRuns, target: str, alias: str) -> Behind | None:
    """The version behind an alias of a target; `None` if there is none.

    Raises:
        MlflowUnavailable: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    with runs.asking() as client:
        try:
            number = client.get_registered_model(target).aliases.get(alias)
            if number is None:
                return None
            found = client.get_model_version(target, str(number))
        except MlflowException as error:
            if not is_missing(error):
                raise
            return None
        return Behind(Version.of(found, runs), found.tags.get(SENTENCE_TAG, ""), alias)


def load(version: Version, scratch: Path) -> "PipelineModel":
    """Load a version in the Spark session that is active.

    Args:
        scratch: a folder that driver and executors share. What is copied there has to stay as long
            as the model is used.

    Raises:
        MlflowUnavailable: its files cannot be had.
        NotLoaded: they cannot be loaded.
    """
    import mlflow.spark
    from mlflow.artifacts import download_artifacts

    folder = scratch / f"model-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    with version.runs.asking() as client:
        path = download_artifacts(
            artifact_uri=version.source, dst_path=str(folder), tracking_uri=client.tracking_uri
        )
    before = list(sys.path)
    try:
        with quiet_log():
            return mlflow.spark.load_model(path, dfs_tmpdir=str(folder / "spark"))
    except Exception as error:
        raise NotLoaded(
            f"{version.name} cannot be loaded.",
            why=brief(error),
            fix="it needs the packages in its requirements.txt, and a session on local[*], "
            "spark://, YARN or Kubernetes. Or promote another version: "
            f"ff promote {version.target} --version N --to staging ...",
        ) from error
    finally:
        sys.path[:] = before  # MLflow adds the model's own code, which is imported by now
