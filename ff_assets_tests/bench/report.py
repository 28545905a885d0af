"""The table of a benchmark's run: seconds, ratios, and the bar that each ratio has to reach."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A ratio with what is asked of it.

    Attributes:
        name: what is divided by what.
        value: the ratio.
        limit: the bar.
        at_most: whether the ratio must not be above the bar; otherwise not below it.
    """

    name: str
    value: float
    limit: float
    at_most: bool

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "met" if self.met else "MISSED"
        return f"{self.name:<52} {self.value:6.2f}  {sign} {self.limit:<5} {verdict}"


def seconds_table(seconds: Mapping[str, Sequence[float]]) -> str:
    """Contestant -> seconds of each time it ran, with the median."""
    lines = [f"{'seconds':<52} {'median':>6}  each"]
    for name, all_times in seconds.items():
        each = " ".join(f"{s:.1f}" for s in all_times)
        lines.append(f"{name:<52} {statistics.median(all_times):6.1f}  {each}")
    return "\n".join(lines)
