"""The sensor that predicts when an alias moves, ticked against a real MLflow."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from yaml import safe_load

from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import predict_jobs
from ff_assets.assets.resources import MlflowResource
from ff_assets.assets.sensors import alias_sensor
from ff_assets.core.flow import infer
from ff_assets.settings import PROJECT_ROOT, Settings
from ff_assets_tests.projects import reviews, sentiment_target, small_project
from ff_assets_tests.registries import Registry, sqlite
from ff_assets_tests.test_ab_test import ab_test, purchases

pytestmark = pytest.mark.xdist_group("promotion")

STAGING = "moving_predict_staging"
PRODUCTION = "moving_predict_production"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with sqlite(tmp_path_factory.mktemp("mlflow")) as registry:
        for _ in range(2):
            registry.register("moving")
        yield registry


class Sensor:
    """The sensor as Dagster's daemon runs it, with a cursor that it keeps."""

    def __init__(self, store: Registry, uri: str | None = None, **declared: Any) -> None:
        target = replace(sentiment_target(), name="moving", **declared)
        flow = infer(small_project(reviews(Path("nowhere")), target=target))
        jobs = predict_jobs(flow)
        artifacts = None if store.artifacts is None else str(store.artifacts)
        self.mlflow = MlflowResource(
            tracking_uri=uri or store.uri, artifact_root=artifacts, experiment="ff_assets"
        )
        self.definition = alias_sensor(flow, jobs)
        self.cursor: str | None = None

    def tick(self, keep: bool = True) -> dict[str, str | None]:
        """Job -> run key."""
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(
                instance=instance, cursor=self.cursor, resources={"mlflow": self.mlflow}
            ) as context,
        ):
            done = self.definition.evaluate_tick(context)
        if keep:
            self.cursor = done.cursor
        self.said = done.skip_message or ""
        self.tags = [request.tags for request in done.run_requests or []]
        return {str(request.job_name): request.run_key for request in done.run_requests or []}


@pytest.fixture
def sensor(store: Registry) -> Iterator[Sensor]:
    move(store, "production", 1)
    yield Sensor(store)
    for alias in ("production", "staging"):
        store.client.delete_registered_model_alias("moving", alias)


def move(store: Registry, alias: str, version: int) -> None:
    """As somebody does in MLflow's own UI."""
    store.client.set_registered_model_alias("moving", alias, str(version))


def test_what_is_there_at_first_is_remembered_and_what_moves_predicts(
    store: Registry, sensor: Sensor
) -> None:
    assert sensor.tick() == {}
    assert "1 of 2 aliases have a version; these are remembered" in sensor.said
    assert sensor.tick() == {}
    assert sensor.said == "no alias has moved."

    move(store, "production", 2)
    move(store, "staging", 2)
    assert set(sensor.tick()) == {STAGING, PRODUCTION}
    assert sensor.tick() == {}
    store.client.delete_registered_model_alias("moving", "staging")
    assert sensor.tick() == {}, "nothing is behind it any more"


def test_a_target_in_a_test_predicts_for_the_test_once(store: Registry, sensor: Sensor) -> None:
    sensor = Sensor(store, ab_test=ab_test(purchases(Path("nowhere"))))
    sensor.tick()
    move(store, "production", 2)
    move(store, "staging", 1)
    assert set(sensor.tick()) == {"moving_predict_ab_test"}


def test_a_prediction_that_fails_is_launched_again_and_one_by_hand_is_not(
    store: Registry, sensor: Sensor, tmp_path: Path
) -> None:
    sensor.tick()
    move(store, "production", 2)
    sensor.tick()
    (tags,) = sensor.tags
    yaml = safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    target = replace(sentiment_target(), name="moving")
    project = small_project(reviews(Path("nowhere")), target=target)
    unreachable = replace(Settings.load(), mlflow_tracking_uri="http://127.0.0.1:9")
    job = build_definitions(project, unreachable).resolve_job_def(PRODUCTION)
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=yaml) as instance:
        for given, again in ((tags, "true"), ({}, "false")):
            ran = job.execute_in_process(instance=instance, raise_on_error=False, tags=given)
            assert not ran.success
            run = instance.get_run_by_id(ran.run_id)
            assert run is not None
            assert run.tags["dagster/will_retry"] == again


def test_a_tick_that_is_repeated_asks_for_the_same_run_and_a_rollback_for_another(
    store: Registry, sensor: Sensor
) -> None:
    sensor.tick()
    keys = []
    for version in (2, 1, 2):
        move(store, "production", version)
        lost = sensor.tick(keep=False)
        asked = sensor.tick()
        assert lost == asked
        keys.append(asked[PRODUCTION])
    assert len(set(keys)) == 3, "Dagster launches nothing for a key that it has seen"

    sensor.cursor = None  # somebody resets it in the UI
    sensor.tick()
    move(store, "production", 1)
    assert sensor.tick()[PRODUCTION] not in keys


def test_a_target_that_is_new_is_remembered_as_well(store: Registry, sensor: Sensor) -> None:
    sensor.tick()
    grown = Sensor(store)
    flow = infer(
        small_project(
            reviews(Path("nowhere")), target=replace(sentiment_target(), name="other_target")
        )
    )
    grown.definition = alias_sensor(flow, predict_jobs(flow))
    grown.cursor = sensor.cursor
    store.register("other_target")
    store.client.set_registered_model_alias("other_target", "staging", "1")

    assert grown.tick() == {}
    store.register("other_target")
    store.client.set_registered_model_alias("other_target", "staging", "2")
    assert set(grown.tick()) == {"other_target_predict_staging"}


def test_the_same_number_of_another_model_is_another_version(store: Registry) -> None:
    store.register("moving_again")
    sensor = Sensor(store)
    flow = infer(
        small_project(
            reviews(Path("nowhere")), target=replace(sentiment_target(), name="moving_again")
        )
    )
    sensor.definition = alias_sensor(flow, predict_jobs(flow))
    store.client.set_registered_model_alias("moving_again", "staging", "1")
    sensor.tick()
    store.client.delete_registered_model("moving_again")
    store.register("moving_again")
    store.client.set_registered_model_alias("moving_again", "staging", "1")

    assert set(sensor.tick()) == {"moving_again_predict_staging"}


def test_what_moves_while_mlflow_is_down_is_noticed_afterwards(
    store: Registry, sensor: Sensor
) -> None:
    sensor.tick()
    before, there = sensor.cursor, sensor.mlflow
    move(store, "production", 2)
    sensor.mlflow = Sensor(store, "http://127.0.0.1:9").mlflow
    assert sensor.tick(keep=False) == {}
    assert "MLflow at http://127.0.0.1:9 cannot be used" in sensor.said
    assert sensor.tick() == {}
    assert sensor.cursor in (before, None), "a cursor that is not set stays as it is"

    sensor.cursor, sensor.mlflow = before, there
    assert set(sensor.tick()) == {PRODUCTION}
