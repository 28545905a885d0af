"""Steps: the pieces of work that a flow comes to, each of which becomes one asset.

A source is read and split; a model is fitted on train; features are applied cell by cell; a
variant is evaluated and registered; the variants of a target are compared, and its hypotheses
judged. A step either fits or applies, never both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ff_assets.core.cells import TEST, TRAIN
from ff_assets.core.declare import Declaration
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Contest, Instance, Variant
from ff_assets.core.nesting import lessons

CELLS = (TRAIN, TEST)


class Kind(StrEnum):
    """What a step makes; also the first part of its asset key."""

    SOURCE = "sources"
    MODEL = "models"
    FEATURE = "features"
    EVALUATION = "evaluations"
    LEADERBOARD = "leaderboards"
    HYPOTHESES = "hypotheses"
    REGISTRATION = "registry"


_SUFFIX = {
    Kind.MODEL: "_model",
    Kind.EVALUATION: "_evaluation",
    Kind.LEADERBOARD: "_leaderboard",
    Kind.HYPOTHESES: "_hypotheses",
    Kind.REGISTRATION: "_registered",
}


@dataclass(frozen=True)
class Step:
    """One piece of work: a kind, and the instance, variant or contest that it is about."""

    kind: Kind
    subject: Instance | Variant | Contest

    @property
    def instance(self) -> Instance:
        assert isinstance(self.subject, Instance)
        return self.subject

    @property
    def variant(self) -> Variant:
        assert isinstance(self.subject, Variant)
        return self.subject

    @property
    def contest(self) -> Contest:
        assert isinstance(self.subject, Contest)
        return self.subject

    @property
    def declaration(self) -> Declaration:
        """What asks for it."""
        return self.subject.provider if isinstance(self.subject, Instance) else self.subject.target

    @property
    def path(self) -> tuple[str, str]:
        """The asset key: `("features", "sentiment__tfidf")`.

        The last part alone tells steps apart, because Dagster's graph shows no more.
        """
        return (self.kind.value, self.subject.slug + _SUFFIX.get(self.kind, ""))

    @property
    def name(self) -> str:
        """For people: `features/sentiment[tfidf]`."""
        return f"{self.kind.value}/{self.subject.name}"

    @property
    def has_cells(self) -> bool:
        """Whether it is made cell by cell; otherwise it is one whole."""
        return self.kind in (Kind.SOURCE, Kind.FEATURE)

    def parents(self) -> Iterator["Step"]:
        """The steps whose results it reads."""
        if self.kind is Kind.MODEL:
            learned = lessons(self.instance)
            yield from dict.fromkeys(rows_of(given) for given, _ in learned.given)
            yield from (Step(Kind.MODEL, each) for each in learned.remade if each.is_estimator)
        elif self.kind is Kind.FEATURE:
            yield from map(rows_of, self.instance.applied_to)
            if self.instance.is_estimator:
                yield Step(Kind.MODEL, self.instance)
        elif self.kind is Kind.EVALUATION:
            features, measured = self.variant.features, self.variant.target.measured
            yield from (rows_of(i) for i in dict.fromkeys(features[name] for name in measured))
        elif self.kind is Kind.LEADERBOARD:
            yield from (Step(Kind.EVALUATION, variant) for variant in self.contest.variants)
        elif self.kind is Kind.HYPOTHESES:
            compared = [variant for each in self.contest.stated for variant in each.variants]
            yield from (Step(Kind.EVALUATION, variant) for variant in dict.fromkeys(compared))
        elif self.kind is Kind.REGISTRATION:
            for instance in self.variant.serving_instances():
                if instance.is_estimator:
                    yield Step(Kind.MODEL, instance)
            features = self.variant.features
            outputs = dict.fromkeys(features[name] for name in self.variant.target.outputs)
            yield from (rows_of(instance) for instance in outputs)
            if self.variant.target.label is not None:
                yield Step(Kind.EVALUATION, self.variant)

    def __repr__(self) -> str:
        return f"<Step {self.name}>"


def rows_of(instance: Instance) -> Step:
    """The step that makes an instance's rows."""
    return Step(Kind.SOURCE if instance.is_source else Kind.FEATURE, instance)


def steps_of(flow: Flow) -> tuple[Step, ...]:
    """Every step of a flow in topological order."""
    steps: list[Step] = []
    for instance in flow.instances:
        if instance.is_estimator:
            steps.append(Step(Kind.MODEL, instance))
        steps.append(rows_of(instance))
    for variant in flow.variants:
        if variant.target.label is not None:
            steps.append(Step(Kind.EVALUATION, variant))
        steps.append(Step(Kind.REGISTRATION, variant))
    for target in flow.project.targets:
        if target.label is not None:
            contest = Contest(target, flow.variants_of(target.name))
            steps.append(Step(Kind.LEADERBOARD, contest))
            if target.hypotheses:
                steps.append(Step(Kind.HYPOTHESES, contest))
    return tuple(steps)


def steps_of_target(flow: Flow, target: str) -> tuple[Step, ...]:
    """Every step that a target needs, in topological order."""
    variants = flow.variants_of(target)
    subjects = {
        *variants,
        *(instance for variant in variants for instance in variant.instances),
        Contest(flow.project.target(target), variants),
    }
    return tuple(step for step in steps_of(flow) if step.subject in subjects)
