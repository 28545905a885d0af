"""A small project on real declarations: reviews as text, two targets, every kind of stage."""

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.classification import GBTClassifier, LogisticRegression
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import (
    IDF,
    CountVectorizer,
    HashingTF,
    RegexTokenizer,
    StringIndexer,
    VectorAssembler,
)
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, Source, Stage, Target, feature, stage
from ff_assets.core.project import Project

review = Entity("review", key="review_id")
other = Entity("other", key="other_id")

Row = dict[str, Any]
FEATURES = {
    "text": "string",
    "language": "string",
    "device": "string",
    "is_positive": "double",
    "is_severe": "double",
}
LABELS = ["is_positive", "is_severe"]
SCHEMA = pa.schema(
    {
        "review_id": pa.int64(),
        "text": pa.string(),
        "language": pa.string(),
        "device": pa.string(),
        "is_positive": pa.float64(),
        "is_severe": pa.float64(),
    }
)

GOOD = ["splendid", "lovely", "bright", "fine"]
BAD = ["awful", "dull", "poor", "broken"]
PLAIN = ["film", "story", "actor", "screen", "seat", "music"]


def make_rows(count: int = 300) -> list[Row]:
    """Texts whose words and marks tell the labels, with noise; every sixth is unrated."""
    draw = random.Random(7)
    rows = []
    for number in range(count):
        mood = draw.random()
        words = [draw.choice(GOOD if draw.random() < mood else BAD) for _ in range(3)]
        words += draw.choices(PLAIN, k=4)
        draw.shuffle(words)
        rows.append(
            {
                "review_id": number,
                "text": " ".join(words) + "!" * draw.randrange(3),
                "language": draw.choice(["en", "fr", "de"]),
                "device": draw.choice(["phone", "desk"]),
                "is_positive": None if number % 6 == 0 else float(mood + draw.gauss(0, 0.2) > 0.5),
                "is_severe": float(mood + draw.gauss(0, 0.2) < 0.3),
            }
        )
    return rows


def write_rows(path: Path, rows: Iterable[Row], schema: pa.Schema = SCHEMA) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def reviews(path: Path, **changes: Any) -> Source:
    """The source, read from a Parquet file."""

    def load(spark: SparkSession) -> DataFrame:
        return spark.read.parquet(str(path))

    given = {"load": load, "features": FEATURES, "labels": LABELS, "version": "1"} | changes
    return Source("reviews", entity=review, **given)


@feature(entity=review, owner="team:tests")
def marks(text: Column) -> Column:
    """Number of exclamation marks."""
    return (F.length(text) - F.length(F.translate(text, "!", ""))).cast("double")


tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens", pattern=r"\W+")
counts = stage(CountVectorizer, inputCol="tokens", outputCol="term_counts")
tfidf = stage(IDF, inputCol="term_counts", outputCol="text_vector").named("tfidf")
hashed = stage(HashingTF, inputCol="tokens", outputCol="text_vector", numFeatures=32).named(
    "hashed"
)
signals = stage(VectorAssembler, inputCols=["text_vector", "marks"], outputCol="signals")
indexes = stage(
    StringIndexer,
    inputCols=["language", "device"],
    outputCols=["language_index", "device_index"],
).named("indexes")
topic = stage(KMeans, featuresCol="text_vector", predictionCol="topic", k=3, seed=1, maxIter=3)
profile = stage(
    VectorAssembler,
    inputCols=["language_index", "device_index", "topic", "marks"],
    outputCol="profile",
)
severity = stage(
    GBTClassifier,
    featuresCol="profile",
    labelCol="is_severe",
    predictionCol="severity",
    maxIter=2,
    maxDepth=3,
    seed=1,
)

severity_target = Target(
    "severity", outputs=["severity", "topic"], label="is_severe", task="binary"
)


def sentiment_stage(reg_param: float = 0.01) -> Stage:
    return stage(
        LogisticRegression,
        featuresCol="signals",
        labelCol="is_positive",
        predictionCol="sentiment",
        regParam=reg_param,
        maxIter=3,
    )


def sentiment_target(**changes: Any) -> Target:
    given = {"keep": ["text"], "label": "is_positive", "task": "binary"} | changes
    return Target("sentiment", outputs=["sentiment"], **given)


def whole_project(path: Path) -> Project:
    """Two targets of two variants each, which share what they can."""
    return Project(
        sources=(reviews(path),),
        stages=(
            *(tokens, counts, tfidf, hashed, marks, signals, sentiment_stage()),
            *(indexes, topic, profile, severity),
        ),
        targets=(sentiment_target(), severity_target),
    )


def small_project(
    source: Source,
    *,
    replaced: Mapping[str, Stage] | None = None,
    added: Iterable[Stage] = (),
    target: Target | None = None,
) -> Project:
    """One target of one variant: five stages, of which one is fitted.

    Args:
        replaced: name of a stage -> what stands in its place.
        added: further stages; a second provider of `text_vector` makes a second variant.
    """
    stages = {s.name: s for s in (tokens, hashed, marks, signals, sentiment_stage())}
    stages |= replaced or {}
    return Project(
        sources=(source,),
        stages=(*stages.values(), *added),
        targets=(target or sentiment_target(),),
    )


PROJECTS: Mapping[str, Callable[[Path], Project]] = {
    "whole": whole_project,
    "small": lambda path: small_project(reviews(path)),
}
