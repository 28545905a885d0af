"""Nested cross-fitting for real: what every fit is trained on, and what it does to fold metrics."""

import random
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.feature import TargetEncoder
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, Source, Stage, Target, feature, stage
from ff_assets.core.buckets import parts
from ff_assets.core.errors import LeakError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.split import TRAIN, HashSplit, bucket
from ff_assets.engine.versions import code_versions
from ff_assets_tests.running import Home

pytestmark = pytest.mark.xdist_group("nested")

customer = Entity("customer", key="customer_id")
FOLDS = parts(HashSplit().bits(TRAIN), 3)
MODEL = "models/will_buy_model"
REGISTRATION = "registry/will_buy_registered"

Row = dict[str, Any]
Folds = frozenset[int]


def encoder(given: str, made: str, label: str = "bought") -> Stage:
    """Each category is worth the share of its rows of which the label is 1."""
    return stage(
        TargetEncoder,
        inputCol=given,
        outputCol=made,
        labelCol=label,
        targetType="binary",
        smoothing=0.0,
        handleInvalid="keep",
    )


@feature(entity=customer)
def mark(shop: Column, shop_value: Column) -> Column:
    """The shop together with what it is worth, as one category.

    In sample it gives the label away: where a buyer is left out, the shop is worth less.
    """
    return shop * 2000 + F.round(shop_value * 1000)


def project(path: Path, *, nested: bool, **target: Any) -> Project:
    source = Source(
        "customers",
        entity=customer,
        load=lambda spark: spark.read.parquet(str(path)),
        features={"shop": "double", "bought": "double"},
        labels=["bought"],
        version=str(path),
    )
    chain = (encoder("shop", "shop_value"), encoder("mark", "will_buy"))
    first, second = (each.cross_fit(3, nested=nested) for each in chain)
    wanted = Target("will_buy", outputs=["will_buy"], label="bought", task="regression", **target)
    return Project((source,), (first, mark, second), (wanted,))


# The same in plain Python, by the letter of the definition


class Plain:
    """The values of both encoders for a row, where some folds are left out."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = [row for row in rows if row["fold"] is not None]
        self._fits: dict[tuple[str, Folds], tuple[dict[float, float], float]] = {}

    def value(self, row: Row, given: str, left_out: Folds = frozenset()) -> float:
        if row["fold"] is not None:
            left_out |= {row["fold"]}
        shares, rest = self._fit(given, left_out)
        return shares.get(self._category(row, given, left_out), rest)

    def _category(self, row: Row, given: str, left_out: Folds) -> float:
        if given == "shop":
            return row["shop"]
        return row["shop"] * 2000 + round(self.value(row, "shop", left_out) * 1000)

    def _fit(self, given: str, left_out: Folds) -> tuple[dict[float, float], float]:
        if (given, left_out) not in self._fits:
            read = [row for row in self._rows if row["fold"] not in left_out]
            by_category: dict[float, list[float]] = defaultdict(list)
            for row in read:
                by_category[self._category(row, given, left_out)].append(row["bought"])
            shares = {category: mean(labels) for category, labels in by_category.items()}
            self._fits[given, left_out] = shares, mean(row["bought"] for row in read)
        return self._fits[given, left_out]


def mean(values: Iterable[float]) -> float:
    among = list(values)
    return sum(among) / len(among)


def fold_of(key: int) -> int | None:
    """The fold of a row of train; none of one of test."""
    among = bucket(key, HashSplit().salt)
    return next((k for k, part in enumerate(FOLDS) if part >> among & 1), None)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """2,000 customers of 400 shops, which mean nothing."""
    draw = random.Random(3)
    return [
        {
            "customer_id": number,
            "shop": float(draw.randrange(400)),
            "bought": float(draw.random() < 0.5),
            "fold": fold_of(number),
        }
        for number in range(2_000)
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Path:
    path = tmp_path_factory.mktemp("noise") / "customers.parquet"
    pq.write_table(pa.Table.from_pylist(rows).drop_columns(["fold"]), path)
    return path


def fingerprint(given: Project, name: str) -> str:
    flow = infer(given)
    prints = Fingerprints({"customers": str(given.sources[0].version)}, **code_versions())
    prints.add(flow.instances)
    (instance,) = (i for i in flow.instances if i.name == name)
    return prints[instance]


def stored(home: Home, given: Project, name: str) -> dict[int, float]:
    """Key -> the stored value of an instance."""
    table = pq.read_table(home.store.table_path(fingerprint(given, name)))
    return {row["customer_id"]: row[name] for row in table.to_pylist()}


def fold_auc(values: dict[int, float], rows: list[Row]) -> float:
    """The mean over the folds of the chance that a buyer is ranked before another customer."""
    aucs = []
    for fold in range(3):
        among = [row for row in rows if row["fold"] == fold]
        ranked = [
            [values[row["customer_id"]] for row in among if row["bought"] == bought]
            for bought in (0.0, 1.0)
        ]
        aucs.append(mean((a < b) + (a == b) / 2 for a in ranked[0] for b in ranked[1]))
    return mean(aucs)


@pytest.fixture
def tracking(home: Home) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(home.tracking_uri)
    yield
    mlflow.set_tracking_uri(before)


@feature(entity=customer)
def guess(shop_value: Column) -> Column:
    """A label that a nested stage makes; customers of shops that are worth little have none."""
    return F.when(shop_value > 0.4567, F.round(shop_value))


def test_rows_are_counted_without_those_that_get_no_label_in_a_fit(
    home: Home, file: Path, rows: list[Row]
) -> None:
    given = project(file, nested=True)
    first = given.stages[0]
    learner = encoder("shop", "will_buy", label="guess").cross_fit(3, nested=True)
    given = Project(given.sources, (first, guess, learner), given.targets)
    ran = home.run(given, only=["sources/customers", "models/shop_value_model", MODEL])
    assert ran.success, ran.errors
    plain = Plain(rows)

    def labelled(left_out: Folds) -> int:
        read = [row for row in rows if row["fold"] is not None and row["fold"] not in left_out]
        return sum(plain.value(row, "shop", left_out) > 0.4567 for row in read)

    record = home.store.model(fingerprint(given, "will_buy"))
    assert record is not None
    counted = {name: found["rows"] for name, found in record.details["observed"].items()}
    left_out = {f"fold_{fold}": frozenset({fold}) for fold in range(3)} | {"": frozenset()}
    assert counted == {name: labelled(folds) for name, folds in left_out.items()}
    assert 0 < counted[""] < sum(row["fold"] is not None for row in rows)


@pytest.mark.usefixtures("tracking")
def test_every_fit_learns_from_what_has_not_seen_the_folds_it_leaves_out(
    home: Home, spark: SparkSession, file: Path, rows: list[Row]
) -> None:
    given = project(file, nested=True, certify=["test", *(f"fold_{k}" for k in range(3))])
    flow = infer(given)
    assert [len(instance.fits) for instance in flow.instances if instance.fits] == [7, 4]
    ran = home.run(given)
    assert ran.success, ran.errors
    plain = Plain(rows)
    for name, read in (("shop_value", "shop"), ("will_buy", "mark")):
        values = stored(home, given, name)
        assert len(values) == len(rows)
        for row in rows:
            expected = plain.value(row, read)
            assert values[row["customer_id"]] == pytest.approx(expected, abs=1e-9)
    # Noise is worth nothing on folds either.
    assert fold_auc(stored(home, given, "will_buy"), rows) == pytest.approx(0.5, abs=0.05)

    # What is served is fitted on all of train, for every row.
    registered = mlflow.spark.load_model(ran.assets[REGISTRATION][""]["registered_model"])
    served = registered.transform(spark.read.parquet(str(file)).drop("bought")).collect()
    assert len(served) == len(rows)
    for row in served:
        new = row.asDict() | {"fold": None}
        assert row["will_buy"] == pytest.approx(plain.value(new, "mark"), abs=1e-9)


def test_single_level_folds_tell_another_story_and_are_not_certified(
    home: Home, file: Path, rows: list[Row]
) -> None:
    with pytest.raises(LeakError) as caught:
        home.run(project(file, nested=False, certify=["fold_2"]))
    assert caught.value.code == "TRANSITIVE_TAINT"
    given = project(file, nested=False)
    names = ("shop_value", "will_buy")
    only = {f"features/{name}" for name in names} | {f"models/{name}_model" for name in names}
    assert home.run(given, only={"sources/customers", *only}).success
    assert fold_auc(stored(home, given, "will_buy"), rows) > 0.6


def test_a_missing_fit_without_two_folds_is_not_replaced_by_another(home: Home, file: Path) -> None:
    given = project(file, nested=True)
    assert home.run(given, only={"sources/customers", "models/shop_value_model"}).success
    models = home.store.model_path(fingerprint(given, "shop_value"))
    shutil.rmtree(models / "folds_0_2")
    ran = home.run(given, only={"models/will_buy_model"})
    assert not ran.success
    assert "lacks the model of folds_0_2" in str(ran.errors)
    assert not home.store.model_path(fingerprint(given, "will_buy")).exists()
