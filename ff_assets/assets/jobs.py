"""Jobs: a target, or everything, as one run with one Spark session.

A backfill of *assets* never puts those with cells and those without into one run, but a backfill
of a *job* does: launched with all cells, it is one run. That is also what the asset graph's
"Materialize all" starts, as long as one job covers the selection.
"""

from functools import partial
from typing import Any

import dagster as dg

from ff_assets.assets.experiments import experiment_key, tested
from ff_assets.assets.op import OP_NAME, definition
from ff_assets.assets.own_jobs import own_job
from ff_assets.assets.predictions import prediction_key
from ff_assets.assets.specs import asset_key, steps_by_key
from ff_assets.core.ab_test import AB_TEST, served
from ff_assets.core.flow import Flow
from ff_assets.core.steps import CELLS, steps_of, steps_of_target

# The asset graph launches the first job, in the order of names, that covers what is selected.
# Unless this name sorts before that of Dagster's implicit job, each layer gets its own run.
EVERYTHING = "Everything"
assert EVERYTHING < "__ASSET_JOB"
# What "Materialize all" of the whole graph launches.
ALL_THERE_IS = f"{EVERYTHING}_and_predictions"

# What a schedule or a script puts on a run to ask for all cells at once.
ALL_CELLS = {
    "dagster/asset_partition_range_start": CELLS[0],
    "dagster/asset_partition_range_end": CELLS[-1],
}


def fit_job_name(target: str) -> str:
    """The name of a target's job."""
    return f"{target}_fit"


def fit_jobs(flow: Flow) -> list[Any]:
    """One asset job per target and one for all of them."""
    about = "Fit, evaluate and register every variant of every target, in one run."
    steps = steps_by_key(flow)
    everything = dg.AssetSelection.assets(*steps)
    return [
        dg.define_asset_job(EVERYTHING, selection=everything, description=about),
        *(
            own_job(
                fit_job_name(target.name),
                [asset_key(step) for step in steps_of_target(flow, target.name)],
                f"Fit, evaluate and register every variant of `{target.name}`, in one run.",
                partial(definition, flow, steps, f"{target.name}_{OP_NAME}"),
            )
            for target in flow.project.targets
        ),
    ]


def predict_job_name(target: str, served_as: str) -> str:
    """The name of the job that predicts with the model behind an alias, or for the A/B test."""
    return f"{target}_predict_{served_as}"


def experiment_job_name(target: str) -> str:
    """The name of the job that looks at the effect in a target's A/B test."""
    return f"{target}_experiment"


def experiment_jobs(flow: Flow) -> list[Any]:
    """One job for each A/B test."""
    return [
        own_job(
            experiment_job_name(target.name),
            [experiment_key(target.name, test.name)],
            f"Look at the effect in the A/B test `{test.name}` of `{target.name}`.",
        )
        for target, test in tested(flow)
    ]


def predict_jobs(flow: Flow) -> list[Any]:
    """Two jobs per target, three if it has an A/B test, and one for all that there is."""
    predictions = [prediction_key(t.name, each) for t in flow.project.targets for each in served(t)]
    looks = [experiment_key(target.name, test.name) for target, test in tested(flow)]
    steps = [asset_key(step) for step in steps_of(flow)]
    about = "Everything, and the predictions of the models that have an alias, in one run."
    jobs = [
        own_job(
            predict_job_name(target.name, each),
            [prediction_key(target.name, each)],
            f"Predict the rows of `{target.name}` that wait for it, "
            + (
                f"with the model that is in {each}."
                if each != AB_TEST
                else "each with the model of its arm in the A/B test."
            ),
        )
        for target in flow.project.targets
        for each in served(target)
    ]
    everything = dg.AssetSelection.assets(*steps, *predictions, *looks)
    return [dg.define_asset_job(ALL_THERE_IS, selection=everything, description=about), *jobs]
