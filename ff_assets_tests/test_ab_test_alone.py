"""An A/B test that runs by itself: what starts, what is noticed, and what is checked afterwards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from ff_assets.assets.build import build_definitions
from ff_assets.cli.ledger import data_left
from ff_assets.core.ab_test import AB_TEST
from ff_assets.engine.exposures import Exposures
from ff_assets.engine.published import latest, published
from ff_assets.settings import Settings
from ff_assets_tests.projects import reviews, sentiment_target, small_project
from ff_assets_tests.running import WholeRun
from ff_assets_tests.test_ab_test import (
    EFFECT,
    PREDICTED,
    ab_test,
    purchases,
    two_versions,
    with_test,
    write_outcomes,
)
from ff_assets_tests.test_observations import Data, observe, stale
from ff_assets_tests.test_predictions import move, only, put, read
from ff_assets_tests.test_replay import again, told

pytestmark = pytest.mark.xdist_group("whole")

NOWHERE = Path("nowhere")


@pytest.fixture(autouse=True, scope="module")
def no_alias_is_left(whole: WholeRun) -> Iterator[None]:
    """Other tests on the same registry begin without a model in production."""
    yield
    for alias in ("staging", "production"):
        whole.home.client.delete_registered_model_alias("sentiment", alias)


def test_what_starts_by_itself_predicts_for_the_test_alone() -> None:
    target = sentiment_target(
        ab_test=ab_test(purchases(NOWHERE, version=None)), schedule="0 6 * * *", fresh_for="26h"
    )
    definitions = build_definitions(small_project(reviews(NOWHERE), target=target), Settings.load())
    dg.Definitions.validate_loadable(definitions)
    repository, graph = definitions.get_repository_def(), definitions.resolve_asset_graph()

    started = {schedule.job_name for schedule in repository.schedule_defs}
    jobs = {"sentiment_fit", "sentiment_predict_ab_test", "sentiment_experiment"}
    assert started == {*jobs, "observe_data"}
    predictions = {k for k in graph.get_all_asset_keys() if k.path[0] == "predictions"}
    assert len(predictions) == 3
    for key in predictions:
        asset, by_itself = graph.get(key), key.path[-1] == AB_TEST
        assert (asset.automation_condition is not None) == by_itself
        assert (asset.freshness_policy is not None) == by_itself
    assert dg.AssetKey(["data", "purchases"]) not in graph.get_all_asset_keys()


def test_outcomes_that_arrive_are_noticed_and_looked_at(whole: WholeRun, tmp_path: Path) -> None:
    two_versions(whole)
    data, file = Data(), tmp_path / "purchases.json"
    write_outcomes(file, [("a", 1, "2020-01-01T00:00:00Z", 1.0)])
    test = ab_test(purchases(file, version=data), name="summer")
    project = with_test(whole, test)
    definitions, effect = (
        build_definitions(project, Settings.load()),
        "experiments/sentiment/summer",
    )
    key = dg.AssetKey(effect.split("/"))

    with dg.DagsterInstance.ephemeral() as instance:
        home = replace(whole.home, instance=instance)

        def tick(cursor: Any = None) -> tuple[set[dg.AssetKey], Any]:
            done = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
            return {r.key for r in done.results if not r.true_subset.is_empty}, done.cursor

        only(home.predict(project, "sentiment", AB_TEST), PREDICTED)
        assert only(home.experiment(project, "sentiment"), effect)["looks"] == 1
        assert observe(definitions, instance)
        assert key not in stale(definitions, instance)
        asked, cursor = tick()
        assert asked == set(), "turning it on launches nothing"

        data.version = "second"
        assert observe(definitions, instance)
        assert stale(definitions, instance)[key] == {"has a new dependency data version"}
        asked, cursor = tick(cursor)
        assert asked == {key}
        assert only(home.experiment(project, "sentiment"), effect)["looks"] == 2
        assert key not in stale(definitions, instance)


def test_without_a_treatment_the_control_predicts_all(
    whole: WholeRun, spark: SparkSession, tmp_path: Path
) -> None:
    project = with_test(whole, ab_test(purchases(tmp_path / "none.json"), name="winter"))
    control = move(whole, "sentiment[tfidf]", "production")
    whole.home.client.delete_registered_model_alias("sentiment", "staging")
    ran = whole.home.predict(project, "sentiment", AB_TEST)

    made = only(ran, PREDICTED)
    assert {row["model_version"] for row in read(spark, made).values()} == {control}
    assert (made["alias_treatment"], made["dagster/row_count"]) == ("production", 50)
    assert any("so that in production predicts all rows" in message for message in ran.messages)
    assert not Exposures.stored(whole.home.store, "sentiment", "winter").predictions


def test_it_is_replayed_as_it_was_divided_then(
    whole: WholeRun, spark: SparkSession, tmp_path: Path
) -> None:
    home, versions = whole.home, two_versions(whole)
    outcomes = purchases(tmp_path / "none.json")
    project = with_test(whole, ab_test(outcomes, name="autumn"))
    made = only(home.predict(project, "sentiment", AB_TEST), PREDICTED)

    # Later the test is another one, and its models serve the other way round.
    put(home, "sentiment", "production", versions["treatment"])
    put(home, "sentiment", "staging", versions["control"])
    later = with_test(whole, ab_test(outcomes, name="autumn", share=0.9))
    report = again(home, later, lambda: spark, version=versions["control"])
    assert (report.outcome, str(report.predictions.path)) == ("identical", made["path"])
    assert "identical: 50 rows, bit for bit" in told(report)
    assert f"version {versions['treatment']} (sentiment[hashed]) for the treatment" in told(report)
    said = report.as_dict()
    assert {arm: said[f"version_{arm}"] for arm in versions} == versions

    behind = published(home.store, "sentiment", "staging", versions["treatment"])
    found = latest(behind, None)
    assert found is not None
    assert str(found.path) == made["path"], "it is what staging predicted, too"
    (gate,) = data_left(home.store, {"staging": found})
    assert gate.passed
    assert EFFECT not in made
