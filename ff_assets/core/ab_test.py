"""A/B tests in production: two aliases serve a target, and outcomes say which of them does better.

What is assigned to an arm is a *unit*: the key of the root entity of the target's rows (the
household of an offer, the document of a snippet), by which rows are split as well. Rows of one unit
are not independent of each other; units are, and an interval needs what is independent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ff_assets.core.assignment import CONTROL, TREATMENT, treated_positions
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, Location, caller_location, nearest
from ff_assets.core.names import ALIASES, check_name

if TYPE_CHECKING:
    from ff_assets.core.declare import Source
    from ff_assets.core.stage import Stage
    from ff_assets.core.target import Target

AB_TEST = "ab_test"  # the predictions of a test are `predictions/<target>/ab_test`
EXPERIMENTS = "experiments"

_MEASURES = re.compile(
    r"(boolean|tinyint|smallint|int|integer|bigint|float|double|decimal(\(\d+,\d+\))?)"
)


@dataclass(frozen=True, eq=False)
class ABTest:
    """A test of the model behind one alias against that behind another, on a share of the units.

    A unit stays in its arm for as long as the test has its name. The arms of two tests, and of
    tests of two targets, are independent of each other.

    Args:
        control: the alias that serves most units, usually `production`.
        treatment: the alias that serves a share of them.
        share: of the units that are in the treatment; above 0, below 1, with at most six decimals.
            Another share is another test: give it a new name.
        outcomes: the source with what happened to the units, such as purchases. It may provide
            features and labels as well, under the rules of every source; the test loads it anew and
            does not split it. Its entity is the unit, or belongs to it.
            Where it has a time, what came before a unit's first prediction in the test does not
            count; a time that is a day is the beginning of that day.
        measure: the feature of `outcomes` that is summed up for each unit, a number or a boolean.
            A unit without any counts as 0, a null as not known yet, hence as 0 so far.
        planned: how many units in both arms together are expected by the end. The interval is
            narrowest there, and holds everywhere. It is fixed before the test.
        name: of the test; decides with the target's which units are in the treatment, so a new
            name is a new test. Without one it is `<treatment>_vs_<control>`.

    Raises:
        DefinitionError: an alias is none or both are the same, the share is none, the measure is
            no number of the outcomes, or `planned` is not positive.
    """

    control: str
    treatment: str
    share: float = field(kw_only=True)
    outcomes: "Source" = field(kw_only=True)
    measure: str = field(kw_only=True)
    planned: int = field(kw_only=True)
    name: str = field(default="", kw_only=True)
    location: Location = field(default_factory=caller_location, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.name == "":
            object.__setattr__(self, "name", f"{self.treatment}_vs_{self.control}")
        here = [(f"A/B test {self.name!r}", self.location)]
        for alias in (self.control, self.treatment):
            if alias not in ALIASES:
                raise DefinitionError(
                    f"A/B test `{self.name}` serves {alias!r}, which is no alias.",
                    where=here,
                    why=nearest(str(alias), ALIASES),
                    fix='for example ABTest("production", "staging", ...).',
                )
        if self.control == self.treatment:
            raise DefinitionError(
                f"A/B test `{self.name}` compares {self.control} with itself.",
                where=here,
                why="both arms would be predicted by one model.",
                fix='name the alias of the control first: ABTest("production", "staging", ...).',
            )
        check_name("A/B test", self.name, self.location)
        self._check_share(here)
        self._check_measure(here)
        if not isinstance(self.planned, int) or self.planned < 1:
            raise DefinitionError(
                f"A/B test `{self.name}` is planned for {self.planned!r} units.",
                where=here,
                why="it is the number of units in both arms together for which the interval is to "
                "be narrowest.",
                fix="for example as many as are predicted in the month that the test is to take.",
            )

    def _check_share(self, here: list[tuple[str, Location]]) -> None:
        try:
            treated_positions(self.share)
        except (TypeError, ValueError) as error:
            raise DefinitionError(
                f"A/B test `{self.name}` cannot give a share of {self.share!r} to the treatment.",
                where=here,
                why="it is the part of the units that the treatment serves: above 0, below 1, with "
                "at most six decimals.",
                fix="for example share=0.1 for a tenth of them.",
            ) from error

    def _check_measure(self, here: list[tuple[str, Location]]) -> None:
        outcomes = self.outcomes
        if getattr(outcomes, "kind", None) != "source":
            raise DefinitionError(
                f"the outcomes of A/B test `{self.name}` are no source.",
                where=here,
                why=f"they are {outcomes!r}.",
                fix="declare a Source(...) that loads what happened to the units.",
            )
        there = (f"source {outcomes.name!r}", outcomes.location)
        if self.measure not in outcomes.features:
            raise DefinitionError(
                f"A/B test `{self.name}` measures {self.measure!r}, which `{outcomes.name}` does "
                "not have.",
                where=[*here, there],
                why=nearest(str(self.measure), outcomes.features),
                fix="name one of its features, which is summed up for each unit.",
            )
        kind = outcomes.features[self.measure].replace(" ", "").lower()
        if not _MEASURES.fullmatch(kind):
            raise DefinitionError(
                f"A/B test `{self.name}` measures `{self.measure}`, which is no number but of type "
                f"{kind}.",
                where=[*here, there],
                why="the effect is a difference between means.",
                fix="measure a number or a boolean; the loader can make one, such as 1 for each "
                "purchase.",
            )

    def salt(self, target: str) -> str:
        """What is hashed with the key of a unit: no two targets share it."""
        return f"{target}/{self.name}"

    @property
    def aliases(self) -> dict[str, str]:
        """Arm -> alias."""
        return {CONTROL: self.control, TREATMENT: self.treatment}


def required(target: "Target") -> ABTest:
    """The test of a target.

    Raises:
        DefinitionError: it has none.
    """
    if target.ab_test is None:
        raise DefinitionError(
            f"target `{target.name}` has no A/B test.",
            where=[(f"target {target.name!r}", target.location)],
            why="a test says which two aliases serve which share, and by which outcomes they are "
            "compared.",
            fix='declare one: Target(..., ab_test=ABTest("production", "staging", share=0.1, '
            "outcomes=..., measure=..., planned=...)).",
        )
    return target.ab_test


def served(target: "Target") -> tuple[str, ...]:
    """What can predict a target: the models behind the aliases, and its A/B test if it has one."""
    return (*ALIASES, *([AB_TEST] if target.ab_test is not None else []))


def serving(target: "Target") -> tuple[str, ...]:
    """What of it predicts where nobody asks: the A/B test, as it serves both aliases; else these.

    So every row that waits is predicted once, and its arm is what it was really exposed to.
    """
    return (AB_TEST,) if target.ab_test is not None else ALIASES


def arms_of(target: "Target", served_as: str) -> Mapping[str, str]:
    """Arm -> alias; what an alias predicts is of no arm.

    Args:
        served_as: an alias, or `AB_TEST`.

    Raises:
        DefinitionError: the target has no test.
    """
    return required(target).aliases if served_as == AB_TEST else {"": served_as}


def providing(
    sources: Sequence["Source"], stages: Sequence["Stage"], targets: Sequence["Target"]
) -> tuple["Source", ...]:
    """The sources that provide features: all but those that a test measures and nothing reads.

    Sources of one entity have the same rows, which holds of a source that is for a test only just
    by chance. So it is left out, unless it is its entity's only one, or it alone of its entity's
    provides something that a stage or a target reads.
    """
    measured = {target.ab_test.outcomes for target in targets if target.ab_test is not None}
    wanted = {
        name
        for target in targets
        for name in (*target.outputs, *target.keep, *target.slices, target.label)
    }

    def read(source: "Source") -> bool:
        others = [s for s in sources if s is not source and s.entity == source.entity]
        names = wanted.union(
            *(stage.reads for stage in stages if stage.read_entity in (None, source.entity))
        )
        elsewhere = {name for other in others if other not in measured for name in other.features}
        return not others or bool(names & (source.features.keys() - elsewhere))

    return tuple(source for source in sources if source not in measured or read(source))


def check_reach(target: "Target", entity: Entity) -> None:
    """See that the outcomes of a target's test can be told of the units of its rows.

    Args:
        entity: that the target is about.

    Raises:
        DefinitionError: their entity is not the unit and does not belong to it.
    """
    test = target.ab_test
    if test is None or test.outcomes.entity.is_within(entity.root):
        return
    unit, other = entity.root, test.outcomes.entity
    via = "" if unit == entity else f", to which `{entity.name}` belongs"
    raise DefinitionError(
        f"the outcomes of A/B test `{test.name}` are about `{other.name}`, which does not belong "
        f"to `{unit.name}`.",
        where=[
            (f"A/B test {test.name!r}", test.location),
            (f"source {test.outcomes.name!r}", test.outcomes.location),
            (f"target {target.name!r}", target.location),
            (f"entity {other.name!r}", other.location),
        ],
        why=f"`{target.name}` is assigned to arms by `{unit.key}` of `{unit.name}`{via}: rows of "
        "one are not independent of each other, so an outcome counts for it as a whole.",
        fix=f"let the loader give every outcome the `{unit.key}` that it belongs to, and declare "
        f"its entity so: Entity({other.name!r}, ..., parent={unit.name}, "
        f'foreign_key="{unit.key}"); or use Entity {unit.name!r} itself.',
    )
