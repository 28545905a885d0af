"""`ff predict`: a prediction job of Dagster's UI without a browser."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape

from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import predict_job_name
from ff_assets.assets.predictions import OVERTAKEN
from ff_assets.cli.launch import Ended, Metadata, launch, the_instance
from ff_assets.cli.output import errors
from ff_assets.cli.progress import progress_logger
from ff_assets.cli.project import load_flow
from ff_assets.core.ab_test import arms_of
from ff_assets.core.assignment import of_arm
from ff_assets.core.governance import PREDICTIONS
from ff_assets.settings import Settings

_OF_A_MODEL = ("model_version", "variant", "honest", "certificate_digest")
_OF_ALL = ("predicted_at", "path")


@dataclass(frozen=True)
class PredictReport:
    """What a prediction has made.

    Attributes:
        served: the alias, or the A/B test.
        arms: of the test -> alias; for an alias only itself, of no arm.
        made: what was recorded of the predictions; empty if there is no model.
        overtaken: why they do not count, though they were made; empty if they do.
    """

    target: str
    served: str
    arms: Mapping[str, str]
    ended: Ended
    made: Metadata
    overtaken: str

    @property
    def exit_code(self) -> int:
        return self.ended.exit_code

    def as_dict(self) -> dict[str, Any]:
        told = [of_arm(name, arm) for arm in self.arms for name in _OF_A_MODEL]
        told += [of_arm("rows", arm) for arm in self.arms if arm]
        made = {name: self.made[name] for name in ("reused", *told, *_OF_ALL)} if self.made else {}
        return {
            "target": self.target,
            "alias": self.served,
            **self.ended.as_dict(),
            "rows": self.made.get("dagster/row_count"),
            "overtaken": self.overtaken,
            **{of_arm("drift", arm): self.made.get(of_arm("drift", arm)) for arm in self.arms},
            **made,
        }

    def print(self, console: Console) -> None:
        if self.made:
            how = "reused, from before" if self.made["reused"] else "predicted"
            rows = f"\n[bold]{self.made['dagster/row_count']:,}[/] rows {how}"
            if list(self.arms) == [""]:
                console.print(f"{rows}, by {self._model('')}, which is in {self.served}")
            else:
                console.print(f"{rows}, each by the model of its arm:")
            for arm in self.arms:
                if arm:
                    console.print(
                        f"{self.made[of_arm('rows', arm)]:,} of the {arm}, by {self._model(arm)}, "
                        f"which is in {self.made[of_arm('alias', arm)]}"
                    )
                console.print(self.made[of_arm("honest", arm)], markup=False)
                if of_arm("drift", arm) in self.made:
                    drift = f"drift: {self.made[of_arm('drift', arm)]}"
                    console.print(drift, markup=False, soft_wrap=True)
            console.print(self.made["path"], markup=False, soft_wrap=True)
        elif self.overtaken:
            console.print(f"\nnothing was published: {self.overtaken}", markup=False)
        elif self.exit_code == 0:
            needed = next(iter(self.arms.values()))
            console.print(f"no model is {needed} for {self.target}: nothing was predicted")
        self.ended.print(console)

    def _model(self, arm: str) -> str:
        version, variant = (self.made[of_arm(n, arm)] for n in ("model_version", "variant"))
        return f"version {version} of {self.target} {escape(f'({variant})')}"


def predict(target: str, served: str, quiet: bool) -> PredictReport:
    """Predict with the model behind an alias, or for the A/B test, as one Dagster run here.

    Args:
        served: an alias, or `AB_TEST`.
        quiet: show no progress.

    Raises:
        DefinitionError: a declaration is wrong, there is no such target, or it has no test.
    """
    flow = load_flow()
    declared = flow.project.target(target)
    arms = arms_of(declared, served)
    settings = Settings.load().prepare()
    job = build_definitions(flow.project, settings).resolve_job_def(
        predict_job_name(target, served)
    )
    made: Metadata = {}

    def add(key: dg.AssetKey, recorded: Metadata) -> None:
        if key.path[0] == PREDICTIONS:
            made.update(recorded)

    with progress_logger(errors, quiet) as logger, the_instance(settings) as instance:
        ended = launch(job, instance, "ff predict", {}, logger, add)
        overtaken = _overtaken(instance, ended.run_id)
    return PredictReport(target, served, arms, ended, made, overtaken)


def _overtaken(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why the predictions of a run do not count, as it has noted; empty if they do."""
    observed = dg.DagsterEventType.ASSET_OBSERVATION
    for found in instance.get_records_for_run(run_id, of_type=observed).records:
        observation = found.event_log_entry.asset_observation
        if observation is not None and OVERTAKEN in observation.metadata:
            return str(observation.metadata[OVERTAKEN].value)
    return ""
