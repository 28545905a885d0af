"""Looks at the effect of an A/B test: what was found at each of them, and what it says."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import floor, log10
from typing import Any, TypeVar

from ff_assets.core.ab_test import EXPERIMENTS
from ff_assets.core.assignment import CONTROL, TREATMENT
from ff_assets.engine.journal import append, entries
from ff_assets.engine.store import Store
from ff_assets.stats.sequential import Arm, effect

T = TypeVar("T", "ArmSeen", "Look")


@dataclass(frozen=True)
class ArmSeen:
    """An arm at a look.

    Attributes:
        alias: that serves it.
        versions: that have served it, in order.
        units: that were ever exposed in it, but for those that have moved.
        with_outcome: units that have any outcome; the others count as 0.
        mean: of the units' sums.
        variance: of the units' sums, with `units - 1` as denominator; 0 of less than two.
    """

    alias: str
    versions: list[int]
    units: int
    with_outcome: int
    mean: float
    variance: float


@dataclass(frozen=True)
class Look:
    """What was found of a test at one time.

    Attributes:
        fingerprint: what it comes from; two looks at the same have the same.
        at: the time, UTC.
        unit: the name of the entity that is assigned to arms.
        control, treatment: the arms.
        value, low, high, p, method: the effect, as `stats/sequential.py` has it; no value as long
            as an arm is empty.
        share: of the treatment, as it was at last.
        ratio_p: anytime-valid p-value of the share; none if it cannot be tested.
        moved: units that were in both arms, and are left out.
        first_day, last_day, days: on which units were predicted, and on how many.
        outcomes: rows that count.
        unknown: rows whose measure is null.
        before: rows from before their unit's first prediction.
        strangers: units with outcomes that the test does not know.
        measure: what is summed up, as `<source>.<feature>`.
        planned: for how many units the interval is narrowest.
        doubts: why the effect is not to be believed; none if it is.
        ended: when both arms came to have one version, and counting ended; None if it goes on.
        after: rows from after that.
        later: rows from after the look itself.
    """

    fingerprint: str
    at: str
    unit: str
    control: ArmSeen
    treatment: ArmSeen
    share: float
    ratio_p: float | None
    moved: int
    first_day: str
    last_day: str
    days: int
    outcomes: int
    unknown: int
    before: int
    strangers: int
    measure: str
    planned: int
    doubts: list[str] = field(default_factory=list)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    method: str = "none yet: an arm has no unit"
    ended: str | None = None
    after: int = 0
    later: int = 0

    def with_effect(self) -> "Look":
        """The same, with the effect of what the arms come to."""
        arms = [
            Arm(each.units, each.mean, each.variance) for each in (self.control, self.treatment)
        ]
        if not all(arm.entities for arm in arms):
            return self
        return Look(**{**vars(self), **asdict(effect(*arms, planned=self.planned))})

    @property
    def sentence(self) -> str:
        """What is to be said of it; doubts come first."""
        told = " ".join((self.effect_in_words, *(f"Note: {note}." for note in self.notes)))
        if not self.doubts:
            return told
        return f"Do not believe the effect: {'; '.join(self.doubts)}. Without that: {told}"

    @property
    def notes(self) -> list[str]:
        """What one has to know of the course of the test to read the effect."""
        notes = [
            f"{arm.alias} was served by versions {', then '.join(map(str, arm.versions))}, and the "
            "effect is of all of them together"
            for arm in (self.control, self.treatment)
            if len(arm.versions) > 1
        ]
        if self.ended is not None:
            notes.append(
                f"the test ended on {self.ended[:10]}, when both arms came to have one version; "
                "what came later does not count"
            )
        return notes

    @property
    def effect_in_words(self) -> str:
        """The effect alone."""
        measure, (control, treatment) = f"`{self.measure}`", (self.control, self.treatment)
        empty = [arm.alias for arm in (control, treatment) if not arm.units]
        if self.value is None:
            return f"nobody was predicted by {' or '.join(empty)} yet."
        show = _shown(self.value, self.low, self.high)
        means = f"{show(control.mean)} in {control.alias}, {show(treatment.mean)} in "
        means += f"{treatment.alias}"
        each = f"{measure} for each {self.unit}"
        if self.low is None or self.high is None:
            why = self.method.removeprefix("none yet: ")
            return f"there is no interval yet for the difference in {each}, as {why}: {means}."
        interval = f"[{show(self.low)}, {show(self.high)}]"
        if self.low > 0 or self.high < 0:
            verb = "raises" if self.low > 0 else "lowers"
            by = f"{show(abs(self.value))}"
            ends = sorted((abs(self.low), abs(self.high)))
            return (
                f"{treatment.alias} {verb} {each} by {by} [{show(ends[0])}, {show(ends[1])}]: "
                f"{means}."
            )
        return (
            f"{treatment.alias} is not distinguishable from {control.alias}: the difference in "
            f"{each} is {show(self.value)} {interval}; {means}."
        )

    def as_dict(self) -> dict[str, Any]:
        """The look as plain values."""
        return asdict(self)


def _shown(value: float, low: float | None, high: float | None) -> Any:
    """How numbers are written: with two digits of the interval's half width."""
    scale = abs(value) if low is None or high is None else (high - low) / 2
    decimals = min(8, max(0, 1 - floor(log10(scale)))) if scale else 2
    return lambda number: f"{number:,.{decimals}f}"


def looks_at(store: Store, target: str, test: str) -> list[Look]:
    """All looks at a test so far, oldest first; those that found nothing new count once."""
    return _looks(store.lines(f"{EXPERIMENTS}/{target}/{test}"))


def add_look(store: Store, target: str, test: str, look: Look) -> list[Look]:
    """Keep a look; all looks, this one last."""
    return _looks(append(store.journal(f"{EXPERIMENTS}/{target}/{test}"), look.as_dict()))


def _known(cls: type[T], entry: Mapping[str, Any]) -> T:
    """An entry of any release: what this one does not know is left out.

    Fields that are added have a default, so that older entries can be read.
    """
    names = {each.name for each in fields(cls)}
    return cls(**{name: value for name, value in entry.items() if name in names})


def _looks(lines: Iterable[str]) -> list[Look]:
    looks: list[Look] = []
    for each in entries(lines):
        arms = {arm: _known(ArmSeen, each[arm]) for arm in (CONTROL, TREATMENT)}
        look = _known(Look, each | arms)
        if not looks or looks[-1].fingerprint != look.fingerprint:
            looks.append(look)
    return looks
