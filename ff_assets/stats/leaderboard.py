"""The variants of a target in order, each against the best, and what that says in a sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10

from ff_assets.stats.paired import Comparison, Difference

BEST = "best"
WORSE = "worse"
ALIKE = "not distinguishable"
OPEN = "no interval"


@dataclass(frozen=True)
class Row:
    """One variant's place.

    Args:
        variant: its name.
        value: its metric.
        low: lower end of its own 95% interval, None where there is none.
        high: upper end, likewise.
        difference: its metric minus that of the best; None for the best itself.
        verdict: `BEST`, `WORSE` (the difference's interval excludes 0), `ALIKE` (it does not), or
            `OPEN` (there is none).
    """

    variant: str
    value: float
    low: float | None
    high: float | None
    difference: Difference | None
    verdict: str


@dataclass(frozen=True)
class Leaderboard:
    """Variants by a metric.

    Args:
        metric: its name.
        rows: best first; variants of equal value stay in the order in which they were compared.
        sentence: the same in words.
    """

    metric: str
    rows: Sequence[Row]
    sentence: str


def leaderboard(comparison: Comparison, *, greater_is_better: bool) -> Leaderboard:
    """Order variants and compare each with the best.

    The best was picked by the same rows, so its value flatters it somewhat: it is the largest of
    several. The differences allow for that, as they hold for all pairs at once.

    Args:
        comparison: of at least one variant.
        greater_is_better: False for a loss, such as `log_loss` or `rmse`.
    """
    sign = -1 if greater_is_better else 1
    ranked = sorted(comparison.values.items(), key=lambda item: sign * item[1].value)
    best = ranked[0][0]
    rows = []
    for name, metric in ranked:
        difference = None if name == best else comparison.difference(name, best)
        verdict = _verdict(difference)
        rows.append(Row(name, metric.value, metric.low, metric.high, difference, verdict))
    return Leaderboard(ranked[0][1].name, rows, _sentence(rows, comparison.method))


def _verdict(difference: Difference | None) -> str:
    if difference is None:
        return BEST
    if difference.low is None:
        return OPEN
    return WORSE if difference.distinguishable else ALIKE


def _sentence(rows: Sequence[Row], method: str) -> str:
    best = rows[0].variant
    if len(rows) == 1:
        value, ends = rows[0].value, _ends(rows[0].low, rows[0].high)
        return f"{best} has {_number(value, _width(rows[0].low, rows[0].high))}{ends}; " + (
            "there is no other variant to compare with"
        )
    parts = [
        f"{row.variant} is worse than {best} by {_by(row.difference)}"
        for row in rows
        if row.verdict == WORSE and row.difference is not None
    ]
    if alike := [row.variant for row in rows if row.verdict == ALIKE]:
        parts.append(f"{_listed(alike)} not distinguishable from {best}")
    if unknown := [row.variant for row in rows if row.verdict == OPEN]:
        why = method.removeprefix("none: ") if method.startswith("none: ") else "no row varies"
        parts.append(f"{_listed(unknown)} not compared with {best}, as {why}")
    return "; ".join(parts)


def _by(difference: Difference) -> str:
    """How much worse, without a sign, and the interval of that."""
    worse = difference if difference.value > 0 else difference.reversed()
    width = _width(worse.low, worse.high)
    return _number(worse.value, width) + _ends(worse.low, worse.high)


def _ends(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    width = _width(low, high)
    return f" [{_number(low, width)}, {_number(high, width)}]"


def _width(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else high - low


def _number(value: float, width: float) -> str:
    """With as many decimals as give the interval's width two digits; at most twelve."""
    if not width:
        return f"{value:.3g}"
    return f"{value:.{min(max(0, 1 - floor(log10(width))), 12)}f}"


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"
