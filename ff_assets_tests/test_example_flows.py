"""The flows that the template ships, on a part of their data: no label of test reaches a score."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets.core.declare import Source
from ff_assets.core.operations import SparkOperation
from ff_assets.core.project import Project
from ff_assets.core.stage import Stage
from ff_assets.engine.audit import audit
from ff_assets.flows import households, reviews

pytestmark = pytest.mark.xdist_group("audit")

ROUGHLY = {"maxIter": 2}


def a_part(source: Source, share: int) -> Source:
    """The rows of every `share`th root key."""
    key = F.col(source.entity.split_key)
    load: Callable[[SparkSession], DataFrame] = source.load
    return replace(
        source, load=lambda spark: load(spark).where(F.abs(F.xxhash64(key)) % share == 0)
    )


def in_few_steps(stage: Stage) -> Stage:
    """Fitted as roughly as it can be; what it reads and who reads it are as they were."""
    operation = stage.operation
    if isinstance(operation, SparkOperation) and hasattr(operation.cls, "maxIter"):
        stage = replace(stage, operation=replace(operation, params={**operation.params, **ROUGHLY}))
    return stage.cross_fit(2) if stage.fitting.scheme == "folds" else stage


@pytest.mark.parametrize(
    ("flow", "target", "variant", "share"),
    [
        (reviews, "sentiment", "sentiment[tfidf]", 20),
        (households, "next_best_action", "next_best_action[linear, segmented]", 15),
    ],
)
def test_changed_labels_of_test_change_no_prediction(
    flow: object, target: str, variant: str, share: int, spark: SparkSession, tmp_path: Path
) -> None:
    project = Project.collect([flow])
    project = replace(
        project,
        sources=tuple(a_part(s, share) for s in project.sources),
        stages=tuple(in_few_steps(s) for s in project.stages),
    )

    found = audit(project, target, lambda: spark, tmp_path, variant=variant)

    (only,) = found.variants
    assert only.outcome == "no leak"
    assert only.rows >= 50
    assert only.control > 0  # a label that reaches a score is seen
