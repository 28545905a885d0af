"""Fingerprints: what identifies a result by everything that it was made from.

`H(class, explicit parameters, code, split policy, source data version, upstream fingerprints)`.
Equal fingerprints mean equal results, so a result is found again after an edit is undone.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from ff_assets.core.code import code_digest
from ff_assets.core.declare import Provider, Source
from ff_assets.core.fitting import Fit
from ff_assets.core.hypothesis import Stated
from ff_assets.core.instance import Instance, Variant, sources_behind
from ff_assets.core.operations import (
    AggregateOperation,
    ColumnOperation,
    Operation,
    PretrainedOperation,
)
from ff_assets.core.questions import Question
from ff_assets.core.split import Split


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


def declaration_digest(provider: Provider, split: Split, fits: Sequence[Fit] = ()) -> str:
    """What the code says: changes when the declaration or its code is edited, not with data."""
    if isinstance(provider, Source):
        return digest(
            {
                "source": provider.name,
                "columns": provider.entity.columns,
                "features": dict(provider.features),
                "labels": sorted(provider.labels),
                "load": code_digest(provider.load),
                "split": split.describe(),
            }
        )
    described = _operation(provider.operation) | {"writes": provider.outputs}
    if fits:
        described["fits"] = [[fit.name, fit.region, fit.serves, fit.context] for fit in fits]
    return digest(described)


def _operation(operation: Operation) -> dict[str, Any]:
    if isinstance(operation, ColumnOperation):
        return {"function": code_digest(operation.function)}
    if isinstance(operation, PretrainedOperation):
        return {"pretrained": operation.version, "load": code_digest(operation.load)}
    if isinstance(operation, AggregateOperation):
        return {
            "of": operation.of.columns,
            "to": operation.to.columns,
            "over": operation.over.name,
            "gap": operation.gap.total_seconds(),
            "measures": [
                [m.output, m.inputs, m.function, m.window and m.window.total_seconds(), m.where]
                for m in operation.measures
            ],
        }
    described = {
        "class": f"{operation.cls.__module__}.{operation.cls.__qualname__}",
        "params": operation.params,
        "reads": operation.reads,
        "fit_reads": operation.fit_reads,
        "columns": operation.writes,
    }
    if not operation.cls.__module__.startswith("pyspark."):
        described["code"] = code_digest(operation.cls)
    return described


def _labels(stated: Stated) -> list[Instance]:
    """The labels of both variants."""
    return [v.features[v.target.label] for v in stated.variants if v.target.label is not None]


def leaderboard_fingerprint(
    evaluations: Sequence[str], select_on: str | None, comparing: str
) -> str:
    """`Fingerprints.of_leaderboard`, where the data is not known.

    Args:
        comparing: the version of the code that compares variants.
    """
    return digest([list(evaluations), select_on, comparing])


class Fingerprints:
    """The fingerprints of a flow's instances and variants for given data.

    Args:
        data_versions: source name -> version of its data.
        engine: the version of the engine; another one may compute other values.
        reading: the version of the code that reads sources and divides their rows.
        metrics: the version of the code that evaluates.
        comparing: the version of the code that compares variants.
    """

    def __init__(
        self,
        data_versions: Mapping[str, str],
        *,
        engine: str,
        reading: str,
        metrics: str,
        comparing: str,
    ) -> None:
        self._comparing = comparing
        self.data_versions = data_versions
        self._engine = engine
        self._reading = reading
        self._metrics = metrics
        self._known: dict[Instance, str] = {}

    def add(
        self, instances: tuple[Instance, ...], known: Mapping[Instance, str] = MappingProxyType({})
    ) -> None:
        """Fingerprint instances, which come in topological order.

        Args:
            known: the fingerprints that some of them had, for results of an earlier time.
        """
        self._known.update(known)
        for instance in instances:
            if instance in known:
                continue
            provider = instance.provider
            parts: dict[str, Any] = {
                "declaration": declaration_digest(provider, instance.split, instance.fits)
            }
            if isinstance(provider, Source):
                parts["data"] = self.data_versions[provider.name]
                parts["reading"] = self._reading
            else:
                parts["engine"] = self._engine
                parts["inputs"] = {f: self._known[i] for f, i in instance.inputs.items()}
                if instance.spine is not None:
                    parts["rows"] = self._known[instance.spine]
                parts["fit"] = {f: self._known[i] for f, i in instance.fit_inputs.items()}
            self._known[instance] = digest(parts)

    def __getitem__(self, instance: Instance) -> str:
        return self._known[instance]

    def of_evaluation(self, variant: Variant, claimed: str) -> str:
        """What metrics of a variant come from: predictions, labels, slices, task and code.

        Args:
            claimed: a digest of what their certificates claim. What was read by which fit may
                change with declarations that change no value, such as when labels are known.
        """
        target = variant.target
        slices = [[name, self[variant.features[name]]] for name in target.slices]
        return digest(
            {
                "prediction": [target.outputs[0], self[variant.prediction]],
                "label": target.label and [target.label, self[variant.features[target.label]]],
                **({"slices": slices} if slices else {}),
                "task": target.task,
                "metrics": self._metrics,
                "claimed": claimed,
            }
        )

    def of_leaderboard(self, evaluations: Sequence[str], select_on: str | None) -> str:
        """What a comparison of variants comes from.

        Args:
            evaluations: the fingerprints of their evaluations.
            select_on: the part whose metric decides which one is the champion.
        """
        return leaderboard_fingerprint(evaluations, select_on, self._comparing)

    def question(self, stated: Stated) -> Question:
        """What the verdict on a hypothesis answers."""
        labels = _labels(stated)
        return Question(
            hypothesis=digest(stated.content),
            predictions=digest([self[variant.prediction] for variant in stated.variants]),
            data=digest({s.name: self.data_versions[s.name] for s in sources_behind(labels)}),
        )

    def of_verdict(self, stated: Stated) -> str:
        """What the verdict on a hypothesis comes from: predictions, labels and code.

        Slices, and what else is measured beside its metric, have no part in it. Nor has what else
        the rows were asked, which only the record knows.
        """
        read = [self[instance] for instance in _labels(stated)]
        question = asdict(self.question(stated))
        return digest([question, read, self._metrics, self._comparing])

    def of_registration(self, variant: Variant, claimed: str) -> str:
        """What a registered model was made from: its stages, its names and its metrics.

        Args:
            claimed: as for `of_evaluation`.
        """
        return digest(
            {
                "target": variant.target.name,
                "variant": variant.name,
                "outputs": {o: self[variant.features[o]] for o in variant.target.outputs},
                "evaluation": self.of_evaluation(variant, claimed),
            }
        )
