"""Aliases move one at a time, and what happened to them can be told, whatever stops on the way."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from ff_assets.core.conclusion import Verdict
from ff_assets.registry import MlflowUnavailable, moves
from ff_assets.registry.gates import Gate, floor
from ff_assets.registry.hypotheses import HypothesisLog, targets_on_record
from ff_assets.registry.moves import State
from ff_assets.registry.promotion import Overtaken, promote, rollback
from ff_assets_tests.registries import (
    PRODUCTION,
    Registry,
    Server,
    around,
    make_certificate,
    postgresql,
    postgresql_programs,
    server,
    sqlite,
)
from ff_assets_tests.test_hypotheses import STATEMENT, judgement

pytestmark = pytest.mark.xdist_group("promotion")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One for all tests, as its tables take seconds; each test has a target of its own."""
    with sqlite(tmp_path_factory.mktemp("mlflow")) as registry:
        yield registry


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module", params=["sqlite", "server", "postgresql"])
def any_store(request: pytest.FixtureRequest) -> Iterator[Registry]:
    if request.param == "sqlite":
        yield request.getfixturevalue("store")
    elif request.param == "server":
        yield request.getfixturevalue("served").registry
    else:
        programs = postgresql_programs()
        if programs is None or importlib.util.find_spec("psycopg2") is None:
            pytest.skip("PostgreSQL or psycopg2 is missing; see ff_assets_tests/registries.py")
        with postgresql(programs) as registry:
            yield registry


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return "t" + "".join(filter(str.isalnum, request.node.name))


# What every store has to give


def test_a_record_of_hypotheses_is_kept_once(any_store: Registry, target: str) -> None:
    log = HypothesisLog(any_store.runs, target)
    number = any_store.register(target)
    verdict = replace(judgement("1", Verdict.INVALIDATED), versions={"a": number, "b": None})
    further = judgement("2", Verdict.UNDECIDED)

    assert [log.state(STATEMENT), log.state(STATEMENT)] == [True, False]
    for each in (verdict, verdict, further, further):
        log.judge(each)
    (told,) = log.read().told
    assert told.statement == STATEMENT
    assert told.judgements == (verdict, further)
    assert len(any_store.client.search_model_versions(f"name = '{target}.hypotheses'")) == 3
    assert target in targets_on_record(any_store.runs)


def test_a_promotion_is_told_with_all_that_led_to_it(any_store: Registry, target: str) -> None:
    store = any_store
    for auc in (0.8, 0.9):
        store.register(target, variant=f"{target}[tfidf]", auc=auc)
    checked = Gate("calibration", True, "shown.")

    promote(store.runs, target, "staging", why="first", who="ann")
    promote(store.runs, target, PRODUCTION, version=1, why="first", who="ann", gates=[checked])
    done = promote(
        store.runs,
        target,
        PRODUCTION,
        why="better",
        gates=[floor("auc", 0.85, is_loss=False), Gate.shown("slices", "north: auc 0.7")],
    )

    assert (store.holder(target), store.holder(target, "staging")) == (2, 2)
    first, second = store.book(target).histories[PRODUCTION].moves
    assert store.told(target) == [("moved", None, 1), ("moved", 1, 2)]
    entry = second.logged.entry
    assert second.logged == done.logged
    assert (entry.variant, entry.why, entry.grade) == (f"{target}[tfidf]", "better", "A")
    assert entry.certificate == make_certificate(target, f"{target}[tfidf]", 0.9)["digest"]
    assert [(gate.name, gate.passed) for gate in entry.gates] == [
        ("certificate", True),
        ("model", True),
        ("signature", True),
        ("floor of auc", True),
        ("slices", None),
    ]
    assert entry.who not in ("", "ann")
    assert first.logged.entry.who == "ann"
    assert first.logged.entry.gates[-1] == checked
    assert first.latest < second.latest
    assert second.logged.number == 3
    # What MLflow's UI shows, where an entry is a version that can be loaded too.
    shown = store.client.get_model_version(f"{target}.moves", "3")
    assert shown.source == f"models:/{target}/2"
    assert "production: 1 → 2" in shown.description
    assert "- passed: floor of auc: auc is 0.9000 on test" in shown.description
    assert "- shown: slices: north: auc 0.7" in shown.description


def test_of_two_at_the_same_time_one_wins_and_the_other_is_told(
    any_store: Registry, target: str
) -> None:
    store = any_store
    names = [f"{target}{number}" for number in range(3)]
    for name in names:
        for _ in range(3):
            store.register(name)
    for name in names[1:]:  # the first one has no ledger yet
        store.promote(name, 1)

    for name in names:
        racing = [store.other(name, version, "waits before its entry") for version in (2, 3)]
        for other in racing:
            other.waiting()
        for other in racing:
            other.go_on()
        results = [other.ended() for other in racing]

        (winner,) = (2 + i for i, result in enumerate(results) if "moved" in result)
        (loser,) = (result for result in results if "error" in result)
        assert loser["error"] == "Overtaken"
        assert (
            f"other was first and moved production of `{name}` to version {winner}"
            in (loser["text"])
        )
        assert store.holder(name) == winner
        before, earlier = (None, []) if name == names[0] else (1, [("moved", None, 1)])
        assert store.told(name) == [
            *earlier,
            ("moved", before, winner),
            ("overtaken", before, 5 - winner),
        ]


def test_a_process_that_dies_before_the_alias_moved_stands_in_the_way_for_a_minute_only(
    any_store: Registry, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = any_store
    for _ in range(3):
        store.register(target)
    store.promote(target, 1)

    assert store.other(target, 2, "dies before it moves").ended() == {}

    assert store.holder(target) == 1
    assert store.told(target) == [("moved", None, 1), ("under way", 1, 2)]
    with pytest.raises(Overtaken, match=r"other is moving production of .* to version 2") as error:
        store.promote(target, 3)
    assert "60 s" in error.value.fix
    assert store.holder(target) == 1

    monkeypatch.setattr(moves, "UNDER_WAY_FOR", timedelta(0))
    assert store.told(target)[-1] == ("never finished", 1, 2)
    done = store.promote(target, 3)
    assert done.notes == ("entry 2, by other, ended before it had moved the alias.",)
    assert store.told(target) == [
        ("moved", None, 1),
        ("never finished", 1, 2),
        ("moved", 1, 3),
    ]


def test_a_process_that_dies_after_the_alias_moved_is_completed_by_the_next(
    any_store: Registry, target: str
) -> None:
    store = any_store
    for _ in range(3):
        store.register(target)
    store.promote(target, 1)

    assert store.other(target, 2, "dies after it moved").ended() == {}

    assert store.holder(target) == 2
    assert store.told(target) == [("moved", None, 1), ("moved", 1, 2)]
    assert store.book(target).histories[PRODUCTION].last.outcome is None
    done = store.promote(target, 3)
    assert done.notes == ("entry 2, by other, had moved the alias and ended; it is noted now.",)
    outcomes = [m.logged.outcome for m in store.book(target).histories[PRODUCTION].moves]
    assert outcomes == [State.MOVED] * 3


def test_a_process_taken_for_dead_that_wakes_up_moves_nothing_for_good(
    any_store: Registry, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = any_store
    for _ in range(3):
        store.register(target)
    store.promote(target, 1)
    other = store.other(target, 2, "waits before it moves").waiting()
    monkeypatch.setattr(moves, "UNDER_WAY_FOR", timedelta(0))

    store.promote(target, 3)
    result = other.go_on().ended()

    assert result["error"] == "Overtaken"
    assert "took this process for dead" in result["text"]
    assert store.holder(target) == 3
    assert store.told(target) == [
        ("moved", None, 1),
        ("never finished", 1, 2),
        ("moved", 1, 3),
    ]


def test_a_process_that_is_slow_to_say_it_is_done_is_not_overtaken(
    any_store: Registry, target: str
) -> None:
    store = any_store
    for _ in range(3):
        store.register(target)
    other = store.other(target, 2, "waits after it moved").waiting()

    store.promote(target, 3)
    result = other.go_on().ended()

    assert result["moved"] == 1
    assert store.holder(target) == 3
    assert store.told(target) == [("moved", None, 2), ("moved", 2, 3)]


def test_a_move_outside_is_shown_and_kept(any_store: Registry, target: str) -> None:
    store = any_store
    for _ in range(3):
        store.register(target)
    store.promote(target, 1)

    store.client.set_registered_model_alias(target, PRODUCTION, "2")
    assert store.told(target) == [("moved", None, 1), ("moved outside ff", 1, 2)]
    done = store.promote(target, 3)

    assert len(done.notes) == 1
    assert "production had been moved from 1 to 2 outside ff" in done.notes[0]
    expected = [("moved", None, 1), ("moved outside ff", 1, 2), ("moved", 2, 3)]
    assert store.told(target) == expected
    store.client.delete_registered_model_alias(target, PRODUCTION)
    assert store.told(target) == [*expected, ("moved outside ff", 3, None)]
    assert rollback(store.runs, target, why="it was deleted by mistake").logged.entry.after == 3
    assert store.holder(target) == 3


def test_a_move_outside_at_the_same_moment_is_not_undone(store: Registry, target: str) -> None:
    for _ in range(3):
        store.register(target)
    store.promote(target, 1)

    around("add", before=lambda: store.client.set_registered_model_alias(target, PRODUCTION, "2"))
    with pytest.raises(Overtaken, match="was moved outside ff at this moment"):
        store.promote(target, 3)

    assert store.holder(target) == 2
    assert store.told(target) == [
        ("moved", None, 1),
        ("overtaken", 1, 3),
        ("moved outside ff", 1, 2),
    ]


def test_a_server_that_ends_in_the_middle_leaves_nothing_half_told(
    served: Server, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = served.registry
    for _ in range(3):
        store.register(target)
    store.promote(target, 1)

    around("move", before=served.kill)
    with pytest.raises(MlflowUnavailable) as error:
        store.promote(target, 2)
    assert error.value.what == (
        f"it is not known whether production of `{target}` was moved to version 2."
    )
    with pytest.raises(MlflowUnavailable, match="was not moved: MLflow cannot be read"):
        store.promote(target, 2)
    served.start()
    assert store.told(target) == [("moved", None, 1), ("under way", 1, 2)]

    monkeypatch.setattr(moves, "UNDER_WAY_FOR", timedelta(0))
    around("end", before=served.kill)
    with pytest.raises(MlflowUnavailable) as error:
        store.promote(target, 3)
    assert error.value.what == (
        f"production of `{target}` was moved to version 3; its ledger does not yet say so."
    )
    served.start()
    expected = [("moved", None, 1), ("never finished", 1, 2), ("moved", 1, 3)]
    assert store.told(target) == expected
    store.promote(target, 2)
    assert store.told(target) == [*expected, ("moved", 3, 2)]


# The log itself


def test_an_entry_that_was_edited_or_deleted_is_missed(store: Registry, target: str) -> None:
    for version in (1, 2, 3):
        store.register(target)
        store.promote(target, version)
    name = f"{target}.moves"
    text = store.client.get_model_version(name, "2").tags["ff.move"]

    store.client.set_model_version_tag(name, "2", "ff.move", text.replace("try 2", "wise"))
    store.client.delete_model_version(name, "1")

    assert store.book(target).damaged == (1, 2)
    assert store.told(target) == [("moved outside ff", None, 2), ("moved", 2, 3)]
    store.register(target)
    assert store.promote(target, 4).logged.number == 4


def test_two_aliases_do_not_stand_in_each_others_way(store: Registry, target: str) -> None:
    for _ in range(2):
        store.register(target)
    other = store.other(target, 1, "waits before its entry").waiting()
    promote(store.runs, target, "staging", version=2, why="at the same time")
    assert "moved" in other.go_on().ended()
    assert (store.holder(target), store.holder(target, "staging")) == (1, 2)
