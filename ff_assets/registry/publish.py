"""Logs a variant to MLflow and registers it: parameters, metrics, and the model itself.

The model carries all that it needs to load where this project does not exist: its signature, its
exact requirements, and the code of stages that are written in Python.
"""

import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ff_assets.core.errors import brief
from ff_assets.registry import PublishError, RegistryError
from ff_assets.registry.runs import DAGSTER_RUN_TAG, ParentRun, VariantRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.types import Schema
    from pyspark.ml import PipelineModel

VARIANT_TAG = "ff.variant"
FINGERPRINT_TAG = "ff.fingerprint"
TARGET_TAG = "ff.target"
ASSET_KEY_TAG = "ff.asset_key"
SENTENCE_TAG = "honest.sentence"
GRADE_TAG = "honest.grade"
CERTIFICATE_TAG = "honest.certificate"

SHOWN_FILE = "shown.json"
_ARTIFACT_PATH = "model"
_PROJECT = __name__.partition(".")[0]
_PARAMETERS_PER_REQUEST = 100


@dataclass(frozen=True)
class Published:
    """Where a variant went.

    Attributes:
        run_id: Id of its nested MLflow run.
        model_uri: `models:/<target>/<version>`.
        version: Its version in the model registry, counted from 1 per target.
    """

    run_id: str
    model_uri: str
    version: int


def publish(
    parent: ParentRun,
    *,
    target: str,
    variant: str,
    fingerprint: str,
    asset_key: str,
    description: str,
    model: "PipelineModel",
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    parameters: Mapping[str, Mapping[str, object]],
    metrics: Mapping[str, float],
    certificates: Mapping[str, Mapping[str, Any]],
    shown: Mapping[str, Any],
    scratch: Path,
) -> Published:
    """Logs one variant as a nested run and registers its model under the target's name.

    Threads may publish several variants of one parent at the same time.

    Args:
        parent: The MLflow run of the Dagster run.
        target: Name of the target, and of the registered model.
        variant: Name of the variant, and of the nested run.
        fingerprint: Identifies what the model was computed from; `find_version` looks for it.
        asset_key: The Dagster asset that is published, as Dagster prints it: `features/sentiment`.
        description: Markdown for the registered version.
        model: Reads and adds columns by their logical names.
        inputs: Spark type, such as `string` or `array<double>`, of each column that it needs.
        outputs: Spark type of each column that it is asked for.
        parameters: Parameters of each stage, logged as `<stage>.<parameter>`.
        metrics: Values by name, such as `auc_test`.
        certificates: Part of the data -> certificate of the metrics on it, the one to show first;
            none for a target without a label. The first becomes the artifact `certificate.json`,
            others `certificate_<part>.json`.
        shown: What else a person should see who decides on the version, as plain values; becomes
            the artifact `shown.json`.
        scratch: A folder that the driver and Spark's executors share. What is written there is
            removed again.

    Raises:
        MlflowUnavailable: The store does not answer, or cannot be made.
        PublishError: The model would not load elsewhere, or MLflow refused something.
    """
    tags = {
        TARGET_TAG: target,
        VARIANT_TAG: variant,
        FINGERPRINT_TAG: fingerprint,
        ASSET_KEY_TAG: asset_key,
        **_honesty(certificates),
    }
    with parent.variant_run(variant, tags) as run, _named_errors(target, variant):
        _log_values(run, parameters, metrics)
        _log_certificates(run, certificates)
        if shown:
            run.client.log_dict(run.run_id, dict(shown), SHOWN_FILE)
        _log_model(model, _signature(inputs, outputs), scratch)
        version = _register(run, target, {**tags, DAGSTER_RUN_TAG: run.dagster_run_id}, description)
    return Published(run.run_id, f"models:/{target}/{version}", version)


def find_version(client: "MlflowClient", target: str, fingerprint: str) -> Published | None:
    """The newest registered version of a target with this fingerprint, if its model still exists.

    Args:
        client: From `MlflowRuns.asking`.
        target: Name of the target.
        fingerprint: As it was given to `publish`.

    Raises:
        Exception: MLflow's, or of its artifact store; then nothing is known.
    """
    found = client.search_model_versions(
        f"name = '{target}' AND tags.`{FINGERPRINT_TAG}` = '{fingerprint}'"
    )
    for version in sorted(found, key=lambda version: int(version.version), reverse=True):
        if version.run_id and version.source and has_model(client, version.source):
            number = int(version.version)
            return Published(version.run_id, f"models:/{target}/{number}", number)
    return None


def has_model(client: "MlflowClient", uri: str) -> bool:
    """Whether the files of a model are there.

    Args:
        client: From `MlflowRuns.asking`.
        uri: The folder of the model: the source of its version.

    Raises:
        Exception: MLflow's, or of its artifact store; then nothing is known.
    """
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    try:
        files = list_artifacts(artifact_uri=uri, tracking_uri=client.tracking_uri)
    except MlflowException as error:
        if error.get_http_status_code() != HTTPStatus.NOT_FOUND:
            raise
        return False
    except HTTPError as error:
        if error.response is None or error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        return False
    return any(file.path.endswith("MLmodel") for file in files)


def _log_values(
    run: VariantRun,
    parameters: Mapping[str, Mapping[str, object]],
    metrics: Mapping[str, float],
) -> None:
    from mlflow.entities import Metric, Param
    from mlflow.utils.time import get_current_time_millis

    now = get_current_time_millis()
    run.client.log_batch(
        run.run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()]
    )
    params = [
        Param(f"{stage}.{name}", str(value))
        for stage, values in parameters.items()
        for name, value in values.items()
    ]
    for start in range(0, len(params), _PARAMETERS_PER_REQUEST):
        run.client.log_batch(run.run_id, params=params[start : start + _PARAMETERS_PER_REQUEST])


_UNCERTIFIED = "No certificate: the target has no label, so nothing about it is measured."


def _honesty(certificates: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Tags that say whether the metric is honest."""
    for first in certificates.values():
        return {
            SENTENCE_TAG: first["sentence"],
            GRADE_TAG: first["grade"],
            CERTIFICATE_TAG: first["digest"],
        }
    return {SENTENCE_TAG: _UNCERTIFIED}


def _log_certificates(run: VariantRun, certificates: Mapping[str, Mapping[str, Any]]) -> None:
    for number, (part, certificate) in enumerate(certificates.items()):
        name = f"certificate_{part}" if number else "certificate"
        run.client.log_dict(run.run_id, dict(certificate), f"{name}.json")


def _log_model(model: "PipelineModel", signature: "ModelSignature", scratch: Path) -> None:
    import mlflow.spark
    from pyspark.sql.utils import is_remote

    code, requirements = _needs(model)
    with _folder_in(scratch) as folder:
        for module, source in code.items():
            shutil.copyfile(source, folder / f"{module}.py")
        try:
            mlflow.spark.log_model(
                model,
                _ARTIFACT_PATH,
                code_paths=[str(folder / f"{module}.py") for module in code] or None,
                dfs_tmpdir=str(folder / "spark"),
                # Left to itself, MLflow would start a second Spark to see what the model imports.
                pip_requirements=requirements,
                signature=signature,
            )
        except AttributeError as error:
            if not is_remote():
                raise
            raise PublishError(
                "MLflow cannot log a Spark model from this Spark Connect session.",
                why=f"MLflow {mlflow.__version__} fetches the saved model through a JVM in this "
                f"process, which a session at an sc:// address does not have ({error}).",
                fix="publish from a session on local[*], spark://, YARN or Kubernetes.",
            ) from error


def _register(run: VariantRun, target: str, tags: Mapping[str, str], description: str) -> int:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

    try:
        run.client.create_registered_model(target)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    version = run.client.create_model_version(
        target,
        source=f"{run.artifact_uri}/{_ARTIFACT_PATH}",
        run_id=run.run_id,
        tags=dict(tags),
        description=description,
    )
    return int(version.version)


@contextmanager
def _named_errors(target: str, variant: str) -> Iterator[None]:
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:
        raise PublishError(
            f"variant {variant!r} of target {target!r} was not published.",
            why=brief(error),
            fix="the folders for MLflow's artifacts and for scratch must be writable, and MLflow "
            "must have answered throughout. Then run again: only this step is done again.",
        ) from error


# What a model needs ------------------------------------------------------------------------------


@runtime_checkable
class PortableStage(Protocol):
    """A stage written in Python that travels with its model.

    Attributes:
        code_file: The source file of its class, which is all that its class needs beside installed
            packages. In the model it gets the name of the class's module.
        imports: Top-level modules that it imports when it is loaded or run.
    """

    code_file: Path
    imports: frozenset[str]


def _needs(model: "PipelineModel") -> tuple[dict[str, Path], list[str]]:
    """Source files by module name, and pinned requirements. MLflow adds its own version to them."""
    code: dict[str, Path] = {}
    # The latter three come with MLflow in any version, and Spark's Python side is particular.
    modules = {"pyspark", "numpy", "pandas", "pyarrow"}
    for stage in model.stages:
        kind = type(stage)
        package = kind.__module__.partition(".")[0]
        if isinstance(stage, PortableStage):
            code[kind.__module__] = stage.code_file
            modules |= stage.imports
        elif package == _PROJECT:
            raise PublishError(
                f"stage {stage.uid} is of a class that would be missing where the model is loaded.",
                why=f"{kind.__module__}.{kind.__qualname__} belongs to this project, which a model "
                "does not bring.",
                fix="write the stage as a @feature function, which travels with the model, or move "
                "its class to a package of its own and install that.",
            )
        else:
            modules.add(package)
    return code, sorted(map(_pinned, modules))


def _pinned(module: str) -> str:
    distribution = _distributions().get(module)
    if distribution is None or module == _PROJECT:
        raise PublishError(
            f"the model needs module {module!r}, which would be missing where it is loaded.",
            why="it is not part of an installed package that a requirement could name.",
            fix=f"install it as a package, or move what is needed from it below {_PROJECT}/ and "
            "import the functions by name: a @feature function takes them along.",
        )
    return f"{distribution}=={metadata.version(distribution)}"


@cache
def _distributions() -> dict[str, str]:
    """The installed package that provides each top-level module."""
    return {module: names[0] for module, names in metadata.packages_distributions().items()}


@contextmanager
def _folder_in(scratch: Path) -> Iterator[Path]:
    folder = scratch / f"publish-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Signature ---------------------------------------------------------------------------------------


def _signature(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> "ModelSignature":
    from mlflow.models import ModelSignature

    return ModelSignature(inputs=schema(inputs), outputs=schema(outputs))


def schema(columns: Mapping[str, str]) -> "Schema":
    """MLflow's schema of columns that are given by name, with their Spark SQL types."""
    from mlflow.types import ColSpec, Schema

    return Schema([ColSpec(_mlflow_type(kind), name) for name, kind in columns.items()])


def _mlflow_type(spark_type: str) -> Any:
    """MLflow's type for a Spark type, `any` where it has no such type (decimals, structs)."""
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType, Array, Map, SparkMLVector

    if match := re.fullmatch(r"array<(.+)>", spark_type):
        return Array(_mlflow_type(match[1]))
    if match := re.fullmatch(r"map<string,\s*(.+)>", spark_type):
        return Map(_mlflow_type(match[1]))
    if spark_type == "vector":
        return SparkMLVector()
    name = _MLFLOW_NAMES.get(spark_type)
    return AnyType() if name is None else DataType[name]


_MLFLOW_NAMES = {
    "string": "string",
    "boolean": "boolean",
    "binary": "binary",
    "tinyint": "integer",
    "smallint": "integer",
    "int": "integer",
    "bigint": "long",
    "float": "float",
    "double": "double",
    "date": "datetime",
    "timestamp": "datetime",
    "timestamp_ntz": "datetime",
}
