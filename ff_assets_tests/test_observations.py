"""What is older than its data shows, and declarative automation makes it anew in one run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from ff_assets.assets.build import build_definitions
from ff_assets.settings import Settings
from ff_assets_tests.projects import FEATURES, reviews, small_project, whole_project
from ff_assets_tests.running import Home

pytestmark = pytest.mark.xdist_group("whole")

NOWHERE = Path("nowhere")
MORE = {"text": FEATURES["text"]}
SOME = {name: kind for name, kind in FEATURES.items() if name not in MORE}
DATA = dg.AssetKey(["data", "reviews"])
SOURCE = dg.AssetKey(["sources", "reviews"])
REPORTS = [
    dg.AssetKey(["evaluations", "sentiment_evaluation"]),
    dg.AssetKey(["leaderboards", "sentiment_leaderboard"]),
    dg.AssetKey(["registry", "sentiment_registered"]),
]


class Data:
    """A source's data as far as its version goes."""

    version = "first"

    def __call__(self) -> str:
        if not self.version:
            raise OSError("the disk is gone")
        return self.version


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def stale(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[dg.AssetKey, Any]:
    """What Dagster shows as stale, with the reasons."""
    graph = definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return {
        key: {cause.reason for cause in causes}
        for key in graph.get_all_asset_keys()
        for cell in (("train", "test") if graph.get(key).is_partitioned else (None,))
        if (causes := resolver.get_stale_causes(key, cell))
    }


def observe(definitions: dg.Definitions, instance: dg.DagsterInstance) -> bool:
    job = definitions.resolve_job_def("observe_data")
    return job.execute_in_process(instance=instance, raise_on_error=False).success


def observed(instance: dg.DagsterInstance, key: dg.AssetKey = DATA) -> str:
    (record,) = instance.fetch_observations(key, limit=1).records
    assert record.asset_observation is not None
    return record.asset_observation.tags["dagster/data_version"]


def test_other_data_make_stale_what_was_made_from_them_until_it_is_made_anew(
    reviews_file: Path, home: Home, instance: dg.DagsterInstance
) -> None:
    data, home = Data(), replace(home, instance=instance)
    project = small_project(reviews(reviews_file, version=data))
    definitions = build_definitions(project, Settings.load())

    assert home.run(project).success
    assert observed(instance) == "first"
    assert stale(definitions, instance) == {}
    assert observe(definitions, instance)
    assert stale(definitions, instance) == {}, "the same version was observed"

    data.version = "second"
    assert stale(definitions, instance) == {}, "nobody has looked"
    assert observe(definitions, instance)
    shown = stale(definitions, instance)
    assert set(shown) == {SOURCE, *REPORTS}
    assert all(reasons == {"has a new dependency data version"} for reasons in shown.values())

    data.version = "third"  # nobody looks before the run does
    assert home.run(project).success
    assert observed(instance) == "third"
    assert stale(definitions, instance) == {}


def test_one_source_that_cannot_state_its_version_stops_no_other(
    instance: dg.DagsterInstance,
) -> None:
    broken, sound = Data(), replace(reviews(NOWHERE), name="a_second", features=MORE, labels=())
    broken.version = ""
    project = small_project(reviews(NOWHERE, version=broken, features=SOME))
    project = replace(project, sources=(*project.sources, sound))
    definitions = build_definitions(project, Settings.load())
    job = definitions.resolve_job_def("observe_data")
    ended = job.execute_in_process(instance=instance, raise_on_error=False)

    assert not ended.success
    (failed,) = (event for event in ended.all_events if event.is_step_failure)
    user = failed.step_failure_data.user_failure_data
    assert user is not None
    assert "source `reviews` cannot state the version of its data" in str(user.description)
    assert "the disk is gone" in str(user.description)
    assert instance.fetch_observations(DATA, limit=1).records == []
    assert observed(instance, dg.AssetKey(["data", "a_second"])) == "1"


def test_a_source_without_a_version_is_not_observed() -> None:
    project = small_project(reviews(NOWHERE, version=None))
    definitions = build_definitions(project, Settings.load())

    assert DATA not in definitions.resolve_asset_graph().get_all_asset_keys()
    assert "observe_data" not in {job.name for job in definitions.resolve_all_job_defs()}


# Declarative automation ---------------------------------------------------------------------------


def see(instance: dg.DagsterInstance, version: str) -> None:
    noted = dg.AssetObservation(DATA, tags={"dagster/data_version": version})
    instance.report_runless_asset_event(noted)


def test_other_data_ask_for_one_run_of_all_that_reports_on_them(
    instance: dg.DagsterInstance,
) -> None:
    definitions = build_definitions(whole_project(NOWHERE), Settings.load())
    see(instance, "first")

    def tick(cursor: Any = None) -> tuple[set[dg.AssetKey], Any]:
        done = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        return {r.key for r in done.results if not r.true_subset.is_empty}, done.cursor

    asked, cursor = tick()
    assert asked == set(), "turning it on launches nothing"
    see(instance, "first")
    asked, cursor = tick(cursor)
    assert asked == set(), "the same version was observed again"

    see(instance, "second")
    asked, cursor = tick(cursor)
    graph = definitions.resolve_asset_graph()
    kinds = {key.path[0] for key in asked}
    assert kinds == {"evaluations", "leaderboards", "registry", "predictions"}
    assert asked == {k for k in graph.get_all_asset_keys() if k.path[0] in kinds}
    assert {graph.get(key).partitions_def for key in asked} == {None}, "so it is one run"

    asked, cursor = tick(cursor)
    assert asked == set(), "it was asked for"


def test_nobody_is_surprised() -> None:
    repository = build_definitions(whole_project(NOWHERE), Settings.load()).get_repository_def()

    assert {s.default_status for s in repository.sensor_defs} == {dg.DefaultSensorStatus.STOPPED}
    assert {s.default_status for s in repository.schedule_defs} == {
        dg.DefaultScheduleStatus.STOPPED
    }
