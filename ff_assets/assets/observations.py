"""The versions of sources' data, observed without reading the data, so that what is stale shows.

A source that states a `version` has an asset upstream, `data/<source>`, with nothing in it but the
version. It is observed by a job, which has a schedule, and noted by every run that reads the
source. Dagster compares it with the version that was last read.

Dagster calls an asset stale by what it reads directly, and shows that of whole assets only: an
asset with cells shows it on the page of each cell. So what reports on a variant or a target is
drawn to the data behind it too, and is stale in the graph as soon as other data are observed.

A source without a `version` has to be read as a whole and hashed. That is no observation but a run,
so nothing tells beforehand that its data have changed.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ff_assets.assets.specs import code_reference, data_behind, data_key
from ff_assets.core.declare import Source
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.flow import Flow
from ff_assets.core.steps import Step
from ff_assets.engine.versions import stated_version

JOB_NAME = "observe_data"
_CRON = "*/15 * * * *"

# Dagster's own names, which it does not export. It takes for granted that a run reads what was
# observed before the run; the tag says what was read.
_VERSION = "dagster/data_version"
_READ = "dagster/input_data_version"


def observed_sources(flow: Flow) -> list[Source]:
    """The sources that state a version, of a flow and of the outcomes of its A/B tests."""
    read = [i.source for i in flow.instances if i.is_source]
    used = dict.fromkeys([*read, *flow.project.outcomes])
    return [source for source in used if source.version is not None]


def observation_assets(flow: Flow) -> list[dg.AssetsDefinition]:
    """One op that observes any selection of the sources' data; none if no source states a version.

    A source that fails to state its version stops no other.
    """
    sources = {data_key(source): source for source in observed_sources(flow)}
    if not sources:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references, and observing many

        @dg.multi_observable_source_asset(  # type: ignore[untyped-decorator]
            name="data_versions", specs=[*map(_spec, sources.values())], can_subset=True
        )
        def observe_data(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
            errors: list[FeatureFlowError] = []
            for key in sorted(context.selected_asset_keys):
                try:
                    version = str(stated_version(sources[key]))
                except FeatureFlowError as error:
                    errors.append(error)
                    continue
                context.log.info(f"{key.to_user_string()}: {version}")
                yield dg.ObserveResult(asset_key=key, data_version=dg.DataVersion(version))
            if errors:
                raise dg.Failure(
                    "\n\n".join(map(str, errors)),
                    metadata={"errors": dg.MetadataValue.json([e.as_dict() for e in errors])},
                    allow_retries=False,
                )

        return [observe_data]


def _spec(source: Source) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=data_key(source),
        group_name=source.entity.name,
        kinds={"data"},
        owners=[source.owner] if source.owner else [],
        description=f"The version of what source `{source.name}` reads, as the source states it.",
        metadata={
            "dagster/code_references": dg.CodeReferencesMetadataValue(
                code_references=[code_reference(source)]
            )
        },
    )


def observe_jobs(flow: Flow) -> list[Any]:
    """The job that observes all data; none if there is nothing to observe."""
    keys = [data_key(source) for source in observed_sources(flow)]
    about = "Ask all sources for the version of their data. Nothing is read; it needs no Spark."
    selection = dg.AssetSelection.assets(*keys)
    return [dg.define_asset_job(JOB_NAME, selection=selection, description=about)] if keys else []


def observe_schedules(flow: Flow) -> list[dg.ScheduleDefinition]:
    """Observes every quarter of an hour; off until somebody turns it on."""
    if not observed_sources(flow):
        return []
    return [
        dg.ScheduleDefinition(
            name=f"{JOB_NAME}_schedule",
            cron_schedule=_CRON,
            job_name=JOB_NAME,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Asks all sources for the version of their data, so that the graph shows "
            "what is older than its data.",
        )
    ]


def note(context: dg.AssetExecutionContext, flow: Flow, read: Mapping[str, str]) -> None:
    """Record which versions a run reads.

    Args:
        read: source -> version.
    """
    for source in observed_sources(flow):
        if source.name in read:
            version = read[source.name]
            context.log_event(dg.AssetObservation(data_key(source), tags={_VERSION: version}))


def made_from(step: Step, read: Mapping[str, str]) -> dict[str, str]:
    """The tags that tell Dagster which versions an asset was made from."""
    return provenance(data_behind(step), read)


def provenance(sources: tuple[Source, ...], read: Mapping[str, str]) -> dict[str, str]:
    """The tags of an asset that was made from sources; those that were not read are left out."""
    return {
        f"{_READ}/{data_key(source).to_user_string()}": read[source.name]
        for source in sources
        if source.name in read
    }
