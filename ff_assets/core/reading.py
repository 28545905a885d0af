"""What is read outside of a run, as in a notebook: features by name, of one coherent derivation.

It is asked as the flow is always asked, by a target: one with a model on these features, which
exists nowhere else. So names mean what they mean in a flow, and the judge of all metrics is also
that of a training set (`core/training_set.py`).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ff_assets.core.entities import Entity, finest
from ff_assets.core.errors import (
    DefinitionError,
    Location,
    VariantExplosion,
    nearest,
)
from ff_assets.core.flow import Flow, infer
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.names import check_names
from ff_assets.core.operations import SparkOperation
from ff_assets.core.project import Project
from ff_assets.core.split import Split
from ff_assets.core.stage import Stage
from ff_assets.core.target import Target

_TARGET, _MODEL = "notebook", "model_in_notebook"
_NAME_ONE = "name providers that tell the variants apart, as `ff plan` shows them."


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
        rows: what the rows are about that they are read for, where that is known.
    """

    project: Project
    features: tuple[str, ...]
    named: Target | None
    variant: Variant
    flow: Flow
    location: Location
    rows: Entity | None = None

    @property
    def columns(self) -> tuple[tuple[Instance, str], ...]:
        """Each feature with the instance that provides it."""
        model = self.variant.prediction
        return tuple((model.inputs[name], name) for name in self.features)

    @property
    def entity(self) -> Entity:
        """What the rows are about: as the finest of the features, if nothing else is known."""
        if self.rows is not None:
            return self.rows
        entity = finest(instance.entity for instance, _ in self.columns)
        assert entity is not None
        return entity

    def of_rows(self, columns: Collection[str]) -> "Reading":
        """The same, for rows with these columns.

        They are of a finer entity than the features if they have its time, beside the key by which
        they belong to what the features are about: households' features, for rows of offers.

        Raises:
            DefinitionError: they might be of several such entities.
        """
        own = self.entity
        if own.time in columns:
            return self
        finer = {
            entity: entity.key in columns
            for entity in self.project.entities
            if entity.is_below(own) and entity.time in columns and entity.key_of(own) in columns
        }
        with_key = [entity for entity, has_key in finer.items() if has_key]
        among = with_key or list(finer)
        if self.named is not None:
            wanted = self.flow.variants_of(self.named.name)[0].entity
            among = [entity for entity in among if entity == wanted] or among
        if len(among) > 1:
            names = " or ".join(f"`{entity.name}`" for entity in among)
            raise DefinitionError(
                f"the spine may have rows of {names}.",
                where=[(f"read {', '.join(self.features)}", self.location)],
                why="it has the times of "
                + " and ".join(f"{entity.name} (`{entity.time}`)" for entity in among)
                + ", and features are as of the time of a row.",
                fix="leave out the time that is not that of the rows, or name the target that "
                "they are for.",
            )
        return replace(self, rows=among[0]) if among else self

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
    flow = _flow(project, names, parts, named, location)
    siblings = flow.variants_of(_TARGET)
    known = {name for v in siblings for name in _choices(v)}
    for part in parts:
        siblings = tuple(v for v in siblings if part in _choices(v))
        if siblings:
            continue
        what = f"there is no variant `{variant}` of {listed(names)}."
        if part in known:
            why = f"`{part}` does not go together with the others in one derivation."
            raise DefinitionError(what, where=[here], why=why, fix=_NAME_ONE)
        words = _words(project, names, named, location)
        if not words:
            why = f"`{part}` is not behind them; there is one way to make them."
            raise DefinitionError(what, where=[here], why=why, fix="leave `variant` out.")
        why = f"`{part}` is not behind them; {nearest(part, words)}"
        raise DefinitionError(what, where=[here], why=why, fix=_NAME_ONE)
    if len(siblings) > 1:
        raise _ambiguous(names, [v.label for v in siblings], here)
    return Reading(project, names, named, siblings[0], flow, location)


def _words(
    project: Project, names: Sequence[str], named: Target | None, location: Location
) -> set[str]:
    """What tells the variants of features apart; nothing if there is one."""
    siblings = _flow(project, names, [], named, location).variants_of(_TARGET)
    return {part for v in siblings for part in _parts(v.label)} if len(siblings) > 1 else set()


def _flow(
    project: Project,
    names: Sequence[str],
    parts: Sequence[str],
    named: Target | None,
    location: Location,
) -> Flow:
    """The project's flow with a target that stands for the reader of features."""
    asked = _hypothetical(project, names, parts, named, location)
    try:
        return flow_with(project, asked, names, None, location)
    except VariantExplosion as error:
        here = (f"read {', '.join(names)}", location)
        raise _ambiguous(names, [], here, error.why) from error


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
    return Target(
        _TARGET,
        outputs=[_MODEL],
        entity=entity,
        split=split,
        choose=(dict(named.choose) if named else {}) | chosen(project, parts),
        location=location,
    )


def _split(project: Project, flow: Flow, names: Sequence[str]) -> Split:
    """The project's own split goes without saying, unless only others have the features."""
    using = [v.split for v in flow.variants if v.features.keys() >= set(names)]
    return using[0] if len(set(using)) == 1 else project.split


def chosen(project: Project, providers: Collection[str]) -> dict[str, list[str]]:
    """What a target says to choose these providers, of which a feature may have several."""
    found: dict[str, list[str]] = {}
    for provider in project.providers:
        if provider.name in providers:
            for output in provider.outputs:
                found.setdefault(output, []).append(provider.name)
    return found


def flow_with(
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
        f"there are several variants of {listed(names)}.",
        where=[here],
        why=why or f"they can be made in {len(labels)} ways: {'; '.join(labels)}",
        fix=f'name one, for example variant="{shown}".',
    )


def listed(names: Sequence[str]) -> str:
    """Features in the words of an error."""
    return ", ".join(f"`{name}`" for name in names)
