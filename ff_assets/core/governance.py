"""Where sensitivity tags may go: the assets of a flow, held to the policy of its project.

Besides the steps there are the predictions of each target, `predictions/<target>/staging` and
`.../production`. Any variant may be promoted, so they count with the tags of all variants: of
outputs with their private columns, of features that are kept, and of the columns of the rows. A
target with an A/B test has predictions of both, and an experiment, which tells of its outcomes.

What a notebook reads is no asset, and is asked for only when the definitions have loaded. So what
is denied in `notebooks/<feature>` is refused there and then.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from ff_assets.core.ab_test import EXPERIMENTS, served
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError, Location, PolicyViolation, nearest
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.reading import Reading
from ff_assets.core.sensitivity import (
    Carrier,
    Trail,
    column_of,
    columns_of,
    made_by,
    outcome_of,
    sensitivity_of,
)
from ff_assets.core.stage import Stage
from ff_assets.core.steps import Kind, Step, steps_of
from ff_assets.core.target import Target

PREDICTIONS, NOTEBOOKS = "predictions", "notebooks"
_ROOMS = (*(kind.value for kind in Kind), PREDICTIONS, EXPERIMENTS, NOTEBOOKS)
_SHOWN = 10  # of what is refused as well


@dataclass(frozen=True)
class Asset:
    """An asset, and what decides on its tags.

    Attributes:
        key: `features/sentiment__tfidf`; patterns match it.
        name: for people, `features/sentiment[tfidf]`.
        carriers: the features, columns and models that it holds or tells something of.
        declared: the declaration that it comes from.
    """

    key: str
    name: str
    carriers: tuple[Carrier, ...]
    declared: tuple[str, Location]


@dataclass(frozen=True)
class Violation:
    """A tag in an asset that the policy denies it to.

    Attributes:
        pattern: of the policy.
    """

    tag: str
    pattern: str
    asset: Asset


def carriers_of(step: Step) -> tuple[Carrier, ...]:
    """What decides on the tags of a step's asset.

    A metric and what is shown with it tell something of predictions, labels and slices. What else
    has no rows tells what the models and metrics tell that it is made from.
    """
    if step.has_cells:
        instance = step.instance
        return (*_values(instance), *columns_of(instance.entity))
    if step.kind is Kind.MODEL:
        return (Carrier(step.instance, None),)
    if step.kind is Kind.EVALUATION:
        features, measured = step.variant.features, step.variant.target.measured
        return tuple(Carrier(features[name], name) for name in measured)
    behind = (carriers_of(parent) for parent in step.parents() if not parent.has_cells)
    return tuple(dict.fromkeys(carrier for carriers in behind for carrier in carriers))


def prediction_carriers(flow: Flow, target: Target) -> tuple[Carrier, ...]:
    """What decides on the tags of a target's predictions."""
    found: dict[Carrier, None] = {}
    for variant in flow.variants_of(target.name):
        for name in (*target.outputs, *target.keep):
            found[Carrier(variant.features[name], name)] = None
        for name in target.outputs:
            beside = _values(variant.features[name])
            found |= dict.fromkeys(c for c in beside if str(c.name).startswith("_"))
        found |= dict.fromkeys(columns_of(variant.entity))
    return tuple(found)


def tags_in_predictions(flow: Flow, target: Target, column: str) -> tuple[str, ...]:
    """The tags of a column of a target's predictions, whatever variant they are by."""
    entity = flow.variants_of(target.name)[0].entity
    if column in entity.columns:
        return sensitivity_of(flow).of(column_of(entity, column))
    carriers = (
        carrier
        for carrier in prediction_carriers(flow, target)
        if isinstance(carrier.holder, Instance) and carrier.name in (column, f"_{column}")
    )
    return sensitivity_of(flow).of(*carriers)


def _values(instance: Instance) -> Iterator[Carrier]:
    return (Carrier(instance, name) for name in made_by(instance))


def prediction_keys(target: Target) -> list[str]:
    """The keys of the assets with a target's predictions."""
    return [f"{PREDICTIONS}/{target.name}/{each}" for each in served(target)]


def assets_of(flow: Flow) -> Iterator[Asset]:
    """Every asset of a flow: its steps in topological order, then predictions."""
    for step in steps_of(flow):
        subject = step.subject
        declaration = subject.provider if isinstance(subject, Instance) else subject.target
        key = "/".join(step.path)
        yield Asset(key, step.name, carriers_of(step), describe(declaration))
    for target in flow.project.targets:
        carriers = prediction_carriers(flow, target)
        for key in prediction_keys(target):
            yield Asset(key, key, carriers, describe(target))
        if target.ab_test is not None:
            key = f"{EXPERIMENTS}/{target.name}/{target.ab_test.name}"
            yield Asset(key, key, (outcome_of(target.ab_test),), describe(target))


def notebook_key(feature: str) -> str:
    """What the policy matches where a notebook reads a feature."""
    return f"{NOTEBOOKS}/{feature}"


def in_notebooks(flow: Flow) -> Iterator[Asset]:
    """Every feature of a flow, and the rows that come with it, as a notebook might read them."""
    for instance in flow.instances:
        declared, rows = describe(instance.provider), f"rows of {instance.entity.name}"
        for name in instance.provider.outputs:
            key, carrier = notebook_key(name), Carrier(instance, name)
            yield Asset(key, str(carrier), (carrier,), declared)
            yield Asset(key, rows, columns_of(instance.entity), declared)


def delivered(reading: Reading, *, with_rows: bool) -> Iterator[Asset]:
    """What a notebook is given.

    Args:
        with_rows: whether the rows are given as well, with their keys and times; else they are
            the notebook's own.
    """
    here = (f"read {', '.join(reading.features)}", reading.location)
    for instance, name in reading.columns:
        beside = columns_of(instance.entity) if with_rows else ()
        key = notebook_key(name)
        yield Asset(key, key, (Carrier(instance, name), *beside), here)


def deliver(reading: Reading, *, with_rows: bool) -> None:
    """Hold what a notebook is given to the policy of the project.

    Raises:
        PolicyViolation: a feature, or a column of the rows, has a tag that is denied there.
    """
    governed = Governed(reading.flow, delivered(reading, with_rows=with_rows))
    if governed.violations:
        raise governed.error(governed.violations[0])


class Governed:
    """A flow beside the policy of its project.

    Args:
        assets: that are held to it; all that the flow has if nothing is said.

    Raises:
        DefinitionError: a pattern of the policy can match no asset at all.
    """

    def __init__(self, flow: Flow, assets: Iterable[Asset] | None = None) -> None:
        self.flow = flow
        self.policy = flow.project.governance
        self.sensitivity = sensitivity_of(flow)
        self.assets = tuple(assets_of(flow) if assets is None else assets)
        self._check_patterns()

    def _check_patterns(self) -> None:
        for tag, patterns in self.policy.deny.items():
            for pattern in patterns:
                room = pattern.partition("/")[0]
                if not any(fnmatchcase(each, room) for each in _ROOMS):
                    raise DefinitionError(
                        f"the policy denies `{tag}` in {pattern!r}, which no asset's key can be.",
                        where=[("Governance(...)", self.policy.location)],
                        why=nearest(room, _ROOMS),
                        fix="begin it with one of these, as in 'predictions/*': keys are those "
                        "that Dagster shows.",
                    )

    @cached_property
    def tagged(self) -> Mapping[str, tuple[Asset, ...]]:
        """Tag -> the assets that it reaches, for every tag of a source."""
        found: dict[str, list[Asset]] = {tag: [] for tag in self.sensitivity.tags}
        for asset in self.assets:
            for tag in self.sensitivity.of(*asset.carriers):
                found[tag].append(asset)
        return {tag: tuple(assets) for tag, assets in found.items()}

    @cached_property
    def violations(self) -> tuple[Violation, ...]:
        """What the policy refuses."""
        return tuple(
            Violation(tag, pattern, asset)
            for tag, patterns in self.policy.deny.items()
            for asset in self.tagged.get(tag, ())
            for pattern in [next((p for p in patterns if fnmatchcase(asset.key, p)), None)]
            if pattern is not None
        )

    @cached_property
    def kept_out(self) -> tuple[Violation, ...]:
        """What notebooks are refused; rows of an entity once, with any feature."""
        found = Governed(self.flow, in_notebooks(self.flow)).violations
        return tuple({(each.tag, each.asset.name): each for each in found}.values())

    def trail(self, asset: Asset, tag: str) -> Trail:
        """The shortest way of a tag to an asset that it reaches."""
        trail = self.sensitivity.trail(asset.carriers, tag)
        assert trail is not None
        return trail

    @cached_property
    def declassified(self) -> tuple[tuple[str, Instance, str], ...]:
        """Where tags end, as (tag, instance, reason), in topological order."""
        return tuple(
            (tag, instance, stated.because)
            for instance in self.flow.instances
            if not instance.is_source
            for stated in instance.stage.declassifications
            for tag in self.sensitivity.arriving(
                carrier for carrier in _values(instance) if stated.is_about(carrier.name)
            )
            if tag in stated.tags
        )

    @property
    def summary(self) -> str:
        """What was checked, in one line."""
        if not self.sensitivity.tags:
            return "no source tags anything as sensitive"
        reached = {asset for assets in self.tagged.values() for asset in assets}
        denied = len(self.violations)
        return (
            f"{_counted(len(self.sensitivity.tags), 'sensitivity tag')} "
            f"({', '.join(self.sensitivity.tags)}) in {len(reached)} of "
            f"{_counted(len(self.assets), 'asset')}, {denied or 'none'} where the policy denies "
            f"it; declassified {_counted(len(self.declassified), 'time')}"
        )

    def doubts(self) -> Iterator[str]:
        """What is declared, but protects or says nothing."""
        keys = {asset.key for asset in (*self.assets, *in_notebooks(self.flow))}
        for tag, patterns in self.policy.deny.items():
            if tag not in self.sensitivity.tags:
                known = nearest(tag, self.sensitivity.tags)
                yield f"the policy denies the tag `{tag}`, which no source declares ({known})."
            for pattern in patterns:
                if not any(fnmatchcase(key, pattern) for key in keys):
                    yield f"the policy denies `{tag}` in `{pattern}`, which is no asset's key."
        ends = {(tag, instance.provider) for tag, instance, _ in self.declassified}
        used = {i.provider for i in self.flow.instances if isinstance(i.provider, Stage)}
        for stage in self.flow.project.stages:
            for tag in dict.fromkeys(t for each in stage.declassifications for t in each.tags):
                if stage in used and (tag, stage) not in ends:
                    yield (
                        f"`{stage.name}` ({stage.location}) declassifies `{tag}`, which nothing "
                        "that it reads carries."
                    )

    def error(self, violation: Violation) -> PolicyViolation:
        """The refusal of one violation, in the words of an error."""
        tag, asset = violation.tag, violation.asset
        trail = self.trail(asset, tag)
        others = [f"`{v.tag}` in {v.asset.name}" for v in self.violations if v is not violation]
        more = f"\n({len(others) - _SHOWN} more)" if len(others) > _SHOWN else ""
        return PolicyViolation(
            f"`{tag}` would reach {asset.name}, where the policy denies it.",
            where=dict.fromkeys(
                [describe(trail.source), asset.declared, ("Governance(...)", self.policy.location)]
            ),
            why="\n".join(
                [
                    f"source `{trail.source.name}` tags `{trail.feature}` as {tag!r}, and the "
                    f"policy says deny={{{tag!r}: [{violation.pattern!r}]}}",
                    f"path: {trail.route(asset.name)}",
                    *(f"denied as well: {text}" for text in others[:_SHOWN]),
                ]
            )
            + more,
            fix=_fix(violation, trail),
        )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _fix(violation: Violation, trail: Trail) -> str:
    """What can be done, by the kind of asset and of what it carries."""
    tag, last = violation.tag, trail.carriers[-1]
    narrow = f"or let the policy permit it: narrow Governance(deny={{{tag!r}: [...]}})."
    if violation.asset.key.startswith(EXPERIMENTS):
        return f"measure something else: an effect tells of what it is measured by; {narrow}"
    if trail.is_column:
        return (
            f"every table of rows with the column `{last.name}` carries its tags: let the loader "
            f"replace it by a key that tells nobody who is meant; {narrow}"
        )
    stages = [c.holder for c in trail.carriers if c.name is not None]
    passed = [h.name for h in stages if isinstance(h, Instance) and not h.is_source]
    ending = f'.declassified("{tag}", because="...")'
    if passed:
        names = passed[-1] if len(passed) == 1 else f"{passed[0]}` ... `{passed[-1]}"
        say = f"if an output on the path (`{names}`) tells nothing of it, say so: {ending}; "
    else:
        say = f"put a stage in between that removes it, with {ending}; "
    if last.name is None:
        say += "a model has the tags of all that its fit reads, so end them before it; "
    elif violation.asset.key.startswith(PREDICTIONS):
        say += f"or leave `{last.name}` out of the target's `outputs` and `keep`; "
    return say + narrow


def govern(flow: Flow) -> Governed:
    """Hold a flow to the policy of its project.

    Raises:
        PolicyViolation: a tag reaches an asset that the policy denies it to.
        DefinitionError: a pattern of the policy can match no asset at all.
    """
    governed = Governed(flow)
    if governed.violations:
        raise governed.error(governed.violations[0])
    return governed
