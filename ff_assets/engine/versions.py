"""The data versions, and with them the fingerprints, of what a run asks for."""

import importlib.metadata
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.core.code import module_digest
from ff_assets.core.declare import Source
from ff_assets.core.errors import DataError, FeatureFlowError, brief
from ff_assets.core.fingerprint import Fingerprints, digest
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.refusals import describe
from ff_assets.core.steps import Kind, Step
from ff_assets.engine.source_checks import StagedSource
from ff_assets.engine.sources import stage_source
from ff_assets.engine.store import Staging

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def instances_of(step: Step) -> tuple[Instance, ...]:
    """The instances that a step is about: its own, or all of its variant's."""
    if step.kind in (Kind.LEADERBOARD, Kind.HYPOTHESES):
        return tuple({i: None for v in step.contest.variants for i in v.instances})
    if step.kind in (Kind.EVALUATION, Kind.REGISTRATION):
        return step.variant.instances
    return (step.instance,)


def upstream(flow: Flow, steps: Iterable[Step]) -> tuple[Instance, ...]:
    """Every instance that steps are made from, in topological order."""
    needed = {instance for step in steps for instance in instances_of(step)}
    for instance in reversed(flow.instances):
        if instance in needed:
            needed.update(instance.parents)
    return tuple(instance for instance in flow.instances if instance in needed)


def unversioned_sources(instances: Iterable[Instance]) -> list[Instance]:
    """Sources that state no version: they have to be read before anything is known."""
    return [i for i in instances if i.is_source and i.source.version is None]


def fingerprint(
    flow: Flow,
    steps: Iterable[Step],
    spark: Callable[[], "SparkSession"],
    staging: Staging,
) -> tuple[Fingerprints, dict[Instance, StagedSource]]:
    """The fingerprints behind steps, and the sources that had to be read to know them.

    Raises:
        DataError: a source cannot state its version, or cannot be read.
    """
    instances = upstream(flow, steps)
    staged = {
        i: stage_source(i.source, i.split, spark(), staging) for i in unversioned_sources(instances)
    }
    versions = {
        i.source.name: str(staged[i].content) if i in staged else str(stated_version(i.source))
        for i in instances
        if i.is_source
    }
    fingerprints = Fingerprints(versions, **code_versions())
    fingerprints.add(instances)
    return fingerprints, staged


def stated_version(source: Source) -> str | None:
    """The version that a source states of its data, or `None` if it has to be read for that.

    Raises:
        DataError: the function that states it fails, or nothing is stated.
    """
    if source.version == "":
        raise _no_version(source, "its version is an empty text.")
    if not callable(source.version):
        return source.version
    try:
        version = source.version()
    except FeatureFlowError:
        raise
    except Exception as error:
        raise _no_version(source, f"its version function raised {brief(error)}") from error
    if version is None:
        raise _no_version(source, "its version function returned None.")
    if not str(version):
        raise _no_version(source, "its version function returned an empty text.")
    return str(version)


def _no_version(source: Source, why: str) -> DataError:
    return DataError(
        f"source `{source.name}` cannot state the version of its data.",
        where=[describe(source)],
        why=why,
        fix="state what changes with the data, such as a file's hash; without `version` the data "
        "is read and hashed.",
    )


def stated_fingerprints(instances: tuple[Instance, ...]) -> tuple[Fingerprints, list[Instance]]:
    """Fingerprints as far as they are known without reading data, and the sources to be read.

    Args:
        instances: in topological order.

    Raises:
        DataError: a source cannot state its version.
    """
    unread = unversioned_sources(instances)
    versions = {
        i.source.name: "not read yet" if i in unread else str(stated_version(i.source))
        for i in instances
        if i.is_source
    }
    fingerprints = Fingerprints(versions, **code_versions())
    fingerprints.add(instances)
    return fingerprints, unread


def code_versions() -> dict[str, str]:
    """What `Fingerprints` has to know of the code, beside that of the declarations."""
    return {
        "engine": engine_version(),
        "reading": reading_version(),
        "metrics": metrics_version(),
        "comparing": comparing_version(),
    }


@cache
def engine_version() -> str:
    """The version of Spark and of the code that computes values with it; it imports neither."""
    return f"{importlib.metadata.version('pyspark')} {code_version(_COMPUTING)}"


@cache
def reading_version() -> str:
    """A digest of the code that reads sources, and divides and counts their rows."""
    return code_version(_READING)


@cache
def metrics_version() -> str:
    """A digest of the code that measures predictions; another one may give other metrics."""
    return code_version(_MEASURING)


@cache
def comparing_version() -> str:
    """A digest of the code that compares variants."""
    return code_version(_COMPARING)


# The code that decides what is stored. What each list imports of the engine and of the statistics
# is in it as well, or is known to decide nothing of the kind: `test_versions.py` holds it.
_COMPUTING = (
    "core/cells",
    "core/fitting",
    "core/nesting",
    "engine/aggregates",
    "engine/column_function",
    "engine/columns",
    "engine/fitting",
    "engine/frame_plan",
    "engine/frames",
    "engine/plan",
    "engine/regions",
    "engine/stages",
)
_READING = (
    "core/cells",
    "engine/columns",
    "engine/regions",
    "engine/source_checks",
    "engine/sources",
)
_MEASURING = (
    "core/cells",
    "core/certificate",
    "core/certificate_words",
    "core/requested",
    "engine/certify",
    "engine/columns",
    "engine/evaluation",
    "engine/measurable",
    "engine/regions",
    "engine/scored",
    "engine/slices",
    "stats/calibration",
    "stats/clustered_auc",
    "stats/intervals",
    "stats/metrics",
    "stats/resampling",
    "stats/spread",
)
_COMPARING = (
    "engine/hypotheses",
    "engine/leaderboard",
    "stats/leaderboard",
    "stats/paired",
    "stats/simultaneous",
)
_PACKAGE = Path(__file__).parent.parent
_digest = cache(module_digest)  # several lists have some of the modules


def code_version(modules: Iterable[str], folder: Path = _PACKAGE) -> str:
    """A digest of the code of some modules in a folder, but for comments and docstrings.

    Args:
        modules: their paths, such as `engine/frames`.
    """
    texts = [(folder / f"{name}.py").read_text() for name in modules]
    return digest([_digest(text) for text in texts])
