"""The effects of A/B tests, an asset for each target that declares one."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from ff_assets.assets.automation import ON_OTHER_DATA
from ff_assets.assets.observations import note, provenance
from ff_assets.assets.pictures import effect_picture
from ff_assets.assets.predictions import prediction_key
from ff_assets.assets.resources import SparkResource, StoreResource
from ff_assets.assets.specs import code_reference, data_key, tag_part
from ff_assets.core.ab_test import AB_TEST, EXPERIMENTS, ABTest
from ff_assets.core.entities import Entity
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.flow import Flow
from ff_assets.core.sensitivity import outcome_of, sensitivity_of
from ff_assets.core.target import Target
from ff_assets.engine.experiment import Experiment, Looked
from ff_assets.engine.looks import ArmSeen


def experiment_key(target: str, test: str) -> dg.AssetKey:
    """The key of the effect in a test; another name is another test, and another asset."""
    return dg.AssetKey([EXPERIMENTS, target, test])


def tested(flow: Flow) -> list[tuple[Target, ABTest]]:
    """The targets that declare a test, with it."""
    return [(target, target.ab_test) for target in flow.project.targets if target.ab_test]


def experiment_assets(flow: Flow) -> list[dg.AssetsDefinition]:
    """The effect of every test, with an op for each."""
    with warnings.catch_warnings():
        # Code references are in beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [_asset_of(flow, target, test) for target, test in tested(flow)]


def _asset_of(flow: Flow, target: Target, test: ABTest) -> dg.AssetsDefinition:
    unit = flow.variants_of(target.name)[0].entity.root

    @dg.multi_asset(
        name=f"{target.name}_effect",  # the job is called otherwise, as Dagster demands
        specs=[_spec(flow, target, test, unit)],
        backfill_policy=dg.BackfillPolicy.single_run(),  # as that of all other assets
    )
    def experiment(
        context: dg.AssetExecutionContext, spark: SparkResource, store: StoreResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        name = experiment_key(target.name, test.name).to_user_string()
        opened = store.open()
        try:
            with opened.staging() as staging:
                look = Experiment(
                    target.name, test, unit, _now, opened, staging, spark.session
                ).run()
        except FeatureFlowError as error:
            raise dg.Failure(
                str(error),
                metadata={"errors": dg.MetadataValue.json([error.as_dict()])},
                allow_retries=False,
            ) from error
        if look is None:
            context.log.info(
                f"nobody was exposed in `{test.name}` yet; predict with: "
                f"ff predict {target.name} --ab-test"
            )
            return
        read = {} if look.data_version is None else {test.outcomes.name: look.data_version}
        note(context, flow, read)
        again = "nothing new since, " if look.reused else ""
        context.log.info(f"■ {name}: {again}look {len(look.looks)}: {look.looks[-1].sentence}")
        yield _materialization(target, test, look, provenance((test.outcomes,), read))

    return experiment


def _now() -> datetime:
    return datetime.now(UTC)


def _spec(flow: Flow, target: Target, test: ABTest, unit: Entity) -> dg.AssetSpec:
    measure = f"`{test.outcomes.name}.{test.measure}`"
    since = (
        f"What came before the first prediction of its {unit.name} does not count."
        if test.outcomes.entity.time is not None
        else "It has no time, so what came before a prediction counts as well."
    )
    sensitive = sensitivity_of(flow).of(outcome_of(test))
    return dg.AssetSpec(
        key=experiment_key(target.name, test.name),
        deps=[
            prediction_key(target.name, AB_TEST),
            *([] if test.outcomes.version is None else [data_key(test.outcomes)]),
        ],
        automation_condition=ON_OTHER_DATA,
        skippable=True,
        group_name=unit.name,
        kinds={"experiment"},
        owners=[target.owner] if target.owner else [],
        description=f"How much more {measure} for each `{unit.name}` there is where the model in "
        f"**{test.treatment}** predicts than where that in **{test.control}** does, in the A/B "
        f"test `{test.name}`. {since} A {unit.name} without any counts as 0.\n\n"
        "The interval holds for all looks at once, so look as often as you like, and stop when you "
        "like.",
        tags={
            f"target/{tag_part(target.name)}": "",
            "ab_test": tag_part(test.name),
            **{f"sensitivity/{tag_part(name)}": "" for name in sensitive},
        },
        metadata={
            "dagster/code_references": dg.CodeReferencesMetadataValue(
                code_references=[code_reference(target), code_reference(test.outcomes)]
            )
        },
    )


def _materialization(
    target: Target, test: ABTest, looked: Looked, made_from: dict[str, str]
) -> dg.MaterializeResult[None]:
    look = looked.looks[-1]
    numbers = {"effect": look.value, "low": look.low, "high": look.high, "p": look.p}
    numbers["sample_ratio_p"] = look.ratio_p
    return dg.MaterializeResult(
        asset_key=experiment_key(target.name, test.name),
        data_version=dg.DataVersion(look.fingerprint),
        tags=made_from,
        metadata={
            "result": dg.MetadataValue.md(look.sentence),
            "picture": dg.MetadataValue.md(effect_picture(looked.looks)),
            "reused": dg.MetadataValue.bool(looked.reused),
            "believable": dg.MetadataValue.bool(not look.doubts),
            "looks": dg.MetadataValue.int(len(looked.looks)),
            **{n: dg.MetadataValue.float(v) for n, v in numbers.items() if v is not None},
            "method": dg.MetadataValue.text(look.method),
            **_arm("control", look.control),
            **_arm("treatment", look.treatment),
            "share": dg.MetadataValue.float(look.share),
            "planned": dg.MetadataValue.int(look.planned),
            "moved": dg.MetadataValue.int(look.moved),
            "predicted_from": dg.MetadataValue.text(look.first_day),
            "predicted_until": dg.MetadataValue.text(look.last_day),
            "days": dg.MetadataValue.int(look.days),
            "measure": dg.MetadataValue.text(look.measure),
            "outcomes": dg.MetadataValue.int(look.outcomes),
            "outcomes_not_known_yet": dg.MetadataValue.int(look.unknown),
            "outcomes_before_exposure": dg.MetadataValue.int(look.before),
            f"{look.unit}s_not_in_the_test": dg.MetadataValue.int(look.strangers),
            "outcomes_after_the_end": dg.MetadataValue.int(look.after),
            "outcomes_after_the_look": dg.MetadataValue.int(look.later),
            **({} if look.ended is None else {"ended": dg.MetadataValue.text(look.ended)}),
            "looked_at": dg.MetadataValue.text(look.at),
        },
    )


def _arm(name: str, arm: ArmSeen) -> dict[str, dg.MetadataValue]:
    """What is shown of an arm."""
    return {
        name: dg.MetadataValue.text(arm.alias),
        f"{name}_versions": dg.MetadataValue.text(", ".join(map(str, arm.versions))),
        f"{name}_units": dg.MetadataValue.int(arm.units),
        f"{name}_units_without_outcome": dg.MetadataValue.int(arm.units - arm.with_outcome),
        f"{name}_mean": dg.MetadataValue.float(arm.mean),
    }
