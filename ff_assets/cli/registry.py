"""What the commands share that speak to the model registry."""

from rich.markup import escape
from rich.table import Table

from ff_assets.registry.gates import Gate
from ff_assets.registry.runs import MlflowRuns
from ff_assets.settings import Settings

_SIGNS = {"passed": "[green]ok[/]", "failed": "[red]no[/]", "shown": "[dim]--[/]"}


def registry() -> MlflowRuns:
    """Where the project's models are registered."""
    settings = Settings.load().prepare()
    return MlflowRuns(settings.mlflow_tracking_uri, settings.mlflow_artifacts, "ff_assets")


def gate_table(gates: tuple[Gate, ...]) -> Table:
    """Gates for people."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for gate in sorted(gates, key=lambda gate: gate.passed is None):  # what is judged comes first
        table.add_row(_SIGNS[gate.outcome], escape(gate.name), escape(gate.detail))
    return table
