"""Stages that compute nothing, and random graphs of them."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.instance import Instance
from ff_assets.core.project import Project
from ff_assets.core.stage import Stage, stage
from ff_assets.core.target import Target

Imported = Callable[..., ModuleType]  # the fixture of that name

item = Entity("item", key="item_id")


def edited(text: str, old: str, new: str) -> str:
    """Code with an edit at the one place where something stands."""
    assert text.count(old) == 1
    return text.replace(old, new)


class Param:
    """What the core sees of a Spark parameter."""

    doc = "a parameter"

    @staticmethod
    def typeConverter(value: Any) -> Any:  # noqa: N802
        return value


class Transformer:
    """A class with Spark's column parameters, so that `stage` takes it."""

    inputCols = Param()
    outputCols = Param()
    level = Param()


class Estimator(Transformer):
    """It has a fit, which may read more than its application."""

    labelCol = Param()
    weightCol = Param()
    predictionCol = Param()

    def fit(self) -> None: ...


def source(name: str, *features: str, entity: Entity = item, version: str = "1") -> Source:
    types = dict.fromkeys(features, "double")
    return Source(name, entity=entity, load=load, features=types, version=version)


def load(spark: Any) -> Any:
    return spark


def transformer(name: str, reads: Sequence[str], *writes: str, level: int | None = None) -> Stage:
    declared = stage(
        Transformer, inputCols=list(reads), outputCols=list(writes or [name]), level=level
    )
    return declared.named(name)


def estimator(
    name: str,
    reads: Sequence[str],
    *writes: str,
    label: str | None = None,
    weight: str | None = None,
    level: int | None = None,
) -> Stage:
    declared = stage(
        Estimator,
        inputCols=list(reads),
        outputCols=list(writes or [name]),
        labelCol=label,
        weightCol=weight,
        level=level,
    )
    return declared.named(name)


class Graph:
    """A project with the plain facts that an oracle needs.

    Attributes:
        project: one source and stages over the features `a`, `b`, ...
        features: every feature that occurs, provided or not.
    """

    def __init__(self, project: Project, features: tuple[str, ...]) -> None:
        self.project = project
        self.features = features

    def __repr__(self) -> str:
        given = [f"{p.name}({', '.join(p.outputs)})" for p in self.project.sources]
        given += [
            f"{s.name}: {s.inputs} and for its fit {s.fit_inputs} -> {s.outputs}, a {s.kind}, "
            f"a {s.materialization}"
            for s in self.project.stages
        ]
        given += [f"{t.name}: wants {t.wanted}, choose={t.choose}" for t in self.project.targets]
        return "\n".join(["", *given])


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool = False, max_targets: int = 2) -> Graph:
    """Random flows: several providers of a feature, several outputs of a stage, reads of a fit.

    Args:
        acyclic: stages read only features that are provided and come before their outputs, so
            all can be derived.
    """
    features = tuple("abcdefg"[: draw(st.integers(3, 7))])
    given = draw(st.integers(1, 2))
    stages: list[Stage] = []
    for number in range(draw(st.integers(1, 7))):
        first = draw(st.integers(given, len(features) - 1))
        writes = features[first : first + draw(st.integers(1, 2))]
        if acyclic:
            provided = {*features[:given], *(f for s in stages for f in s.outputs)}
            others = [feature for feature in features[:first] if feature in provided]
        else:
            others = [feature for feature in features if feature not in writes]
        reads = draw(st.lists(st.sampled_from(others), min_size=1, max_size=3, unique=True))
        name = f"s{number}"
        if draw(st.booleans()):
            label, weight = (draw(st.sampled_from([None, *others])) for _ in range(2))
            declared = estimator(name, reads, *writes, label=label, weight=weight, level=number)
        else:
            declared = transformer(name, reads, *writes, level=number)
        stages.append(declared.materialized(draw(st.sampled_from(["table", "view"]))))
    provided = {f for s in stages for f in s.outputs} | set(features[:given])
    targets = [
        draw(targets_of(f"t{number}", features, sorted(provided), stages, restrict=not acyclic))
        for number in range(draw(st.integers(1, max_targets)))
    ]
    sources = (source("src", *features[:given]),)
    return Graph(Project(sources, tuple(stages), tuple(targets)), features)


@st.composite
def targets_of(
    draw: st.DrawFn,
    name: str,
    features: Sequence[str],
    provided: Sequence[str],
    stages: Sequence[Stage],
    *,
    restrict: bool,
) -> Target:
    """A target for features that are mostly provided, sometimes with a choice of providers."""
    wanted = st.sampled_from(features if restrict and draw(st.integers(0, 4)) == 0 else provided)
    outputs = draw(st.lists(wanted, min_size=1, max_size=2, unique=True))
    label = draw(st.none() | wanted)
    choose = {}
    if restrict and draw(st.integers(0, 2)) == 0:
        feature = draw(st.sampled_from(provided))
        names = [s.name for s in stages if feature in s.outputs]
        if names:
            choose = {feature: draw(st.lists(st.sampled_from(names), unique=True))}
    return Target(
        name,
        outputs=outputs,
        keep=draw(st.lists(wanted, max_size=1)),
        label=label,
        task=label and "regression",
        choose=choose,
        max_variants=10_000,
    )


def named(instances: Sequence[Instance]) -> list[str]:
    return [instance.name for instance in instances]
