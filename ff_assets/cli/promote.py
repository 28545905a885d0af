"""`ff promote` and `ff rollback`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from ff_assets.assets.promotion import not_worse
from ff_assets.cli.plan import stated_fingerprints
from ff_assets.cli.project import load_flow
from ff_assets.cli.registry import gate_table, registry
from ff_assets.core.flow import Flow
from ff_assets.core.steps import steps_of_target
from ff_assets.engine.plan import Inventory
from ff_assets.engine.store import Store
from ff_assets.engine.versions import upstream
from ff_assets.registry.promotion import Moved, promote, rollback
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
    flow = load_flow()
    name = flow.project.target(target).name
    return MovedReport(
        promote(
            registry(),
            name,
            alias,
            why=why,
            variant=variant,
            version=version,
            gates=[not_worse(flow, name, _inventory(flow, name))],
            given=dict(scoring_gives(flow, name)),
            override=override,
        )
    )


def _inventory(flow: Flow, target: str) -> Inventory | None:
    """What exists of a target; `None` if a source has to be read to know it."""
    instances = upstream(flow, steps_of_target(flow, target))
    fingerprints, unread = stated_fingerprints(instances)
    return None if unread else Inventory(flow, fingerprints, Store(Settings.load().store))


def roll_back(target: str, alias: str, why: str) -> MovedReport:
    """Move an alias back. The project's declarations are not read: they may be what is broken.

    Raises:
        RegistryError: nothing was moved, or it is said how far it came.
    """
    return MovedReport(rollback(registry(), target, alias, why=why))


def scoring_gives(flow: Flow, target: str) -> Iterator[tuple[str, str | None]]:
    """What scoring gives to a target's models; an aggregate's types are not known before a run."""
    for variant in flow.variants_of(target):
        for instance in variant.serving_instances():
            for name, parent in instance.inputs.items() if not instance.is_given else ():
                if parent.is_given:
                    yield name, parent.source.features[name] if parent.is_source else None
