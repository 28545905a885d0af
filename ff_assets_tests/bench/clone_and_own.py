"""The work as most teams begin: one pipeline per variant, copied and changed, nothing shared."""

from pathlib import Path

from pyspark.ml import Pipeline
from pyspark.sql import SparkSession

from ff_assets.core.cells import TRAIN
from ff_assets_tests.bench.workload import (
    LABELS,
    auc_on_test,
    classifier,
    labels_by_key,
    read_rows,
    tokenizer,
    variants,
    vectoriser,
    write_predictions,
)


def run(spark: SparkSession, data: Path, out: Path) -> dict[str, float]:
    """Do all the work.

    Returns:
        Variant -> test AUC.
    """
    aucs: dict[str, float] = {}
    for target, kind, vector in variants():
        name, label = f"{target}_{kind}_{vector}", LABELS[target]
        rows = read_rows(spark, data)
        train = rows.where((rows["cell"] == TRAIN) & rows[label].isNotNull())
        stages = [tokenizer(), *vectoriser(vector), classifier(kind, label)]
        model = Pipeline(stages=stages).fit(train)
        model.write().save(str(out / name / "model"))
        write_predictions(model.transform(rows), out / name / "predictions")
        aucs[name] = auc_on_test(out / name / "predictions", labels_by_key(data), label)
    return aucs
