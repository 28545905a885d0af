"""How results are printed: for people with rich, for scripts as JSON."""

import json
import sys
from typing import Any, Protocol

from rich.console import Console

from ff_assets.core.errors import FeatureFlowError

_WIDTH = 120  # where the output is no terminal that has one
console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
errors = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH)


class Report(Protocol):
    """What a command has to say."""

    @property
    def exit_code(self) -> int: ...

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""

    def print(self, console: Console) -> None:
        """The report for people."""


def show(report: Report, as_json: bool) -> None:
    """Print a report and exit with its code."""
    if as_json:
        print(json.dumps(report.as_dict(), indent=2, default=str))
    else:
        report.print(console)
    sys.exit(report.exit_code)


def show_error(error: FeatureFlowError, as_json: bool) -> None:
    """Print an error that was raised on purpose."""
    if as_json:
        print(json.dumps(error.as_dict(), indent=2))
    else:
        errors.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        errors.print(str(error), markup=False, soft_wrap=True)
