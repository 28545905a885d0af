"""Schedules that targets declare: off, of their own three jobs, and asking for all cells."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from ff_assets import Target
from ff_assets.assets.build import build_definitions
from ff_assets.core.errors import DefinitionError
from ff_assets.settings import Settings
from ff_assets_tests.projects import reviews, small_project

JOBS = {"sentiment_fit", "sentiment_predict_staging", "sentiment_predict_production"}
AT = datetime(2026, 3, 29, 6, tzinfo=UTC)


def definitions(**declared: Any) -> dg.Definitions:
    target = Target(
        "sentiment", outputs=["sentiment"], label="is_positive", task="binary", **declared
    )
    project = small_project(reviews(Path("nowhere")), target=target)
    return build_definitions(project, Settings.load())


@pytest.fixture(scope="module")
def scheduled() -> dg.Definitions:
    return definitions(schedule="0 6 * * *", fresh_for="26h")


@pytest.fixture
def ticked(scheduled: dg.Definitions) -> dict[str, dg.RunRequest]:
    """Job -> what its schedule asks for."""
    repository = scheduled.get_repository_def()
    asked = {}
    with dg.DagsterInstance.ephemeral() as instance:
        for schedule in repository.schedule_defs:
            if schedule.job_name in JOBS:
                with dg.build_schedule_context(
                    instance=instance, scheduled_execution_time=AT, repository_def=repository
                ) as context:
                    tick = schedule.evaluate_tick(context)
                (asked[schedule.job_name],) = tick.run_requests or []
    return asked


def test_each_job_of_the_target_has_one_in_utc(scheduled: dg.Definitions) -> None:
    found = {s.job_name: s for s in scheduled.get_repository_def().schedule_defs}

    assert set(found) == {*JOBS, "observe_data"}
    for job in JOBS:
        assert (found[job].cron_schedule, found[job].execution_timezone) == ("0 6 * * *", "UTC")


def test_a_tick_asks_for_all_cells_and_for_predictions_first(
    ticked: dict[str, dg.RunRequest],
) -> None:
    priority = "dagster/priority"
    fit = ticked["sentiment_fit"].tags
    assert fit["dagster/asset_partition_range_start"] == "train"
    assert fit["dagster/asset_partition_range_end"] == "test"
    first = sorted(ticked, key=lambda job: -int(ticked[job].tags.get(priority, "0")))
    assert first == ["sentiment_predict_production", "sentiment_predict_staging", "sentiment_fit"]
    assert {request.run_key for request in ticked.values()} == {"2026-03-29T06:00:00+00:00"}


def test_without_a_declaration_there_is_none() -> None:
    found = definitions().get_repository_def().schedule_defs
    assert {schedule.job_name for schedule in found} == {"observe_data"}


def test_predictions_have_a_time_after_which_they_are_old(scheduled: dg.Definitions) -> None:
    graph = scheduled.resolve_asset_graph()
    policies = {
        "/".join(key.path): graph.get(key).freshness_policy for key in graph.get_all_asset_keys()
    }
    found = {name: policy for name, policy in policies.items() if policy is not None}

    assert set(found) == {"predictions/sentiment/staging", "predictions/sentiment/production"}
    for policy in found.values():
        assert isinstance(policy, TimeWindowFreshnessPolicy)
        assert policy.fail_window.to_timedelta().total_seconds() == 26 * 3600


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"schedule": "0 25 * * *"}, "which is no cron"),
        ({"schedule": "daily at six"}, "which is no cron"),
        ({"schedule": ""}, "which is no cron"),
        ({"schedule": 6}, "which is no text"),
        ({"schedule": ["0 6 * * *"]}, "which is no text"),
        ({"fresh_for": "26 hours"}, "is no length of time"),
        ({"fresh_for": "30s"}, "fresh for 30s"),
    ],
)
def test_what_is_no_time_is_refused_where_it_stands(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as refused:
        definitions(**declared)

    ((what, where),) = refused.value.where
    assert (what, Path(where.file).name) == ("target 'sentiment'", Path(__file__).name)
    assert "for example" in refused.value.fix or "0 6 * * *" in refused.value.fix
