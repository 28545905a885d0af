"""Sentiment of short texts: three ways to turn words into a vector, compared on two targets."""

import hashlib

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import (
    IDF,
    CountVectorizer,
    HashingTF,
    NGram,
    RegexTokenizer,
    VectorAssembler,
    Word2Vec,
)
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import Entity, Hypothesis, Source, Target, feature, stage
from ff_assets.flows.datasets import snippets_path

# Snippets of one editorial or one product's reviews resemble each other: all are on one side.
document = Entity("document", key="document_id")
review = Entity("review", key="review_id", parent=document, foreign_key="document_id")


def load_snippets(spark: SparkSession) -> DataFrame:
    """Rated texts; a text that is rated near zero is neither positive nor negative."""
    rating = F.col("rating")
    return (
        spark.read.parquet(str(snippets_path()))
        .withColumn("document_id", F.regexp_replace("review_id", r"_\d+$", ""))
        .withColumn("is_positive", F.when(rating > 0.5, 1.0).when(rating < -0.5, 0.0))
        .withColumn("is_severe", F.when(rating <= -2, 1.0).otherwise(0.0))
    )


def snippets_version() -> str:
    """The data are as they are in one file."""
    return hashlib.sha256(snippets_path().read_bytes()).hexdigest()


snippets = Source(
    "snippets",
    entity=review,
    load=load_snippets,
    features={"text": "string", "is_positive": "double", "is_severe": "double"},
    labels=["is_positive", "is_severe"],
    version=snippets_version,
    sensitivity={"text": ["free_text"]},
    owner="team:nlp",
    description="Tweets and snippets of films, products and editorials, rated by about 20 people.",
)

tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens", pattern=r"\W+")

# Three providers of `text_vector`: three variants of every target that needs it.
# Only `tfidf` reads the counts, so they need not be stored.
counts = stage(CountVectorizer, inputCol="tokens", outputCol="term_counts", minDF=2.0).materialized(
    "view"
)
tfidf = stage(IDF, inputCol="term_counts", outputCol="text_vector").named("tfidf")

word2vec = stage(
    Word2Vec,
    inputCol="tokens",
    outputCol="text_vector",
    vectorSize=64,
    minCount=2,
    maxIter=5,
    seed=1,
).named("word2vec")

pairs = stage(NGram, inputCol="tokens", outputCol="token_pairs", n=2)


@feature(entity=review, owner="team:nlp")
def ngrams(tokens: Column, token_pairs: Column) -> Column:
    """Single words and pairs of words."""
    return F.concat(tokens, token_pairs)


hashed = stage(HashingTF, inputCol="ngrams", outputCol="text_vector", numFeatures=1 << 14).named(
    "hashed_ngrams"
)


@feature(entity=review, owner="team:nlp")
def exclamations(text: Column) -> Column:
    """Number of exclamation marks."""
    return (F.length(text) - F.length(F.translate(text, "!", ""))).cast("double")


signals = stage(VectorAssembler, inputCols=["text_vector", "exclamations"], outputCol="signals")

sentiment = stage(
    LogisticRegression,
    featuresCol="signals",
    labelCol="is_positive",
    predictionCol="sentiment",
    regParam=0.01,
    standardization=False,
)
severity = stage(
    LogisticRegression,
    featuresCol="signals",
    labelCol="is_severe",
    predictionCol="severity",
    regParam=0.01,
    standardization=False,
)

related_words_help = Hypothesis(
    "knowing which words are related tells moods better than counting words",
    kpi="auc",
    baseline={"text_vector": "tfidf"},
    claim={"text_vector": "word2vec"},
    min_effect=0.01,
)

sentiment_target = Target(
    "sentiment",
    outputs=["sentiment"],
    keep=["text"],
    label="is_positive",
    task="binary",
    hypotheses=[related_words_help],
    owner="team:nlp",
    description="Is a text positive (rated above 0.5) rather than negative (below -0.5)?",
)
severity_target = Target(
    "severity",
    outputs=["severity"],
    keep=["text"],
    label="is_severe",
    task="binary",
    owner="team:nlp",
    description="Is a text very negative (rated -2 or less)?",
)
