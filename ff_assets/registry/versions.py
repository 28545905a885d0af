"""The registered versions of a target, with what a decision about them needs to know."""

import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ff_assets.core.errors import nearest
from ff_assets.registry import RegistryError
from ff_assets.registry.publish import (
    CERTIFICATE_TAG,
    FINGERPRINT_TAG,
    GRADE_TAG,
    SHOWN_FILE,
    VARIANT_TAG,
    has_model,
)
from ff_assets.registry.runs import MlflowRuns

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.types import Schema


Found = TypeVar("Found")


class NoVersion(RegistryError):
    """No version of the target is registered that could be meant."""


@dataclass(frozen=True)
class Signature:
    """The columns that a model reads and adds.

    Attributes:
        inputs: column -> MLflow's type of it, in words.
        outputs: the same.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Version:
    """A registered version. What lies in its run and in its files is read when it is asked for.

    Attributes:
        target: the registered model.
        number: counted from 1.
        variant: of the target.
        fingerprint: identifies what it was computed from.
        digest: that of its certificate, as it was when it was registered; empty without one.
        grade: of that certificate.
        run_id: its MLflow run; empty if it has none.
        source: the folder of its files.

    Raises:
        MlflowUnavailable: any of the properties, if MLflow or its files cannot be reached.
    """

    target: str
    number: int
    variant: str
    fingerprint: str
    digest: str
    grade: str
    run_id: str
    source: str
    runs: MlflowRuns = field(repr=False, compare=False)

    @classmethod
    def of(cls, version: "ModelVersion", runs: MlflowRuns) -> "Version":
        return cls(
            target=version.name,
            number=int(version.version),
            variant=version.tags.get(VARIANT_TAG, ""),
            fingerprint=version.tags.get(FINGERPRINT_TAG, ""),
            digest=version.tags.get(CERTIFICATE_TAG, ""),
            grade=version.tags.get(GRADE_TAG, ""),
            run_id=version.run_id or "",
            source=version.source or "",
            runs=runs,
        )

    @property
    def name(self) -> str:
        """For people: `version 3 of sentiment`."""
        return f"version {self.number} of {self.target}"

    @cached_property
    def metrics(self) -> dict[str, float]:
        """What its run measured, by name: `auc_test`."""
        return dict(self._run.data.metrics) if self._run else {}

    @cached_property
    def certificate(self) -> Mapping[str, Any] | None:
        """What its run keeps as `certificate.json`, unverified; `None` if that is not there.

        A file that holds no JSON object comes as an empty certificate, which lacks everything.
        """
        return self._json("certificate.json")

    @cached_property
    def evaluation(self) -> str:
        """The fingerprint of the evaluation that its certificate is about; empty without one."""
        return str((self.certificate or {}).get("evaluation", ""))

    @cached_property
    def shown(self) -> Mapping[str, Any]:
        """What its run keeps beside its metrics to be seen, as `publish` was given it."""
        return self._json(SHOWN_FILE) or {}

    @cached_property
    def has_files(self) -> bool:
        """Whether the files of the model are still there."""
        with self.runs.asking() as client:
            return bool(self.source) and has_model(client, self.source)

    @cached_property
    def signature(self) -> Signature | None:
        """What it reads and adds; `None` if its files do not say."""
        from mlflow.models import Model

        model = self._read(self.source, "MLmodel", Model.load) if self.has_files else None
        if model is None or model.signature is None:
            return None
        return Signature(types_in(model.signature.inputs), types_in(model.signature.outputs))

    @cached_property
    def requirements(self) -> tuple[str, ...]:
        """The packages that it needs, each with its exact version."""
        text = self._read(self.source, "requirements.txt", _text) if self.has_files else None
        return tuple(line.strip() for line in (text or "").splitlines() if "==" in line)

    @cached_property
    def _run(self) -> "Run | None":
        if not self.run_id:
            return None
        from mlflow.exceptions import MlflowException

        with self.runs.asking() as client:
            try:
                return client.get_run(self.run_id)
            except MlflowException as error:
                if not is_missing(error):
                    raise
        return None

    def _json(self, name: str) -> Mapping[str, Any] | None:
        """A JSON object among the files of its run; `None` without the file, empty if broken."""
        text = None if self._run is None else self._read(self._run.info.artifact_uri, name, _text)
        if text is None:
            return None
        try:
            found = json.loads(text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _read(self, folder: str, name: str, read: Callable[[str], Found]) -> Found | None:
        """What a file holds, `None` if it is not in the folder."""
        from mlflow.artifacts import download_artifacts, list_artifacts

        with self.runs.asking() as client, tempfile.TemporaryDirectory() as copy:
            uri = client.tracking_uri
            files = list_artifacts(artifact_uri=folder, tracking_uri=uri)
            if name not in {Path(file.path).name for file in files}:
                return None
            path = download_artifacts(
                artifact_uri=f"{folder}/{name}", dst_path=copy, tracking_uri=uri
            )
            return read(path)


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def types_in(schema: "Schema | None") -> dict[str, str]:
    """The types of a schema's columns, in words: `string`, or JSON for what has parts."""
    types = {}
    for column in schema.to_dict() if schema is not None else []:
        kind = {part: value for part, value in column.items() if part not in ("name", "required")}
        types[column.get("name", "")] = kind["type"] if len(kind) == 1 else json.dumps(kind)
    return types


def get_version(runs: MlflowRuns, target: str, number: int) -> Version | None:
    """A version by its number; `None` if it is not registered any more, or never was.

    Raises:
        MlflowUnavailable: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    with runs.asking() as client:
        try:
            return Version.of(client.get_model_version(target, str(number)), runs)
        except MlflowException as error:
            if not is_missing(error):
                raise
    return None


def find_one(
    runs: MlflowRuns, target: str, variant: str | None = None, number: int | None = None
) -> Version:
    """The version that is meant: this one, or the newest of the variant.

    Args:
        variant: may be left out if all versions are of the same.

    Raises:
        NoVersion: there is none, or several variants have one; names what there is.
        MlflowUnavailable: MLflow does not answer.
    """
    if number is not None:
        found = get_version(runs, target, number)
        if found is not None:
            return found
    newest = newest_of_each(runs, target)
    known = ", ".join(f"{v.number} ({v.variant})" for v in newest.values())
    if number is not None:
        raise NoVersion(
            f"`{target}` has no version {number}.",
            why=f"the newest of each variant: {known}.",
            fix="choose one of them, or look at all of them in MLflow's UI.",
        )
    if variant is not None and variant not in newest:
        raise NoVersion(
            f"no version of `{target}` is of variant `{variant}`.",
            why=nearest(variant, newest),
            fix=f"`ff plan {target}` lists the declared ones, `ff run {target}` registers them.",
        )
    if variant is None and len(newest) > 1:
        raise NoVersion(
            f"`{target}` has registered versions of {len(newest)} variants.",
            why=f"the newest of each: {known}.",
            fix=f"say which one is meant: --variant '{next(iter(newest))}', or --version.",
        )
    return newest[variant] if variant is not None else next(iter(newest.values()))


def newest_of_each(runs: MlflowRuns, target: str) -> dict[str, Version]:
    """Variant -> its newest registered version, the newest of all first.

    Raises:
        NoVersion: there is none.
        MlflowUnavailable: MLflow does not answer.
    """
    with runs.asking() as client:
        query = f"name = '{target}'"
        versions = [Version.of(v, runs) for v in pages(client.search_model_versions, query)]
    if not versions:
        raise not_registered(runs, target)
    newest: dict[str, Version] = {}
    for version in sorted(versions, key=lambda version: -version.number):
        newest.setdefault(version.variant, version)
    return newest


def not_registered(
    runs: MlflowRuns, target: str, declared: Collection[str] | None = None
) -> NoVersion:
    """The error for a target of which nothing is registered.

    Args:
        declared: the names of all targets; `None` if they are not known.
    """
    with runs.asking() as client:
        names = {model.name for model in pages(client.search_registered_models, None)}
    if declared is not None and target not in declared:
        known = {*declared, *(name for name in names if "." not in name)}
        return NoVersion(
            f"there is no target `{target}`, and no version of one is registered.",
            why=f"in the flow modules and in MLflow at {runs.tracking_uri}, "
            + nearest(target, known),
            fix="the name may be wrong; `ff check` lists the targets.",
        )
    return NoVersion(
        f"no version of `{target}` is registered.",
        why=f"in MLflow at {runs.tracking_uri}, "
        + nearest(target, [name for name in names if "." not in name]),
        fix=f"`ff run {target}` fits and registers its variants.",
    )


def pages(search: Any, query: str | None) -> list[Any]:
    """All that a search of MLflow finds, over all its pages."""
    page = search(filter_string=query)
    found = list(page)
    while page.token:
        page = search(filter_string=query, page_token=page.token)
        found += page
    return found


def is_missing(error: Exception) -> bool:
    """Whether MLflow's error says that it does not have what was asked for."""
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    return getattr(error, "error_code", None) == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
