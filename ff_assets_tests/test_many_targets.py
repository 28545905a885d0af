"""The jobs of many targets load in a time that is linear in their number: each knows its own part.

What is counted is what Dagster goes through to make a job, as seconds depend on the machine.
"""

from collections.abc import Collection
from typing import Any

import dagster as dg
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import HashingTF, RegexTokenizer

from ff_assets import Entity, Source, Target, stage
from ff_assets.assets.build import build_definitions
from ff_assets.core.project import Project
from ff_assets.settings import Settings

JOBS = ("fit", "predict_staging", "predict_production")


def project(targets: int) -> Project:
    """Targets that share a vector, with a model for each."""
    labels = [f"label_{i}" for i in range(targets)]
    rows = Source(
        "rows",
        entity=Entity("row", key="row_id"),
        load=lambda spark: spark,
        features={"text": "string", **dict.fromkeys(labels, "double")},
        labels=labels,
        version="1",
    )
    stages = [
        stage(RegexTokenizer, inputCol="text", outputCol="tokens"),
        stage(HashingTF, inputCol="tokens", outputCol="vector"),
    ]
    for i, label in enumerate(labels):
        columns = {"featuresCol": "vector", "labelCol": label, "predictionCol": f"target_{i}"}
        stages.append(stage(LogisticRegression, **columns).named(f"model_{i}"))
    return Project(
        sources=(rows,),
        stages=tuple(stages),
        targets=tuple(
            Target(f"target_{i}", outputs=[f"target_{i}"], label=label, task="binary")
            for i, label in enumerate(labels)
        ),
    )


def known(job: dg.JobDefinition) -> tuple[Collection[Any], Collection[Any], Collection[Any]]:
    """What a job makes, all assets that it knows, and the outputs of its ops."""
    assets = job.asset_layer
    outputs = [output.name for op in job.all_node_defs for output in op.output_defs]
    return assets.selected_asset_keys, assets.asset_graph.get_all_asset_keys(), outputs


@pytest.fixture(scope="module")
def definitions() -> tuple[dg.Definitions, dg.Definitions]:
    few, many = (build_definitions(project(n), Settings.load()) for n in (2, 12))
    return few, many


@pytest.mark.parametrize("job", JOBS)
def test_a_job_of_one_among_many_is_that_of_one_among_few(
    definitions: tuple[dg.Definitions, dg.Definitions], job: str
) -> None:
    few, many = (known(each.resolve_job_def(f"target_1_{job}")) for each in definitions)
    assert few == many
    made, others, outputs = many
    assert made < others
    assert len(outputs) < 20


def test_jobs_of_all_targets_are_among_the_definitions_and_make_all_assets(
    definitions: tuple[dg.Definitions, dg.Definitions],
) -> None:
    repository = definitions[1].get_repository_def()
    jobs = {job.name: set(job.asset_layer.selected_asset_keys) for job in repository.get_all_jobs()}
    own = [jobs[f"target_{i}_{job}"] for i in range(12) for job in JOBS]
    assert set().union(*own) == jobs["Everything_and_predictions"]
    (made,) = jobs["target_3_predict_staging"]
    assert made == dg.AssetKey(["predictions", "target_3", "staging"])
