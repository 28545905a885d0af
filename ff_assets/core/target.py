"""What is wanted: a target, its outputs, and how their quality is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ff_assets.core.cells import TEST
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, Location, caller_location, nearest
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
        choose: feature -> names of the providers that may be used for it.
        max_variants: more variants than this are refused.
        owner: `team:nlp` or an e-mail address.
        description: Markdown.

    Raises:
        DefinitionError: there are no outputs, the task is unknown, one of label and task is
            missing, there is no label to select by, or a name or the owner cannot be one.
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

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every feature that a variant has to derive."""
        return tuple(dict.fromkeys([*self.outputs, *self.keep, *filter(None, [self.label])]))
