"""Predictions of the models behind the aliases, two assets for each target, and of its A/B test.

Each target has an op of its own: a job that predicts has to know nothing of the other targets, so
the jobs of many load in a time that is linear in their number. In one run they share its session.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from ff_assets.assets.automation import ON_OTHER_DATA
from ff_assets.assets.checks import DriftChecks, drift_checks, nothing_predicted
from ff_assets.assets.observations import note, provenance
from ff_assets.assets.previews import preview, sensitive_columns
from ff_assets.assets.resources import MlflowResource, SparkResource, StoreResource
from ff_assets.assets.results import summary
from ff_assets.assets.serving import scorer
from ff_assets.assets.specs import asset_key, code_reference, data_behind, data_key, tag_part
from ff_assets.assets.unserved import moved, without_model
from ff_assets.core.ab_test import AB_TEST, ABTest, arms_of, required, served, serving
from ff_assets.core.assignment import TREATMENT, of_arm
from ff_assets.core.declare import Source
from ff_assets.core.durations import duration
from ff_assets.core.entities import Entity
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.flow import Flow
from ff_assets.core.governance import PREDICTIONS, prediction_carriers
from ff_assets.core.instance import Variant
from ff_assets.core.refusals import describe
from ff_assets.core.sensitivity import sensitivity_of
from ff_assets.core.steps import Kind, Step, rows_of
from ff_assets.core.target import Target
from ff_assets.engine.arms import Division
from ff_assets.engine.execute import Event, Finished, Started
from ff_assets.engine.parts import Part
from ff_assets.engine.predict import Predicted, Prediction
from ff_assets.engine.scoring import sources_scored
from ff_assets.registry.serving import Behind, behind

OVERTAKEN = "overtaken"
"""Under this an observation says why predictions do not count that were made."""

_Result = dg.MaterializeResult[None] | dg.AssetCheckResult


def prediction_key(target: str, served_as: str) -> dg.AssetKey:
    """The key of the predictions of the model behind an alias, or of the A/B test."""
    return dg.AssetKey([PREDICTIONS, target, served_as])


def prediction_assets(flow: Flow) -> list[dg.AssetsDefinition]:
    """The predictions of every target, with an op for each."""
    variants: dict[str, list[Variant]] = {}
    for variant in flow.variants:
        variants.setdefault(variant.target.name, []).append(variant)
    with warnings.catch_warnings():
        # Code references are in beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [
            _assets_of(flow, target, tuple(variants[target.name]))
            for target in flow.project.targets
        ]


def _assets_of(flow: Flow, target: Target, variants: tuple[Variant, ...]) -> dg.AssetsDefinition:
    sensitive = sensitivity_of(flow).of(*prediction_carriers(flow, target))

    @dg.multi_asset(
        name=f"{target.name}_predictions",
        specs=[_spec(target, variants, each, sensitive) for each in served(target)],
        check_specs=[
            check
            for each in served(target)
            for check in drift_checks(prediction_key(target.name, each), arms_of(target, each))
        ],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),  # as that of all other assets
    )
    def predictions(
        context: dg.AssetExecutionContext,
        spark: SparkResource,
        mlflow: MlflowResource,
        store: StoreResource,
    ) -> Iterator[_Result]:
        at = datetime.now(UTC)
        run = _Run(context, flow, target, variants, spark, mlflow, store, at)
        try:
            for each in served(target):
                yield from run.results(each)
        except FeatureFlowError as error:
            raise dg.Failure(
                str(error),
                metadata={"errors": dg.MetadataValue.json([error.as_dict()])},
                allow_retries=False,
            ) from error

    return predictions


def _spec(
    target: Target, variants: tuple[Variant, ...], served_as: str, sensitive: tuple[str, ...]
) -> dg.AssetSpec:
    scored = dict.fromkeys(i for variant in variants for i in sources_scored(variant))
    registered = [Step(Kind.REGISTRATION, variant) for variant in variants]
    test = target.ab_test if served_as == AB_TEST else None
    by_itself = served_as in serving(target)
    return dg.AssetSpec(
        key=prediction_key(target.name, served_as),
        deps=[
            *(asset_key(step) for step in (*map(rows_of, scored), *registered)),
            *map(data_key, _data_of(variants)),
        ],
        automation_condition=ON_OTHER_DATA if by_itself else None,
        freshness_policy=_freshness(target) if by_itself else None,
        skippable=True,
        group_name=variants[0].entity.name,
        kinds={"spark", "predictions"},
        owners=[target.owner] if target.owner else [],
        description=_description(target, variants[0].entity, served_as, test),
        tags={
            f"target/{tag_part(target.name)}": "",
            **({"alias": served_as} if test is None else {"ab_test": tag_part(test.name)}),
            **{f"sensitivity/{tag_part(name)}": "" for name in sensitive},
        },
        metadata={
            "dagster/code_references": dg.CodeReferencesMetadataValue(
                code_references=[code_reference(target)]
            )
        },
    )


def _description(target: Target, entity: Entity, served_as: str, test: ABTest | None) -> str:
    outputs = ", ".join(f"`{name}`" for name in target.outputs)
    columns = ", ".join(f"`{name}`" for name in (entity.key, *target.keep))
    rows = f"{outputs} of the rows that wait for a prediction"
    beside = "the version of the model, the digest of its certificate, and the time."
    if test is None:
        model = f"the model of `{target.name}` that is in **{served_as}**"
        about = f"{rows}, by {model}: {columns}, {beside}"
        more = f"`ff ledger {target.name}` says which model that is."
        if target.ab_test is not None:
            more += (
                f" While the A/B test `{target.ab_test.name}` is declared, schedules and what else "
                "starts by itself predict for the test, and not this."
            )
    else:
        about = (
            f"{rows}, each by the model of its arm in the A/B test **{test.name}**: {columns}, the "
            f"arm, {beside}"
        )
        more = (
            f"Of all `{entity.split_key}`, a share of {test.share:g} is predicted by the model in "
            f"{test.treatment}, the others by that in {test.control}; each stays in its arm. "
            f"`ff experiment {target.name}` shows the effect."
        )
    return "\n\n".join(part for part in (about, target.description, more) if part)


def _data_of(variants: tuple[Variant, ...]) -> tuple[Source, ...]:
    """The sources whose data predictions come from: they also say which rows wait for one."""
    steps = [Step(Kind.REGISTRATION, variant) for variant in variants]
    return tuple(dict.fromkeys(source for step in steps for source in data_behind(step)))


def _freshness(target: Target) -> dg.FreshnessPolicy | None:
    """By what the target declares, and not by its schedule, which is off until it is turned on.

    Besides, an alias that moves makes predictions, and so does somebody's click.
    """
    if target.fresh_for is None:
        return None
    return dg.FreshnessPolicy.time_window(duration(target.fresh_for, [describe(target)]))


@dataclass(frozen=True)
class _Run:
    """One execution of the op."""

    context: dg.AssetExecutionContext
    flow: Flow
    target: Target
    variants: tuple[Variant, ...]
    spark: SparkResource
    mlflow: MlflowResource
    store: StoreResource
    at: datetime

    def results(self, served_as: str) -> Iterator[_Result]:
        """What is selected of the predictions of an alias, or of the A/B test, and their checks.

        None if an alias has no model, or has another one by the end.
        """
        name, runs = self.target.name, self.mlflow.runs()
        key, checks = prediction_key(name, served_as), self.context.selected_asset_check_keys
        is_selected = key in self.context.selected_asset_keys
        if not is_selected and all(check.asset_key != key for check in checks):
            return
        test = self.target.ab_test if served_as == AB_TEST else None
        aliases, store = arms_of(self.target, served_as), self.store.open()

        def look() -> dict[str, Behind | None]:
            return {arm: behind(runs, name, alias) for arm, alias in aliases.items()}

        found = look()
        first = next(iter(found.values()))
        if first is None:
            alias = next(iter(aliases.values()))
            self.context.log.info(without_model(runs, store, name, alias))
            yield from nothing_predicted(key, checks)  # Dagster's log would miss them
            return
        if served_as not in serving(self.target):
            self._say_tested(required(self.target))
        models = {arm: each or first for arm, each in found.items()}
        for arm, each in models.items():
            version = each.version
            about = f" predicts the {arm}, {each.alias}" if test else ""
            told = f"{version.name}, of {version.variant}{about}"
            self.context.log.info(f"▶ predictions/{name}/{served_as}: {told}")
        if test is not None and len({each.identity for each in models.values()}) == 1:
            self._say_same(test, has_treatment=found[TREATMENT] is not None)
        entity, session = self.variants[0].entity, self.spark.session
        division = Division.of(test, name, entity) if test is not None else None
        with store.staging() as staging:
            scores = scorer(self.flow, name, models, division, store, staging, session, self._tell)
            prediction = Prediction(scores, self.at, lambda: moved(found, look(), aliases))
            predicted = prediction.run()
        read, parts = prediction.data_versions, scores.parts
        note(self.context, self.flow, read)
        if predicted.overtaken:
            why = self._say_overtaken(key, predicted)
            yield from nothing_predicted(key, checks, why)
            return
        self._say(served_as, predicted)
        drifts = [
            DriftChecks(predicted, each.arm, sensitive_columns(each.scoring, self.flow))
            for each in parts
        ]
        if is_selected:
            yield self._made(key, predicted, parts, models, read, drifts)
        for drift in drifts:
            yield from drift.results(key, checks)

    def _made(
        self,
        key: dg.AssetKey,
        predicted: Predicted,
        parts: Sequence[Part],
        models: Mapping[str, Behind],
        read: Mapping[str, str],
        drifts: Sequence[DriftChecks],
    ) -> dg.MaterializeResult[None]:
        """What is recorded of predictions."""
        shown = preview(predicted, [each.scoring.variant for each in parts], self.flow)
        return dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(predicted.record.fingerprint),
            tags=provenance(_data_of(self.variants), read),
            metadata={
                "reused": dg.MetadataValue.bool(predicted.reused),
                "dagster/row_count": dg.MetadataValue.int(predicted.record.rows or 0),
                "preview": dg.MetadataValue.md(shown),
                **_models(models),
                **_arms(predicted),
                **{name: value for each in drifts for name, value in each.metadata().items()},
                **_facts(predicted),
            },
        )

    def _tell(self, event: Event) -> None:
        match event:
            case Started(step):
                self.context.log.info(f"▶ {step.name}")
            case Finished():
                self.context.log.info(
                    summary(event, max(r.seconds for r in event.records.values()))
                )

    def _say(self, alias: str, predicted: Predicted) -> None:
        name, rows = f"predictions/{self.target.name}/{alias}", predicted.record.rows
        if predicted.reused:
            told = f"reused, {rows:,} rows were predicted today with this model from these data"
        elif not rows:
            told = "no row waits for a prediction; the table is empty"
        else:
            told = f"{rows:,} rows, {predicted.record.seconds:.1f} s"
        self.context.log.info(f"■ {name}: {told}")

    def _say_overtaken(self, key: dg.AssetKey, predicted: Predicted) -> str:
        """Note it without a materialization, which would stand for what serves now."""
        told = (
            f"{predicted.overtaken} while this predicted, so this does not count, and is kept "
            "unpublished; what counts is for the run that begins after the move"
        )
        self.context.log.warning(f"■ {key.to_user_string()}: {told}")
        metadata = {
            OVERTAKEN: dg.MetadataValue.text(told),
            "path": dg.MetadataValue.path(str(predicted.path)),
        }
        self.context.log_event(dg.AssetObservation(key, metadata=metadata))
        return told

    def _say_tested(self, test: ABTest) -> None:
        self.context.log.info(
            f"the A/B test `{test.name}` serves these rows, and nobody counts as exposed by what "
            f"is predicted here; to predict for it: ff predict {self.target.name} --ab-test"
        )

    def _say_same(self, test: ABTest, has_treatment: bool) -> None:
        name, control, treatment = self.target.name, test.control, test.treatment
        why = f"no model is {treatment} for `{name}`, so that in {control} predicts all rows"
        if has_treatment:
            why = f"{control} and {treatment} of `{name}` are the same version"
        self.context.log.warning(
            f"{why}: `{test.name}` compares nothing, and who is predicted now does not count as "
            f"exposed. Promote another version to {treatment}, or end the test."
        )


def _models(models: Mapping[str, Behind]) -> dict[str, dg.MetadataValue]:
    """The models that have predicted, by their arms in a test."""
    shown: dict[str, dg.MetadataValue] = {}
    for arm, found in models.items():
        version = found.version
        facts = {
            "alias": dg.MetadataValue.text(found.alias),
            "model": dg.MetadataValue.text(f"models:/{version.target}/{version.number}"),
            "model_version": dg.MetadataValue.int(version.number),
            "variant": dg.MetadataValue.text(version.variant),
            "honest": dg.MetadataValue.text(found.sentence),
            "certificate_digest": dg.MetadataValue.text(version.digest),
        }
        shown |= {of_arm(name, arm): value for name, value in facts.items()}
    return shown


def _arms(predicted: Predicted) -> dict[str, dg.MetadataValue]:
    """The division of a test, and how many rows each arm has."""
    details = predicted.record.details
    if "arms" not in details:
        return {}
    arms = details["arms"]
    return {
        "test": dg.MetadataValue.text(details["test"]),
        "share": dg.MetadataValue.float(details["share"]),
        **{of_arm("rows", arm): dg.MetadataValue.int(arms[arm]["rows"]) for arm in arms},
    }


def _facts(predicted: Predicted) -> dict[str, dg.MetadataValue]:
    """When, where and what was written."""
    record = predicted.record
    columns = [dg.TableColumn(name, kind) for name, kind in record.columns.items()]
    return {
        "predicted_at": dg.MetadataValue.text(str(record.details["predicted_at"])),
        "path": dg.MetadataValue.path(str(predicted.path)),
        "seconds": dg.MetadataValue.float(round(record.seconds, 3)),
        "dagster/size_bytes": dg.MetadataValue.int(record.size or 0),
        "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns)),
    }
