"""The work as declarations, and the project's engine doing it."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from ff_assets import Entity, Source, Target, stage
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS, Kind, steps_of
from ff_assets.engine.execute import Execution, Failed, Finished
from ff_assets.engine.make import Maker
from ff_assets.engine.plan import make_plan
from ff_assets.engine.store import Record, Store
from ff_assets.engine.versions import fingerprint
from ff_assets_tests.bench.workload import (
    CLASSIFIERS,
    EDITED,
    KEY,
    LABELS,
    SCHEMA,
    TOKENIZER,
    VECTORISERS,
)


def declare(
    data: Path,
    *,
    targets: Collection[str] = tuple(LABELS),
    classifiers: Collection[str] = tuple(CLASSIFIERS),
    edited_target: str | None = None,
) -> Project:
    """The work, or a part of it, as a project.

    Args:
        edited_target: the target of which one classifier has another parameter.
    """
    features = dict(column.split() for column in SCHEMA.split(", "))
    del features[KEY]
    rows = Source(
        "rows",
        entity=Entity("review", key=KEY),
        load=lambda spark: spark.read.schema(SCHEMA).parquet(str(data)),
        features=features,
        labels=list(LABELS.values()),
        version=str(data),
    )
    cls, parameters = TOKENIZER
    stages = [stage(cls, inputCol="text", outputCol="tokens", **parameters)]
    for name, steps in VECTORISERS.items():
        chain = [stage(cls, inputCol=i, outputCol=o, **own) for cls, i, o, own in steps]
        stages += [*chain[:-1], chain[-1].named(name)]
    for target in targets:
        for kind in classifiers:
            cls, parameters = CLASSIFIERS[kind]
            if target == edited_target and kind == EDITED[0]:
                parameters = {**parameters, **EDITED[1]}
            columns = {"featuresCol": "text_vector", "labelCol": LABELS[target]}
            declared = stage(cls, **columns, predictionCol=target, **parameters)
            stages.append(declared.named(f"{target}_{kind}"))
    return Project(
        sources=(rows,),
        stages=tuple(stages),
        targets=tuple(
            Target(target, outputs=[target], label=LABELS[target], task="binary")
            for target in targets
        ),
    )


def run(spark: Callable[[], SparkSession], project: Project, store: Store) -> dict[str, float]:
    """Let the engine do it, without Dagster and without a registry.

    Returns:
        Variant -> test AUC.
    """
    flow = infer(project)
    wanted = {step: CELLS if step.has_cells else () for step in steps_of(flow)}
    aucs: dict[str, float] = {}
    with store.staging() as staging:
        fingerprints, staged = fingerprint(flow, wanted, spark, staging)
        plan = make_plan(flow, wanted, fingerprints, store)
        maker = Maker(plan, store, staging, spark, _register, staged)
        for event in Execution(plan, maker).run():
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Finished) and event.step.kind is Kind.EVALUATION:
                variant = event.step.variant
                vector = variant.features["text_vector"]
                name = f"{variant.prediction.provider.name}_{vector.provider.name}"
                aucs[name] = _auc(event.records[""])
    return aucs


def _auc(record: Record) -> float:
    return float(record.details["cells"]["test"]["metrics"]["auc"]["value"])


def _register(*_: Any) -> dict[str, Any]:
    return {}
