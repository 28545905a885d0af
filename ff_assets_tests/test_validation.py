"""A validation part for real: no fit reads its rows, and the metric on it is there."""

import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import TargetEncoder, VectorAssembler

from ff_assets import Entity, HashSplit, Source, Stage, Target, stage
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.steps import Kind, steps_of
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("cross_fit")

SPLIT = HashSplit(
    cells={"train": range(700), "validation": range(700, 800), "test": range(800, 1000)}
)
customer = Entity("customer", key="customer_id")
encoder = stage(
    TargetEncoder,
    inputCol="shop",
    outputCol="shop_value",
    labelCol="bought",
    targetType="binary",
    smoothing=0.0,
    handleInvalid="keep",
)
signals = stage(VectorAssembler, inputCols=["shop_value"], outputCol="signals")
weak, strong = (
    stage(
        LogisticRegression,
        featuresCol="signals",
        labelCol="bought",
        predictionCol="will_buy",
        regParam=strength,
    ).named(name)
    for name, strength in (("weak", 0.001), ("strong", 0.5))
)

Row = dict[str, Any]


def make_rows() -> list[Row]:
    draw = random.Random(3)
    rows = []
    for number in range(2000):
        shop = draw.randrange(10)
        bought = None if number % 50 == 0 else float(draw.random() < 0.1 + 0.08 * shop)
        rows.append({"customer_id": number, "shop": float(shop), "bought": bought})
    return rows


ROWS = make_rows()


def in_cells(*cells: str) -> list[Row]:
    """The rows with a label in some cells."""
    return [
        row for row in ROWS if row["bought"] is not None and SPLIT.cell(row["customer_id"]) in cells
    ]


def shares(rows: Iterable[Row]) -> dict[float, float]:
    """Shop -> share of its customers who bought."""
    by_shop: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        by_shop[row["shop"]].append(row["bought"])
    return {shop: sum(each) / len(each) for shop, each in by_shop.items()}


def project(folder: Path, *stages: Stage, rows: Iterable[Row] = ROWS, **given: Any) -> Project:
    path = folder / "customers.parquet"
    types = {"customer_id": pa.int64(), "shop": pa.float64(), "bought": pa.float64()}
    pq.write_table(pa.Table.from_pylist([*rows], schema=pa.schema(types)), path)
    customers = Source(
        "customers",
        entity=customer,
        load=lambda spark: spark.read.parquet(str(path)),
        features={"shop": "double", "bought": "double"},
        labels=["bought"],
        version="1",
    )
    wanted = Target("will_buy", outputs=["will_buy"], label="bought", task="binary", **given)
    return Project((customers,), (*stages, signals), (wanted,), split=SPLIT)


def values(ran: Ran) -> dict[int, float]:
    """Key -> the stored value of the encoded shop."""
    cells = ran.assets["features/shop_value"].values()
    rows = [r for cell in cells for r in pq.read_table(cell["path"], partitioning=None).to_pylist()]
    return {row["customer_id"]: row["shop_value"] for row in rows}


def run(home: Home, given: Project) -> Ran:
    """All but registrations."""
    steps = [step for step in steps_of(infer(given)) if step.kind is not Kind.REGISTRATION]
    ran = home.run(given, only={"/".join(step.path) for step in steps})
    assert ran.success, ran.errors
    return ran


def evaluation(ran: Ran, name: str) -> dict[str, Any]:
    found: dict[str, Any] = ran.assets[f"evaluations/{name}_evaluation"][""]
    return found


def test_variants_are_chosen_on_rows_that_no_fit_has_read(home: Home, tmp_path: Path) -> None:
    ran = run(home, project(tmp_path, encoder, weak, strong, select_on="validation"))
    shown = [evaluation(ran, f"will_buy__{name}") for name in ("strong", "weak")]
    for each in shown:
        assert {cell: each[f"rows_{cell}"] for cell in SPLIT.cells} == {
            cell: len(in_cells(cell)) for cell in SPLIT.cells
        }
        unlabelled = sum(each[f"unlabelled_{cell}"] for cell in SPLIT.cells)
        assert unlabelled == len(ROWS) - len(in_cells(*SPLIT.cells))
        assert each["auc_validation_low"] < each["auc_validation"] < each["auc_validation_high"]
        assert "auc_train_low" not in each
        assert "95% interval on validation" in each["metrics"]
        assert each["certificate"]["selected_on"] == "validation"
        assert each["honest"].startswith(f"Honest: none of the {len(in_cells('test'))} evaluated")
    assert sorted(each["test_reads"] for each in shown) == [1, 2]
    expected = shares(in_cells("train"))
    found = values(ran)
    assert len(found) == len(ROWS)
    for row in ROWS:
        assert found[row["customer_id"]] == pytest.approx(expected[row["shop"]], abs=1e-9)

    both = run(home, project(tmp_path, encoder, weak, certify=("validation", "test")))
    assert both.computed == {
        "evaluations/will_buy_evaluation",
        "leaderboards/will_buy_leaderboard",
    }
    told = evaluation(both, "will_buy")
    assert told["certificate"]["evaluated"]["buckets"] == [[700, 799]]
    assert told["certificate_test"]["evaluated"]["buckets"] == [[800, 999]]
    assert told["certificate"]["reads"] is None
    assert told["certificate_test"]["reads"]["reads"] == told["test_reads"] == 3


def test_what_is_fitted_on_validation_reads_it_and_has_no_metric_there(
    home: Home, tmp_path: Path
) -> None:
    refit = weak.fit_on("train", "validation")
    ran = run(home, project(tmp_path, encoder.fit_on("validation"), refit))
    shown = evaluation(ran, "will_buy")
    assert "rows_validation" not in shown
    assert shown["rows_test"] == len(in_cells("test"))
    expected = shares(in_cells("validation"))
    for key, value in values(ran).items():
        assert value == pytest.approx(expected[ROWS[key]["shop"]], abs=1e-9)


# A validation part that measures nothing


def all_alike(label: float | None) -> list[Row]:
    """The rows, with one label in all of validation."""
    return [
        row | {"bought": label} if SPLIT.cell(row["customer_id"]) == "validation" else row
        for row in ROWS
    ]


@pytest.mark.parametrize(
    ("label", "asked"),
    [(1.0, {"certify": ["validation", "test"]}), (None, {"select_on": "validation"})],
)
def test_it_is_noticed_before_anything_is_fitted(
    home: Home, tmp_path: Path, label: float | None, asked: dict[str, Any]
) -> None:
    ran = home.run(project(tmp_path, encoder, weak, strong, rows=all_alike(label), **asked))
    assert {error["error"] for error in ran.errors} == {"NoMetric"}
    assert "has no metric on validation" in ran.errors[0]["what"]
    assert not [name for name in ran.computed if not name.startswith("sources/")]


def test_it_is_left_out_where_nobody_asks_for_it(home: Home, tmp_path: Path) -> None:
    shown = evaluation(run(home, project(tmp_path, encoder, weak, rows=all_alike(1.0))), "will_buy")
    assert "rows_validation" not in shown
    assert shown["rows_test"] == len(in_cells("test"))


def test_what_is_kept_beside_the_prediction_may_have_read_it(home: Home, tmp_path: Path) -> None:
    beside = stage(
        TargetEncoder,
        inputCol="shop",
        outputCol="beside",
        labelCol="bought",
        targetType="binary",
        handleInvalid="keep",
    ).fit_on("train", "validation")
    ran = run(home, project(tmp_path, encoder, weak, beside, keep=["beside"]))
    assert evaluation(ran, "will_buy")["rows_validation"] == len(in_cells("validation"))
