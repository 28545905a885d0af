"""A run that is killed while it writes leaves nothing that a later run takes for whole."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ff_assets.core.steps import CELLS
from ff_assets_tests.projects import PROJECTS, make_rows, write_rows
from ff_assets_tests.running import Home, WholeRun

pytestmark = pytest.mark.xdist_group("kill")


def model_is_saved(staging: Path) -> bool:
    return any(staging.glob("run-*/*/data/spark/metadata"))


def predictions_are_written(staging: Path) -> bool:
    models = staging.with_name("models")
    return any(models.glob("*/_record.json")) and any(staging.glob("run-*/*/data/_temporary"))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "model": model_is_saved,
    "predictions": predictions_are_written,
}


def kill_at(moment: Callable[[Path], bool], folder: Path) -> None:
    """Run the project in a process of its own, and kill that process at a moment of its writing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ff_assets_tests.running", str(folder), "small"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    try:
        staging = folder / "store" / "staging"
        while not moment(staging):
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.001)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        assert any(staging.glob("run-*/*")), "it was killed before it wrote or after"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Spark, too, and whatever happened here


def finished(store: Path) -> dict[str, int]:
    """Every result that a reader takes for whole, with the number of its files."""
    records = [*store.glob("tables/*/cell=*/_record.json"), *store.glob("models/*/_record.json")]
    return {
        str(record.parent.relative_to(store)): sum(1 for _ in record.parent.rglob("*"))
        for record in records
    }


def test_killed_while_it_writes_it_ends_right_the_next_time(
    spark: SparkSession, tmp_path: Path
) -> None:
    file = write_rows(tmp_path / "reviews.parquet", make_rows(150))
    store = tmp_path / "store"
    whole: dict[str, int] = {}
    for name, moment in MOMENTS.items():
        kill_at(moment, tmp_path)
        now = finished(store)
        assert whole.items() <= now.items(), name  # what was whole has stayed as it was
        whole = now
        # A directory of results without a record would be half a result.
        results = {*store.glob("tables/*/cell=*"), *store.glob("models/*")}
        assert {str(result.relative_to(store)) for result in results} == set(whole)
    assert {path.split("/")[0] for path in whole} == {"tables", "models"}

    home = Home.at(tmp_path)
    with home.instance:
        ran = home.run(PROJECTS["small"](file))
        assert ran.success
        assert ran.computed == {
            "features/sentiment",
            "evaluations/sentiment_evaluation",
            "registry/sentiment_registered",
            "leaderboards/sentiment_leaderboard",
        }
        assert list((store / "staging").iterdir()) == []
        assert whole.items() <= finished(store).items()
        fresh = replace(home, store_root=tmp_path / "fresh" / "store")
        again = fresh.run(PROJECTS["small"](file), only=["evaluations/sentiment_evaluation"])
    evaluation = "evaluations/sentiment_evaluation"
    measured = [
        {name: value for name, value in r.assets[evaluation][""].items() if "_t" in name}
        for r in (ran, again)
    ]
    assert measured[0] == measured[1]
    result = WholeRun(home, PROJECTS["small"](file), file, ran)
    predictions = store / "tables" / result.fingerprints[result.flow.variants[0].prediction]
    rows = {cell: pq.read_table(predictions / f"cell={cell}").num_rows for cell in CELLS}
    assert sum(rows.values()) == 150
    recorded = json.loads((predictions / "cell=test" / "_record.json").read_text())
    assert recorded["rows"] == rows["test"]
