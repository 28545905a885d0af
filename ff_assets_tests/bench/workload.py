"""The work that every contestant does: 3 vectorisers x 2 classifiers x 2 targets = 12 variants.

Each contestant leaves behind the fitted models, the predictions of train and test as Parquet, and
the test AUC of every variant, under the project's own split.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.classification import LinearSVC, LogisticRegression
from pyspark.ml.feature import IDF, CountVectorizer, HashingTF, NGram, RegexTokenizer, Word2Vec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import HashSplit
from ff_assets.assets.build import spark_config
from ff_assets.core.cells import TEST
from ff_assets.engine.java import use_java
from ff_assets.engine.regions import cell_column
from ff_assets.flows.datasets import snippets_path

KEY = "review_id"
SCHEMA = "review_id string, text string, is_positive double, is_severe double"
LABELS = {"sentiment": "is_positive", "severity": "is_severe"}  # by target
FILES = 4  # so that every contestant can read with all cores

TOKENIZER: tuple[type, dict[str, Any]] = (RegexTokenizer, {"pattern": r"[^\w'!?:;()]+"})
# Steps from the column "tokens" to "text_vector": class, input, output, parameters.
VECTORISERS: dict[str, list[tuple[type, str, str, dict[str, Any]]]] = {
    "word2vec": [(Word2Vec, "tokens", "text_vector", {"vectorSize": 64, "seed": 1})],
    "tfidf": [
        (CountVectorizer, "tokens", "term_counts", {"minDF": 2.0}),
        (IDF, "term_counts", "text_vector", {}),
    ],
    "hashed": [
        (NGram, "tokens", "token_pairs", {"n": 2}),
        (HashingTF, "token_pairs", "text_vector", {"numFeatures": 1 << 14}),
    ],
}
CLASSIFIERS: dict[str, tuple[type, dict[str, Any]]] = {
    "logistic": (LogisticRegression, {"regParam": 0.01, "maxIter": 20}),
    "svm": (LinearSVC, {"regParam": 0.01, "maxIter": 20}),
}
EDITED = ("svm", {"regParam": 0.02})


def variants() -> list[tuple[str, str, str]]:
    """Target, classifier and vectoriser of every variant."""
    return [(t, c, v) for t in LABELS for c in CLASSIFIERS for v in VECTORISERS]


def write_rows(folder: Path, rows: int) -> Path:
    """Repeat the snippets to a number of rows, each with a key of its own."""
    snippets = pq.read_table(snippets_path()).to_pandas()
    times = -(-rows // len(snippets))
    repeated = snippets.loc[snippets.index.repeat(times)].reset_index(drop=True)
    repeated[KEY] += "#" + (repeated.index % times).astype(str)
    # Shuffled: the snippets are sorted by collection, and a small number of rows needs them all.
    repeated = repeated.sample(rows, random_state=1, ignore_index=True)
    rating = repeated["rating"]
    repeated["is_positive"] = (rating > 0.5).astype(float).where(rating.abs() > 0.5)
    repeated["is_severe"] = (rating <= -2).astype(float)
    folder.mkdir(parents=True)
    columns = [KEY, "text", *LABELS.values()]
    for file in range(FILES):
        part = pa.Table.from_pandas(repeated.loc[file::FILES, columns], preserve_index=False)
        pq.write_table(part, folder / f"{file}.parquet")
    return folder


def spark_session() -> SparkSession:
    """This process's session, with the settings of the project."""
    use_java()
    builder = SparkSession.builder
    for name, value in spark_config().items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def read_rows(spark: SparkSession, data: Path) -> DataFrame:
    """The rows with their cell."""
    rows = spark.read.schema(SCHEMA).parquet(str(data))
    return rows.withColumn("cell", cell_column(F.col(KEY), HashSplit()))


def tokenizer() -> Any:
    cls, parameters = TOKENIZER
    return cls(inputCol="text", outputCol="tokens", **parameters)


def vectoriser(name: str) -> list[Any]:
    """The unfitted stages from tokens to the vector."""
    return [
        cls(inputCol=read, outputCol=written, **parameters)
        for cls, read, written, parameters in VECTORISERS[name]
    ]


def classifier(name: str, label: str, **edited: Any) -> Any:
    cls, parameters = CLASSIFIERS[name]
    return cls(featuresCol="text_vector", labelCol=label, **{**parameters, **edited})


def write_predictions(predicted: DataFrame, path: Path) -> None:
    """Predictions and what they come from, one folder for each cell."""
    scores = [c for c in ("prediction", "rawPrediction", "probability") if c in predicted.columns]
    predicted.select(KEY, "cell", *scores).write.partitionBy("cell").parquet(str(path))


def labels_by_key(data: Path) -> "pa.Table":
    """Key and labels of all rows, for measuring."""
    return pq.read_table(data, columns=[KEY, *LABELS.values()])


def auc_on_test(predictions: Path, labels: "pa.Table", label: str) -> float:
    """The AUC on the rows of test that have the label, by the raw prediction."""
    from sklearn.metrics import roc_auc_score

    path = predictions / f"cell={TEST}"
    scored = pq.read_table(path, columns=[KEY, "rawPrediction"], partitioning=None).to_pandas()
    truth = labels.select([KEY, label]).to_pandas().dropna()
    rows = scored.merge(truth, on=KEY, validate="one_to_one")
    return float(roc_auc_score(rows[label], [raw["values"][1] for raw in rows["rawPrediction"]]))
