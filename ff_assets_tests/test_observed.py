"""What fits are really given: counted before anything is fitted, and refused if it is not right."""

import random
import shutil
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler

from ff_assets import Entity, HashSplit, Source, Stage, Target, TimeSplit, stage
from ff_assets.core.buckets import bitmap, parts, ranges
from ff_assets.core.cells import TRAIN
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.split import Split, bucket
from ff_assets.engine.versions import code_version, code_versions
from ff_assets_tests.running import Home

pytestmark = pytest.mark.xdist_group("cross_fit")

visit = Entity("visit", key="visit_id", time="seen_on")
vector = stage(VectorAssembler, inputCols=["minutes"], outputCol="vector")
likely = stage(
    LogisticRegression,
    featuresCol="vector",
    labelCol="bought",
    predictionCol="likely",
    maxIter=1,
)
CUTOFF = date(2024, 3, 1)
MODEL, TABLE, EVALUATION = "models/likely_model", "sources/visits", "evaluations/likely_evaluation"

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Visits of the two months before and the month after the cutoff; some have no label."""
    draw = random.Random(7)
    return [
        {
            "visit_id": number,
            "seen_on": CUTOFF + timedelta(days=draw.randrange(-60, 30)),
            "minutes": draw.random(),
            "bought": draw.choice([0.0, 1.0, 1.0, None]),
        }
        for number in range(900)
    ]


def project(folder: Path, rows: Iterable[Row], split: Split, fitted: Stage = likely) -> Project:
    path = folder / "visits.parquet"
    types = {
        "visit_id": pa.int64(),
        "seen_on": pa.date32(),
        "minutes": pa.float64(),
        "bought": pa.float64(),
    }
    pq.write_table(pa.Table.from_pylist(list(rows), schema=pa.schema(types)), path)
    source = Source(
        "visits",
        entity=visit,
        load=lambda spark: spark.read.parquet(str(path)),
        features={"minutes": "double", "bought": "double"},
        labels=["bought"],
        version="1",
    )
    target = Target("likely", outputs=["likely"], label="bought", task="binary", split=split)
    return Project((source,), (vector, fitted), (target,))


def address(given: Project, name: str) -> str:
    """The fingerprint of an instance."""
    flow = infer(given)
    prints = Fingerprints({"visits": "1"}, **code_versions())
    prints.add(flow.instances)
    return next(prints[i] for i in flow.instances if i.name == name)


def test_what_each_fit_was_given_is_counted_recorded_and_certified(
    home: Home, tmp_path: Path, rows: list[Row]
) -> None:
    given = project(tmp_path, rows, HashSplit(), likely.cross_fit(3))
    ran = home.run(given, only=[TABLE, MODEL, "features/likely", EVALUATION])
    assert ran.success

    train = HashSplit().bits(TRAIN)
    regions = {f"fold_{n}": train & ~fold for n, fold in enumerate(parts(train, 3))} | {"": train}
    labelled = [bucket(r["visit_id"], "ff_assets") for r in rows if r["bought"] is not None]
    expected = {}
    for name, region in regions.items():
        read = [b for b in labelled if region >> b & 1]
        expected[name] = {"rows": len(read), "buckets": [list(r) for r in ranges(bitmap(read))]}
    record = home.store.model(address(given, "likely"))
    assert record is not None
    assert record.details["observed"] == expected

    certificate = ran.assets[EVALUATION][""]["certificate"]
    fits = next(line["fits"] for line in certificate["chain"] if line["name"] == "likely")
    assert {fit["name"]: fit["observed"] for fit in fits} == {
        name or "all": observed for name, observed in expected.items()
    }
    assert any(
        check.startswith("The rows that each fit was given") for check in certificate["checks"]
    )


def test_rows_of_test_among_the_files_of_train_reach_no_fit(
    home: Home, tmp_path: Path, rows: list[Row]
) -> None:
    given = project(tmp_path, rows, HashSplit())
    assert home.run(given, only=[TABLE]).success
    table = home.store.table_path(address(given, "visits"))
    for file in (table / "cell=test").glob("*.parquet"):
        shutil.copy(file, table / "cell=train" / f"moved-{file.name}")
    ran = home.run(given, only=[MODEL])

    (error,) = ran.errors
    labelled = [bucket(r["visit_id"], "ff_assets") for r in rows if r["bought"] is not None]
    count = sum(b >= 800 for b in labelled)
    assert error["code"] == "UNDECLARED_ROWS"
    assert f"`likely` would be fitted on {count} rows" in error["what"]
    assert "declared are the buckets 0-799" in error["why"]
    assert "likely = stage(" in source_line(error)
    assert home.store.model(address(given, "likely")) is None


def source_line(error: dict[str, Any]) -> str:
    place = error["where"][0]
    return Path(place["file"]).read_text().splitlines()[place["line"] - 1]


def test_blocks_of_days_without_rows_are_named_before_anything_is_fitted(
    home: Home, tmp_path: Path, rows: list[Row]
) -> None:
    endless = project(tmp_path, rows, TimeSplit(CUTOFF), likely.cross_fit(3, ordered=True))
    ran = home.run(endless, only=[TABLE, MODEL])

    (error,) = ran.errors
    first = min(r["seen_on"] for r in rows if r["bought"] is not None)
    assert "`likely` cannot be fitted for block_1: there are no rows" in error["what"]
    assert f'TimeSplit(..., start="{first}")' in error["fix"]
    assert home.store.model(address(endless, "likely")) is None

    begun = project(
        tmp_path, rows, TimeSplit(CUTOFF, start=first), likely.cross_fit(3, ordered=True)
    )
    assert home.run(begun, only=[TABLE, MODEL]).success


def test_a_slice_without_labels_is_not_fitted(home: Home, tmp_path: Path, rows: list[Row]) -> None:
    last = parts(HashSplit().bits(TRAIN), 3)[2]
    unlabelled = [
        row | ({"bought": None} if last >> bucket(row["visit_id"], "ff_assets") & 1 else {})
        for row in rows
    ]
    given = project(tmp_path, unlabelled, HashSplit(), likely.slices(3, of=3))
    ran = home.run(given, only=[TABLE, MODEL])

    (error,) = ran.errors
    assert "there are no rows with the label `bought`" in error["what"]
    assert "fewer slices" in error["fix"]
    assert home.store.model(address(given, "likely")) is None


def test_the_code_of_the_engine_is_part_of_its_version_and_comments_are_not(tmp_path: Path) -> None:
    module = tmp_path / "frames.py"

    def version(text: str) -> str:
        module.write_text(text)
        return code_version(["frames"], tmp_path)

    code = "def f(a, b):\n    {}\n    return a + b\n"
    plain = version('"""Frames."""\n' + code.format('"""Add."""'))
    noted = version('"""Other words."""\n\n# note\n' + code.format('"""The sum\n    of both."""'))
    assert noted == plain
    assert version('"""Frames."""\n' + code.format('"""Add."""').replace("a + b", "a - b")) != plain
    assert (
        version('"""Frames."""\n' + code.format('"""Add."""').replace("a, b", "a, *, b")) != plain
    )
