"""Stages are made the same in every process, and fitted ones work row by row."""

import os
import subprocess
import sys

import pytest
from pyspark.ml import Estimator, Model
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ff_assets import Entity, Source, Target, stage
from ff_assets.core.errors import StageError
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.stages import refuse_mixing

SEEDS = """
from pyspark.ml import Estimator
from pyspark.ml.param.shared import HasInputCol, HasOutputCol, HasSeed
from ff_assets import Entity, Source, Target, stage
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.stages import make_stage

class Random(Estimator, HasInputCol, HasOutputCol, HasSeed):
    def _fit(self, dataset):
        raise NotImplementedError

item = Entity("item", key="item_id")
for given in ({}, {"seed": 5}):
    project = Project(
        (Source("src", entity=item, load=len, features={"x": "double"}),),
        (stage(Random, inputCol="x", outputCol="y", **given),),
        (Target("t", outputs=["y"]),),
    )
    made = make_stage(infer(project).variants[0].prediction, {"x": "x", "y": "y"})
    print(made.getSeed())
"""


def test_a_seed_that_nobody_gave_is_the_same_in_every_process() -> None:
    """Spark's own default is another one in each."""
    found = [
        subprocess.run(
            [sys.executable, "-c", SEEDS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert found[0][1] == "5"


class GroupMeanModel(Model, HasInputCol, HasOutputCol):
    """It learns nothing in its fit, and everything from the rows it is applied to."""

    def _transform(self, dataset: DataFrame) -> DataFrame:
        means = dataset.groupBy("group").agg(F.avg(self.getInputCol()).alias(self.getOutputCol()))
        return dataset.join(means, "group")


class DoubledModel(Model, HasInputCol, HasOutputCol):
    """It works row by row."""

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return dataset.withColumn(self.getOutputCol(), F.col(self.getInputCol()) * 2)


class Learner(Estimator, HasInputCol, HasOutputCol):
    """An estimator of a project's own."""

    def _fit(self, dataset: DataFrame) -> Model:
        return DoubledModel()


def test_a_model_that_mixes_rows_where_it_is_applied_is_refused() -> None:
    item = Entity("item", key="item_id")
    project = Project(
        (Source("src", entity=item, load=len, features={"x": "double"}),),
        (stage(Learner, inputCol="x", outputCol="y"),),
        (Target("t", outputs=["y"]),),
    )
    instance = infer(project).variants[0].prediction
    with pytest.raises(StageError) as caught:
        refuse_mixing(instance, GroupMeanModel())
    assert caught.value.code == "ROW_MIXING_AS_TRANSFORMER"
    assert "groupBy" in caught.value.what
    refuse_mixing(instance, DoubledModel())
