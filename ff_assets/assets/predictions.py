"""Predictions of the models behind the aliases, two assets for each target.

Each target has an op of its own: a job that predicts has to know nothing of the other targets, so
the jobs of many load in a time that is linear in their number. In one run they share its session.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from ff_assets.assets.previews import preview
from ff_assets.assets.resources import MlflowResource, SparkResource, StoreResource
from ff_assets.assets.results import summary
from ff_assets.assets.specs import asset_key, code_reference, tag_part
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.flow import Flow
from ff_assets.core.governance import prediction_carriers
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.refusals import describe
from ff_assets.core.sensitivity import sensitivity_of
from ff_assets.core.steps import Kind, Step, rows_of
from ff_assets.core.target import Target
from ff_assets.engine.execute import Event, Finished, Started
from ff_assets.engine.predict import Predicted, Prediction, Served
from ff_assets.engine.scoring import Scoring, columns_given, sources_scored
from ff_assets.engine.store import Staging
from ff_assets.registry import RegistryError
from ff_assets.registry.gates import compatible
from ff_assets.registry.move_log import ALIASES
from ff_assets.registry.serving import Behind, behind, load


class NotGiven(RegistryError):
    """A registered model reads what the project does not give any more."""


def prediction_key(target: str, alias: str) -> dg.AssetKey:
    """The key of the predictions of the model behind an alias."""
    return dg.AssetKey(["predictions", target, alias])


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
        specs=[_spec(target, variants, alias, sensitive) for alias in ALIASES],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),  # as that of all other assets
    )
    def predictions(
        context: dg.AssetExecutionContext,
        spark: SparkResource,
        mlflow: MlflowResource,
        store: StoreResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        at = datetime.now(UTC)
        run = _Run(context, flow, target, variants, spark, mlflow, store, at)
        try:
            for alias in ALIASES:
                if prediction_key(target.name, alias) in context.selected_asset_keys:
                    yield from run.results(alias)
        except FeatureFlowError as error:
            raise dg.Failure(
                str(error),
                metadata={"errors": dg.MetadataValue.json([error.as_dict()])},
                allow_retries=False,
            ) from error

    return predictions


def _spec(
    target: Target, variants: tuple[Variant, ...], alias: str, sensitive: tuple[str, ...]
) -> dg.AssetSpec:
    scored = dict.fromkeys(i for variant in variants for i in sources_scored(variant))
    registered = [Step(Kind.REGISTRATION, variant) for variant in variants]
    kept = "".join(f", `{name}`" for name in target.keep)
    outputs = ", ".join(f"`{name}`" for name in target.outputs)
    parts = [
        f"{outputs} of the rows that wait for a prediction, by the model of `{target.name}` that "
        f"is in **{alias}**: `{variants[0].entity.key}`{kept}, the version of the model, the "
        "digest of its certificate, and the time.",
        target.description or "",
        f"`ff promote {target.name} --to {alias}` says which model that is.",
    ]
    return dg.AssetSpec(
        key=prediction_key(target.name, alias),
        deps=[asset_key(step) for step in (*map(rows_of, scored), *registered)],
        skippable=True,
        group_name=variants[0].entity.name,
        kinds={"spark", "predictions"},
        owners=[target.owner] if target.owner else [],
        description="\n\n".join(part for part in parts if part),
        tags={
            f"target/{tag_part(target.name)}": "",
            "alias": alias,
            **{f"sensitivity/{tag_part(name)}": "" for name in sensitive},
        },
        metadata={
            "dagster/code_references": dg.CodeReferencesMetadataValue(
                code_references=[code_reference(target)]
            )
        },
    )


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

    def results(self, alias: str) -> Iterator[dg.MaterializeResult[None]]:
        """The predictions of one alias; none if no model has it."""
        name = self.target.name
        found = behind(self.mlflow.runs(), name, alias)
        if found is None:
            self.context.log.info(
                f"no model is {alias} for `{name}` yet; promote one with: "
                f'ff promote {name} --to {alias} --reason "..."'
            )
            return
        self.context.log.info(
            f"▶ predictions/{name}/{alias}: {found.version.name}, of {found.version.variant}"
        )
        store = self.store.open()
        scoring = self._scoring(found)
        with store.staging() as staging:
            prediction = Prediction(
                self.flow,
                scoring,
                self._served(found, alias, staging),
                self.at,
                store,
                staging,
                self.spark.session,
                self._tell,
            )
            predicted = prediction.run()
        self._say(alias, predicted)
        yield self._materialization(alias, found, scoring, predicted)

    def _scoring(self, found: Behind) -> Scoring:
        """How the present flow serves a model: by the variant of its name, else by another."""
        version = found.version
        refusals = []
        for variant in sorted(self.variants, key=lambda v: v.name != version.variant):
            offered = columns_given(variant)
            given = {name: _declared_type(i, name) for name, i in offered.items()}
            gate = compatible(given)(version, None)
            if gate.passed and version.signature is not None:
                return Scoring.of(variant, version.signature.inputs)
            refusals.append(f"{variant.name}: {gate.detail}")
        raise NotGiven(
            f"nothing gives {version.name} what it reads.",
            where=[describe(self.target)],
            why="\n".join(refusals),
            fix="bring the column back, or promote a version that was registered since: "
            f'ff promote {self.target.name} --to ALIAS --reason "..."; '
            f"`ff run {self.target.name}` registers one.",
        )

    def _served(self, found: Behind, alias: str, staging: Staging) -> Served:
        version = found.version

        def check(types: Mapping[str, str]) -> None:
            gate = compatible(types)(version, None)
            if not gate.passed:
                raise NotGiven(
                    f"{version.name} cannot be given what it reads.",
                    where=[describe(self.target)],
                    why=gate.detail,
                    fix="give the column its former type, or promote another version: "
                    f'ff promote {self.target.name} --to {alias} --reason "..."',
                )

        return Served(
            alias=alias,
            version=version.number,
            identity=found.identity,
            certificate=version.digest,
            load=lambda: load(version, staging.path),
            check=check,
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

    def _materialization(
        self, alias: str, found: Behind, scoring: Scoring, predicted: Predicted
    ) -> dg.MaterializeResult[None]:
        record, version = predicted.record, found.version
        columns = [dg.TableColumn(name, kind) for name, kind in record.columns.items()]
        return dg.MaterializeResult(
            asset_key=prediction_key(self.target.name, alias),
            data_version=dg.DataVersion(record.fingerprint),
            metadata={
                "reused": dg.MetadataValue.bool(predicted.reused),
                "dagster/row_count": dg.MetadataValue.int(record.rows or 0),
                "preview": dg.MetadataValue.md(preview(predicted, scoring.variant, self.flow)),
                "model": dg.MetadataValue.text(f"models:/{version.target}/{version.number}"),
                "model_version": dg.MetadataValue.int(version.number),
                "variant": dg.MetadataValue.text(version.variant),
                "honest": dg.MetadataValue.text(found.sentence),
                "certificate_digest": dg.MetadataValue.text(version.digest),
                "predicted_at": dg.MetadataValue.text(str(record.details["predicted_at"])),
                "path": dg.MetadataValue.path(str(predicted.path)),
                "seconds": dg.MetadataValue.float(round(record.seconds, 3)),
                "dagster/size_bytes": dg.MetadataValue.int(record.size or 0),
                "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns)),
            },
        )


def _declared_type(instance: Instance, name: str) -> str | None:
    """A feature's type, where it is known before a run: a source declares it."""
    return instance.source.features[name] if instance.is_source else None
