"""What a source holds is known exactly, and stored as its declaration says."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ff_assets import Entity, Source
from ff_assets.core.split import HashSplit
from ff_assets.engine.source_checks import StagedSource
from ff_assets.engine.sources import stage_source
from ff_assets.engine.store import Store

pytestmark = pytest.mark.xdist_group("small")  # with others that need Spark

item = Entity("item", key="item_id")


def staged(
    spark: SparkSession, folder: Path, features: Mapping[str, str], rows: str
) -> tuple[StagedSource, dict[int, dict[str, object]]]:
    """A source of 40 rows, and what was stored of it by key.

    Args:
        rows: SQL for the features, by way of `id`.
    """
    source = Source(
        "items",
        entity=item,
        load=lambda spark: spark.range(40).selectExpr("id AS item_id", rows),
        features=features,
        labels=[name for name in features if name.startswith("label")],
    )
    with Store(folder).staging() as staging:
        found = stage_source(source, HashSplit(), spark, staging)
        table = pq.read_table(found.directory, partitioning=None)
    return found, {row["item_id"]: row for row in table.to_pylist()}


@pytest.mark.parametrize("kind", ["timestamp", "timestamp_ntz"])
def test_data_that_differ_by_a_microsecond_are_other_data(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    def content(last: int) -> str | None:
        moment = f"'2024-02-29 12:00:00.12345{last}'"
        rows = f"CAST(IF(id = 7, {moment}, '2024-01-01') AS {kind}) AS moment"
        return staged(spark, tmp_path, {"moment": kind}, rows)[0].content

    assert content(6) == content(6) != content(7)


@pytest.mark.parametrize("kind", ["float", "double"])
def test_a_label_that_is_no_number_is_no_label(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    value = f"IF(id % 4 = 0, CAST('NaN' AS {kind}), IF(id % 4 = 1, NULL, CAST(id AS {kind})))"
    rows = f"INLINE(ARRAY(STRUCT({value} AS label, {value} AS feature)))"

    found, stored = staged(spark, tmp_path, {"label": kind, "feature": kind}, rows)

    assert sum(found.labels["label"].values()) == 20
    assert found.columns["label"] == kind
    for key, row in stored.items():
        assert row["label"] == (key if key % 4 > 1 else None)
        assert str(row["feature"]) == ("nan", "None", f"{key:.1f}", f"{key:.1f}")[key % 4]


def test_a_type_may_have_capital_letters(spark: SparkSession, tmp_path: Path) -> None:
    features = {"place": "struct<Zip: string, City: STRING>"}
    rows = "NAMED_STRUCT('Zip', '1010', 'City', 'Vienna') AS place"

    found, _ = staged(spark, tmp_path, features, rows)

    assert found.columns["place"] == "struct<Zip:string,City:string>"
