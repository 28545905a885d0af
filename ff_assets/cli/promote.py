"""`ff promote` and `ff rollback`."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from ff_assets.assets.promoting import promote_target
from ff_assets.cli.project import load_flow
from ff_assets.cli.registry import gate_table, registry
from ff_assets.engine.store import Store
from ff_assets.registry.promotion import Moved, rollback
from ff_assets.settings import Settings


@dataclass(frozen=True)
class MovedReport:
    """An alias that was moved, for people and scripts."""

    moved: Moved

    exit_code = 0

    def as_dict(self) -> dict[str, Any]:
        entry = asdict(self.moved.logged.entry)
        told = ("kind", "alias", "variant", "who", "why", "certificate", "grade", "gates")
        return {
            "target": self.moved.target,
            "number": self.moved.logged.number,
            "when": self.moved.logged.when.isoformat(),
            "from": entry["before"],
            "to": entry["after"],
            **{name: entry[name] for name in told},
            "override": entry["override"],
            "notes": list(self.moved.notes),
        }

    def print(self, console: Console) -> None:
        entry, number = self.moved.logged.entry, self.moved.logged.number
        for note in self.moved.notes:
            console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
        console.print(gate_table(entry.gates))
        if entry.override:
            console.print(f"[yellow]overridden:[/] {escape(entry.override)}", soft_wrap=True)
        console.print(
            f"\n[green]{entry.alias}[/] of [bold]{self.moved.target}[/]: "
            f"{entry.before or 'none'} → [bold]{entry.after}[/] "
            f"{escape(f'({entry.variant})')}, entry {number} of the ledger"
        )


def promote_version(
    target: str,
    alias: str,
    why: str,
    *,
    variant: str | None,
    version: int | None,
    override: str,
) -> MovedReport:
    """Move an alias to a version of a target of the project.

    Raises:
        DefinitionError: a declaration is wrong, or there is no such target.
        RegistryError: nothing was moved, or it is said how far it came.
    """
    settings = Settings.load()
    return MovedReport(
        promote_target(
            load_flow(),
            registry(),
            Store(settings.store, settings.kept),
            target,
            alias,
            why,
            variant=variant,
            version=version,
            override=override,
        )
    )


def roll_back(target: str, alias: str, why: str) -> MovedReport:
    """Move an alias back. The project's declarations are not read: they may be what is broken.

    Raises:
        RegistryError: nothing was moved, or it is said how far it came.
    """
    return MovedReport(rollback(registry(), target, alias, why=why))
