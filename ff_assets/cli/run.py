"""`ff run`: the jobs of Dagster's UI without a browser, on the same instance and store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import ALL_CELLS, EVERYTHING, fit_job_name
from ff_assets.assets.specs import asset_key
from ff_assets.cli.hypotheses import coloured
from ff_assets.cli.launch import Ended, Metadata, launch, the_instance
from ff_assets.cli.output import errors
from ff_assets.cli.progress import progress_logger
from ff_assets.cli.project import load_flow
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Contest, Variant
from ff_assets.core.metrics import PRIMARY
from ff_assets.core.steps import Kind, Step, steps_of_target
from ff_assets.settings import Settings

_UNDER_WAY = Ended("", "FAILURE", 0.0, "")


@dataclass
class Ran:
    """What a run has done.

    Attributes:
        targets: the targets that were asked for.
        results: asset key -> what was recorded of it; see `add`.
        ended: how the run has ended.
    """

    flow: Flow
    targets: tuple[str, ...]
    ended: Ended = _UNDER_WAY
    results: dict[dg.AssetKey, Metadata] = field(default_factory=dict)

    def add(self, key: dg.AssetKey, recorded: Metadata) -> None:
        """Take in what was recorded of an asset, or of one more of its cells.

        An asset is reused if all of its cells are. The cells that are not are made together, so
        the most that one took is what they took.
        """
        before = self.results.get(key, {"reused": True, "seconds": 0.0})
        seconds = 0.0 if recorded["reused"] else recorded["seconds"]
        self.results[key] = {
            **recorded,
            "reused": before["reused"] and recorded["reused"],
            "seconds": max(before["seconds"], seconds),
        }

    @property
    def exit_code(self) -> int:
        return self.ended.exit_code

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.ended.as_dict(),
            "variants": [self._row(variant) for variant in self._variants()],
            "compared": list(self._compared()),
            "hypotheses": list(self._judged()),
        }

    def print(self, console: Console) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        rows = [self._row(variant) for variant in self._variants()]
        validated = ["on validation"] if any(r["validation"] is not None for r in rows) else []
        shown = ("on test", "95% interval", "rows", "seconds", "steps", "model")
        for name in ("variant", *validated, *shown):
            # On a narrow screen names go on in the next line; numbers are never cut.
            table.add_column(name, no_wrap=name not in ("variant", "model"), overflow="fold")
        for row in rows:
            chosen_by = "" if row["validation"] is None else f"{row['validation']:.4f}"
            low_high = row["interval"]
            parts = ["computed", "reused", "not done"]
            counts = ", ".join(f"{row[part]} {part}" for part in parts if row[part])
            table.add_row(
                escape(row["variant"]),
                *([chosen_by] if validated else ()),
                "[red]none[/]" if row["value"] is None else f"{row['metric']} {row['value']:.4f}",
                f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else "",
                f"{row['rows']:,}" if row["rows"] else "",
                f"{row['seconds']:.1f}",
                "all reused" if row["reused"] == row["steps"] else counts,
                row["registered"] or "",
            )
        console.print()
        console.print(table)
        for sentence in self._compared():
            console.print(f"\n{escape(sentence)}", soft_wrap=True)
        for judged in self._judged():
            console.print(f"\n{coloured(judged['judgement'])}", soft_wrap=True)
        if any(row["seconds"] for row in rows):
            console.print("\nseconds: work on the variant's steps, those it shares included")
        self.ended.print(console)

    def _variants(self) -> Iterator[Variant]:
        for target in self.targets:
            yield from self.flow.variants_of(target)

    def _compared(self) -> Iterator[str]:
        """What leaderboards say in words, of targets with several variants."""
        for target in self.targets:
            variants = self.flow.variants_of(target)
            step = Step(Kind.LEADERBOARD, Contest(self.flow.project.target(target), variants))
            if len(variants) > 1 and (found := self.results.get(asset_key(step))):
                yield f"{target}: {found['in_words']}"

    def _judged(self) -> Iterator[dict[str, Any]]:
        """The hypotheses of the targets with the verdicts on them."""
        for target in self.targets:
            contest = Contest(self.flow.project.target(target), self.flow.variants_of(target))
            found = self.results.get(asset_key(Step(Kind.HYPOTHESES, contest)))
            yield from found["hypotheses"] if found else ()

    def _row(self, variant: Variant) -> dict[str, Any]:
        steps = _steps_of_variant(self.flow, variant)
        known = [self.results[asset_key(s)] for s in steps if asset_key(s) in self.results]
        evaluation = self.results.get(asset_key(Step(Kind.EVALUATION, variant)), {})
        registration = self.results.get(asset_key(Step(Kind.REGISTRATION, variant)), {})
        metric = PRIMARY.get(variant.target.task or "", "")
        low = evaluation.get(f"{metric}_test_low")
        return {
            "variant": variant.name,
            "metric": metric,
            "validation": evaluation.get(f"{metric}_validation"),
            "value": evaluation.get(f"{metric}_test"),
            "interval": None if low is None else [low, evaluation[f"{metric}_test_high"]],
            "rows": evaluation.get("rows_test"),
            "seconds": sum(m["seconds"] for m in known),
            "steps": len(steps),
            "computed": sum(not m["reused"] for m in known),
            "reused": sum(m["reused"] for m in known),
            "not done": len(steps) - len(known),
            "registered": registration.get("registered_model"),
        }


def _steps_of_variant(flow: Flow, variant: Variant) -> list[Step]:
    mine = set(variant.instances)
    return [
        step
        for step in steps_of_target(flow, variant.target.name)
        if step.subject is variant or step.subject in mine
    ]


def run_targets(targets: Sequence[str], quiet: bool) -> Ran:
    """Run targets (all, if none is named) as one Dagster run in this process.

    Args:
        quiet: show no progress.

    Raises:
        DefinitionError: a declaration is wrong, or there is no such target.
    """
    flow = load_flow()
    names = tuple(dict.fromkeys(targets)) or tuple(t.name for t in flow.project.targets)
    steps = [
        step for name in names for step in steps_of_target(flow, flow.project.target(name).name)
    ]
    keys = frozenset(asset_key(step) for step in steps)
    settings = Settings.load().prepare()
    definitions = build_definitions(flow.project, settings)
    whole = len(names) == len(flow.project.targets)
    job_name = fit_job_name(names[0]) if len(names) == 1 else EVERYTHING
    job = definitions.resolve_job_def(job_name)
    if len(names) > 1 and not whole:
        job = job.get_subset(asset_selection=keys)
    ran = Ran(flow, names)
    with progress_logger(errors, quiet) as logger, the_instance(settings) as instance:
        ran.ended = launch(job, instance, "ff run", ALL_CELLS, logger, ran.add)
    return ran
