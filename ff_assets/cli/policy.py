"""`ff policy`: which sensitivity tags go where, along which path, and where they may not go."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.cli.project import load_flow, variants_named
from ff_assets.core.errors import shortened
from ff_assets.core.flow import Flow
from ff_assets.core.governance import Governed, carriers_of, prediction_carriers, prediction_keys
from ff_assets.core.instance import Instance
from ff_assets.core.sensitivity import Carrier
from ff_assets.core.steps import Kind, Step, rows_of

_SHOWN = 5  # violations with their whole error; the others are named


@dataclass(frozen=True)
class Tagged:
    """A tag of a source; all of it in words.

    Attributes:
        sources: the features and columns that have it, as `source.feature`.
        denied: the patterns of the policy.
        reaches: the keys of the assets that carry it.
    """

    tag: str
    sources: tuple[str, ...]
    denied: tuple[str, ...]
    reaches: tuple[str, ...]


@dataclass(frozen=True)
class End:
    """A tag that a stage's outputs do not carry any more; all of it in words."""

    tag: str
    stage: str
    because: str
    where: str


@dataclass(frozen=True)
class Reached:
    """A feature or an asset, with the shortest path of each tag that it carries.

    Attributes:
        paths: tag -> the steps from the source on.
        denied: the tags that the policy denies it.
        kept_out: the tags for which notebooks are refused it.
        ended: the tags that end behind it.
    """

    name: str
    paths: dict[str, list[str]]
    denied: tuple[str, ...]
    kept_out: tuple[str, ...]
    ended: tuple[End, ...]


@dataclass(frozen=True)
class Policy:
    """The policy of a project on sensitive data, and what it means for a name or altogether.

    Attributes:
        name: the feature, target or variant that was asked for.
        tags: every tag that a source declares.
        reached: what the name means, each with its tags.
        ended: where tags end in the whole project.
        doubts: what is declared, but protects or says nothing.
    """

    name: str | None
    governed: Governed
    tags: tuple[Tagged, ...]
    reached: tuple[Reached, ...]
    ended: tuple[End, ...]
    doubts: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        if self.name is None:
            return 1 if self.governed.violations else 0
        return 1 if any(each.denied for each in self.reached) else 0

    def as_dict(self) -> dict[str, Any]:
        policy = self.governed.policy
        said: dict[str, Any] = {
            "ok": self.exit_code == 0,
            "deny": {tag: list(patterns) for tag, patterns in policy.deny.items()},
            "owners": policy.owners,
        }
        if self.name is not None:
            return {**said, "reached": [asdict(each) for each in self.reached]}
        return {
            **said,
            "tags": [asdict(each) for each in self.tags],
            "declassified": [asdict(each) for each in self.ended],
            "kept_out_of_notebooks": [
                {"tag": v.tag, "what": v.asset.name, "pattern": v.pattern}
                for v in self.governed.kept_out
            ],
            "denied": [
                {"tag": v.tag, "asset": v.asset.key, "pattern": v.pattern}
                for v in self.governed.violations
            ],
            "warnings": list(self.doubts),
        }

    def print(self, console: Console) -> None:
        if self.name is None:
            self._print_project(console)
        else:
            for each in self.reached:
                _print_reached(console, each)

    def _print_project(self, console: Console) -> None:
        policy = self.governed.policy
        if policy.deny:
            console.print(f"[bold]policy[/] ({escape(str(policy.location))})", soft_wrap=True)
        else:
            console.print("[bold]policy[/]: nothing is denied; Governance(deny=...) says where not")
        console.print(f"  an owner is {'required' if policy.owners else 'not required'}")
        if self.tags:
            table = _table("tag", "on", "denied in", "in assets")
            for each in self.tags:
                on, denied = escape("\n".join(each.sources)), escape("\n".join(each.denied))
                table.add_row(each.tag, on, denied or "-", str(len(each.reaches)))
            console.print(table)
        if self.ended:
            console.print("\n[bold]declassified[/]")
            _print_ends(console, self.ended)
        for tag in self.governed.policy.deny:
            out = [v.asset.name for v in self.governed.kept_out if v.tag == tag]
            if out:
                listed = ", ".join(shortened(out))
                console.print(f"\n[bold]kept out of notebooks[/] for {tag}: {escape(listed)}")
        for text in self.doubts:
            console.print(f"[yellow]warning[/] {escape(text)}", soft_wrap=True)
        violations = self.governed.violations
        for violation in violations[:_SHOWN]:
            console.print("[red]denied[/]", end=" ")
            console.print(str(self.governed.error(violation)), markup=False, soft_wrap=True)
        sign = "[red]denied[/]" if violations else "[green]ok[/]"
        console.print(f"{sign} {escape(self.governed.summary)}", soft_wrap=True)


def _print_reached(console: Console, reached: Reached) -> None:
    console.print(f"[bold]{escape(reached.name)}[/]" + ("" if reached.paths else ": no tags"))
    for tag, steps in reached.paths.items():
        sign = f"[red]{tag}, denied[/]" if tag in reached.denied else f"[yellow]{tag}[/]"
        sign += " [red](kept out of notebooks)[/]" if tag in reached.kept_out else ""
        console.print(f"  {sign}: {escape(' -> '.join(shortened(steps)))}", soft_wrap=True)
    _print_ends(console, reached.ended)


def _print_ends(console: Console, ended: Sequence[End]) -> None:
    """One line for each declaration, with all of its instances."""
    stages: dict[tuple[str, str, str], list[str]] = {}
    for end in ended:
        stages.setdefault((end.tag, end.where, end.because), []).append(end.stage)
    for (tag, where, because), names in stages.items():
        text = f"`{tag}` ends at {'; '.join(names)} ({where}): {because}"
        console.print(f"  [green]{escape(text)}[/]", soft_wrap=True)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))


def explain(name: str | None) -> Policy:
    """The policy, and where sensitive data go: all of it, or what concerns a name.

    What the policy denies is explained like the rest.

    Raises:
        DefinitionError: a declaration is wrong, or nothing has the name.
    """
    governed = Governed(load_flow())
    return Policy(
        name=name,
        governed=governed,
        tags=tuple(_tagged(governed)),
        reached=() if name is None else tuple(_reached(governed, name)),
        ended=tuple(
            End(t, i.name, why, str(i.stage.location)) for t, i, why in governed.declassified
        ),
        doubts=tuple(governed.doubts()),
    )


def _tagged(governed: Governed) -> Iterator[Tagged]:
    for tag, assets in governed.tagged.items():
        yield Tagged(
            tag,
            tuple(
                f"{source.name}.{name}"
                for source in governed.flow.project.sources
                for name, tags in source.sensitivity.items()
                if tag in tags
            ),
            tuple(governed.policy.deny.get(tag, ())),
            tuple(asset.key for asset in assets),
        )


def _reached(governed: Governed, name: str) -> Iterator[Reached]:
    denied = {(violation.asset.key, violation.tag) for violation in governed.violations}
    kept_out = {(violation.asset.carriers, violation.tag) for violation in governed.kept_out}
    sensitivity = governed.sensitivity
    for asked in {asked.title: asked for asked in _asked(governed.flow, name)}.values():
        trails = {tag: sensitivity.trail(asked.carriers, tag) for tag in sensitivity.tags}
        yield Reached(
            asked.title,
            {tag: trail.steps for tag, trail in trails.items() if trail},
            tuple(t for t in trails if any((key, t) in denied for key in asked.keys) and trails[t]),
            tuple(t for t in trails if (asked.carriers, t) in kept_out),
            tuple(
                End(end.tag, str(end.carrier), end.because, str(end.stage.location))
                for end in sensitivity.ended(asked.carriers)
            ),
        )


class _Asked(NamedTuple):
    """What is meant by a name: a feature, or all that an asset tells something of.

    Attributes:
        keys: those of the assets that it is part of.
    """

    title: str
    carriers: tuple[Carrier, ...]
    keys: tuple[str, ...]


def _asked(flow: Flow, name: str) -> Iterator[_Asked]:
    variants = variants_named(flow, name)
    for instance in flow.instances:
        if name in instance.provider.outputs:
            yield _feature(str(Carrier(instance, name)), instance, name)
            if instance.is_estimator:
                yield _asset(Step(Kind.MODEL, instance))
    for target in dict.fromkeys(variant.target for variant in variants):
        if name == target.name:
            keys = prediction_keys(target)
            yield _Asked(" and ".join(keys), prediction_carriers(flow, target), tuple(keys))
    for variant in variants:
        keys = prediction_keys(variant.target)
        for feature in dict.fromkeys((*variant.target.outputs, *variant.target.keep)):
            instance = variant.features[feature]
            yield _feature(str(Carrier(instance, feature)), instance, feature, *keys)
        if variant.target.label is not None:
            yield _asset(Step(Kind.EVALUATION, variant))
        yield _asset(Step(Kind.REGISTRATION, variant))


def _feature(title: str, instance: Instance, name: str, *keys: str) -> _Asked:
    return _Asked(title, (Carrier(instance, name),), ("/".join(rows_of(instance).path), *keys))


def _asset(step: Step) -> _Asked:
    return _Asked(step.name, carriers_of(step), ("/".join(step.path),))
