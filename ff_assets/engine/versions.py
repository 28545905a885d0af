"""The data versions, and with them the fingerprints, of what a run asks for."""

import importlib.metadata
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow, Instance
from ff_assets.core.steps import Kind, Step
from ff_assets.engine.sources import StagedSource, stage_source, stated_version
from ff_assets.engine.store import Staging

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def upstream(flow: Flow, steps: Iterable[Step]) -> tuple[Instance, ...]:
    """Every instance that steps are made from, in topological order."""
    needed: set[Instance] = set()
    for step in steps:
        if step.kind in (Kind.EVALUATION, Kind.REGISTRATION):
            needed.update(step.variant.instances)
        else:
            needed.add(step.instance)
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
) -> tuple[Fingerprints, dict[str, StagedSource]]:
    """The fingerprints behind steps, and the sources that had to be read to know them.

    Raises:
        DataError: a source cannot state its version, or cannot be read.
    """
    instances = upstream(flow, steps)
    staged = {
        i.source.name: stage_source(i.source, flow.project.split, spark(), staging)
        for i in unversioned_sources(instances)
    }
    versions = {
        i.source.name: str(stated_version(i.source) or staged[i.source.name].content)
        for i in instances
        if i.is_source
    }
    fingerprints = Fingerprints(flow.project.split, versions, engine_version())
    fingerprints.add(instances)
    return fingerprints, staged


def engine_version() -> str:
    """The version of Spark, without importing it."""
    return importlib.metadata.version("pyspark")
