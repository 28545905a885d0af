"""Slices of test: which rows are in which, and what is said of each."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ff_assets import Entity, HashSplit, Source, Target
from ff_assets.assets.results import slices_table
from ff_assets.core.cells import BUCKET
from ff_assets.core.errors import DataError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import infer
from ff_assets.core.influence import accounts_of
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS
from ff_assets.engine.evaluation import evaluate_variant
from ff_assets.engine.scored import Scored
from ff_assets.engine.store import Store
from ff_assets.stats.metrics import evaluate

shop = Entity("shop", key="shop_id")
sale = Entity("sale", key="sale_id", parent=shop, foreign_key="shop_id")
ROWS, SHOPS = 400, 100
KEYS = np.arange(ROWS)
RANDOM = np.random.default_rng(1)
TRUTH = RANDOM.normal(size=ROWS)
SCORES = TRUTH + RANDOM.normal(size=ROWS)


def evaluated(folder: Path, sliced: pa.Array, about: Entity = sale) -> dict[str, Any]:
    """The evaluation on test of a regression, sliced by a feature of sales or of shops."""
    given = {"load": len, "version": "1"}
    sales = Source(
        "sales", entity=sale, features={"x": "double", "y": "double"}, labels=["y"], **given
    )
    told = Source("told", entity=about, features={"kind": "string"}, **given)
    target = Target("t", outputs=["x"], label="y", task="regression", slices=["kind"])
    flow = infer(Project((sales, told), (), (target,)))
    (variant,) = flow.variants
    prints = Fingerprints(
        {"sales": "1", "told": "1"}, engine="1", reading="1", metrics="1", comparing="1"
    )
    prints.add(variant.instances)
    store = Store(folder)
    belongs = {"sale_id": KEYS, "shop_id": KEYS % SHOPS}
    order = np.random.default_rng(2).permutation(len(sliced))  # stored in another order
    keys = belongs if about == sale else {"shop_id": np.arange(SHOPS)}
    other = {name: column[order] for name, column in keys.items()}
    tables = {
        "sales": pa.table({**belongs, "x": SCORES, "y": TRUTH}),
        "told": pa.table({**other, "kind": sliced.take(pa.array(order))}),
    }
    for instance in variant.instances:
        for cell in CELLS:
            table = tables[instance.name]
            inside = table if cell == "test" else table.slice(0, 5)
            path = store.table_path(prints[instance]) / f"cell={cell}"
            path.mkdir(parents=True)
            if cell == "train":  # keys of its own
                inside = inside.set_column(
                    0, inside.column_names[0], pa.array(np.arange(5) + 10_000)
                )
            bucket = pa.array([HashSplit().cells[cell].start] * len(inside), pa.int32())
            pq.write_table(inside.append_column(BUCKET, bucket), path / "part.parquet")
    scored = Scored(variant, prints, store)
    found: dict[str, Any] = evaluate_variant(scored, accounts_of(flow))["test"]
    return found


def expected(rows: np.ndarray) -> dict[str, Any]:
    metric = evaluate(
        "regression", TRUTH[rows], SCORES[rows], groups=KEYS[rows] % SHOPS, interval=["rmse"]
    )["rmse"]
    return {"value": metric.value, "low": metric.low, "high": metric.high, "method": metric.method}


def test_a_slice_has_the_metric_of_its_rows(tmp_path: Path) -> None:
    kinds = np.array(["b", "a", "b", "c"])[KEYS % 4].astype(object)
    kinds[:6], kinds[6:9] = None, "rare|one"
    test = evaluated(tmp_path, pa.array(kinds))

    found = {each["value"]: each for each in test["slices"]}
    assert list(found) == ["b", "a", "c", "rare|one", "(none)"]  # the largest first
    assert sum(each["rows"] for each in found.values()) == ROWS
    for name in "abc":
        rows = kinds == name
        assert found[name]["estimate"] == expected(rows)
        assert found[name]["groups"] == len(set(KEYS[rows] % SHOPS))
    assert found["rare|one"]["estimate"] is None
    assert found["rare|one"]["why"] == "fewer than 10 rows"
    table = slices_table(test["slices"])
    assert "| `kind` | rare\\|one | 3 | 3 | none | fewer than 10 rows |" in table


def test_a_row_is_in_the_slice_of_what_it_belongs_to(tmp_path: Path) -> None:
    regions = np.array(["north", "south"])[np.arange(SHOPS) % 2]
    test = evaluated(tmp_path, pa.array(regions), about=shop)
    north, south = test["slices"]
    assert (north["value"], north["groups"]) == ("north", SHOPS // 2)
    assert north["estimate"] == expected(KEYS % SHOPS % 2 == 0)
    assert south["estimate"] == expected(KEYS % SHOPS % 2 == 1)


def names(folder: Path, values: Any) -> list[tuple[str, int]]:
    return [(each["value"], each["rows"]) for each in evaluated(folder, pa.array(values))["slices"]]


def test_many_numbers_are_cut_into_quartiles(tmp_path: Path) -> None:
    assert names(tmp_path, KEYS + 0.5) == [
        ("up to 99.5", 100),
        ("above 99.5, up to 199.5", 100),
        ("above 199.5, up to 299.5", 100),
        ("above 299.5", 100),
    ]


def test_a_quarter_that_is_one_value_is_not_parted(tmp_path: Path) -> None:
    amounts = np.where(KEYS < 250, 0.0, KEYS)
    amounts[-1] = np.nan
    assert names(tmp_path, amounts) == [
        ("up to 0", 250),
        ("above 0, up to 298", 49),
        *[("above 298", 100), ("(none)", 1)],
    ]


def test_few_numbers_and_truth_values_stand_for_themselves(tmp_path: Path) -> None:
    assert names(tmp_path / "int", KEYS % 3) == [("0", 134), ("1", 133), ("2", 133)]
    assert names(tmp_path / "bool", KEYS < 100) == [("False", 300), ("True", 100)]


def test_of_many_texts_the_largest_are_shown_and_the_rest(tmp_path: Path) -> None:
    texts = [f"t{key // 10 if key < 250 else 99}" for key in KEYS]
    found = names(tmp_path, texts)
    assert len(found) == 21
    assert found[0] == ("t99", 150)
    assert found[-1] == ("(the rest)", 60)


def test_vectors_slice_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        evaluated(tmp_path, pa.array([[1.0, 2.0]] * ROWS))
    assert "cannot be sliced by `kind`, which is list<element: double>." in caught.value.what


def test_numbers_are_right_on_average_or_the_bias_says_how_far_off(tmp_path: Path) -> None:
    bias = evaluated(tmp_path, pa.array(KEYS % 2))["calibration"]["bias"]
    assert bias["value"] == pytest.approx((SCORES - TRUTH).mean())
    assert bias["low"] < bias["value"] < bias["high"]
