"""`ff replay`: published predictions made again, and compared bit for bit."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from ff_assets.assets.build import spark_config
from ff_assets.assets.resources import SparkResource
from ff_assets.assets.serving import NotGiven, scorer
from ff_assets.cli.output import errors
from ff_assets.cli.project import load_flow
from ff_assets.cli.registry import registry
from ff_assets.core.assignment import of_arm
from ff_assets.core.errors import DefinitionError, FeatureFlowError
from ff_assets.core.flow import Flow
from ff_assets.engine.arms import Division
from ff_assets.engine.execute import Event, Started
from ff_assets.engine.published import Published, latest, published
from ff_assets.engine.replay import Replay, Replayed
from ff_assets.engine.store import Store
from ff_assets.engine.versions import engine_version
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.serving import Behind
from ff_assets.registry.standing import reproducible
from ff_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Say = Callable[[str], None]


class NothingPublished(FeatureFlowError):
    """There are no predictions to make again."""


@dataclass(frozen=True)
class ReplayReport:
    """What came of a replay.

    Attributes:
        predictions: that were made again.
        replayed: how they compare.
        same_engine: whether Spark and the code that computes with it are what they were; `None`
            if that is not known.
    """

    target: str
    alias: str
    predictions: Published
    replayed: Replayed
    same_engine: bool | None
    seconds: float

    @property
    def exit_code(self) -> int:
        return 0 if self.replayed.identical else 1

    @property
    def outcome(self) -> str:
        if self.replayed.missing:
            return "not reproducible"
        return "identical" if self.replayed.identical else "different"

    def as_dict(self) -> dict[str, Any]:
        found = self.replayed.difference
        return {
            "target": self.target,
            "alias": self.alias,
            **{
                of_arm(what, arm): model[what]
                for arm, model in self.predictions.models.items()
                for what in ("version", "variant")
            },
            "published_at": self.predictions.time.isoformat(),
            "path": str(self.predictions.path),
            "outcome": self.outcome,
            "missing": list(self.replayed.missing),
            "same_engine": self.same_engine,
            "compared": asdict(found) if found is not None else None,
            "seconds": round(self.seconds, 1),
        }

    def print(self, console: Console) -> None:
        made = self.predictions
        console.print(
            f"{self.target}, {self.alias}: published {_time(made.time)} by {escape(_models(made))}"
        )
        console.print(str(made.path), markup=False, soft_wrap=True)
        console.print()
        found = self.replayed.difference
        if found is None:
            console.print("[red]not reproducible:[/]")
            for missing in self.replayed.missing:
                console.print(f"  {missing}", markup=False, soft_wrap=True)
        elif found.is_none:
            console.print(f"[green]identical:[/] {found.rows:,} rows, bit for bit")
        else:
            self._print_difference(console)
        console.print(f"{self.seconds:.0f} s")

    def _print_difference(self, console: Console) -> None:
        found = self.replayed.difference
        assert found is not None
        counts = ((found.changed, "changed"), (found.lost, "gone"), (found.added, "new"))
        told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
        console.print(f"[red]different:[/] of {found.rows:,} rows, {told}")
        if found.columns:
            columns = ", ".join(f"{column} ({n:,})" for column, n in found.columns.items())
            console.print(f"  in {columns}", markup=False, soft_wrap=True)
        for each in found.examples:
            what = f"{each.key}, {each.column}" if each.column else each.key
            shown = f"  {what}: was {each.before}, is {each.again}"
            console.print(shown, markup=False, soft_wrap=True)
        console.print(
            "everything that they were made from is as it was: either what was published was "
            "edited, or the model depends on chance or on the number of threads."
            if self.same_engine
            else "Spark, or the engine's code, is another than it was, which may explain it.",
            soft_wrap=True,
        )


def replay(
    flow: Flow,
    runs: MlflowRuns,
    store: Store,
    spark: "Callable[[], SparkSession]",
    target: str,
    alias: str,
    at: datetime | None,
    version: int | None,
    say: Say,
) -> ReplayReport:
    """Make the last predictions of a target again, and compare them.

    Args:
        at: the last ones at or before then; of all without it.
        version: the last ones of this version of the model.
        say: is told what is done.

    Raises:
        DefinitionError: there is no such target.
        NothingPublished: there are no such predictions.
        MlflowUnavailable: MLflow does not answer.
        DataError, StageError, NotLoaded: they cannot be scored.
    """
    flow.project.target(target)
    began = time.monotonic()
    every = published(store, target, alias, version)
    found = latest(every, at)
    if found is None:
        raise _nothing(target, alias, at, version, every)
    say(f"predictions of {_time(found.time)}, by {_models(found)} of {target}")
    replayed = _replayed(flow, runs, store, spark, target, found, say)
    engines = {made_from.engine for made_from in found.made_from}
    same = engines == {engine_version()} if engines else None
    return ReplayReport(target, alias, found, replayed, same, time.monotonic() - began)


def _replayed(
    flow: Flow,
    runs: MlflowRuns,
    store: Store,
    spark: "Callable[[], SparkSession]",
    target: str,
    found: Published,
    say: Say,
) -> Replayed:
    if len(found.made_from) < len(found.models):
        older = "record: it does not say what they were made from; ff was older when it made them."
        return Replayed((older,), None)
    versions = {a: reproducible(runs, target, m["version"]) for a, m in found.models.items()}
    gates = [gate for each in versions.values() for gate in each.gates]
    if failed := [f"{gate.name}: {gate.detail}" for gate in gates if gate.failed]:
        return Replayed(tuple(dict.fromkeys(failed)), None)

    def tell(event: Event) -> None:
        if isinstance(event, Started):
            say(event.step.name)

    behind = {}
    for arm, recorded in found.models.items():
        version = versions[arm].version
        assert version is not None  # no gate failed
        behind[arm] = Behind(version, "", recorded["alias"])
    division = Division.recorded(found.record.details)
    with store.staging() as staging:
        try:
            scores = scorer(flow, target, behind, division, store, staging, spark, tell)
        except (NotGiven, DefinitionError) as error:
            return Replayed((str(error),), None)
        return Replay(scores, found).run()


def _nothing(
    target: str,
    alias: str,
    at: datetime | None,
    version: int | None,
    every: tuple[Published, ...],
) -> NothingPublished:
    of = f" by version {version}" if version is not None else ""
    then = f" at or before {_time(at)}" if at is not None else ""
    why = f"the first ones are of {_time(every[0].time)}." if every else "the store has none."
    return NothingPublished(
        f"there are no predictions of `{target}` in {alias}{of}{then}.",
        why=why,
        fix=f"`ff predict {target} --alias {alias}` makes some with the present model; "
        f"`ff ledger {target}` tells which versions served when.",
    )


def _models(made: Published) -> str:
    """What has made predictions, for people."""
    return " and ".join(
        f"version {model['version']} ({model['variant']})" + (f" for the {arm}" if arm else "")
        for arm, model in made.models.items()
    )


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def replay_target(
    target: str, alias: str, at: datetime | None, version: int | None, quiet: bool
) -> ReplayReport:
    """Make predictions of the project again, with a Spark session of its own.

    Args:
        at: UTC if it has no time zone.
        quiet: show no progress.

    Raises: as `replay`; DefinitionError also if a declaration is wrong.
    """
    flow = load_flow()
    settings = Settings.load().prepare()
    aware = at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at

    def say(what: str) -> None:
        if not quiet:
            errors.print(f"▶ {what}", markup=False)

    session = SparkResource(spark_config=spark_config()).session
    store = Store(settings.store, settings.kept)
    return replay(flow, registry(), store, session, target, alias, aware, version, say)
