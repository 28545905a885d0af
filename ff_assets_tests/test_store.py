"""What looks finished is whole, whoever writes at the same time and whoever dies."""

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from ff_assets.engine.journal import append
from ff_assets.engine.published import latest, published
from ff_assets.engine.store import REFERENCES, STATED, Record, Staging, Store, StoreError


def write(staging: Staging, content: str) -> Path:
    directory = staging.directory()
    (directory / "spark").mkdir(parents=True)
    (directory / "spark" / "part").write_text(content)
    return directory


def test_a_result_is_there_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.staging() as staging:
        directory = write(staging, "weights")
        assert store.model("f00d") is None
        added = staging.add_model(directory, Record("f00d", 1.5, details={"class": "m.C"}))
        assert store.model("f00d") == added
    assert (store.model_path("f00d") / "spark" / "part").read_text() == "weights"
    assert list((tmp_path / "staging").iterdir()) == []


def test_cells_of_a_table_are_added_each_for_itself(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.staging() as staging:
        for cell in ("train", "test"):
            directory = staging.directory()
            (directory / f"cell={cell}").mkdir(parents=True)
            staging.add_table(directory, {cell: Record("beef", 0.1, rows=3)})
            assert (store.table("beef", "test") is not None) is (cell == "test")
    assert store.table("beef", "train") == Record(
        **json.loads((store.table_path("beef") / "cell=train" / "_record.json").read_text())
    )


def test_of_two_that_make_the_same_the_first_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.staging() as one, store.staging() as two:
        first, second = write(one, "first"), write(two, "second")
        whole = one.add_model(first, Record("f00d", 1.0))
        assert two.add_model(second, Record("f00d", 2.0)) == whole
    assert (store.model_path("f00d") / "spark" / "part").read_text() == "first"


def test_a_note_replaces_an_older_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for version in (1, 2):
        store.add_note("registry", Record("f00d", 0.0, details={"version": version}))
    found = store.note("registry", "f00d")
    assert found is not None
    assert found.details == {"version": 2}
    assert store.note("evaluations", "f00d") is None


def hold_staging(root: Path, ready: "multiprocessing.Queue[str]") -> None:
    with Store(root).staging() as staging:
        write(staging, "half")
        ready.put(str(staging.path))
        multiprocessing.Event().wait(60)


def test_staging_of_the_dead_is_swept_and_that_of_the_living_is_not(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready: multiprocessing.Queue[str] = context.Queue()
    both = [context.Process(target=hold_staging, args=(tmp_path, ready)) for _ in range(2)]
    paths = []
    for process in both:
        process.start()
        paths.append(Path(ready.get(timeout=60)))
    try:
        both[0].kill()
        both[0].join(60)
        with Store(tmp_path).staging():
            assert not paths[0].exists()
            assert list(paths[1].rglob("part"))
    finally:
        both[1].kill()
        both[1].join(60)
    with Store(tmp_path).staging() as staging:
        assert {p.stem for p in (tmp_path / "staging").iterdir()} == {staging.path.name}


def test_what_was_written_after_the_sweep_is_swept_too(tmp_path: Path) -> None:
    """As by the executors of a driver that was killed."""
    late = tmp_path / "staging" / "run-dead" / "data"
    late.mkdir(parents=True)
    with Store(tmp_path).staging():
        assert not late.parent.exists()


def test_a_note_that_nobody_finished_does_not_exist(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_note("evaluations", Record("f00d", 0.0))
    (tmp_path / "records" / "evaluations" / ".tmp1234").write_text('{"finger')
    assert store.note("evaluations", "f00d") is not None


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file is in the way")
    store = Store(tmp_path)
    with store.staging() as staging, pytest.raises(StoreError) as caught:
        staging.add_model(write(staging, "weights"), Record("f00d", 1.0))
    assert str(tmp_path) in caught.value.what
    assert "FF_HOME" in caught.value.fix


def test_what_was_published_last_counts_also_if_a_clock_was_put_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.staging() as staging:
        for version in (1, 2):
            folder = store.predictions_path("sentiment", "production", version) / "data=1" / "day=1"
            (written := staging.directory()).mkdir()
            details = {"alias": "production", "version": version}
            staging.add_predictions(written, folder, Record("f", 0.0, details=details))
            line = {"at": f"2026-07-01T0{9 - version}:00:00+00:00"}
            line["folder"] = str(folder.relative_to(store.kept))
            append(store.journal(store.published("sentiment", "production")), line)
    made = published(store, "sentiment", "production")
    counts = latest(made, None)
    assert counts is not None
    assert counts.models[""]["version"] == 2
    assert latest(made, counts.time) == counts


def test_what_cannot_be_computed_again_outlives_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", tmp_path / "kept")
    for kind in (STATED, REFERENCES, "evaluations"):
        store.add_note(kind, Record("f00d", 0.0))
    append(store.journal("reads/one"), {"variant": "a"})
    path = store.predictions_path("sentiment", "production", 3) / "data=1" / "day=2026-07-01"
    with store.staging() as staging:
        written = staging.directory()
        written.mkdir()
        staging.add_predictions(written, path, Record("beef", 0.0, rows=1))

    shutil.rmtree(store.root)
    assert store.note("evaluations", "f00d") is None
    assert all(store.note(kind, "f00d") for kind in (STATED, REFERENCES))
    assert store.predictions(path) is not None
    assert append(store.journal("reads/one"), {"variant": "b"})[0] == '{"variant": "a"}'
