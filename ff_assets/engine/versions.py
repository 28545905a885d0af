"""The data versions, and with them the fingerprints, of what a run asks for."""

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.steps import Kind, Step
from ff_assets.engine.sources import StagedSource, stage_source, stated_version
from ff_assets.engine.store import Staging

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def instances_of(step: Step) -> tuple[Instance, ...]:
    """The instances that a step is about: its own, or all of its variant's."""
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
    fingerprints = Fingerprints(versions, engine_version(), metrics_version())
    fingerprints.add(instances)
    return fingerprints, staged


def engine_version() -> str:
    """The version of Spark, without importing it."""
    return importlib.metadata.version("pyspark")


@cache
def metrics_version() -> str:
    """A digest of the code that measures predictions; another one may give other metrics."""
    digest = hashlib.sha256()
    for name in ("evaluation.py", "intervals.py", "metrics.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()
