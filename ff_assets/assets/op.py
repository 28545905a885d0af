"""The one op that runs any selection of a flow's assets, as dagster-dbt does for dbt.

One op is one process and so one Spark session, whatever is selected. Its planner sees the whole
selection, shares work, and each asset is recorded as soon as it is whole.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from ff_assets.assets.hypotheses import Hypotheses
from ff_assets.assets.observations import made_from, note
from ff_assets.assets.registration import Registrar
from ff_assets.assets.resources import MlflowResource, SparkResource, StoreResource
from ff_assets.assets.results import materialization, summary
from ff_assets.assets.specs import asset_specs, steps_by_key
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.flow import Flow
from ff_assets.core.governance import govern
from ff_assets.core.honesty import check
from ff_assets.core.steps import CELLS, Kind, Step
from ff_assets.core.verdict import refuse
from ff_assets.engine.execute import Execution, Failed, Finished, Started
from ff_assets.engine.make import Maker
from ff_assets.engine.plan import Inventory, Plan, make_plan
from ff_assets.engine.versions import fingerprint
from ff_assets.registry import MlflowUnavailable
from ff_assets.registry.publish import find_version
from ff_assets.registry.runs import MlflowRuns, ParentRun

OP_NAME = "feature_flow"


def flow_assets(flow: Flow) -> dg.AssetsDefinition:
    """All steps of a flow as the assets of one subsettable op.

    Raises:
        LeakError: a metric that is asked for would not be honest.
        PolicyViolation: sensitive data would go where the project's policy denies it.
    """
    refuse(check(flow))
    govern(flow)
    return definition(flow, steps_by_key(flow), OP_NAME, asset_specs(flow))


def definition(
    flow: Flow, steps: Mapping[dg.AssetKey, Step], name: str, specs: Sequence[dg.AssetSpec]
) -> dg.AssetsDefinition:
    """Steps of a flow as the assets of one subsettable op.

    Args:
        steps: all of the flow, by the keys of their assets.
        specs: of those that the op makes.
    """

    @dg.multi_asset(
        name=name,
        specs=specs,
        can_subset=True,
        # Without it a backfill would start one run, and so one Spark, per cell.
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def feature_flow(
        context: dg.AssetExecutionContext,
        spark: SparkResource,
        mlflow: MlflowResource,
        store: StoreResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        selected = [steps[key] for key in steps if key in context.selected_asset_keys]
        wanted = _wanted(context, selected)
        try:
            yield from _Run(context, flow, spark, mlflow, store).results(wanted)
        except FeatureFlowError as error:
            raise _refusal(error) from error

    return feature_flow


def _wanted(context: dg.AssetExecutionContext, selected: list[Step]) -> dict[Step, tuple[str, ...]]:
    """The cells that are asked for of every selected step.

    Raises:
        dg.Failure: rows are asked for, but of no cell. Nothing has been recorded then.
    """
    in_cells = [step for step in selected if step.has_cells]
    has_cells = context.has_partition_key or context.has_partition_key_range
    cells = tuple(context.partition_keys) if has_cells else ()
    if in_cells and not cells:
        names = ", ".join(step.name for step in in_cells[:5])
        raise dg.Failure(
            f"The run asks for rows but names no cell, so nothing was computed.\n\n"
            f"{names}{', ...' if len(in_cells) > 5 else ''} are made cell by cell "
            f"({', '.join(CELLS)}). In the UI, use 'Materialize all...' and choose all partitions; "
            f"in a schedule or script, give the run the tags "
            f"dagster/asset_partition_range_start={CELLS[0]} and "
            f"dagster/asset_partition_range_end={CELLS[-1]}; or use `ff run`.",
            allow_retries=False,
        )
    return {step: cells if step.has_cells else () for step in selected}


class _Run:
    """One execution of the op."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        flow: Flow,
        spark: SparkResource,
        mlflow: MlflowResource,
        store: StoreResource,
    ) -> None:
        self._context = context
        self._flow = flow
        self._spark = spark
        self._mlflow = mlflow
        self._store = store.open()

    def results(
        self, wanted: Mapping[Step, tuple[str, ...]]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Plan, do, and report every step; raise at the end if any has failed."""
        # MLflow imports it in a thread of the run, and Dagster may do so in this one at that time;
        # modules that import each other in a circle do not survive two threads.
        import sqlalchemy.orm  # noqa: F401

        runs = self._mlflow.runs()
        with self._store.staging() as staging, self._mlflow.open(runs) as parent:
            fingerprints, staged = fingerprint(self._flow, wanted, self._spark.session, staging)
            note(self._context, self._flow, fingerprints.data_versions)
            inventory = Inventory(self._flow, fingerprints, self._store)
            hypotheses = Hypotheses(inventory, runs)
            untrue = _gone(inventory, wanted, runs, parent) | hypotheses.gone(wanted)
            plan = make_plan(self._flow, wanted, fingerprints, self._store, untrue)
            self._announce(plan)
            for sentence in hypotheses.state(self._flow, plan.todo):
                self._context.log.info(sentence)
            register = Registrar(inventory, parent, staging.path)
            maker = Maker(
                plan, self._store, staging, self._spark.session, register, staged, hypotheses
            )
            execution = Execution(plan, maker)
            yield from self._report(execution, wanted, fingerprints.data_versions)

    def _announce(self, plan: Plan) -> None:
        reused = len(plan.wanted.keys() - set(plan.todo))
        self._context.log.info(
            f"{len(plan.wanted)} assets: {reused} reused, {len(plan.todo)} steps to do, "
            f"{plan.fits} fits" + ("" if plan.needs_spark else "; no Spark session is needed")
        )
        if plan.needs_spark and self._spark.seconds is None:
            self._spark.session()
            self._context.log.info(f"Spark session ready after {self._spark.seconds:.1f} s")

    def _report(
        self,
        execution: Execution,
        wanted: Mapping[Step, tuple[str, ...]],
        read: Mapping[str, str],
    ) -> Iterator[dg.MaterializeResult[None]]:
        log = self._context.log
        began: dict[Step, float] = {}
        failures: list[Failed] = []
        for event in execution.run():
            match event:
                case Started(step):
                    began[step] = time.monotonic()
                    log.info(f"▶ {step.name}")
                case Finished(step):
                    log.info(summary(event, time.monotonic() - began.get(step, time.monotonic())))
                    if step in wanted:
                        tags = made_from(step, read)
                        yield materialization(self._context, event, self._store, tags)
                case Failed(step, error, skipped):
                    failures.append(event)
                    log.error(
                        f"✗ {step.name}: {error}"
                        + (f"\n{len(skipped)} steps that need it are skipped" if skipped else ""),
                        exc_info=error,
                    )
        if failures:
            raise _failure(failures)


def _gone(
    inventory: Inventory,
    wanted: Mapping[Step, tuple[str, ...]],
    runs: MlflowRuns,
    parent: ParentRun,
) -> set[Step]:
    """Registrations that are on record but no longer in the registry."""
    recorded = [step for step in wanted if step.kind is Kind.REGISTRATION and inventory.find(step)]
    if not recorded:
        return set()
    try:
        with runs.asking() as client:
            return {
                step
                for step in recorded
                if not find_version(client, step.variant.target.name, inventory.fingerprint(step))
            }
    except MlflowUnavailable as error:
        parent.give_up(error)  # registering says what is wrong, and other steps are still done
        return set(recorded)


def _refusal(error: FeatureFlowError) -> dg.Failure:
    """What went wrong outside all steps, such as a source whose version cannot be known."""
    return dg.Failure(
        str(error),
        metadata={"errors": dg.MetadataValue.json([error.as_dict()])},
        allow_retries=False,
    )


def _failure(failures: list[Failed]) -> dg.Failure:
    skipped = {step for failed in failures for step in failed.skipped}
    parts = [f"{failed.step.name}\n{failed.error}" for failed in failures]
    count = f"{len(failures)} step{'s' if len(failures) > 1 else ''} failed"
    return dg.Failure(
        f"{count}, {len(skipped)} that need them were skipped; everything else is whole and "
        "stays.\n\n" + "\n\n".join(parts),
        metadata={
            "failed": dg.MetadataValue.json([failed.step.name for failed in failures]),
            "skipped": dg.MetadataValue.json(sorted(step.name for step in skipped)),
            "errors": dg.MetadataValue.json(
                [
                    failed.error.as_dict()
                    if isinstance(failed.error, FeatureFlowError)
                    else {"error": type(failed.error).__name__, "what": str(failed.error)}
                    for failed in failures
                ]
            ),
        },
        allow_retries=False,
    )
