"""`ff predict`: a prediction job of Dagster's UI without a browser."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape

from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import predict_job_name
from ff_assets.cli.launch import Ended, Metadata, launch, the_instance
from ff_assets.cli.output import errors
from ff_assets.cli.progress import progress_logger
from ff_assets.cli.project import load_flow
from ff_assets.settings import Settings

_TOLD = ("model_version", "variant", "honest", "certificate_digest", "predicted_at", "path")


@dataclass(frozen=True)
class PredictReport:
    """What a prediction has made.

    Attributes:
        made: what was recorded of the predictions; empty if no model has the alias.
    """

    target: str
    alias: str
    ended: Ended
    made: Metadata

    @property
    def exit_code(self) -> int:
        return self.ended.exit_code

    def as_dict(self) -> dict[str, Any]:
        made = {name: self.made[name] for name in ("reused", *_TOLD)} if self.made else {}
        return {
            "target": self.target,
            "alias": self.alias,
            **self.ended.as_dict(),
            "rows": self.made.get("dagster/row_count"),
            **made,
        }

    def print(self, console: Console) -> None:
        if self.made:
            how = "reused, from before" if self.made["reused"] else "predicted"
            console.print(
                f"\n[bold]{self.made['dagster/row_count']:,}[/] rows {how}, by version "
                f"{self.made['model_version']} of {self.target} "
                f"{escape('(' + self.made['variant'] + ')')}, which is in {self.alias}"
            )
            console.print(f"{self.made['honest']}\n{self.made['path']}", markup=False)
        elif self.exit_code == 0:
            console.print(f"no model is {self.alias} for {self.target} yet: nothing was predicted")
        self.ended.print(console)


def predict(target: str, alias: str, quiet: bool) -> PredictReport:
    """Predict with the model behind an alias, as one Dagster run in this process.

    Args:
        quiet: show no progress.

    Raises:
        DefinitionError: a declaration is wrong, or there is no such target.
    """
    flow = load_flow()
    name = flow.project.target(target).name
    settings = Settings.load().prepare()
    job = build_definitions(flow.project, settings).resolve_job_def(predict_job_name(name, alias))
    made: Metadata = {}

    def add(key: dg.AssetKey, recorded: Metadata) -> None:
        if key.path[0] == "predictions":
            made.update(recorded)

    with progress_logger(errors, quiet) as logger, the_instance(settings) as instance:
        ended = launch(job, instance, "ff predict", {}, logger, add)
    return PredictReport(name, alias, ended, made)
