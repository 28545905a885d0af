"""`ff check`."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.cli.project import load_flow
from ff_assets.core.flow import Flow


@dataclass(frozen=True)
class Checked:
    """A flow without errors, and what was noticed about it."""

    flow: Flow
    warnings: tuple[str, ...]
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": True,
            "targets": {
                target.name: [v.name for v in self.flow.variants_of(target.name)]
                for target in self.flow.project.targets
            },
            "stage_instances": len(self.flow.instances),
            "warnings": list(self.warnings),
        }

    def print(self, console: Console) -> None:
        table = Table("target", "task", "label", "variants", box=None, pad_edge=False)
        for target in self.flow.project.targets:
            names = ", ".join(v.name for v in self.flow.variants_of(target.name))
            table.add_row(target.name, target.task or "-", target.label or "-", escape(names))
        console.print(table)
        project = self.flow.project
        for warning in self.warnings:
            console.print(f"[yellow]warning[/] {escape(warning)}")
        console.print(
            f"[green]ok[/] {len(project.sources)} sources and {len(project.stages)} stages "
            f"declared, {len(self.flow.instances)} instances inferred"
        )


def check_project() -> Checked:
    """Infer the flow and build its Dagster definitions, as a code location does.

    Raises:
        DefinitionError: a declaration is wrong.
    """
    flow = load_flow()
    from ff_assets.assets.build import build_definitions
    from ff_assets.settings import Settings

    build_definitions(flow.project, Settings.load())
    used = {instance.provider.name for instance in flow.instances}
    warnings = [
        f"`{name}` provides what targets need but no variant uses it: it {reason}."
        for name, reason in flow.unusable.items()
    ]
    warnings += [
        f"`{provider.name}` ({provider.location}) is declared, but no target reaches it."
        for provider in flow.project.providers
        if provider.name not in used and provider.name not in flow.unusable
    ]
    return Checked(flow, tuple(warnings))
