"""Cross-fitting for real: whose model makes whose features, and what that does to the metric."""

import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import TargetEncoder, VectorAssembler

from ff_assets import Entity, Source, Stage, Target, stage
from ff_assets.core.buckets import parts
from ff_assets.core.errors import LeakError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import infer
from ff_assets.core.instance import Instance
from ff_assets.core.project import Project
from ff_assets.core.split import TRAIN, HashSplit, bucket
from ff_assets.core.steps import Kind, steps_of
from ff_assets.engine.versions import code_versions
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("cross_fit")

customer = Entity("customer", key="customer_id")
SALT = HashSplit().salt
FOLDS = parts(HashSplit().bits(TRAIN), 5)

Row = dict[str, Any]


def write(path: Path, rows: list[Row]) -> Path:
    types = {"customer_id": pa.int64(), "shop": pa.float64(), "bought": pa.float64()}
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)), path)
    return path


def customers(path: Path) -> Source:
    return Source(
        "customers",
        entity=customer,
        load=lambda spark: spark.read.parquet(str(path)),
        features={"shop": "double", "bought": "double"},
        labels=["bought"],
        version=str(path),
    )


# A shop is worth the share of its customers who bought: high cardinality, and it reads the label.
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
classifier = stage(
    LogisticRegression, featuresCol="signals", labelCol="bought", predictionCol="will_buy"
)


def project(path: Path, encoded: Stage, **target: Any) -> Project:
    wanted = Target("will_buy", outputs=["will_buy"], label="bought", task="binary", **target)
    return Project((customers(path),), (encoded, signals, classifier), (wanted,))


def some_rows(count: int, shops: int, rate: Callable[[int], float]) -> list[Row]:
    draw = random.Random(3)
    rows = []
    for number in range(count):
        shop = draw.randrange(shops)
        bought = float(draw.random() < rate(shop))
        rows.append({"customer_id": number, "shop": float(shop), "bought": bought})
    return rows


def bucket_of(row: Row) -> int:
    return bucket(row["customer_id"], SALT)


def is_in(row: Row, buckets: int) -> bool:
    return bool(buckets >> bucket_of(row) & 1)


def shares(rows: Iterable[Row]) -> dict[float, float]:
    """Shop -> share of its customers who bought."""
    by_shop: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        by_shop[row["shop"]].append(row["bought"])
    return {shop: sum(each) / len(each) for shop, each in by_shop.items()}


def stored(home: Home, given: Project, name: str) -> dict[int, Row]:
    """Key -> the stored row of an instance."""
    prints, instance = found(given, name)
    return {
        row["customer_id"]: row
        for row in pq.read_table(home.store.table_path(prints[instance])).to_pylist()
    }


def found(given: Project, name: str) -> tuple[Fingerprints, Instance]:
    flow = infer(given)
    versions = {source.name: str(source.version) for source in given.sources}
    prints = Fingerprints(versions, **code_versions())
    prints.add(flow.instances)
    return prints, next(i for i in flow.instances if i.name == name)


def measured(home: Home, given: Project) -> Ran:
    """Run what it takes to measure a project; nothing is registered."""
    measuring = {Kind.SOURCE, Kind.MODEL, Kind.FEATURE, Kind.EVALUATION}
    steps = [step for step in steps_of(infer(given)) if step.kind in measuring]
    return home.run(given, only={"/".join(step.path) for step in steps})


@pytest.fixture(scope="module")
def shop_rows() -> list[Row]:
    return some_rows(3000, 40, lambda shop: 0.1 + 0.02 * shop)


@pytest.fixture(scope="module")
def shop_file(tmp_path_factory: pytest.TempPathFactory, shop_rows: list[Row]) -> Path:
    return write(tmp_path_factory.mktemp("shops") / "customers.parquet", shop_rows)


def test_a_row_of_train_gets_the_value_of_the_fit_that_has_not_read_its_fold(
    home: Home, shop_file: Path, shop_rows: list[Row]
) -> None:
    given = project(shop_file, encoder.cross_fit(5))
    ran = measured(home, given)
    assert ran.success
    values = stored(home, given, "shop_value")
    assert len(values) == len(shop_rows)
    train = HashSplit().bits(TRAIN)
    for fold in [*FOLDS, 0]:  # 0: what is in no fold is in test
        served = [r for r in shop_rows if is_in(r, fold or ~train)]
        expected = shares(r for r in shop_rows if is_in(r, train & ~fold))
        assert served
        for row in served:
            value = values[row["customer_id"]]["shop_value"]
            assert value == pytest.approx(expected[row["shop"]], abs=1e-9)


def test_a_slice_is_all_that_its_fit_reads(
    home: Home, shop_file: Path, shop_rows: list[Row]
) -> None:
    given = project(shop_file, encoder.slices(2, of=3))
    assert measured(home, given).success
    part = parts(HashSplit().bits(TRAIN), 3)[1]
    expected = shares(r for r in shop_rows if is_in(r, part))
    values = stored(home, given, "shop_value")
    for row in shop_rows:
        value = values[row["customer_id"]]["shop_value"]
        assert value == pytest.approx(expected[row["shop"]], abs=1e-9)


def test_the_first_of_ordered_blocks_has_no_value_and_teaches_nobody(
    home: Home, shop_file: Path, shop_rows: list[Row]
) -> None:
    given = project(shop_file, encoder.cross_fit(5, ordered=True))
    ran = measured(home, given)
    assert ran.success
    values = stored(home, given, "shop_value")
    for number, block in enumerate(FOLDS):
        expected = shares(r for r in shop_rows if is_in(r, sum(FOLDS[:number])))
        for row in (r for r in shop_rows if is_in(r, block)):
            if number == 0:
                assert row["customer_id"] not in values
            elif row["shop"] in expected:
                value = values[row["customer_id"]]["shop_value"]
                assert value == pytest.approx(expected[row["shop"]], abs=1e-9)
    evaluated = ran.assets["evaluations/will_buy_evaluation"][""]
    with_values = [r for r in shop_rows if is_in(r, HashSplit().bits(TRAIN) & ~FOLDS[0])]
    assert evaluated["rows_train"] == len(with_values)


def test_a_missing_fold_is_not_served_by_another_model(home: Home, shop_file: Path) -> None:
    given = project(shop_file, encoder.cross_fit(5))
    only = {"models/shop_value_model", "sources/customers"}
    assert home.run(given, only=only).success
    prints, instance = found(given, "shop_value")
    shutil.rmtree(home.store.model_path(prints[instance]) / "fold_2")
    ran = measured(home, given)
    assert not ran.success
    assert "lacks the model of fold_2" in str(ran.errors)
    assert not home.store.table_path(prints[instance]).exists()


# What leaks are worth


@pytest.fixture(scope="module")
def noise_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50,000 customers of 12,000 shops, which mean nothing."""
    rows = some_rows(50_000, 12_000, lambda shop: 0.5)
    return write(tmp_path_factory.mktemp("noise") / "customers.parquet", rows)


def auc(ran: Ran) -> float:
    assert ran.success
    value: float = ran.assets["evaluations/will_buy_evaluation"][""]["auc_test"]
    return value


def test_noise_is_worth_nothing_and_the_wiring_that_would_say_otherwise_is_refused(
    home: Home, noise_file: Path
) -> None:
    with pytest.raises(LeakError) as caught:
        home.run(project(noise_file, encoder.fit_on("train", "test")))
    assert caught.value.code == "FIT_OVERLAP"
    ran = measured(home, project(noise_file, encoder.cross_fit(5)))
    assert ran.assets["evaluations/will_buy_evaluation"][""]["rows_test"] > 9_500
    assert auc(ran) == pytest.approx(0.5, abs=0.02)


def test_a_signal_is_kept(home: Home, tmp_path: Path) -> None:
    draw = random.Random(11)
    rates = [draw.choice([0.15, 0.85]) for _ in range(1_000)]
    file = write(tmp_path / "customers.parquet", some_rows(5_000, 1_000, rates.__getitem__))
    in_sample = auc(measured(home, project(file, encoder)))
    out_of_fold = auc(measured(home, project(file, encoder.cross_fit(5))))
    assert out_of_fold > 0.75
    assert out_of_fold >= in_sample - 0.005
