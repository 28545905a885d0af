"""The work as a Spark script that an expert has tuned by hand: the mark to compare with.

Each distinct stage runs once; what several read is persisted with no more columns than they need;
independent fits run side by side, the longest first; what nobody reads any more is released.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from ff_assets.core.cells import TRAIN
from ff_assets_tests.bench.workload import (
    CLASSIFIERS,
    EDITED,
    KEY,
    LABELS,
    VECTORISERS,
    auc_on_test,
    classifier,
    labels_by_key,
    read_rows,
    tokenizer,
    vectoriser,
    write_predictions,
)

THREADS = 4


def run(spark: SparkSession, data: Path, out: Path) -> dict[str, float]:
    """Do all the work.

    Returns:
        Variant -> test AUC.
    """
    labels = labels_by_key(data)
    tokens = _tokens(spark, data)
    aucs: dict[str, float] = {}
    with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(len(VECTORISERS)) as waiting:

        def branch(name: str) -> None:
            vectors = pool.submit(_vectors, tokens, name, out).result()
            fits = {
                f"{target}_{kind}_{name}": pool.submit(
                    _fit, vectors, kind, target, out / f"{target}_{kind}_{name}", labels, {}
                )
                for kind in CLASSIFIERS
                for target in LABELS
            }
            aucs.update({variant: fit.result() for variant, fit in fits.items()})
            vectors.unpersist()

        list(waiting.map(branch, VECTORISERS))
    tokens.unpersist()
    return aucs


def run_edit(spark: SparkSession, data: Path, out: Path, target: str) -> float:
    """Fit one edited classifier again, on every vector, with its input in memory already.

    Returns:
        Seconds from the first fit to the last AUC.
    """
    labels = labels_by_key(data)
    tokens = _tokens(spark, data)
    kind, edited = EDITED
    vectors = {name: _vectors(tokens, name, out) for name in VECTORISERS}
    for frame in vectors.values():
        frame.count()
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        for fit in [
            pool.submit(_fit, frame, kind, target, out / f"{target}_{kind}_{name}", labels, edited)
            for name, frame in vectors.items()
        ]:
            fit.result()
    seconds = time.monotonic() - began
    for frame in (tokens, *vectors.values()):
        frame.unpersist()
    return seconds


def _tokens(spark: SparkSession, data: Path) -> DataFrame:
    rows = tokenizer().transform(read_rows(spark, data))
    return rows.select(KEY, "cell", *LABELS.values(), "tokens").persist()


def _vectors(tokens: DataFrame, name: str, out: Path) -> DataFrame:
    train, rows = tokens.where(tokens["cell"] == TRAIN), tokens
    for position, stage in enumerate(vectoriser(name)):
        if hasattr(stage, "fit"):
            stage = stage.fit(train)
            stage.write().save(str(out / f"{name}_{position}"))
        train, rows = stage.transform(train), stage.transform(rows)
    return rows.select(KEY, "cell", *LABELS.values(), "text_vector").persist()


def _fit(
    vectors: DataFrame,
    kind: str,
    target: str,
    out: Path,
    labels: pa.Table,
    edited: dict[str, float],
) -> float:
    label = LABELS[target]
    train = vectors.where((vectors["cell"] == TRAIN) & vectors[label].isNotNull())
    model = classifier(kind, label, **edited).fit(train.select("text_vector", label))
    model.write().save(str(out / "model"))
    write_predictions(model.transform(vectors), out / "predictions")
    return auc_on_test(out / "predictions", labels, label)
