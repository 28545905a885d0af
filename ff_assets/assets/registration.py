"""Registering a variant: the fitted models become one pipeline, and the pipeline a version."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ff_assets.core.cells import TEST
from ff_assets.core.declare import Source
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.operations import SparkOperation
from ff_assets.core.stage import Stage
from ff_assets.core.steps import Kind, Step, rows_of
from ff_assets.engine.plan import Inventory
from ff_assets.engine.stages import serving_model
from ff_assets.registry.publish import publish
from ff_assets.registry.runs import ParentRun


@dataclass(frozen=True)
class Registrar:
    """Registers variants of one run.

    Attributes:
        inventory: what exists of the run's results.
        parent: the run's MLflow run.
        scratch: a folder that driver and executors share.
    """

    inventory: Inventory
    parent: ParentRun
    scratch: Path

    def __call__(
        self, variant: Variant, models: Mapping[Instance, Any], evaluation: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Publish a variant.

        Args:
            models: the fitted model of every estimator that serving needs.
            evaluation: the details of its evaluation: `cells` with rows and metrics, and
                `certificates`; nothing if its target has no label.

        Returns:
            MLflow's run id, and the model's URI and version.
        """
        step = Step(Kind.REGISTRATION, variant)
        published = publish(
            self.parent,
            target=variant.target.name,
            variant=variant.name,
            fingerprint=self.inventory.fingerprint(step),
            asset_key="/".join(step.path),
            description=_description(variant),
            model=serving_model(variant, models),
            inputs=self._inputs(variant),
            outputs={
                name: self._type(variant.features[name], name) for name in variant.target.outputs
            },
            parameters=parameters(variant),
            metrics=flat_metrics(evaluation.get("cells", {})),
            certificates=evaluation.get("certificates", {}),
            shown=_shown(evaluation.get("cells", {})),
            scratch=self.scratch,
        )
        return {
            "run_id": published.run_id,
            "model_uri": published.model_uri,
            "version": published.version,
        }

    def _inputs(self, variant: Variant) -> dict[str, str]:
        """What scoring is given: feature -> Spark SQL type."""
        return {
            name: self._type(parent, name)
            for instance in variant.serving_instances()
            if not instance.is_given
            for name, parent in instance.inputs.items()
            if parent.is_given
        }

    def _type(self, instance: Instance, feature: str) -> str:
        if isinstance(instance.provider, Source):
            return instance.provider.features[feature]
        records = self.inventory.find(rows_of(instance))
        return next(iter(records.values())).columns[feature]


def flat_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """`auc_test`, `auc_test_low`, `auc_test_high`, `auc_train`, ...: names that plot over time."""
    flat: dict[str, float] = {}
    for cell, result in evaluation.items():
        for name, metric in result["metrics"].items():
            flat[f"{name}_{cell}"] = metric["value"]
            if metric["low"] is not None:
                flat[f"{name}_{cell}_low"] = metric["low"]
                flat[f"{name}_{cell}_high"] = metric["high"]
        calibration = result.get("calibration", {})
        if "error" in calibration:
            flat[f"calibration_error_{cell}"] = calibration["error"]
        elif calibration:
            flat[f"bias_{cell}"] = calibration["bias"]["value"]
    return flat


def _shown(cells: Mapping[str, Any]) -> dict[str, Any]:
    """What a person should see of test beside its metrics."""
    test = cells.get(TEST, {})
    return {name: test[name] for name in ("calibration", "slices") if test.get(name)}


def _description(variant: Variant) -> str:
    chain = " → ".join(instance.provider.name for instance in variant.serving_instances())
    return f"{chain}\n\n{variant.target.description or ''}".strip()


def parameters(variant: Variant) -> dict[str, dict[str, object]]:
    """Stage -> its explicit parameters, of all that shaped a variant, only in its fits or not."""
    found: dict[str, dict[str, object]] = {}
    for instance in variant.instances:
        if isinstance(instance.provider, Stage):
            operation = instance.provider.operation
            explicit = operation.params if isinstance(operation, SparkOperation) else {}
            found[instance.provider.name] = {"stage": operation.title, **explicit}
    return found
