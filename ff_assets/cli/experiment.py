"""`ff experiment`: a look at the effect in a target's A/B test, as its job in Dagster's UI."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table

from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import experiment_job_name
from ff_assets.cli.launch import Ended, Metadata, launch, the_instance
from ff_assets.cli.output import errors
from ff_assets.cli.progress import progress_logger
from ff_assets.cli.project import load_flow
from ff_assets.core.ab_test import EXPERIMENTS, ABTest, required
from ff_assets.engine.looks import Look, looks_at
from ff_assets.engine.store import Store
from ff_assets.settings import Settings


@dataclass(frozen=True)
class ExperimentReport:
    """What is known of a test.

    Attributes:
        looks: all of them; the last one is that of this command. None if nobody was exposed yet.
        reused: whether nothing was new since the last one.
    """

    target: str
    test: ABTest
    ended: Ended
    looks: list[Look]
    reused: bool

    @property
    def exit_code(self) -> int:
        return self.ended.exit_code

    def as_dict(self) -> dict[str, Any]:
        last = self.looks[-1] if self.looks else None
        return {
            "target": self.target,
            "test": self.test.name,
            **self.ended.as_dict(),
            "result": last.sentence if last else None,
            "believable": not last.doubts if last else None,
            "reused": self.reused,
            "looks": [look.as_dict() for look in self.looks],
        }

    def print(self, console: Console) -> None:
        if self.looks:
            self._print_look(console, self.looks[-1])
        elif self.exit_code == 0:
            console.print(
                f"nobody was exposed in {self.test.name} yet; predict with: "
                f"ff predict {self.target} --ab-test"
            )
        self.ended.print(console)

    def _print_look(self, console: Console, look: Look) -> None:
        console.print()
        for doubt in look.doubts:
            console.print(f"[bold red]do not believe the effect:[/] {doubt}", soft_wrap=True)
        console.print(look.effect_in_words, markup=False, soft_wrap=True)
        for note in look.notes:
            console.print(f"[yellow]note:[/] {note}", soft_wrap=True)
        console.print()
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("arm", "alias", "versions", f"{look.unit}s", "with outcome", "mean"):
            table.add_column(name, justify="left" if name in ("arm", "alias") else "right")
        for name, arm in (("control", look.control), ("treatment", look.treatment)):
            versions = ", ".join(map(str, arm.versions))
            counts = (f"{arm.units:,}", f"{arm.with_outcome:,}")
            table.add_row(name, arm.alias, versions, *counts, f"{arm.mean:,.4g}")
        console.print(table)
        console.print()
        for told in _details(look, len(self.looks), self.reused):
            console.print(told, markup=False, soft_wrap=True)


def _details(look: Look, looks: int, reused: bool) -> list[str]:
    """What else is to be known of a look."""
    ratio = "not tested" if look.ratio_p is None else f"p {look.ratio_p:.2g}"
    p = "" if look.p is None else f", p {look.p:.2g}, valid at every look"
    left_out = [
        f"{look.before:,} rows of outcomes from before the first prediction",
        *([f"{look.after:,} from after the end"] if look.ended else []),
        *([f"{look.later:,} from after this look"] if look.later else []),
        f"{look.unknown:,} that are not known yet",
        f"{look.strangers:,} {look.unit}s that are not in the test",
        f"{look.moved:,} that were in both arms",
    ]
    return [
        f"look {looks}{', nothing is new since' if reused else ''}{p}; {look.method}",
        f"predicted on {look.days} days, {look.first_day} to {look.last_day}; "
        f"planned for {look.planned:,} {look.unit}s",
        f"share of the treatment {look.share:g}, sample ratio {ratio}",
        f"{look.outcomes:,} rows of {look.measure} count, a {look.unit} without any as 0; "
        f"left out: {', '.join(left_out)}",
    ]


def experiment(target: str, quiet: bool) -> ExperimentReport:
    """Look at the effect in a target's A/B test, as one Dagster run in this process.

    Args:
        quiet: show no progress.

    Raises:
        DefinitionError: a declaration is wrong, there is no such target, or it has no test.
    """
    flow = load_flow()
    declared = flow.project.target(target)
    test = required(declared)
    settings = Settings.load().prepare()
    job = build_definitions(flow.project, settings).resolve_job_def(experiment_job_name(target))
    made: Metadata = {}

    def add(key: dg.AssetKey, recorded: Metadata) -> None:
        if key.path[0] == EXPERIMENTS:
            made.update(recorded)

    with progress_logger(errors, quiet) as logger, the_instance(settings) as instance:
        ended = launch(job, instance, "ff experiment", {}, logger, add)
    looks = looks_at(Store(settings.store, settings.kept), target, test.name) if made else []
    return ExperimentReport(target, test, ended, looks, bool(made.get("reused")))
