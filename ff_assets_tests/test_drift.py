"""Drift of what was scored: named where it is, and no alarm where nothing has changed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import ABTest, Entity, Source, Target, feature, stage
from ff_assets.core.ab_test import AB_TEST
from ff_assets.core.project import Project
from ff_assets.engine.histograms import columns_of, sampled
from ff_assets.engine.store import REFERENCES
from ff_assets_tests.running import Home, Ran
from ff_assets_tests.test_predictions import put

pytestmark = pytest.mark.xdist_group("scoring rows")

visitor = Entity("visitor", key="visitor_id")
visit = Entity("visit", key="visit_id", parent=visitor, foreign_key="visitor_id")
KEY = dg.AssetKey(["predictions", "bought", "staging"])
SCHEMA = (
    "visit_id bigint, visitor_id bigint, pages double, seconds double, device string, query string"
)
Row = tuple[Any, ...]


def visits(
    count: int, seed: int, *, devices: str = "pd", missing: float = 0.02, each: int = 1
) -> list[Row]:
    """Visits that differ from each other by luck, and else by what is asked for.

    Args:
        each: how many a visitor makes, all alike but for the query.
    """
    draw = random.Random(seed)
    rows: list[Row] = []
    for number in range(count):
        if number % each == 0:
            pages, device = float(draw.randrange(6)), draw.choice(devices)
            seconds = None if draw.random() < missing else draw.expovariate(1 / 60)
        query = " ".join(str(draw.random()) for _ in range(draw.randrange(1, 5)))
        of_visitor = 100_000 * seed + number // each
        rows.append((100_000 * seed + number, of_visitor, pages, seconds, device, query))
    return rows


def load(spark: SparkSession) -> DataFrame:
    draw = random.Random(3)
    rows = [(*row, float(row[2] + draw.gauss(0, 1) > 2.5)) for row in visits(3000, 1)]
    return spark.createDataFrame(rows, f"{SCHEMA}, bought double")


@feature(entity=visit)
def known_seconds(seconds: Column) -> Column:
    return F.coalesce(seconds, F.lit(0.0))


@feature(entity=visit)
def on_phone(device: Column) -> Column:
    return (device == "p").cast("double")


@feature(entity=visit)
def asked(query: Column) -> Column:
    return F.length(query).cast("double")


def project(rows: list[Row], **declared: Any) -> Project:
    def score(spark: SparkSession) -> DataFrame:
        return spark.createDataFrame(rows, SCHEMA)

    source = Source(
        "visits",
        entity=visit,
        load=load,
        features={
            "pages": "double",
            "seconds": "double",
            "device": "string",
            "query": "string",
            "bought": "double",
        },
        labels=["bought"],
        version="1",
        scoring=score,
    )
    vector = stage(
        VectorAssembler,
        inputCols=["pages", "known_seconds", "on_phone", "asked"],
        outputCol="vector",
    )
    model = stage(
        LogisticRegression,
        featuresCol="vector",
        labelCol="bought",
        predictionCol="will_buy",
        maxIter=5,
    )
    return Project(
        sources=(source,),
        stages=(known_seconds, on_phone, asked, vector, model),
        targets=(
            Target("bought", outputs=["will_buy"], label="bought", task="binary", **declared),
        ),
    )


@dataclass(frozen=True)
class Checked:
    """What a check has said, as the instance has it."""

    passed: bool
    told: str
    table: dict[str, dict[str, Any]]
    has_picture: bool

    @classmethod
    def of(cls, home: Home, name: str, key: dg.AssetKey = KEY) -> "Checked":
        record = home.instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(key, name)]
        )[dg.AssetCheckKey(key, name)]
        found = record.event.dagster_event.asset_check_evaluation_data
        assert found.severity is dg.AssetCheckSeverity.WARN
        table = found.metadata["columns"].records if "columns" in found.metadata else []
        return cls(
            found.passed,
            found.description,
            {row.data["column"]: dict(row.data) for row in table},
            "picture" in found.metadata and "data:image/png" in found.metadata["picture"].value,
        )


@dataclass(frozen=True)
class Fitted:
    """The project, fitted and with its model in staging."""

    home: Home

    @property
    def references(self) -> Path:
        """The folder of what versions are held against."""
        return self.home.store.note_path(REFERENCES, "").parent

    def score(self, rows: list[Row]) -> Ran:
        ran = self.home.predict(project(rows), "bought")
        assert ran.success, ran.failure
        return ran

    def checked(self) -> tuple[Checked, Checked]:
        """What the checks of features and of predictions said last."""
        names = ("drift_of_features", "drift_of_predictions")
        features, predictions = (Checked.of(self.home, name) for name in names)
        return features, predictions


@pytest.fixture(scope="module")
def fitted(spark: SparkSession, new_home: Callable[[], Home]) -> Fitted:
    home = new_home()
    ran = home.run(project([]))
    assert ran.success, ran.failure
    put(home, "bought", "staging", ran.assets["registry/bought_registered"][""]["version"])
    return Fitted(home)


def test_rows_of_the_same_distribution_have_not_drifted(fitted: Fitted) -> None:
    ran = fitted.score(visits(2000, 2))

    features, predictions = fitted.checked()
    assert (features.passed, features.told) == (True, "none of 4 features drifted")
    assert (predictions.passed, predictions.told) == (
        True,
        "none of 2 columns of predictions drifted",
    )
    assert {name: row["counted by"] for name, row in features.table.items()} == {
        "pages": "value",
        "seconds": "value",
        "device": "category",
        "query": "length",
    }
    train = 3000 - features.table["pages"]["rows before"]
    assert 300 < train < 1200  # rows of test are no reference for features, but for predictions
    assert set(predictions.table) == {"will_buy", "probability"}
    assert predictions.table["probability"]["rows before"] == train
    assert predictions.table["probability"]["rows now"] == 2000
    assert features.has_picture
    assert predictions.has_picture
    made = ran.assets["predictions/bought/staging"][""]
    assert (made["drift_of_features"], made["drift_of_predictions"]) == (0, 0)
    assert "drift" not in made


def test_what_has_drifted_is_named_and_a_reused_prediction_says_it_again(fitted: Fitted) -> None:
    rows = [(key, of, 5.0, *rest) for key, of, _, *rest in visits(500, 3)]
    made = fitted.score(rows).assets["predictions/bought/staging"][""]

    features, predictions = first = fitted.checked()
    assert not features.passed
    assert features.told.startswith("1 of 4 features drifted; most: pages, PSI ")
    assert [name for name, row in features.table.items() if row["drifted"]] == ["pages"]
    assert next(iter(features.table)) == "pages"
    assert not predictions.passed
    assert predictions.table["probability"]["drifted"]
    assert made["drift_of_features"] == 1
    assert made["drift"] == f"{features.told}; {predictions.told}"

    fitted.score(visits(500, 4, devices="pdt", missing=0.4))
    features, _ = fitted.checked()
    assert features.told.startswith("2 of 4 features drifted; most: device, PSI ")
    assert features.told.endswith(", with a new value 't'")
    assert {name for name, row in features.table.items() if row["drifted"]} == {"device", "seconds"}
    assert features.table["device"]["new value"] == "t"
    assert features.table["seconds"]["missing before"] == pytest.approx(0.02, abs=0.01)
    assert features.table["seconds"]["missing now"] == pytest.approx(0.4, abs=0.07)

    again = fitted.score(rows).assets["predictions/bought/staging"][""]
    assert again["reused"]
    assert fitted.checked() == first
    assert len(list(fitted.references.iterdir())) == 1  # counted once for the version


def test_many_rows_of_a_few_visitors_are_few_observations(fitted: Fitted) -> None:
    fitted.score(visits(2000, 5, each=200))
    features, predictions = fitted.checked()
    assert (features.passed, predictions.passed) == (True, True)
    # ten visitors are here and there as luck has it; as 2,000 rows they would be a drift
    for told in (features, predictions):
        assert max(row["rows elsewhere"] for row in told.table.values()) > 0.15


def test_in_a_test_the_rows_of_each_arm_are_held_against_its_model(fitted: Fitted) -> None:
    outcomes = Source("pages", visitor, load, {"seen": "double"})
    test = ABTest(
        "production", "staging", share=0.3, outcomes=outcomes, measure="seen", planned=1000
    )
    rows = [(key, of, 5.0, *rest) for key, of, _, *rest in visits(900, 21)]
    version = int(fitted.home.client.get_registered_model("bought").aliases["staging"])
    put(fitted.home, "bought", "production", version)
    ran = fitted.home.predict(project(rows, ab_test=test), "bought", AB_TEST)
    assert ran.success, ran.failure
    made = ran.assets["predictions/bought/ab_test"][""]

    assert made["rows_control"] + made["rows_treatment"] == 900
    assert made["rows_control"] > made["rows_treatment"] > 200
    key = dg.AssetKey(["predictions", "bought", AB_TEST])
    for arm in ("control", "treatment"):
        features, predictions = (
            Checked.of(fitted.home, f"{name}_{arm}", key)
            for name in ("drift_of_features", "drift_of_predictions")
        )
        assert features.told.startswith("1 of 4 features drifted; most: pages, PSI ")
        assert features.table["pages"]["rows now"] == made[f"rows_{arm}"]
        assert predictions.table["probability"]["rows now"] == made[f"rows_{arm}"]
        assert made[f"drift_{arm}"] == f"{features.told}; {predictions.told}"


def test_a_few_rows_tell_little_and_none_tells_nothing(fitted: Fitted) -> None:
    fitted.score(visits(8, 8))
    features, _ = fitted.checked()
    assert features.passed
    assert features.told.endswith("; with 8 rows only a large drift would show")

    fitted.score([])
    for checked in fitted.checked():
        assert checked.passed
        assert checked.told == "no row was scored, so there is nothing to compare"


def test_without_a_reference_there_are_predictions_all_the_same(fitted: Fitted) -> None:
    (counted,) = fitted.references.iterdir()
    kept = counted.read_text()
    counted.write_text("{")
    try:
        made = fitted.score(visits(300, 11)).assets["predictions/bought/staging"][""]
    finally:
        counted.write_text(kept)

    assert made["dagster/row_count"] == 300
    features, _ = fitted.checked()
    assert not features.passed
    assert features.told.startswith("features could not be compared with the rows of train: ")


@pytest.mark.parametrize("lost", ["pages", "will_buy"])
def test_what_cannot_be_counted_holds_no_predictions_back(fitted: Fitted, lost: str) -> None:
    """Neither a column that the rows lack nor one that the model does not make."""
    (counted,) = fitted.references.iterdir()
    kept = counted.read_text()
    counted.write_text(kept.replace(f'"{lost}"', '"gone"'))
    try:
        made = fitted.score(visits(300, 12 + len(lost))).assets["predictions/bought/staging"][""]
    finally:
        counted.write_text(kept)

    assert made["dagster/row_count"] == 300
    for checked in fitted.checked():
        assert not checked.passed
        assert "could not be compared with" in checked.told
        assert "gone" in checked.told


@pytest.mark.parametrize(("rows", "partitions"), [(0, 2), (30, 2), (50_000, 1), (50_000, 7)])
def test_a_sample_is_of_the_greatest_hashes_however_rows_are_divided(
    spark: SparkSession, rows: int, partitions: int
) -> None:
    frame = spark.range(0, rows, 1, partitions).where("id % 3 != 1")
    frame = frame.selectExpr("id AS visit_id", "id AS visitor_id", "id / 2 AS pages")
    ranked, draw = sampled(frame, ["pages"], visit, 5000)
    drawn = columns_of(ranked.agg(draw).collect()[0][0], ["pages"])

    greatest = frame.orderBy(F.xxhash64("visit_id").desc()).limit(5000).collect()
    found = drawn["pages"].to_pylist() if drawn else []
    assert sorted(found) == sorted(row["pages"] for row in greatest)
