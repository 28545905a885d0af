"""Fingerprints: what identifies a result by everything that it was made from.

`H(class, explicit parameters, code, split policy, source data version, upstream fingerprints)`.
Equal fingerprints mean equal results, so a result is found again after an edit is undone.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ff_assets.core.code import code_digest
from ff_assets.core.declare import Provider, Source
from ff_assets.core.flow import Instance, Variant
from ff_assets.core.operations import ColumnOperation
from ff_assets.core.split import HashSplit


def digest(value: Any) -> str:
    """A hex digest of plain values; equal for equal values, whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if callable(value):
        return code_digest(value)
    for exact in ("toArray", "tolist"):  # of vectors, matrices and arrays; `repr` cuts them short
        if hasattr(value, exact):
            return [type(value).__name__, getattr(value, exact)()]
    return repr(value)


def declaration_digest(provider: Provider, split: HashSplit) -> str:
    """What the code says: changes when the declaration or its code is edited, not with data."""
    if isinstance(provider, Source):
        return digest(
            {
                "source": provider.name,
                "key": provider.entity.key,
                "features": dict(provider.features),
                "labels": sorted(provider.labels),
                "load": code_digest(provider.load),
                "split": split.describe(),
            }
        )
    operation = provider.operation
    if isinstance(operation, ColumnOperation):
        return digest({"function": code_digest(operation.function), "writes": provider.outputs})
    described = {
        "class": f"{operation.cls.__module__}.{operation.cls.__qualname__}",
        "params": operation.params,
        "reads": operation.reads,
        "fit_reads": operation.fit_reads,
        "writes": operation.writes,
    }
    if not operation.cls.__module__.startswith("pyspark."):
        described["code"] = code_digest(operation.cls)
    return digest(described)


class Fingerprints:
    """The fingerprints of a flow's instances and variants for given data.

    Args:
        split: the split policy.
        data_versions: source name -> version of its data.
        engine: the version of the engine; another one may compute other values.
        metrics: the version of what measures predictions.
    """

    def __init__(
        self, split: HashSplit, data_versions: Mapping[str, str], engine: str, metrics: str
    ) -> None:
        self._split = split
        self._data_versions = data_versions
        self._engine = engine
        self._metrics = metrics
        self._known: dict[Instance, str] = {}

    def add(self, instances: tuple[Instance, ...]) -> None:
        """Fingerprint instances, which come in topological order."""
        for instance in instances:
            provider = instance.provider
            parts: dict[str, Any] = {"declaration": declaration_digest(provider, self._split)}
            if isinstance(provider, Source):
                parts["data"] = self._data_versions[provider.name]
            else:
                parts["engine"] = self._engine
                parts["inputs"] = {f: self._known[i] for f, i in instance.inputs.items()}
                parts["fit"] = {f: self._known[i] for f, i in instance.fit_inputs.items()}
            self._known[instance] = digest(parts)

    def __getitem__(self, instance: Instance) -> str:
        return self._known[instance]

    def of_evaluation(self, variant: Variant) -> str:
        """What metrics of a variant come from: predictions, labels, the task and their code."""
        target = variant.target
        return digest(
            {
                "prediction": [target.outputs[0], self[variant.prediction]],
                "label": target.label and [target.label, self[variant.features[target.label]]],
                "task": target.task,
                "metrics": self._metrics,
            }
        )

    def of_registration(self, variant: Variant) -> str:
        """What a registered model was made from: its stages, its names and its metrics."""
        return digest(
            {
                "target": variant.target.name,
                "variant": variant.name,
                "outputs": {o: self[variant.features[o]] for o in variant.target.outputs},
                "evaluation": self.of_evaluation(variant),
            }
        )
