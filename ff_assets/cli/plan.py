"""`ff plan`."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.cli.project import load_flow
from ff_assets.cli.splits import count_fits, fits_in_words, splits_of
from ff_assets.core.fitting import Fitting
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.steps import CELLS, Kind, Step, steps_of, steps_of_target
from ff_assets.engine.plan import Plan, make_plan
from ff_assets.engine.store import Store
from ff_assets.engine.versions import instances_of, stated_fingerprints, upstream
from ff_assets.settings import Settings

# What a plan cannot know, as it does not wait for a server.
_IN_MLFLOW = {
    Kind.REGISTRATION: "if MLflow still has it",
    Kind.HYPOTHESES: "if MLflow has the verdicts on these predictions",
}


@dataclass(frozen=True)
class Planned:
    """What a run would do.

    Attributes:
        steps: the steps of the run, in order.
        unknown: steps behind a source that states no version: whether they can be reused is
            known only when the source has been read.
    """

    flow: Flow
    plan: Plan
    steps: tuple[Step, ...]
    unknown: frozenset[Step]
    exit_code: int = 0

    def state(self, step: Step) -> str:
        """`reuse`, `compute` or `unknown`."""
        if step in self.unknown:
            return "unknown"
        return "compute" if step in self._todo else "reuse"

    @cached_property
    def _todo(self) -> frozenset[Step]:
        return frozenset(self.plan.todo)

    @cached_property
    def _models(self) -> list[Instance]:
        return [step.instance for step in self.steps if step.kind is Kind.MODEL]

    @cached_property
    def _variants(self) -> list[Variant]:
        return [step.variant for step in self.steps if step.kind is Kind.REGISTRATION]

    def as_dict(self) -> dict[str, Any]:
        return {
            "models": {
                model.name: [
                    {"fit": fit, "reads": reads, "serves": serves}
                    for fit, (reads, serves) in fits_in_words(model).items()
                ]
                for model in self._models
            },
            "splits": splits_of(self._variants),
            "variants": [variant.name for variant in self._variants],
            "steps": [{"step": s.name, "state": self.state(s)} for s in self.steps],
            "fits": self.plan.fits,
            "spark": self.plan.needs_spark or bool(self.unknown),
        }

    def print(self, console: Console) -> None:
        if self._models:
            console.print(f"{escape(count_fits(self._models))}; {self._fits_to_do()}\n")
        for target, split in splits_of(self._variants).items():
            console.print(f"{target}: rows are split {escape(split)}", soft_wrap=True)
        console.print()
        self._print_fits(console)
        table = Table("variant", "pipeline", box=None, pad_edge=False)
        for variant in self._variants:
            chain = " → ".join(i.provider.name for i in variant.serving_instances())
            table.add_row(escape(variant.name), chain)
        console.print(table)
        console.print()
        table = Table("step", "", "kept as", box=None, pad_edge=False)
        colours = {"reuse": "green", "compute": "yellow", "unknown": "magenta"}
        for step in self.steps:
            state = self.state(step)
            shown = f"[{colours[state]}]{state}[/]"
            if step.kind in _IN_MLFLOW and state == "reuse":
                shown += f" {_IN_MLFLOW[step.kind]}"
            table.add_row(escape(step.name), shown, self._kept(step))
        console.print(table)
        states = [self.state(step) for step in self.steps]
        counts = ", ".join(f"{states.count(s)} {s}" for s in colours if states.count(s))
        spark = "" if self.plan.needs_spark or self.unknown else "; no Spark is needed"
        console.print(
            f"\n{len(self._variants)} variants, {len(self.steps)} steps: {counts}; "
            f"{self.plan.fits} fits{spark}"
        )

    def _fits_to_do(self) -> str:
        count = self.plan.fits
        if self.unknown:
            return f"up to {count} to do"  # known when all sources have been read
        total = sum(len(model.fits) for model in self._models)
        return "all to do" if count == total else f"{count or 'none'} to do"

    def _print_fits(self, console: Console) -> None:
        """The fits of models that are not fitted once on all of train."""
        special = [model for model in self._models if model.stage.fitting != Fitting()]
        if not special:
            return
        table = Table("model", "fit", "reads", "serves", box=None, pad_edge=False)
        for model in special:
            for fit, (reads, serves) in fits_in_words(model).items():
                table.add_row(escape(model.name), fit, reads, serves)
        console.print(table)
        console.print()

    def _kept(self, step: Step) -> str:
        if step.kind is not Kind.FEATURE:
            return ""
        return "table" if step.instance in self.plan.tables else "view"


def plan_project(target: str | None) -> Planned:
    """Plan a run of one target, or of all, from what sources state and the store holds.

    Raises:
        DefinitionError: a declaration is wrong, or there is no such target.
        DataError: a source cannot state its version.
    """
    flow = load_flow()
    if target is not None:
        flow.project.target(target)
    steps = steps_of(flow) if target is None else steps_of_target(flow, target)
    instances = upstream(flow, steps)
    fingerprints, unread = stated_fingerprints(instances)
    settings = Settings.load()
    store = Store(settings.store, settings.kept)
    plan = make_plan(flow, dict.fromkeys(steps, CELLS), fingerprints, store)
    behind = set(unread)
    for instance in instances:  # in topological order
        if not behind.isdisjoint(instance.parents):
            behind.add(instance)
    unknown = (step for step in steps if not behind.isdisjoint(instances_of(step)))
    return Planned(flow, plan, steps, frozenset(unknown))
