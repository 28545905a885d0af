"""Predicting with what is behind an alias: which rows, which model, once, and as a whole."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.loader import LoadingContextForTest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import feature
from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import predict_jobs
from ff_assets.assets.resources import MlflowResource
from ff_assets.assets.sensors import alias_sensor
from ff_assets.core.steps import Kind, Step
from ff_assets.engine.published import latest, published
from ff_assets.registry.promotion import promote
from ff_assets.registry.runs import MlflowRuns
from ff_assets.settings import Settings
from ff_assets_tests.projects import review, reviews, small_project
from ff_assets_tests.running import Home, Ran, WholeRun
from ff_assets_tests.test_observations import DATA
from ff_assets_tests.test_serving import exact

pytestmark = pytest.mark.xdist_group("whole")

STAGING = "predictions/sentiment/staging"


def move(whole: WholeRun, variant: str, alias: str) -> int:
    """Let the version that the whole run has registered serve."""
    (found,) = (v for v in whole.flow.variants if v.name == variant)
    registered = whole.ran.assets["/".join(Step(Kind.REGISTRATION, found).path)][""]
    number = int(registered["version"])
    put(whole.home, found.target.name, alias, number)
    return number


def put(home: Home, target: str, alias: str, number: int) -> None:
    """Promote a version, unless it has the alias from another test."""
    runs = MlflowRuns(home.tracking_uri, None, "ff_assets")
    aliases = home.client.get_registered_model(target).aliases
    if str(aliases.get(alias)) != str(number):
        promote(runs, target, alias, version=number, why="a test")


def only(ran: Ran, name: str) -> dict[str, Any]:
    assert ran.success, ran.failure
    assert set(ran.assets) == {name}
    return ran.assets[name][""]


def read(spark: SparkSession, made: dict[str, Any]) -> dict[int, dict[str, Any]]:
    rows = spark.read.parquet(made["path"]).collect()
    found = {row["review_id"]: row.asDict() for row in rows}
    assert len(found) == len(rows) == made["dagster/row_count"]
    return found


def test_without_a_model_behind_the_alias_nothing_happens(whole: WholeRun) -> None:
    ran = whole.home.predict(whole.project, "severity", "production")

    assert ran.success
    assert ran.assets == {}
    assert not ran.asked_for_spark
    assert ran.messages == [
        "no model is production for `severity` yet; promote one with: "
        'ff promote severity --to production --reason "..."'
    ]


def test_predictions_are_those_of_the_run_and_made_once(
    whole: WholeRun, spark: SparkSession
) -> None:
    number = move(whole, "sentiment[tfidf]", "staging")
    variant = next(v for v in whole.flow.variants if v.name == "sentiment[tfidf]")
    made = only(whole.home.predict(whole.project, "sentiment"), STAGING)

    rows, stored = read(spark, made), whole.stored(spark, variant)
    assert set(rows) == {key for key, row in whole.rows.items() if row["is_positive"] is None}
    for key, row in rows.items():
        assert row["text"] == whole.rows[key]["text"]
        assert exact(row["sentiment"]) == exact(stored[key]["sentiment"])
        assert exact(row["probability"]) == exact(stored[key]["_probability"])
        assert (row["model_version"], row["certificate"]) == (number, made["certificate_digest"])
    assert len({row["predicted_at"] for row in rows.values()}) == 1
    assert made["variant"] == "sentiment[tfidf]"
    assert made["honest"].startswith("Honest")
    assert made["preview"].count("\n") == 6

    again = whole.home.predict(whole.project, "sentiment")
    told = only(again, STAGING)
    assert (made["reused"], told["reused"]) == (False, True)
    assert told["path"] == made["path"]
    assert told["data_version"] == made["data_version"]
    assert not again.asked_for_spark
    assert "reused, 50 rows" in again.messages[-1]

    move(whole, "sentiment[hashed]", "staging")
    other = only(whole.home.predict(whole.project, "sentiment"), STAGING)
    changed = read(spark, other)
    assert other["path"] != made["path"]
    assert other["data_version"] != made["data_version"]
    assert set(changed) == set(rows)
    assert [exact(changed[k]["probability"]) for k in rows] != [
        exact(rows[k]["probability"]) for k in rows
    ]


def test_a_run_whose_model_is_replaced_meanwhile_does_not_count(
    whole: WholeRun, spark: SparkSession
) -> None:
    home, moves = whole.home, ["sentiment[hashed]"]
    slow = move(whole, "sentiment[tfidf]", "staging")

    def load(spark: SparkSession) -> DataFrame:
        for variant in moves:
            move(whole, variant, "staging")
        return spark.read.parquet(str(whole.file)).limit(7)

    project = replace(whole.project, sources=(reviews(whole.file, scoring=load),))
    before = published(home.store, "sentiment", "staging")
    ran = home.predict(project, "sentiment")
    assert ran.success
    assert ran.assets == {}, "a materialization would stand for what serves now"
    (seen,) = (
        each
        for entry in ran.events
        if (each := entry.asset_observation) and "/".join(each.asset_key.path) == STAGING
    )
    kept, told = seen.metadata["path"].value, str(seen.metadata["overtaken"].value)
    assert f"staging moved from version {slow} to version " in told
    assert any(told in message for message in ran.messages)
    assert published(home.store, "sentiment", "staging") == before

    moves.clear()
    began = datetime.now(UTC)
    other = only(home.predict(project, "sentiment"), STAGING)
    move(whole, "sentiment[tfidf]", "staging")
    back = only(home.predict(project, "sentiment"), STAGING)
    assert (back["model_version"], back["path"], back["reused"]) == (slow, kept, True)
    *_, one, two = published(home.store, "sentiment", "staging")
    assert [str(one.path), str(two.path)] == [other["path"], kept]
    began_writing = datetime.fromisoformat(other["predicted_at"])
    assert began < began_writing < one.time < two.time
    assert one.time - began_writing > timedelta(seconds=other["seconds"])
    assert latest((one, two), one.time) == one


def test_a_lost_registry_is_not_taken_for_a_new_project(whole: WholeRun, tmp_path: Path) -> None:
    home = whole.home
    number = move(whole, "sentiment[tfidf]", "staging")
    only(home.predict(whole.project, "sentiment"), STAGING)

    lost = replace(home, mlflow=tmp_path / "mlflow")
    ran = lost.predict(whole.project, "sentiment")
    assert not ran.success
    assert not ran.asked_for_spark
    (error,) = ran.errors
    assert lost.tracking_uri in error["why"]
    assert f"version {number} (sentiment[tfidf]) was staging and published" in error["why"]
    assert "MLFLOW_TRACKING_URI" in error["fix"]
    # Another registry may have a version of the same number, of another model.
    lost.client.create_registered_model("sentiment")
    for _ in range(number):
        lost.client.create_model_version("sentiment", "runs:/elsewhere", await_creation_for=0)
    (error,) = lost.predict(whole.project, "sentiment").errors
    assert "has another `sentiment`" in error["why"]

    home.client.delete_registered_model_alias("sentiment", "staging")
    ran = home.predict(whole.project, "sentiment")
    assert (ran.success, ran.assets) == (True, {})
    (message,) = ran.messages
    assert f"any more: version {number} was taken away" in message


def test_where_no_row_waits_the_table_is_empty(whole: WholeRun, spark: SparkSession) -> None:
    move(whole, "severity[hashed]", "staging")
    ran = whole.home.predict(whole.project, "severity")

    made = only(ran, "predictions/severity/staging")
    assert made["dagster/row_count"] == 0
    frame = spark.read.parquet(made["path"])
    assert frame.count() == 0
    assert {"review_id", "severity", "topic", "model_version"} <= set(frame.columns)
    assert ran.messages[-1].endswith("no row waits for a prediction; the table is empty")


@feature(entity=review)
def text(body: Column) -> Column:
    return F.lower(body)


def test_a_model_whose_input_is_gone_is_refused_with_the_column(whole: WholeRun) -> None:
    number = move(whole, "sentiment[tfidf]", "staging")
    features = {"body": "string", "is_positive": "double"}
    renamed = reviews(whole.file, features=features, labels=["is_positive"])
    ran = whole.home.predict(small_project(renamed, added=[text]), "sentiment")

    assert not ran.success
    assert not ran.asked_for_spark
    (error,) = ran.errors
    assert error["what"] == f"nothing gives version {number} of sentiment what it reads."
    assert "it reads 'text', which scoring does not give" in error["why"]
    assert "ff run sentiment" in error["fix"]


def test_a_variant_that_was_renamed_gives_the_same(whole: WholeRun) -> None:
    move(whole, "sentiment[tfidf]", "staging")
    ran = whole.home.predict(small_project(reviews(whole.file)), "sentiment")

    assert only(ran, STAGING)["dagster/row_count"] == 50


def test_all_assets_are_one_run(whole: WholeRun) -> None:
    move(whole, "sentiment[tfidf]", "staging")
    ran = whole.home.run_all_there_is(whole.project)

    assert ran.success, ran.failure
    assert set(ran.assets[STAGING]) == {""}  # of no cell
    assert set(whole.ran.assets) < set(ran.assets)


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from ff_assets.engine.store import Staging
from ff_assets_tests.projects import whole_project
from ff_assets_tests.running import Home

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

Staging.add_predictions = die  # all is written and checked, and nothing is published
shared, store, file = map(Path, sys.argv[1:])
home = replace(Home.at(shared), store_root=store)
print(home.predict(whole_project(file), "sentiment", "production").messages)
"""


def test_killed_before_it_publishes_it_leaves_nothing_that_looks_finished(
    whole: WholeRun, spark: SparkSession
) -> None:
    move(whole, "sentiment[hashed]", "production")
    store = whole.home.store_root
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", KILLED, str(whole.home.mlflow.parent)),
            *(str(store), str(whole.file)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )
    try:
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, printed
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Spark's JVM
    assert any((store / "staging").glob("run-*/*/data/_SUCCESS")), "it was killed too early"
    assert not (whole.home.kept / "predictions" / "sentiment" / "production").exists()

    ran = whole.home.predict(whole.project, "sentiment", "production")
    made = only(ran, "predictions/sentiment/production")
    assert not made["reused"]
    assert set(read(spark, made)) == {k for k, r in whole.rows.items() if r["is_positive"] is None}
    assert list((store / "staging").iterdir()) == []


def test_an_alias_that_moves_makes_its_predictions(whole: WholeRun, spark: SparkSession) -> None:
    flow, home = whole.flow, whole.home
    sensor = alias_sensor(flow, predict_jobs(flow))
    mlflow = MlflowResource(
        tracking_uri=home.tracking_uri, artifact_root=None, experiment="ff_assets"
    )

    def tick(cursor: str | None) -> SensorExecutionData:
        with dg.build_sensor_context(
            instance=home.instance, cursor=cursor, resources={"mlflow": mlflow}
        ) as context:
            return sensor.evaluate_tick(context)

    move(whole, "sentiment[hashed]", "staging")
    first = tick(None)
    assert not first.run_requests
    number = move(whole, "sentiment[tfidf]", "staging")
    (asked,) = tick(first.cursor).run_requests or []
    assert asked.job_name == "sentiment_predict_staging"

    made = only(home.predict(whole.project, "sentiment", "staging"), STAGING)
    assert {row["model_version"] for row in read(spark, made).values()} == {number}
    graph = build_definitions(whole.project, Settings.load()).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(
        home.instance, graph, LoadingContextForTest(home.instance)
    )
    causes = resolver.get_stale_causes(dg.AssetKey(STAGING.split("/")))
    assert not [cause for cause in causes if cause.dependency_asset_key == DATA]
