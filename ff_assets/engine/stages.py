"""Spark stages made from declarations: constructed, fitted, applied, saved and loaded."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.errors import StageError, brief
from ff_assets.core.instance import Contest, Instance, Variant
from ff_assets.core.operations import ColumnOperation, PretrainedOperation, SparkOperation
from ff_assets.core.refusals import describe
from ff_assets.core.rowwise import mixing
from ff_assets.engine.columns import column_parameters, serving_names

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel

# Spark's own default is the hash of the class's name, which is another one in every process.
SEED = 17


def make_stage(instance: Instance, names: Mapping[str, str]) -> Any:
    """The Spark transformer or estimator of an instance, on the given columns.

    One that draws at random does so with the declared seed or else a constant one: what has
    equal fingerprints is equal.

    Args:
        names: feature or private column -> column in the frame.
    """
    operation = instance.stage.operation
    if isinstance(operation, ColumnOperation):
        from ff_assets.engine.column_function import ColumnFunction

        return ColumnFunction(
            function=operation.function,
            inputCols=[names[name] for name in instance.stage.inputs],
            outputCol=names[instance.stage.outputs[0]],
        )
    if isinstance(operation, PretrainedOperation):
        return operation.load()  # it has its columns' names, which are the features'
    assert isinstance(operation, SparkOperation)
    made = operation.cls()
    if made.hasParam("seed"):
        made.set(made.getParam("seed"), SEED)
    columns = column_parameters(instance, names)
    for name, value in {**operation.params, **columns}.items():
        made.set(made.getParam(name), value)
    return made


def class_name(model: Any) -> str:
    """What `load_model` needs to know of a saved model."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def load_model(path: Path, name: str) -> Any:
    """Load a saved model.

    Args:
        name: its `class_name`.
    """
    module, _, qualname = name.rpartition(".")
    return getattr(importlib.import_module(module), qualname).load(str(path))


def refuse_mixing(instance: Instance, model: Any) -> None:
    """Refuse a fitted model whose application to a row depends on other rows.

    Raises:
        StageError: its class says so; Spark's own are taken at their word.
    """
    kind: type = type(model)
    mixed = mixing(kind)
    if mixed is not None:
        raise StageError(
            f"the model of `{instance.name}` mixes rows where it is applied: {mixed.what}.",
            where=[("the model", mixed.location), describe(instance.provider)],
            why=mixed.reason.why,
            fix="do it in the fit, which reads train only, and keep what it learned in the model; "
            f"or {mixed.reason.fix}.",
            code="ROW_MIXING_AS_TRANSFORMER",
        )


def missing_fit(instance: Instance, fit: str, path: Path) -> StageError:
    """A fold's model is not there. No other one takes its place: it would have seen the fold."""
    return StageError(
        f"`{instance.name}` lacks the model of {fit or 'all of train'}.",
        where=[describe(instance.provider)],
        why=f"{path} does not exist; the models of other folds have seen rows of {fit}, so they "
        "cannot stand in.",
        fix=f"delete {path.parent} and run again: all folds are fitted anew.",
    )


def failed(subject: Instance | Variant | Contest, verb: str, error: BaseException) -> StageError:
    """An error of Spark, or of a user's function, with the declaration it came from.

    Args:
        verb: what could not be done: `fitted`, `applied`, ...
    """
    declaration = subject.provider if isinstance(subject, Instance) else subject.target
    return StageError(
        f"`{subject.name}` cannot be {verb}.",
        where=[describe(declaration)],
        why=brief(error),
        fix="the cause stands below with its trace; `ff run` continues from what is whole.",
    )


def serving_model(variant: Variant, models: Mapping[Instance, Any]) -> "PipelineModel":
    """A variant as one pipeline from source features to outputs, in logical names.

    Args:
        models: the fitted model of every estimator of the variant.
    """
    from pyspark.ml import PipelineModel

    stages = []
    for instance, names in serving_names(variant).items():
        if instance not in models:
            stages.append(make_stage(instance, names))
            continue
        model = models[instance]
        columns = {
            model.getParam(name): value
            for name, value in column_parameters(instance, names).items()
            if model.hasParam(name)
        }
        stages.append(model.copy(columns))
    return PipelineModel(stages)
