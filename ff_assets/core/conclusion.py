"""The verdict on a hypothesis: what an interval says of an effect that was wanted."""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from ff_assets.core.metrics import LOSSES

_OUT_OF_REACH = 100  # times as many rows: no plan is made with such a number


class Verdict(StrEnum):
    """What became of a hypothesis."""

    VALIDATED = "validated"
    INVALIDATED = "invalidated"
    UNDECIDED = "undecided"
    # Stated by somebody who could know: an interval confirms no idea that it has given.
    EXPLORATORY = "exploratory"


@dataclass(frozen=True)
class Effect:
    """How much better one variant is than another on the same rows, however the kpi counts.

    Attributes:
        kpi: the metric.
        claim, baseline: the metric of both variants.
        value: by how much the claim is better.
        low, high: the interval of that; `None` if the rows do not say.
        level: how often no interval misses the truth, at least, of all that the same rows are ever
            asked.
        share: of the rest, what this interval may miss in.
        questions: how many there were so far, this one and those asked together with it included.
        rows: of test.
        groups: keys of the split among them.
        by: what rows belong together by; `None` if each is on its own.
        method: how the interval was made, or why there is none.
    """

    kpi: str
    claim: float
    baseline: float
    value: float
    low: float | None
    high: float | None
    level: float
    share: float
    questions: int
    rows: int
    groups: int
    by: str | None
    method: str

    @property
    def error(self) -> float:
        """How often the interval misses the truth, at most."""
        return (1 - self.level) * self.share

    def verdict(self, min_effect: float) -> Verdict:
        """What the interval says of the effect that is wanted."""
        if self.low is None or self.high is None:
            return Verdict.UNDECIDED
        # Where any gain will do, none will not: variants that predict the same differ by [0, 0].
        if self.low > 0 if min_effect == 0 else self.low >= min_effect:
            return Verdict.VALIDATED
        return Verdict.INVALIDATED if self.high < min_effect else Verdict.UNDECIDED

    def needed(self, min_effect: float) -> int | None:
        """Roughly how many groups decide, if the effect stays what it was found to be.

        An interval narrows with the square root of the number of groups. `None` where it has
        decided, or where that would take a hundred times as many or more.
        """
        if self.low is None or self.high is None or not self.low < min_effect <= self.high:
            return None
        end = self.low if self.value >= min_effect else self.high
        off, half = abs(self.value - min_effect), abs(end - self.value)
        if half >= off * _OUT_OF_REACH**0.5:
            return None
        return ceil(self.groups * (half / off) ** 2)

    def sentence(self, claim: str, baseline: str, min_effect: float) -> str:
        """The effect in words.

        Args:
            claim, baseline: labels of the variants.
        """
        gain = "reduction of" if self.kpi in LOSSES else "gain in"
        told = f"the {gain} {self.kpi} of {claim} against {baseline} is {_signed(self.value, self)}"
        if self.low is None or self.high is None:
            told += f" without an interval ({self.method})"
        else:
            told += f" [{_signed(self.low, self)}, {_signed(self.high, self)}]"
        units = f", {self.groups:,} keys of {self.by}" if self.by else ""
        told += f", wanted was {_signed(min_effect, self)} or more"
        told += f" ({self.rows:,} rows of test{units}"
        if self.low is not None:
            so_far = f", {self.questions} so far," if self.questions > 1 else ""
            told += (
                f"; the interval may miss in {100 * self.error:.2g}%, so that all that these rows "
                f"are ever asked{so_far} misses in at most {1 - self.level:.0%}"
            )
        told += ")"
        if (needed := self.needed(min_effect)) is not None:
            of = f"keys of {self.by}" if self.by else "rows"
            told += f". If that is the effect, roughly {_rounded(needed):,} {of} decide"
        return told


def _signed(number: float, effect: Effect) -> str:
    """With two digits of the interval's half width, at least three decimals."""
    half = 0.0 if effect.low is None or effect.high is None else (effect.high - effect.low) / 2
    decimals = 3
    while decimals < 6 and 0 < half < 10 ** (1 - decimals):
        decimals += 1
    text = f"{number:+.{decimals}f}"
    return text if float(text) else text.replace("-", "+")


def _rounded(count: int) -> int:
    """Two digits: more would not be true."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return ceil(count / unit) * unit
