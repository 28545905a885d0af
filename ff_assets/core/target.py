"""What is wanted: a target, its outputs, and how their quality is measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from ff_assets.core.ab_test import ABTest
from ff_assets.core.cells import TEST
from ff_assets.core.durations import duration
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, Location, caller_location, nearest
from ff_assets.core.hypothesis import Hypothesis, check_hypotheses
from ff_assets.core.metrics import CHANCE, LOSSES, METRICS
from ff_assets.core.names import check_name, check_names, check_owner
from ff_assets.core.split import Split

Task = Literal["binary", "multiclass", "regression"]
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


@dataclass(frozen=True, eq=False)
class Target:
    """Outputs that are wanted, and how their quality is measured.

    Args:
        name: unique among targets; also the name of the registered model.
        outputs: features to derive; the first is the prediction that is measured. None of them
            may be made from the label, or come from a fit on rows that are certified.
        keep: features to keep beside the predictions.
        label: the feature that holds the truth. Rows where it is null are not measured.
        task: `binary`, `multiclass` or `regression`; decides the metrics.
        entity: what is predicted about; needed only where the names leave it open.
        split: the split policy of its rows; the project's if it is left out, which is the one in
            the flow modules that no target names, or the only one in them.
        certify: the parts of the data for which an honest metric is wanted: `test`, `validation`
            if the split has it, or a fold of the cross-fitted prediction (`fold_0`) or block of
            the ordered one (`block_2`). The metric on test is shown, and so has to be honest,
            whatever is certified; a model is registered only with a certificate.
        select_on: the part whose metric decides which variant is the champion, in the words of
            `certify`, or `folds` for all folds or blocks. It must not be among what is certified:
            the best of several is better there by luck alone. Nor may a fit behind any of the
            variants have read rows of it. `validation` is there for it.
        floor: metric -> the worst value that may be promoted: the least, of errors the most. It
            is held against the end of the metric's 95% interval on test; see `floors` for what
            holds without it.
        slices: features by whose values the first metric is shown on test, to be seen and not to
            be judged. They are the target's own or of what its rows belong to. Numbers of many
            values are cut into quartiles, of many texts the 20 most frequent are shown.
        schedule: when to fit and to predict, as cron in UTC: `"0 6 * * *"`. It makes a schedule of
            each of the target's three jobs, all of them off until somebody turns them on. With an
            A/B test these are the jobs that fit, that predict for the test, and that look at it.
        fresh_for: how old predictions may become, such as `"26h"`: Dagster marks those that are
            older. Allow for the time that a run takes.
        ab_test: two aliases that serve shares of the units, and the outcomes that they are
            compared by.
        hypotheses: what is expected of its variants, stated before a run and judged after it.
        choose: feature -> names of the providers that may be used for it.
        max_variants: more variants than this are refused.
        owner: `team:nlp` or an e-mail address.
        description: Markdown.

    Raises:
        DefinitionError: there are no outputs, the task is unknown, one of label and task is
            missing, there is no label to select by or to hold a floor, slices or hypotheses to, a
            floor or a hypothesis is of another task's metric or no number, a schedule or a length
            of time is none, or a name or the owner cannot be one.
    """

    name: str
    outputs: Sequence[str]
    keep: Sequence[str] = ()
    label: str | None = None
    task: Task | None = None
    entity: Entity | None = None
    split: Split | None = None
    certify: Sequence[str] = (TEST,)
    select_on: str | None = None
    floor: Mapping[str, float] = field(default_factory=dict)
    slices: Sequence[str] = ()
    schedule: str | None = None
    fresh_for: timedelta | str | None = None
    ab_test: ABTest | None = None
    hypotheses: Sequence[Hypothesis] = ()
    choose: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_variants: int = 16
    owner: str | None = None
    description: str | None = None
    location: Location = field(default_factory=caller_location, repr=False)

    def __post_init__(self) -> None:
        here = [(f"target {self.name!r}", self.location)]
        check_name("target", self.name, self.location)
        check_owner(self.owner, here)
        check_names(f"`outputs` of target `{self.name}`", self.outputs, here)
        check_names(f"`keep` of target `{self.name}`", self.keep, here)
        check_names(f"`certify` of target `{self.name}`", self.certify, here)
        check_names(f"`slices` of target `{self.name}`", self.slices, here)
        for feature, providers in self.choose.items():
            what = f"`choose` of target `{self.name}` for `{feature}`"
            check_names(what, providers, here)
        if not self.outputs:
            raise DefinitionError(
                f"target `{self.name}` has no outputs.",
                where=here,
                why="the flow is inferred backwards from the outputs that are wanted.",
                fix='for example outputs=["sentiment"].',
            )
        if self.select_on is not None and not isinstance(self.select_on, str):
            raise DefinitionError(
                f"target `{self.name}` selects on {self.select_on!r}, which is not one part.",
                where=here,
                why="variants are compared by their metric on one part of the data.",
                fix="for example select_on='validation'; 'folds' is all folds of train together.",
            )
        if self.select_on is not None and self.label is None:
            raise DefinitionError(
                f"target `{self.name}` selects on {self.select_on}, but has no label.",
                where=here,
                why="a champion is chosen by a metric, and there is none without the truth.",
                fix="declare label and task, or leave `select_on` out.",
            )
        if self.max_variants < 1:
            raise DefinitionError(
                f"target `{self.name}` allows {self.max_variants} variants.",
                where=here,
                why="a target that can be derived has at least one variant.",
                fix="allow at least one, or leave `max_variants` out for 16.",
            )
        if (self.label is None) != (self.task is None):
            raise DefinitionError(
                f"target `{self.name}` has {'a task' if self.task else 'a label'} only.",
                where=here,
                why="metrics need the label (the truth) and the task (how it is compared).",
                fix="declare both, or neither for a target that is not measured.",
            )
        if self.task is not None and self.task not in TASKS:
            raise DefinitionError(
                f"target `{self.name}` has the unknown task {self.task!r}.",
                where=here,
                why=nearest(self.task, TASKS),
                fix=f"use one of {', '.join(TASKS)}.",
            )

        if self.ab_test is not None and not isinstance(self.ab_test, ABTest):
            raise DefinitionError(
                f"the A/B test of target `{self.name}` is none.",
                where=here,
                why=f"it was given {self.ab_test!r}.",
                fix='for example ab_test=ABTest("production", "staging", share=0.1, outcomes=..., '
                "measure=..., planned=...).",
            )
        self._check_times(here)
        self._check_floor(here)
        check_hypotheses(self)
        if self.slices and self.label is None:
            raise DefinitionError(
                f"target `{self.name}` is sliced by {self.slices[0]!r}, but has no label.",
                where=here,
                why="slices show a metric, and there is none without the truth.",
                fix="declare label and task, or leave `slices` out.",
            )

    def _check_times(self, here: list[tuple[str, Location]]) -> None:
        if self.schedule is not None and not isinstance(self.schedule, str):
            raise DefinitionError(
                f"target `{self.name}` has the schedule {self.schedule!r}, which is no text.",
                where=here,
                why="a schedule is cron: minute, hour, day of the month, month, day of the week.",
                fix='for example schedule="0 6 * * *", daily at 6:00 UTC.',
            )
        if self.fresh_for is not None and duration(self.fresh_for, here) < timedelta(minutes=1):
            raise DefinitionError(
                f"target `{self.name}` has predictions that are fresh for {self.fresh_for}.",
                where=here,
                why="that is less than a minute, and Dagster does not look more often.",
                fix='for example fresh_for="26h", a day and the time of a run.',
            )

    def _check_floor(self, here: Sequence[tuple[str, Location]]) -> None:
        if self.floor and self.task is None:
            raise DefinitionError(
                f"target `{self.name}` has a floor, but has no label.",
                where=here,
                why="a floor is held against a metric, and there is none without the truth.",
                fix="declare label and task, or leave `floor` out.",
            )
        for metric, worst in self.floor.items():
            known = METRICS[self.task or ""]
            if metric not in known:
                raise DefinitionError(
                    f"target `{self.name}` has a floor of {metric!r}, which is no metric of a "
                    f"{self.task} target.",
                    where=here,
                    why=nearest(metric, known),
                    fix=f"name one of {', '.join(known)}.",
                )
            number = isinstance(worst, int | float) and not isinstance(worst, bool)
            if not number or not math.isfinite(worst):
                raise DefinitionError(
                    f"target `{self.name}` has a floor of {metric} that is no number: {worst!r}.",
                    where=here,
                    why=f"it is the {'most' if metric in LOSSES else 'least'} that {metric} on "
                    "test may be for a version to be promoted.",
                    fix=f"for example floor={{{metric!r}: {CHANCE[self.task or ''][1] + 0.3:g}}}.",
                )

    @property
    def floors(self) -> Mapping[str, float]:
        """Metric -> the worst value that may be promoted: what is declared, and beyond chance.

        A target of which nothing is said has to be better than a prediction that knows nothing of
        the row: an AUC above 0.5, of several classes one against the rest, or an R2 above 0, the
        mean of the labels. Where there is no such metric, nothing holds by itself.
        """
        return dict([CHANCE[self.task]] if self.task else []) | dict(self.floor)

    @property
    def measured(self) -> tuple[str, ...]:
        """What an evaluation reads: the prediction, the label, and what it is sliced by."""
        return tuple(dict.fromkeys([self.outputs[0], *filter(None, [self.label]), *self.slices]))

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every feature that a variant has to derive."""
        return tuple(dict.fromkeys([*self.outputs, *self.keep, *self.measured]))
