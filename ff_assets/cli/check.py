"""`ff check`."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.cli.project import load_flow
from ff_assets.core.flow import Flow
from ff_assets.core.governance import Governed, govern
from ff_assets.core.honesty import check
from ff_assets.core.instance import Variant
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.verdict import Verdict


@dataclass(frozen=True)
class Checked:
    """A flow without errors, and what was noticed about it.

    Attributes:
        governed: the flow beside the policy on sensitive data, which it does not violate.
        verdicts: on every metric; all of them are allowed.
        unused: about declarations that nothing uses.
    """

    flow: Flow
    governed: Governed
    verdicts: tuple[Verdict, ...]
    unused: tuple[str, ...]
    exit_code: int = 0

    @property
    def _doubts(self) -> tuple[Finding, ...]:
        """What is to be known about metrics, each thing once though several variants share it."""
        findings = {f.text: f for verdict in self.verdicts for f in verdict.warnings}
        return tuple(findings.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": True,
            "targets": {
                target.name: [v.name for v in self.flow.variants_of(target.name)]
                for target in self.flow.project.targets
            },
            "metrics": [verdict.as_dict() for verdict in self.verdicts],
            "stage_instances": len(self.flow.instances),
            "sensitivity": {tag: len(found) for tag, found in self.governed.tagged.items()},
            "warnings": [*(f"{f.code}: {f.text}" for f in self._doubts), *self.unused],
        }

    def print(self, console: Console) -> None:
        table = Table("variant", "task", "label", "grade", "", box=None, pad_edge=False)
        for variant in self.flow.variants:
            target = variant.target
            table.add_row(
                escape(variant.name),
                target.task or "-",
                target.label or "-",
                *self._grades(variant),
            )
        console.print(table)
        project = self.flow.project
        for finding in self._doubts:
            console.print(f"[yellow]warning[/] {escape(f'{finding.text} [{finding.code}]')}")
            console.print(f"        fix: {escape(finding.fix)}")
        for text in self.unused:
            console.print(f"[yellow]warning[/] {escape(text)}")
        console.print(
            f"[green]ok[/] {len(project.sources)} sources and {len(project.stages)} stages "
            f"declared, {len(self.flow.instances)} instances inferred"
        )
        console.print(f"[green]ok[/] {escape(self.governed.summary)}", soft_wrap=True)

    def _grades(self, variant: Variant) -> tuple[str, str]:
        """The grade of each metric, and the codes of what keeps it from an A."""
        mine = [verdict for verdict in self.verdicts if verdict.variant is variant]
        codes = dict.fromkeys(f.code for verdict in mine for f in verdict.warnings)
        grades = (f"{v.grade} on {v.cell}{'' if v.certified else ', not certified'}" for v in mine)
        return "; ".join(grades) or "-", ", ".join(codes)


def check_project() -> Checked:
    """Infer the flow and build its Dagster definitions, as a code location does.

    Raises:
        DefinitionError: a declaration is wrong.
        LeakError: a metric would not be honest, or a model asset reads test rows.
        PolicyViolation: sensitive data would go where the project's policy denies it.
    """
    flow = load_flow()
    import ff_assets.definitions  # noqa: F401  # with the assets that a team adds to them

    used = {instance.provider.name for instance in flow.instances}
    used.update(source.name for source in flow.project.outcomes)
    unused = [
        f"`{name}` provides what targets need but no variant uses it: it {reason}."
        for name, reason in flow.unusable.items()
    ]
    unused += [
        f"`{provider.name}` ({provider.location}) is declared, but no target reaches it."
        for provider in flow.project.providers
        if provider.name not in used and provider.name not in flow.unusable
    ]
    governed = govern(flow)
    unused += governed.doubts()
    return Checked(flow, governed, tuple(check(flow)), tuple(unused))
