"""Pictures for metadata, which Dagster's UI shows in place."""

import base64
import io
from collections.abc import Mapping
from typing import Any

_INK, _QUIET = "#1f2937", "#9ca3af"


def picture(details: Mapping[str, Any]) -> str:
    """The variants of a leaderboard with their intervals, as an image in Markdown.

    Args:
        details: of the leaderboard's record.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
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
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_png(drawn)
    return f"![leaderboard](data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()})"
