"""What a version has to pass, which one is meant, the way back, and what was in place when."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ff_assets.registry.gates import Gate, floor
from ff_assets.registry.moves import Entry
from ff_assets.registry.promotion import GateFailed, NotMoved, promote, rollback
from ff_assets.registry.standing import at, reproducible
from ff_assets.registry.versions import NoVersion, get_version
from ff_assets_tests.registries import PRODUCTION, Registry, make_certificate, sqlite

pytestmark = pytest.mark.xdist_group("promotion")

OLD_ENTRY = (
    '{"kind": "promotion", "alias": "production", "before": 1, "after": 2, "variant": "t[a]'
    '", "who": "ann", "why": "better", "certificate": "c0ffee", "grade": "A", "gates": [{"n'
    'ame": "certificate", "passed": true, "detail": "Honest.", "overridable": false}, {"nam'
    'e": "not worse", "passed": false, "detail": "0.2 worse.", "overridable": true}], "over'
    'ride": "needed", "seen": 1, "token": "t0", "digest": "2a8904132b68b24134f1e525f058e655'
    '46d438cdf32108deecf04e5dd5a56f1e"}'
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One for all tests, as its tables take seconds; each test has a target of its own."""
    with sqlite(tmp_path_factory.mktemp("mlflow")) as registry:
        yield registry


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return "t" + "".join(filter(str.isalnum, request.node.name))


# Gates


def test_each_gate_that_fails_is_named_and_a_reason_is_kept(store: Registry, target: str) -> None:
    store.register(target, inputs={"text": "string"}, outputs={target: "double", "topic": "int"})
    store.register(target, inputs={"text": "array<string>"}, auc=0.6)
    store.promote(target, 1)
    worse = Gate("not worse", False, "0.2 worse than version 1 [0.1, 0.3].")
    gates = [floor("auc", 0.7, is_loss=False), floor("rmse", 2, is_loss=True), worse]

    with pytest.raises(GateFailed) as error:
        store.promote(target, 2, gates=gates)

    assert str(error.value).splitlines()[:8] == [
        f"version 2 of {target} ({target}) did not pass into production: signature and "
        "floor of auc and floor of rmse and not worse.",
        "  why:   signature: it reads 'text' as "
        '{"type": "array", "items": {"type": "string"}}, and version 1 of '
        f"{target} gives string; it lacks the output 'topic' of version 1 of {target}.",
        "         floor of auc: auc is 0.6000 on test, the lower end of its 95% interval 0.5800; "
        "wanted at least 0.7 there.",
        "         floor of rmse: there is no rmse_test; its metrics: auc_test, auc_test_high, "
        "auc_test_low.",
        "         not worse: 0.2 worse than version 1 [0.1, 0.3].",
        '  fix:   promote another version, or give a reason that is kept: --override "..."',
    ]
    assert [gate["passed"] for gate in error.value.as_dict()["gates"]] == [True, True, *[False] * 4]
    with pytest.raises(GateFailed):
        store.promote(target, 2, gates=gates, override="  ")
    assert store.told(target) == [("moved", None, 1)]

    done = store.promote(target, 2, gates=gates, override="the old one crashes")
    assert done.logged.entry.override == "the old one crashes"
    shown = store.client.get_model_version(f"{target}.moves", "2").description
    assert "**Failed gates were overridden:** the old one crashes" in shown
    assert "**failed**: not worse" in shown


def test_a_floor_is_held_against_the_end_of_the_interval(store: Registry, target: str) -> None:
    store.register(target, auc=0.85)
    run = store.client.get_model_version(target, "1").run_id
    for name, value in (("auc_test_low", 0.79), ("rmse_test", 2.0), ("rmse_test_high", 2.4)):
        store.client.log_metric(run, name, value)
    version = get_version(store.runs, target, 1)
    assert version is not None

    def outcome(metric: str, worst: float, **more: bool) -> tuple[str, str]:
        gate = floor(metric, worst, is_loss=metric == "rmse", **more)(version, None)
        return gate.outcome, gate.detail

    assert outcome("auc", 0.79)[0] == "passed"
    assert outcome("auc", 0.8) == (
        "failed",
        "auc is 0.8500 on test, the lower end of its 95% interval 0.7900; wanted at least 0.8 "
        "there.",
    )
    assert outcome("rmse", 2.4)[0] == "passed"
    assert outcome("rmse", 2.3)[0] == "failed"
    assert outcome("r2", 0.0)[0] == "failed"
    assert outcome("r2", 0.0, required=False)[0] == "shown"


def test_what_is_shown_neither_passes_nor_stops(store: Registry, target: str) -> None:
    store.register(target)
    shown = Gate.shown("slices", "north: auc 0.4")
    done = store.promote(target, 1, gates=[shown])
    (move,) = store.book(target).histories[PRODUCTION].moves
    assert move.logged is not None
    assert move.logged.entry.gates[-1] == shown
    assert (shown.outcome, shown.failed, done.logged.entry.override) == ("shown", False, "")


def test_an_entry_from_before_anything_was_shown_is_read() -> None:
    entry = Entry.from_json(OLD_ENTRY)
    assert [gate.outcome for gate in entry.gates] == ["passed", "failed"]
    assert entry.to_json() == OLD_ENTRY
    with pytest.raises(ValueError, match="edited"):
        Entry.from_json(OLD_ENTRY.replace('"passed": false', '"passed": null'))


def test_a_reason_that_nothing_needed_is_not_kept_as_one(store: Registry, target: str) -> None:
    store.register(target)
    assert store.promote(target, 1, override="just in case").logged.entry.override == ""


def test_scoring_has_to_give_what_a_version_reads(store: Registry, target: str) -> None:
    store.register(target, inputs={"text": "string", "length": "bigint", "counted": "double"})
    wrong = {"text": "string", "length": "int", "other": None}
    right = {"text": "string", "length": "bigint", "counted": None}

    with pytest.raises(GateFailed) as error:
        store.promote(target, 1, given=wrong)
    assert error.value.why == (
        "signature: it reads 'length' as long, and scoring gives integer; it reads 'counted', "
        "which scoring does not give."
    )
    assert store.promote(target, 1, given=right).logged.entry.gates[-1].passed


CERTIFICATES = {
    "edited": (lambda right: right | {"grade": "A+"}, "was edited after it had been made"),
    "of another variant": (
        lambda right: make_certificate(right["target"], "other", 0.8),
        "is of another version",
    ),
    "made again with a better number": (
        lambda right: make_certificate(right["target"], right["variant"], 0.9),
        "is of another version",
    ),
    "cut off": (lambda right: {"digest": None}, "lacks assumptions"),
}


@pytest.mark.parametrize("how", CERTIFICATES)
def test_a_certificate_that_does_not_hold_cannot_be_overridden(
    how: str, store: Registry, target: str
) -> None:
    change, says = CERTIFICATES[how]
    store.register(target, certificate=change(make_certificate(target, target, 0.8)))

    with pytest.raises(GateFailed, match="did not pass into production: certificate") as error:
        store.promote(target, 1, override="the boss wants it")

    assert says in error.value.why
    assert "no reason can stand in for certificate" in error.value.fix
    assert store.holder(target) is None
    assert store.told(target) == []


def test_a_dishonest_or_changed_metric_cannot_be_promoted(store: Registry, target: str) -> None:
    store.register(target)
    store.register(target)
    run_id = store.client.get_model_version(target, "1").run_id
    store.client.log_metric(run_id, "auc_test", 0.99)
    with pytest.raises(GateFailed, match=r"0.99 in its run, and 0.8 was certified"):
        store.promote(target, 1, override="it is better now")

    said = "Refused: the model was fitted on rows that it was measured on."
    leaking = make_certificate(target, target, 0.8, verdict="refused", sentence=said)
    store.register(target, certificate=leaking)
    store.client.set_model_version_tag(target, "3", "honest.certificate", leaking["digest"])
    with pytest.raises(GateFailed, match=said):
        store.promote(target, 3, override="a little leak")

    store.artifact(target, 2, "certificate.json").unlink()
    with pytest.raises(GateFailed, match="has metrics and no certificate"):
        store.promote(target, 2, override="it got lost")


def test_a_target_without_a_label_claims_nothing_and_needs_no_certificate(
    store: Registry, target: str
) -> None:
    store.register(target, auc=None)
    gate = store.promote(target, 1).logged.entry.gates[0]
    assert (gate.name, gate.passed) == ("certificate", True)
    assert "nothing is measured" in gate.detail


def test_a_model_without_files_cannot_be_promoted(store: Registry, target: str) -> None:
    store.register(target)
    store.artifact(target, 1, "model/MLmodel").unlink()
    with pytest.raises(GateFailed, match="model: its files are gone"):
        store.promote(target, 1, override="they will come back")


# Which version, and back


def test_the_version_has_to_be_clear(store: Registry, target: str) -> None:
    with pytest.raises(NoVersion, match=f"no version of `{target}` is registered"):
        store.promote(target, 1)
    for variant in ("[hashed]", "[tfidf]", "[tfidf]"):
        store.register(target, variant=target + variant)

    with pytest.raises(NoVersion) as error:
        promote(store.runs, target, PRODUCTION, why="x")
    assert error.value.why == f"the newest of each: 3 ({target}[tfidf]), 1 ({target}[hashed])."
    with pytest.raises(NoVersion, match=r"no version 9.*\n.*3 \(.*\), 1 \("):
        store.promote(target, 9)
    with pytest.raises(NoVersion, match=rf"nearest existing names: {target}\[tfidf\]"):
        promote(store.runs, target, PRODUCTION, variant=f"{target}[tfid]", why="x")
    promote(store.runs, target, PRODUCTION, variant=f"{target}[hashed]", why="x")
    assert store.holder(target) == 1
    with pytest.raises(NotMoved, match="is in production already"):
        store.promote(target, 1)
    with pytest.raises(NotMoved, match="needs a reason"):
        promote(store.runs, target, PRODUCTION, version=2, why=" ")


def test_each_rollback_goes_one_step_further_back(store: Registry, target: str) -> None:
    for _ in range(4):
        store.register(target)
    with pytest.raises(NotMoved, match="nothing that production"):
        rollback(store.runs, target, why="x")
    for version in (1, 2, 3):
        store.promote(target, version)

    assert rollback(store.runs, target, why="3 is slow").logged.entry.after == 2
    store.promote(target, 4)
    assert rollback(store.runs, target, why="4 is slow too").logged.entry.after == 2
    assert rollback(store.runs, target, why="and so is 2").logged.entry.after == 1
    with pytest.raises(NotMoved, match="nothing that production") as error:
        rollback(store.runs, target, why="x")
    assert f"ff promote {target} --version N" in error.value.fix
    assert store.told(target)[-3:] == [("moved", 2, 4), ("moved", 4, 2), ("moved", 2, 1)]
    store.promote(target, 4)
    store.client.delete_model_version(target, "1")
    with pytest.raises(NotMoved, match=r"cannot go back to version 1.\n.*deleted in MLflow"):
        rollback(store.runs, target, why="x")


def test_a_rollback_waits_for_no_gate_and_says_so(store: Registry, target: str) -> None:
    for _ in range(2):
        store.register(target)
        store.promote(target, store.client.get_registered_model(target).latest_versions[0].version)
    store.artifact(target, 1, "certificate.json").write_text("{}")

    entry = rollback(store.runs, target, why="2 is slow").logged.entry

    assert store.holder(target) == 1
    assert [gate.name for gate in entry.gates if not gate.passed] == ["certificate"]
    assert entry.override == "a rollback does not wait for gates."


# What was in place


def test_what_was_in_place_at_a_time_is_told_as_far_as_it_is_known(
    store: Registry, target: str
) -> None:
    for _ in range(3):
        store.register(target)
    begin = datetime.now(UTC)
    time.sleep(0.01)
    store.promote(target, 1)
    store.client.set_registered_model_alias(target, PRODUCTION, "2")
    time.sleep(0.01)
    store.promote(target, 3)
    rollback(store.runs, target, why="3 is slow")
    now = store.book(target)
    first, outside, second, back = now.histories[PRODUCTION].moves
    millisecond = timedelta(milliseconds=1)

    def at_time(when: datetime) -> tuple[object, ...]:
        found = at(now, PRODUCTION, when)
        return found.versions, found.since, found.until

    assert at_time(begin) == ((None,), None, first)
    # Set by hand between the two entries, nobody knows when.
    assert at_time(first.latest + millisecond) == ((1, 2), outside, second)
    assert at_time(second.latest) == ((3,), second, back)
    assert at_time(back.latest - millisecond) == ((3,), second, back)
    assert at_time(now.time) == ((2,), back, None)
    with pytest.raises(ValueError, match="is in the future"):
        at_time(now.time + timedelta(days=1))


def test_predictions_may_be_made_again_where_everything_is_left(
    store: Registry, target: str
) -> None:
    for _ in range(4):
        store.register(target)
    store.artifact(target, 2, "certificate.json").write_text("{}")
    store.artifact(target, 3, "model/requirements.txt").unlink()
    store.client.delete_model_version(target, "4")

    found = {n: reproducible(store.runs, target, n) for n in (1, 2, 3, 4)}

    assert found[1].is_so
    assert [gate.name for gate in found[1].gates] == [
        "version",
        "model",
        "certificate",
        "requirements",
    ]
    failed = {n: [gate.name for gate in f.gates if not gate.passed] for n, f in found.items()}
    assert failed == {1: [], 2: ["certificate"], 3: ["requirements"], 4: ["version"]}
