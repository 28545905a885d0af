"""The jobs `promote` and `rollback`: the same gates as in a terminal, from a form."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ff_assets.assets.build import build_definitions
from ff_assets.registry.moves import Entry
from ff_assets.settings import Settings
from ff_assets_tests.projects import reviews, sentiment_target, small_project
from ff_assets_tests.registries import Registry, sqlite

pytestmark = pytest.mark.xdist_group("promotion")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with sqlite(tmp_path_factory.mktemp("mlflow")) as registry:
        yield registry


class Launched:
    """A run from the launchpad."""

    def __init__(self, store: Registry, job: str, target: str, **fields: Any) -> None:
        declared = replace(sentiment_target(), name=target)
        project = small_project(reviews(Path("nowhere")), target=declared)
        settings = replace(Settings.load(), mlflow_tracking_uri=store.uri)
        made = build_definitions(project, settings).resolve_job_def(job)
        self.form: Mapping[str, Any] = made.run_config or {}
        ((op, given),) = self.form["ops"].items()
        config = {"ops": {op: {"config": {**given["config"], **fields}}}}
        with dg.DagsterInstance.ephemeral() as instance:
            result = made.execute_in_process(
                config, instance=instance, raise_on_error=False, resources=None
            )
            logs = instance.all_logs(result.run_id)
        self.success = result.success
        self.messages = [entry.user_message for entry in logs if not entry.is_dagster_event]
        self.failure, self.metadata = "", {}
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data.user_failure_data
                assert data is not None, event.step_failure_data.error_display_string
                self.failure, self.metadata = str(data.description), dict(data.metadata)
            if event.is_successful_output:
                self.metadata = dict(event.step_output_data.metadata)


def entry(store: Registry, target: str) -> Entry:
    """The last one of the ledger."""
    last = store.book(target).histories["production"].last
    assert last is not None
    return last.entry


def test_a_version_is_promoted_and_rolled_back_by_name(store: Registry) -> None:
    target = "pressed"
    for _ in range(2):
        store.register(target, outputs={"sentiment": "double"})
    to = {"to": "production", "reason": "better", "who": "Ada"}

    first = Launched(store, "promote", target, version=1, **to)
    assert first.success, first.failure
    second = Launched(store, "promote", target, **to)
    assert second.success, second.failure
    assert store.holder(target) == 2
    assert (entry(store, target).who, entry(store, target).why) == ("Ada", "better")
    told = {name: value.value for name, value in second.metadata.items()}
    assert (told["from"], told["to"], told["who"]) == (1, 2, "Ada")
    assert "| certificate | passed |" in told["gates"]
    assert any(said.startswith("certificate: passed;") for said in second.messages)
    assert "production of pressed: 1 → 2 (pressed), by Ada" in second.messages[-1]

    back = Launched(store, "rollback", target, reason="slow")
    assert back.success, back.failure
    assert store.holder(target) == 1
    assert entry(store, target).who, "without a name, that of the process's user"


def test_a_failed_gate_teaches_and_moves_nothing_unless_it_is_overridden(store: Registry) -> None:
    target = "unfit"
    store.register(target, inputs={"words": "string"}, outputs={"sentiment": "double"})
    to = {"to": "production", "reason": "better"}

    refused = Launched(store, "promote", target, **to)
    assert not refused.success
    assert refused.failure.startswith("version 1 of unfit (unfit) did not pass into production")
    assert "it reads 'words', which scoring does not give" in refused.failure
    assert "| signature | failed |" in refused.metadata["gates"].value
    assert any(said.startswith("signature: failed;") for said in refused.messages)
    assert store.holder(target) is None

    done = Launched(store, "promote", target, **to, override="scoring is elsewhere")
    assert done.success, done.failure
    assert entry(store, target).override == "scoring is elsewhere"


def test_the_form_as_it_comes_moves_nothing(store: Registry) -> None:
    target = "untouched"
    store.register(target, outputs={"sentiment": "double"})

    for job in ("promote", "rollback"):
        pressed = Launched(store, job, target)
        assert not pressed.success
        assert "needs a reason" in pressed.failure
    unknown = Launched(store, "promote", target, version=7, reason="x")
    assert "`untouched` has no version 7" in unknown.failure
    assert store.holder(target) is store.holder(target, "staging") is None
