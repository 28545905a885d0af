"""The split: the same bucket for a key in Python and in Spark, on every machine, for ever."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from ff_assets.core.buckets import BUCKETS
from ff_assets.core.cells import TEST, TRAIN
from ff_assets.core.split import HashSplit, bucket, canonical
from ff_assets.engine.regions import bucket_column, cell_column

pytestmark = pytest.mark.xdist_group("small")  # with others that need Spark

# Published: whoever splits elsewhere compares with these, and they never change.
VECTORS: list[tuple[str, str | int, int]] = [
    ("ff_assets", "", 864),
    ("ff_assets", "a", 437),
    ("ff_assets", "review-1", 405),
    ("ff_assets", "tweets:1", 975),
    ("ff_assets", "Größe", 89),
    ("ff_assets", "日本語", 442),
    ("ff_assets", "😀", 146),
    ("ff_assets", "e\u0301", 359),  # an accent that stands alone is not the same text as
    ("ff_assets", "\u00e9", 898),  # the letter with the accent
    ("ff_assets", " a", 872),
    ("ff_assets", "a ", 133),
    ("ff_assets", "7", 224),
    ("ff_assets", 7, 224),  # an integer counts by its decimal text
    ("ff_assets", 0, 626),
    ("ff_assets", -1, 624),
    ("ff_assets", -7, 700),
    ("ff_assets", 1000, 696),
    ("ff_assets", 2**31, 824),
    ("ff_assets", 2**63 - 1, 999),
    ("ff_assets", -(2**63), 804),
    ("other", "a", 70),
    ("other", 7, 863),
]
SALT = "ff_assets"


@pytest.mark.parametrize(("salt", "key", "expected"), VECTORS)
def test_vectors(salt: str, key: str | int, expected: int):
    assert bucket(key, salt) == expected
    digest = hashlib.sha256(salt.encode() + b"\x1f" + str(key).encode("utf-8")).digest()
    assert int.from_bytes(digest[:8], "big") // 16 % 1000 == expected  # the same in other words


def test_null_belongs_to_no_bucket():
    with pytest.raises(ValueError, match="null"):
        bucket(None, SALT)


@pytest.mark.parametrize("key", [True, False, 1.0, b"a", ("a",)])
def test_only_text_and_integers_are_keys(key: object):
    with pytest.raises(TypeError, match=f"not {type(key).__name__}"):
        bucket(key, SALT)


def test_every_bucket_is_in_one_cell():
    split = HashSplit()
    for position in range(BUCKETS):
        assert [cell for cell, buckets in split.cells.items() if position in buckets] in (
            [TRAIN],
            [TEST],
        )
    assert set(split.cells) == {TRAIN, TEST}


def test_one_row_in_five_is_for_test():
    split = HashSplit()
    cells = [split.cell(f"row-{number}") for number in range(20_000)]
    assert 0.19 < cells.count(TEST) / len(cells) < 0.21


def test_cells_follow_their_buckets():
    every_fifth = HashSplit(cells={TRAIN: range(5, 1000), TEST: range(5)})
    for salt, key, expected in VECTORS:
        if salt == SALT:
            assert HashSplit().cell(key) == (TRAIN if expected < 800 else TEST)
            assert every_fifth.cell(key) == (TEST if expected < 5 else TRAIN)


def test_another_salt_moves_rows():
    keys = [f"row-{number}" for number in range(1000)]
    moved = sum(HashSplit().cell(key) != HashSplit(salt="other").cell(key) for key in keys)
    assert 250 < moved < 390  # 2 * 0.8 * 0.2 of them


# The same in Spark


@pytest.mark.parametrize(("kind", "sql_type"), [(str, "string"), (int, "bigint")])
def test_vectors_in_spark(spark: SparkSession, kind: type, sql_type: str):
    vectors = [vector for vector in VECTORS if isinstance(vector[1], kind)]
    frame = spark.createDataFrame([(key,) for _, key, _ in vectors], f"key {sql_type}")
    salts = [
        bucket_column(F.col("key"), HashSplit(salt)).alias(salt) for salt in ("ff_assets", "other")
    ]
    rows = frame.select(*salts).collect()
    assert [row[salt] for row, (salt, _, _) in zip(rows, vectors, strict=True)] == [
        expected for _, _, expected in vectors
    ]


def test_integers_of_any_width_share_a_bucket(spark: SparkSession):
    key = F.col("key")
    widths = [
        bucket_column(key.cast(width), HashSplit(SALT))
        for width in ("tinyint", "smallint", "int", "bigint", "string")
    ]
    rows = spark.createDataFrame([(-7,), (0,), (7,)], "key int").select(*widths).collect()
    assert [set(row) for row in rows] == [{700}, {626}, {224}]


def test_null_belongs_to_no_cell_in_spark(spark: SparkSession):
    frame = spark.createDataFrame([(None,)], "key string")
    assert frame.select(cell_column(F.col("key"), HashSplit())).collect() == [(None,)]


@given(
    texts=st.lists(st.text(), min_size=200, max_size=200),
    integers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=200, max_size=200),
    salt=st.text(max_size=5),
)
@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow],
)
def test_spark_splits_as_python_does(
    spark: SparkSession, texts: list[str], integers: list[int], salt: str
):
    splits = (
        HashSplit(salt),
        HashSplit(salt, {TRAIN: range(0, 1000, 2), TEST: range(1, 1000, 2)}),
    )
    keys = [*texts, *map(canonical, integers)]
    frame = spark.createDataFrame([(key,) for key in keys], "key string")
    rows = frame.select(
        "key",
        bucket_column(F.col("key"), HashSplit(salt)).alias("bucket"),
        *(cell_column(F.col("key"), split).alias(f"cell{n}") for n, split in enumerate(splits)),
    ).collect()
    assert len(rows) == len(keys)
    for row in rows:
        assert row.bucket == bucket(row.key, salt)
        assert [row.cell0, row.cell1] == [split.cell(row.key) for split in splits]
