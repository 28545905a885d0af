"""Stages are made the same in every process."""

import os
import subprocess
import sys

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
