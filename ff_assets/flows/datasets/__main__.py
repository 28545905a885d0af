"""``python -m ff_assets.flows.datasets``: get the example data and say what was done."""

import sys

from ff_assets.flows.datasets.complete_journey import TABLES, panel_table
from ff_assets.flows.datasets.errors import DatasetError
from ff_assets.flows.datasets.snippets import ROWS, fetch_snippets, snippets_path


def main() -> None:
    """Fetch the rated snippets, unless that was done before, and check the household panel."""
    try:
        path, known = snippets_path(), " (fetched before)"
    except DatasetError:
        print("Fetching the example data: human-rated short texts, 2.3 MB ...", flush=True)
        path, known = fetch_snippets(), ""
    print(f"{ROWS:,} rated snippets: {path}{known}")
    for name in TABLES:
        folder = panel_table(name).parent
    print(f"The Complete Journey household panel, 1,469,307 purchases: {folder} (installed)")


if __name__ == "__main__":
    try:
        main()
    except DatasetError as error:
        sys.exit(f"error: {error}")
