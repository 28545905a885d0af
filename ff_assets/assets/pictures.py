"""Pictures for metadata, which Dagster's UI shows in place."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ff_assets.engine.drift import Drifted
from ff_assets.engine.looks import Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _QUIET, _PALE = "#1f2937", "#9ca3af", "#e5e7eb"


def picture(details: Mapping[str, Any]) -> str:
    """The variants of a leaderboard with their intervals, as an image in Markdown.

    Args:
        details: of the leaderboard's record.
    """
    from matplotlib.figure import Figure

    rows = details["variants"][::-1]  # from the bottom up
    figure = Figure(figsize=(7.2, 0.9 + 0.34 * len(rows)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        colour = _QUIET if row["verdict"] == "worse" else _INK
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
        axes.plot(row["value"], place, "o", color=colour)
    axes.set_yticks(range(len(rows)), [row["variant"] for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(f"{details['metric']} on {details['rows']:,} rows of test, 95% intervals")
    axes.grid(axis="x", color=_PALE)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    return _image(figure, "leaderboard")


def calibration_picture(calibration: Mapping[str, Any]) -> str:
    """Predicted probabilities and what came true, bin by bin, as an image in Markdown.

    Args:
        calibration: with `bins`, as an evaluation's record has it.
    """
    from matplotlib.figure import Figure

    bins = calibration["bins"]
    predicted, observed = ([each[name] for each in bins] for name in ("predicted", "observed"))
    below = [each["observed"] - each["low"] for each in bins]
    above = [each["high"] - each["observed"] for each in bins]
    figure = Figure(figsize=(4.6, 4.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1)
    axes.errorbar(predicted, observed, [below, above], fmt="o-", color=_INK, linewidth=1.2)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    rows = sum(each["rows"] for each in bins)
    axes.set_xlabel(f"probability of {calibration['of']}, on {rows:,} rows of test")
    axes.set_ylabel("share that came true, 95% intervals")
    axes.grid(color=_PALE)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return _image(figure, "calibration")


def effect_picture(looks: Sequence[Look]) -> str:
    """The effect of an A/B test at each look with its interval, as an image in Markdown."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    last = looks[-1]
    figure = Figure(figsize=(7.2, 3.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=_QUIET, linewidth=1)
    times: list[Any] = [datetime.fromisoformat(look.at) for look in looks]
    for time, look in zip(times, looks, strict=True):
        if look.low is not None and look.high is not None:
            axes.plot([time, time], [look.low, look.high], color=_INK, linewidth=2)
        if look.value is not None:
            axes.plot(time, look.value, "o", color=_QUIET if look.doubts else _INK)
    locator = AutoDateLocator(minticks=1, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if len(looks) == 1:
        axes.set_xlim(times[0] - timedelta(days=1), times[0] + timedelta(days=1))
    measure = last.measure.partition(".")[2]
    axes.set_ylabel(f"difference in {measure} for each {last.unit}")
    axes.set_title(
        f"{last.treatment.alias} against {last.control.alias}, 95% intervals for all looks at once",
        fontsize=10,
        loc="left",
    )
    axes.grid(axis="y", color=_PALE)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return _image(figure, "effect")


def drift_picture(columns: Sequence[Drifted]) -> str:
    """The rows per bin of columns, before and now, as an image in Markdown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.5 * ((len(columns) + 1) // 2)), dpi=110, layout="constrained")
    panels = figure.subplots((len(columns) + 1) // 2, 2, squeeze=False).flatten()
    for axes, column in zip(panels, columns, strict=False):
        bins = column.bins.names
        for shift, colour, counts, told in (
            (-0.2, _QUIET, column.before, "reference"),
            (0.2, _INK, column.now, "scored"),
        ):
            shares = [100 * count / sum(counts) for count in counts]
            places = [place + shift for place in range(len(bins))]
            axes.bar(places, shares, width=0.4, color=colour, label=told)
        axes.set_xticks(range(len(bins)), [name[:16] for name in bins], rotation=90, fontsize=6)
        axes.set_ylabel("% of rows", fontsize=8)
        axes.tick_params(axis="y", labelsize=7)
        verdict = "drifted" if column.drift.drifted else "not surely drifted"
        title = f"{column.column}: {verdict}, PSI {column.drift.psi:.2f}"
        axes.set_title(title, fontsize=8, loc="left")
        axes.grid(axis="y", color=_PALE)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=7, frameon=False)
    for axes in panels[len(columns) :]:
        axes.set_axis_off()
    return _image(figure, "drift")


def _image(figure: "Figure", name: str) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_png(drawn)
    return f"![{name}](data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()})"
