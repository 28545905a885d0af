"""What is read outside of a run, as in a notebook: features by name, of one coherent derivation.

It is asked as the flow is always asked, by a target: one with a model on these features, which
exists nowhere else. So names mean what they mean in a flow, and the judge of all metrics is also
that of a training set.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ff_assets.core.entities import Entity, finest
from ff_assets.core.errors import (
    DefinitionError,
    LeakError,
    Location,
    VariantExplosion,
    nearest,
)
from ff_assets.core.flow import Flow, infer
from ff_assets.core.honesty import check
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.names import check_names
from ff_assets.core.operations import SparkOperation
from ff_assets.core.project import Project
from ff_assets.core.split import Split
from ff_assets.core.stage import Stage
from ff_assets.core.target import Target

_TARGET, _MODEL = "training_set", "model_in_notebook"


class AnyModel:
    """Stands for whatever is going to be fitted on what is read; never constructed."""

    def fit(self) -> None:
        """What tells an estimator."""


@dataclass(frozen=True)
class Reading:
    """Features that are read together.

    Attributes:
        project: that declares them.
        features: their names.
        named: the target that they are read for, if one was named.
        variant: the derivation; of a target that stands for the reader.
        flow: that it belongs to, beside all targets of the project.
        location: where it was asked for.
    """

    project: Project
    features: tuple[str, ...]
    named: Target | None
    variant: Variant
    flow: Flow
    location: Location

    @property
    def columns(self) -> tuple[tuple[Instance, str], ...]:
        """Each feature with the instance that provides it."""
        model = self.variant.prediction
        return tuple((model.inputs[name], name) for name in self.features)

    @property
    def entity(self) -> Entity:
        """What the finest of the features is about."""
        entity = finest(instance.entity for instance, _ in self.columns)
        assert entity is not None
        return entity

    @property
    def split(self) -> Split:
        return self.variant.split

    def targets_with(self, instance: Instance) -> list[str]:
        """The project's targets whose runs make an instance."""
        own = (v for v in self.flow.variants if v.target is not self.variant.target)
        return list(dict.fromkeys(v.target.name for v in own if instance in v.instances))


def reading_of(
    project: Project,
    features: Sequence[str],
    variant: str | None,
    target: str | None,
    location: Location,
) -> Reading:
    """Find out what provides features.

    Args:
        variant: what tells the derivation from others: the label of an asset or variant, such as
            `tfidf` or `with_length, tfidf`, alone or as it is shown, `sentiment[tfidf]`.
        target: read them as this target does, by its split and of the providers that it chooses.
        location: where it is asked for.

    Raises:
        DefinitionError: a feature, the variant or the target is not there, features cannot be had
            together, or several derivations are possible.
    """
    check_names("the features to read", features, [("read", location)])
    names = tuple(dict.fromkeys(features))
    here = (f"read {', '.join(names)}", location)
    if not names:
        raise DefinitionError(
            "no feature is named.", where=[here], why=nearest("", project.feature_names())
        )
    for name in names:
        if name not in project.feature_names():
            raise DefinitionError(
                f"there is no feature `{name}`.",
                where=[here],
                why=nearest(name, project.feature_names()),
                fix="`ff check` lists targets and variants, `ff why FEATURE` what provides one.",
            )
    named = None if target is None else project.target(target)
    parts = _parts(variant)
    asked = _hypothetical(project, names, parts, named, location)
    try:
        flow = _with(project, asked, names, None, location)
    except VariantExplosion as error:
        raise _ambiguous(names, [], here, error.why) from error
    siblings = flow.variants_of(_TARGET)
    for part in parts:
        siblings = tuple(v for v in siblings if part in _choices(v))
        if not siblings:
            known = {name for v in flow.variants_of(_TARGET) for name in _choices(v)}
            raise DefinitionError(
                f"there is no variant `{variant}` of {_listed(names)}.",
                where=[here],
                why=f"`{part}` does not go together with the others in one derivation."
                if part in known
                else f"`{part}` is not behind them; {nearest(part, known)}",
                fix="name providers that tell the variants apart, as `ff plan` shows them.",
            )
    if len(siblings) > 1:
        raise _ambiguous(names, [v.label for v in siblings], here)
    return Reading(project, names, named, siblings[0], flow, location)


def judge(reading: Reading) -> list[Finding]:
    """Hold a reading to what a model on it would be held to, fitted on train, measured on test.

    It is as strict as a project can be: features that have seen their rows' own labels are
    refused, because nobody knows what is done with the rows. To cross-validate on them, as one
    does in notebooks, would give a metric that is not true.

    Without a target, it is held to what every target about the same rows demands.

    Returns:
        What is doubtful, but not refused.

    Raises:
        LeakError: the features are no training set; the reason is the first that was found.
        DefinitionError: no target with a label is about these rows.
    """
    strict = replace(reading.project.policy, strict=True)
    project = replace(reading.project, policy=strict)
    doubts: list[Finding] = []
    for target in _judges(reading):
        inputs = [name for name in reading.features if name != target.label]
        if not inputs:
            continue
        providers = {i.provider.name for i in reading.variant.instances}
        asked = replace(
            reading.variant.target,
            label=target.label,
            task=target.task,
            entity=target.entity,
            choose=_chosen(project, providers),
        )
        flow = _with(project, asked, inputs, target.label, reading.location)
        alone = replace(flow, project=replace(flow.project, targets=(asked,)))
        for verdict in check(alone):
            for finding in verdict.refusals:
                raise _refused(reading, target, finding)
            doubts += [each for each in verdict.warnings if each not in doubts]
    return doubts


def _judges(reading: Reading) -> list[Target]:
    """The targets whose labels a model on these features might learn."""
    if reading.named is not None:
        targets = [reading.named]
    else:
        about = [
            v.target
            for v in reading.flow.variants
            if v.entity == reading.entity and v.target is not reading.variant.target
        ]
        targets = list(dict.fromkeys(about))
    measured = [target for target in targets if target.label is not None]
    if not measured:
        using = [set(reading.targets_with(instance)) for instance, _ in reading.columns]
        known = [t.name for t in reading.project.targets if t.label is not None]
        known = [name for name in known if name in set.intersection(*using)] or known
        raise DefinitionError(
            f"nothing tells what {_listed(reading.features)} are to be trained for.",
            where=[(f"read {', '.join(reading.features)}", reading.location)],
            why=f"target `{reading.named.name}` has no label."
            if reading.named
            else f"no target with a label is about `{reading.entity.name}`.",
            fix=f"name a target with a label ({', '.join(known) or 'there is none'}), or read "
            "them with training=False to look at them.",
        )
    return measured


def _refused(reading: Reading, target: Target, finding: Finding) -> LeakError:
    return LeakError(
        f"{_listed(reading.features)} cannot be a training set for `{target.name}`: {finding.text}",
        code=finding.code,
        where=[*finding.places, (f"read {', '.join(reading.features)}", reading.location)],
        why=finding.why,
        fix=f"{finding.fix}\nTo look at them and train nothing: training=False.",
    )


def _hypothetical(
    project: Project,
    names: Sequence[str],
    parts: Sequence[str],
    named: Target | None,
    location: Location,
) -> Target:
    """A target that stands for the reader of features."""
    flow = infer(project)
    splits = {v.split.name: v.split for v in flow.variants}
    entities = {entity.name: entity for entity in project.entities}
    split = _split(project, flow, names) if named is None else named.split or project.split
    entity = None if named is None else flow.variants_of(named.name)[0].entity
    for part in parts:  # labels tell entities and splits apart as well
        split, entity = splits.get(part, split), entities.get(part, entity)
    chosen = dict(named.choose) if named else {}
    return Target(
        _TARGET,
        outputs=[_MODEL],
        entity=entity,
        split=split,
        choose=chosen | _chosen(project, parts),
        location=location,
    )


def _split(project: Project, flow: Flow, names: Sequence[str]) -> Split:
    """The project's own split goes without saying, unless only others have the features."""
    using = [v.split for v in flow.variants if v.features.keys() >= set(names)]
    return using[0] if len(set(using)) == 1 else project.split


def _chosen(project: Project, providers: Collection[str]) -> dict[str, list[str]]:
    """What a target says to choose these providers, of which a feature may have several."""
    chosen: dict[str, list[str]] = {}
    for provider in project.providers:
        if provider.name in providers:
            for output in provider.outputs:
                chosen.setdefault(output, []).append(provider.name)
    return chosen


def _with(
    project: Project,
    asked: Target,
    inputs: Sequence[str],
    label: str | None,
    location: Location,
) -> Flow:
    """The flow of a project that has one more target, and the model that this one wants."""
    labels = (label,) if label is not None else ()
    operation = SparkOperation(
        cls=AnyModel,
        params={},
        reads={"featuresCol": tuple(inputs)},
        fit_reads={} if label is None else {"labelCol": label},
        writes={"predictionCol": _MODEL},
        private={},
    )
    model = Stage(
        name=_MODEL,
        operation=operation,
        inputs=tuple(inputs),
        fit_inputs=labels,
        outputs=(_MODEL,),
        entity=None,
        materialization="table",
        location=location,
    )
    return infer(
        replace(project, stages=(*project.stages, model), targets=(*project.targets, asked))
    )


def _parts(variant: str | None) -> list[str]:
    """The names in a label: `sentiment[signals, tfidf]` and `signals, tfidf` have the same."""
    if variant is None:
        return []
    inside = re.fullmatch(r"[^\[\]]*\[(.*)\]", variant)
    return [part.strip() for part in (inside.group(1) if inside else variant).split(",")]


def _choices(variant: Variant) -> Iterator[str]:
    """All that may stand in its label, and what it is made by."""
    yield variant.split.name
    for instance in variant.instances:
        yield instance.entity.name
        if instance.provider.name != _MODEL:
            yield instance.provider.name


def _ambiguous(
    names: Sequence[str], labels: Sequence[str], here: tuple[str, Location], why: str = ""
) -> DefinitionError:
    shown = labels[0] if labels else "..."
    return DefinitionError(
        f"there are several variants of {_listed(names)}.",
        where=[here],
        why=why or f"they can be made in {len(labels)} ways: {'; '.join(labels)}",
        fix=f'name one, for example variant="{shown}".',
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
