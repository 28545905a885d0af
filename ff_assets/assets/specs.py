"""Asset specs: what Dagster shows of every step before anything has run."""

import warnings
from pathlib import Path

import dagster as dg

from ff_assets.assets.automation import ON_OTHER_DATA_OR_CODE
from ff_assets.core.declare import Source
from ff_assets.core.fingerprint import declaration_digest, digest
from ff_assets.core.flow import Flow
from ff_assets.core.governance import carriers_of
from ff_assets.core.instance import Contest, Instance
from ff_assets.core.metrics import LOSSES
from ff_assets.core.operations import AggregateOperation, SparkOperation
from ff_assets.core.sensitivity import Carrier, column_of, sensitivity_of
from ff_assets.core.stage import Stage
from ff_assets.core.steps import CELLS, Kind, Step, steps_of
from ff_assets.core.target import Target
from ff_assets.engine.columns import private_columns
from ff_assets.engine.plan import fit_cells, table_instances
from ff_assets.engine.versions import instances_of

CELL_PARTITIONS = dg.StaticPartitionsDefinition(list(CELLS))


def asset_key(step: Step) -> dg.AssetKey:
    """The key of a step's asset."""
    return dg.AssetKey(step.path)


def data_key(source: Source) -> dg.AssetKey:
    """The key of the asset that stands for what a source reads."""
    return dg.AssetKey(["data", source.name])


def data_behind(step: Step) -> tuple[Source, ...]:
    """The sources whose data a step is drawn to, of those that state the version of their data.

    A source is drawn to its own, and what reports on a variant or a target to all of them, as
    Dagster calls an asset stale by what it reads directly only.
    """
    if step.kind is not Kind.SOURCE and not _reports(step):
        return ()
    sources = dict.fromkeys(i.source for i in instances_of(step) if i.is_source)
    return tuple(source for source in sources if source.version is not None)


def asset_specs(flow: Flow) -> list[dg.AssetSpec]:
    """One spec per step, in topological order."""
    describer = _Describer(flow)
    with warnings.catch_warnings():
        # Code references are in beta; they make every asset link to its declaration.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [describer.spec(step) for step in steps_of(flow)]


class _Describer:
    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._tables = table_instances(flow)
        self._sensitivity = sensitivity_of(flow)
        self._targets: dict[Instance, list[Target]] = {}
        self._declared: dict[Instance, str] = {}
        for variant in flow.variants:
            for instance in variant.instances:
                targets = self._targets.setdefault(instance, [])
                if variant.target not in targets:
                    targets.append(variant.target)

    def spec(self, step: Step) -> dg.AssetSpec:
        declaration = step.declaration
        return dg.AssetSpec(
            key=asset_key(step),
            deps=[
                *(_dep(step, parent) for parent in _drawn(step)),
                *(dg.AssetDep(data_key(source)) for source in data_behind(step)),
            ],
            skippable=True,
            group_name=_group(step),
            partitions_def=CELL_PARTITIONS if step.has_cells else None,
            code_version=self._code_version(step),
            automation_condition=ON_OTHER_DATA_OR_CODE if _reports(step) else None,
            kinds=self._kinds(step),
            owners=self._owners(step),
            description=self._description(step),
            tags=self._tags(step),
            metadata={
                **self._schema(step),
                "dagster/code_references": dg.CodeReferencesMetadataValue(
                    code_references=[code_reference(declaration)]
                ),
            },
        )

    def _code_version(self, step: Step) -> str:
        """Of what reports on a variant or a target, that of all the code behind it as well."""
        if isinstance(step.subject, Instance):
            return self._declaration(step.subject)
        target = step.subject.target
        described = [target.label, target.task, list(target.outputs), step.subject.name]
        described.append([self._declaration(instance) for instance in instances_of(step)])
        if step.kind is Kind.LEADERBOARD:
            described.append(target.select_on)
        if step.kind is Kind.EVALUATION:
            described.append(list(target.slices))
        if step.kind is Kind.HYPOTHESES:
            described.append([digest(each.content) for each in step.contest.stated])
        return digest(described)[:16]

    def _declaration(self, instance: Instance) -> str:
        if instance not in self._declared:
            found = declaration_digest(instance.provider, instance.split, instance.fits)
            self._declared[instance] = found[:16]
        return self._declared[instance]

    def _kinds(self, step: Step) -> set[str]:
        if step.kind is Kind.SOURCE:
            return {"spark", "source"}
        if step.kind is Kind.MODEL:
            return {"sparkml", "model"}
        if step.kind is Kind.FEATURE and step.instance.is_aggregate:
            return {"spark", "aggregate"}
        if step.kind is Kind.FEATURE:
            return {"spark", "table" if step.instance in self._tables else "view"}
        if step.kind in (Kind.EVALUATION, Kind.LEADERBOARD, Kind.HYPOTHESES):
            return {"evaluation"}
        return {"mlflow", "model"}

    def _owners(self, step: Step) -> list[str]:
        """Whom to ask; what has no owner is there for the targets that use it, so theirs."""
        own = step.declaration.owner
        if own or not isinstance(step.subject, Instance):
            return [own] if own else []
        return list(dict.fromkeys(t.owner for t in self._targets[step.instance] if t.owner))

    def _tags(self, step: Step) -> dict[str, str]:
        """Facts to search for; the open-source UI searches tags, not columns."""
        sensitive = self._sensitivity.of(*carriers_of(step))
        return {
            **self._facts(step),
            **{f"sensitivity/{tag_part(name)}": "" for name in sensitive},
        }

    def _facts(self, step: Step) -> dict[str, str]:
        if not isinstance(step.subject, Instance):
            target = {f"target/{tag_part(step.subject.target.name)}": ""}
            if isinstance(step.subject, Contest):
                return target
            return target | {"variant": tag_part(step.subject.slug)}
        instance = step.instance
        provider = instance.provider
        return {
            "stage": tag_part(provider.name),
            "variant": tag_part(instance.slug),
            **{f"provides/{tag_part(name)}": "" for name in provider.outputs},
            **{f"consumes/{tag_part(name)}": "" for name in provider.reads},
            **{f"target/{tag_part(target.name)}": "" for target in self._targets[instance]},
        }

    def _schema(self, step: Step) -> dict[str, dg.TableSchema]:
        if not step.has_cells:
            return {}
        instance = step.instance
        entity = instance.entity
        shown = {entity.key: ("key", f"identifies one {entity.name}")}
        for ancestor in entity.chain[1:]:
            shown[entity.key_of(ancestor)] = ("key", f"the {ancestor.name} that it belongs to")
        if entity.time is not None:
            shown[entity.time] = ("time", "when it happened")
        columns = [
            dg.TableColumn(name, kind, self._described(about, column_of(entity, name)))
            for name, (kind, about) in shown.items()
        ]
        for name in instance.provider.outputs:
            about = self._described(_origin(instance, name), Carrier(instance, name))
            columns.append(dg.TableColumn(name, _type(instance, name), about))
        for parameter, name in private_columns(instance).items():
            about = self._described(f"Spark's `{parameter}`, private", Carrier(instance, name))
            columns.append(dg.TableColumn(name, "?", about))
        return {"dagster/column_schema": dg.TableSchema(columns)}

    def _described(self, about: str, carrier: Carrier) -> str:
        """What a column is, which sensitivity tags it has, and which ones end here."""
        tags = ", ".join(self._sensitivity.of(carrier))
        ends = (f"not {end.tag}: {end.because}" for end in self._sensitivity.ends(carrier))
        return "; ".join(filter(None, [about, tags and f"sensitive: {tags}", *ends]))

    def _description(self, step: Step) -> str:
        if step.kind is Kind.LEADERBOARD:
            return _describe_contest(step.contest)
        if step.kind is Kind.HYPOTHESES:
            return _describe_hypotheses(step.contest)
        if not isinstance(step.subject, Instance):
            return _describe_variant(step)
        own = step.instance.provider.description or ""
        if step.kind is Kind.SOURCE:
            source = step.instance.source
            labels = ", ".join(f"`{name}`" for name in source.labels)
            facts = f"Source of `{source.entity.name}` rows, split into train and test."
            return _paragraphs(facts, own, f"Labels: {labels}" if labels else "")
        stage = step.instance.stage
        title, label = stage.operation.title, stage.operation.label
        if step.kind is Kind.MODEL:
            supervised = f", supervised by `{label}`" if label else ""
            facts = f"`{title}` fitted on **{_fitted_on(step.instance)}**{supervised}."
            return _paragraphs(facts, own, _parameters(stage))
        reads = ", ".join(f"`{name}`" for name in stage.inputs)
        writes = ", ".join(f"`{name}`" for name in stage.outputs)
        facts = f"{reads} → **{title}** → {writes}"
        return _paragraphs(facts, own, "" if step.instance.is_estimator else _parameters(stage))


def _reports(step: Step) -> bool:
    """Whether it is about a variant or a target as a whole."""
    return not isinstance(step.subject, Instance)


def _drawn(step: Step) -> list[Step]:
    """The edges of a step. A registration's models stand behind its evaluation already."""
    parents = list(step.parents())
    evaluations = [parent for parent in parents if parent.kind is Kind.EVALUATION]
    return evaluations if step.kind is Kind.REGISTRATION and evaluations else parents


def _dep(step: Step, parent: Step) -> dg.AssetDep:
    """An edge; that of a model names the cells with the rows it is fitted on, and nothing else.

    Other edges keep Dagster's defaults, cell to cell, and all cells for what has none. An op
    can hold only one explicit mapping for each asset that it reads.
    """
    if step.kind is not Kind.MODEL or not parent.has_cells:
        return dg.AssetDep(asset_key(parent))
    mapping = dg.SpecificPartitionsPartitionMapping(list(fit_cells(step.instance)))
    return dg.AssetDep(asset_key(parent), partition_mapping=mapping)


def _group(step: Step) -> str:
    return step.subject.entity.name


def code_reference(declaration: Source | Stage | Target) -> dg.LocalFileCodeReference:
    """The link of an asset to its declaration."""
    return dg.LocalFileCodeReference(
        file_path=str(Path(declaration.location.file).resolve()),
        line_number=declaration.location.line,
        label=f"declaration of {declaration.name}",
    )


def tag_part(name: str) -> str:
    """A tag's part: at most 63 characters of letters, digits, `_`, `-` and `.`."""
    return name[:63].strip("_-.")


def _type(instance: Instance, feature: str) -> str:
    if isinstance(instance.provider, Source):
        return instance.provider.features[feature]
    return "?"  # Spark knows it once the stage has run


def _origin(instance: Instance, feature: str) -> str:
    """Where a column comes from; the open-source UI draws no column lineage."""
    if isinstance(instance.provider, Source):
        return "label" if feature in instance.provider.labels else ""
    operation = instance.provider.operation
    inputs = instance.provider.inputs
    if isinstance(operation, AggregateOperation):
        inputs = operation.inputs_of[feature]
    reads = ", ".join(f"`{name}`" for name in inputs)
    return f"← {reads} ({operation.title})"


def _fitted_on(instance: Instance) -> str:
    fitting = instance.stage.fitting
    cells = " and ".join(fitting.cells)
    if fitting.scheme == "slice":
        return f"slice {fitting.index + 1} of {fitting.count} of {cells}"
    if fitting.scheme == "once":
        return cells
    times = f"{cells}, {len(instance.fits)} times: once for all of it, else without"
    return f"{times} {'folds' if instance.is_nested else 'what it is for'}"


def _parameters(stage: Stage) -> str:
    operation = stage.operation
    if not isinstance(operation, SparkOperation):
        return ""
    return "\n".join(f"- {name}: `{value!r}`" for name, value in operation.params.items())


def _describe_contest(contest: Contest) -> str:
    target = contest.target
    chosen = f"The champion is chosen on {target.select_on}." if target.select_on else ""
    return _paragraphs(
        f"The variants of `{target.name}` on the same rows of test: each beside the best, with 95% "
        "intervals of the differences that hold for all pairs at once.",
        chosen,
        ", ".join(f"`{variant.name}`" for variant in contest.variants),
    )


def _describe_hypotheses(contest: Contest) -> str:
    lines = []
    for each in contest.stated:
        said, (claim, baseline) = each.hypothesis, each.variants
        better = "less" if said.kpi in LOSSES else "more"
        lines.append(
            f"- **{said.statement}**: `{claim.name}` has at least {said.min_effect:g} {better} "
            f"{said.kpi} than `{baseline.name}`"
        )
    return _paragraphs(
        f"What was expected of `{contest.name}` before it was fitted, and whether it holds on "
        "test. That something does not hold is a result as well.",
        "\n".join(lines),
        f"`ff hypotheses {contest.name}` shows all that were ever stated.",
    )


def _describe_variant(step: Step) -> str:
    variant = step.variant
    chain = " → ".join(i.provider.name for i in variant.serving_instances())
    target = variant.target
    own = target.description or ""
    if step.kind is Kind.EVALUATION:
        return _paragraphs(
            f"Metrics of `{variant.name}` ({target.task}, truth: `{target.label}`) on "
            f"{', '.join(variant.split.cells)}; 95% intervals on all but train.",
            own,
            f"Pipeline: {chain}",
        )
    return _paragraphs(
        f"`{variant.name}` as one Spark `PipelineModel`, registered in MLflow as `{target.name}`.",
        own,
        f"Pipeline: {chain}",
    )


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def steps_by_key(flow: Flow) -> dict[dg.AssetKey, Step]:
    """Asset key -> step."""
    return {asset_key(step): step for step in steps_of(flow)}
