"""What the commands share that speak to the model registry."""

from rich.markup import escape
from rich.table import Table

from ff_assets.registry.gates import Gate
from ff_assets.registry.runs import MlflowRuns
from ff_assets.settings import Settings


def registry() -> MlflowRuns:
    """Where the project's models are registered."""
    settings = Settings.load().prepare()
    return MlflowRuns(settings.mlflow_tracking_uri, settings.mlflow_artifacts, "ff_assets")


def gate_table(gates: tuple[Gate, ...]) -> Table:
    """Gates for people."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for gate in gates:
        sign = "[green]ok[/]" if gate.passed else "[red]no[/]"
        table.add_row(sign, escape(gate.name), escape(gate.detail))
    return table
