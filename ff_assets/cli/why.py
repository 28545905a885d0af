"""`ff why`: what was fitted on which rows behind a feature or a metric, also a refused one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.cli.project import load_flow, variants_named
from ff_assets.cli.splits import fits_in_words, splits_of
from ff_assets.core.declare import Provider
from ff_assets.core.errors import LeakError
from ff_assets.core.flow import Flow
from ff_assets.core.honesty import check
from ff_assets.core.influence import accounts_of
from ff_assets.core.instance import Variant
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.leakage import on
from ff_assets.core.verdict import Verdict
from ff_assets.core.why import Line, fit_set, why

_COLOURS = {"A": "green", "B": "yellow", "": "red"}


@dataclass(frozen=True)
class Provided:
    """An instance that provides the feature that was asked for; all of it in words.

    Attributes:
        name: of the instance.
        kind: `source`, `transformer`, `aggregate` or `estimator`.
        entity: what its rows are about.
        fits: which rows each of its own fits reads.
        features: X, the rows that were read by any fit behind its values.
        labels: Y, those whose labels were read.
        used_by: the variants that use it.
    """

    name: str
    kind: str
    entity: str
    fits: dict[str, str]
    features: str
    labels: str
    used_by: tuple[str, ...]


@dataclass(frozen=True)
class Explained:
    """What is known of a name.

    Attributes:
        name: the feature, target or variant.
        variants: those that it names.
        metrics: the verdict on each of their metrics, with what is behind it.
        provided: what provides the feature of that name.
        unused: providers of it that no variant uses -> why not.
    """

    name: str
    variants: tuple[Variant, ...]
    metrics: tuple[tuple[Verdict, tuple[Line, ...]], ...]
    provided: tuple[Provided, ...]
    unused: dict[Provider, str]

    @property
    def exit_code(self) -> int:
        return 0 if all(verdict.allowed for verdict, _ in self.metrics) else 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.exit_code == 0,
            "splits": splits_of(self.variants),
            "metrics": [
                {
                    **verdict.as_dict(),
                    "behind": [{**asdict(line), "fits": dict(line.fits)} for line in lines],
                }
                for verdict, lines in self.metrics
            ],
            "providers": [asdict(provided) for provided in self.provided],
            "unused": {provider.name: reason for provider, reason in self.unused.items()},
        }

    def print(self, console: Console) -> None:
        for target, split in splits_of(self.variants).items():
            console.print(f"[bold]{target}[/]: rows are split {escape(split)}", soft_wrap=True)
        if self.variants and not self.metrics:
            console.print("It has no label, so no metric is asked for.")
        for verdict, lines in self.metrics:
            _print_verdict(console, verdict, lines)
        if self.metrics:
            console.print(
                "\nX: rows that a fit behind the instance has read, as to its values on the rows "
                "that are evaluated; Y: their labels too.",
                soft_wrap=True,
            )
        if self.provided or self.unused:
            self._print_feature(console)

    def _print_feature(self, console: Console) -> None:
        if self.variants:
            console.print()
        console.print(f"[bold]{self.name}[/] is a feature of")
        table = _table(
            "instance", "kind", "entity", "fitted on", "features (X)", "labels (Y)", "used by"
        )
        for each in self.provided:
            used_by = escape("\n".join(each.used_by))
            fits = _lines(each.fits)
            row = (each.kind, each.entity, fits, each.features, each.labels, used_by)
            table.add_row(escape(each.name), *row)
        if self.provided:
            console.print(table)
            console.print(
                "X: rows that were read by any fit behind it; Y: those with their labels."
            )
        for provider, reason in self.unused.items():
            console.print(
                f"[yellow]unused[/] `{provider.name}` ({escape(str(provider.location))}): {reason}"
            )


def _print_verdict(console: Console, verdict: Verdict, lines: Sequence[Line]) -> None:
    grade = f"grade {verdict.grade}" if verdict.allowed else "refused"
    grade += "" if verdict.certified else ", not certified"
    console.print(
        f"\n[bold]{escape(verdict.variant.name)}[/] on {verdict.cell}: "
        f"[{_COLOURS[verdict.grade]}]{grade}[/]"
    )
    if verdict.allowed:
        console.print(escape(verdict.sentence))
    for finding in verdict.refusals:
        _print_finding(console, "[red]refused[/]", finding)
    if verdict.honest_part is not None:
        console.print(f"It would be honest on {escape(str(verdict.honest_part))}.")
    for finding in verdict.warnings:
        _print_finding(console, "[yellow]warning[/]", finding)
    table = _table("instance", "kind", "fitted on", "features (X)", "labels (Y)", "verdict")
    for line in lines:
        colour = "green" if line.verdict == "clean" else "red"
        table.add_row(
            escape(line.name),
            line.kind,
            _lines(dict(line.fits)),
            escape(line.features),
            escape(line.labels),
            f"[{colour}]{escape(line.verdict)}[/]",
        )
    console.print(table)


def _print_finding(console: Console, sign: str, finding: Finding) -> None:
    """In the words of the error that a refusal is raised as."""
    console.print(sign, end=" ")
    error = LeakError(
        finding.text,
        code=finding.code,
        where=finding.places,
        why=finding.why,
        fix=finding.fix,
    )
    console.print(str(error), markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _lines(fits: dict[str, str]) -> str:
    if len(fits) == 1:
        return next(iter(fits.values()))
    return "\n".join(f"{name}: {read}" for name, read in fits.items())


def explain(name: str) -> Explained:
    """What is known of a feature, a target or a variant; or of all that have the name.

    Refused metrics are explained like others.

    Raises:
        DefinitionError: a declaration is wrong, or nothing has the name.
    """
    flow = load_flow()
    variants = variants_named(flow, name)
    metrics = tuple((v, tuple(why(flow, v))) for v in check(flow) if v.variant in variants)
    return Explained(name, variants, metrics, tuple(_provided(flow, name)), _unused(flow, name))


def _provided(flow: Flow, name: str) -> list[Provided]:
    accounts = accounts_of(flow)
    found = []
    for instance in flow.instances:
        if name in instance.provider.outputs:
            read = on(accounts[instance].pieces, instance.available)
            space = instance.split.space(instance.entity)
            found.append(
                Provided(
                    name=instance.name,
                    kind=instance.provider.kind,
                    entity=instance.entity.name,
                    fits={fit: rows for fit, (rows, _) in fits_in_words(instance).items()},
                    features=fit_set(read.features, space, instance.split),
                    labels=fit_set(read.labels, space, instance.split),
                    used_by=tuple(v.name for v in flow.variants if instance in v.instances),
                )
            )
    return found


def _unused(flow: Flow, name: str) -> dict[Provider, str]:
    used = {instance.provider for instance in flow.instances}
    return {
        provider: f"it {flow.unusable[provider.name]}."
        if provider.name in flow.unusable
        else "no target reaches it."
        for provider in flow.project.providers
        if name in provider.outputs and provider not in used
    }
