"""The example data. ``make data`` gets all of it; flows ask here where it is."""

from ff_assets.flows.datasets.complete_journey import panel_table, panel_version
from ff_assets.flows.datasets.errors import DatasetError
from ff_assets.flows.datasets.snippets import fetch_snippets, snippets_path

__all__ = ["DatasetError", "fetch_snippets", "panel_table", "panel_version", "snippets_path"]
