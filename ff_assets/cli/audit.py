"""`ff audit`."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.assets.build import spark_config
from ff_assets.assets.resources import SparkResource
from ff_assets.cli.output import errors
from ff_assets.cli.project import load_project
from ff_assets.engine.audit import Audit, Audited, audit
from ff_assets.settings import Settings

_COLOURS = {"no leak": "green", "leak": "red"}
_LIMITS = (
    "Seen is every path from these columns through the engine and through stages. Not seen is what "
    "a loader has made of a label otherwise, and what a stage reads elsewhere than in its inputs."
)


@dataclass(frozen=True)
class AuditReport:
    """What an audit has found, for people and scripts."""

    audit: Audit

    @property
    def exit_code(self) -> int:
        return 0 if self.audit.passed else 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "target": self.audit.target,
            "passed": self.audit.passed,
            "changed": [asdict(flip) for flip in self.audit.flips],
            "variants": [asdict(each) for each in self.audit.variants],
            "seconds": {what: round(s, 1) for what, s in self.audit.seconds.items()},
            "limits": _LIMITS,
        }

    def print(self, console: Console) -> None:
        table = Table("changed", "of source", "labels of test", box=None, pad_edge=False)
        for flip in self.audit.flips:
            copy = f" (a copy of {flip.copy_of})" if flip.copy_of else ""
            table.add_row(f"{flip.column}{copy}", flip.source, f"{flip.rows:,}")
        console.print(table)
        console.print()
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("variant", "test rows", "changed", "control", ""):
            table.add_column(name, no_wrap=True)
        for each in self.audit.variants:
            colour = _COLOURS.get(each.outcome, "yellow")
            table.add_row(
                escape(each.variant),
                f"{each.rows:,}",
                f"{each.changed:,}" if each.changed else "none",
                f"{each.control:,} changed" if not each.changed else "",
                f"[{colour}]{each.outcome}[/]" + (" (on one partition)" * each.one_partition),
            )
        console.print(table)
        console.print()
        said: dict[str, list[str]] = {}
        for each in self.audit.variants:
            said.setdefault(_said(each), []).append(each.variant)
        for sentence, names in said.items():
            console.print(f"{escape(', '.join(names))}: {escape(sentence)}", soft_wrap=True)
        console.print(f"\n{_LIMITS}", soft_wrap=True)
        parts = ", ".join(f"{what} {s:.1f}" for what, s in self.audit.seconds.items())
        console.print(f"{sum(self.audit.seconds.values()):.0f} s: {parts}", soft_wrap=True)


def _said(audited: Audited) -> str:
    """The finding in one sentence."""
    if audited.outcome == "no leak":
        return (
            "with all labels of test changed, predictions on test are the same to the last bit; "
            "a few labels of train change them."
        )
    if audited.outcome == "leak":
        return (
            f"labels of test change {audited.changed:,} of {audited.rows:,} predictions on test, "
            f"in {', '.join(audited.columns)}, for example of {', '.join(audited.examples)}. "
            "`ff why` shows what was fitted on which rows, and what predictions are made from."
        )
    if audited.outcome == "control failed":
        return (
            "no prediction on test changed with labels of test, but none changed with labels of "
            "train either, so the audit has shown nothing. Does any stage learn from a label?"
        )
    return (
        "cannot be audited: two runs of the same, on one partition, give different predictions. "
        "Look for what draws at random without a seed or depends on the time."
    )


def audit_target(target: str, variant: str | None, quiet: bool) -> AuditReport:
    """Audit a target of the project, with a Spark session of its own.

    Args:
        quiet: show no progress.

    Raises:
        DefinitionError: a declaration is wrong, or there is no such target or variant.
        DataError: there is no label to change, or a run fails.
        StageError: a run fails.
    """
    project = load_project()
    settings = Settings.load().prepare()
    spark = SparkResource(spark_config=spark_config())

    def say(what: str) -> None:
        if not quiet:
            errors.print(f"▶ {what}")

    return AuditReport(
        audit(project, target, spark.session, settings.home, variant=variant, say=say)
    )
