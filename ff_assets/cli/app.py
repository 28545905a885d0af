"""The commands of `ff` and their options."""

import sys
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from ff_assets.cli import output
from ff_assets.core.errors import FeatureFlowError

app = typer.Typer(
    help="Declared stages, inferred pipelines, honest metrics.",
    epilog="Exit codes: 0 done, 1 something is wrong (it is said what), 2 wrong usage, "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
OneTarget = Annotated[str | None, typer.Argument(help="A target; all of them if left out.")]
SomeTargets = Annotated[list[str] | None, typer.Argument(help="Targets; all of them if left out.")]
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the ledger.")]


class Alias(StrEnum):
    """What an alias can be."""

    STAGING = "staging"
    PRODUCTION = "production"


class Shown(StrEnum):
    """What can have become of a hypothesis."""

    VALIDATED = "validated"
    INVALIDATED = "invalidated"
    UNDECIDED = "undecided"
    EXPLORATORY = "exploratory"
    NONE = "none"


@app.command()
def check(json: Json = False) -> None:
    """Check all declarations and whether metrics are honest, as loading in Dagster does."""
    from ff_assets.cli.check import check_project

    output.show(check_project(), json)


@app.command()
def plan(target: OneTarget = None, json: Json = False) -> None:
    """Show fits, variants, splits, and what a run would reuse or compute. Starts no Spark."""
    from ff_assets.cli.plan import plan_project

    output.show(plan_project(target), json)


@app.command()
def why(
    name: Annotated[str, typer.Argument(help="A feature, a target or a variant.")],
    json: Json = False,
) -> None:
    """Show what was fitted on which rows behind a feature or a metric, also of refused ones."""
    from ff_assets.cli.why import explain

    output.show(explain(name), json)


@app.command()
def policy(
    name: Annotated[
        str | None, typer.Argument(help="A feature, target or variant; the project if left out.")
    ] = None,
    json: Json = False,
) -> None:
    """Show where sensitive data go, along which path, where they end and what is denied."""
    from ff_assets.cli.policy import explain

    output.show(explain(name), json)


@app.command()
def run(targets: SomeTargets = None, json: Json = False) -> None:
    """Fit, evaluate and register the variants of targets, in one run with one Spark session."""
    from ff_assets.cli.run import run_targets

    output.show(run_targets(targets or [], quiet=json), json)


@app.command()
def predict(
    target: Annotated[str, typer.Argument(help="A target.")],
    alias: Annotated[
        Alias | None, typer.Option(help="Whose model predicts; production if left out.")
    ] = None,
    ab_test: Annotated[
        bool, typer.Option("--ab-test", help="Each row by the model of its arm in the A/B test.")
    ] = False,
    json: Json = False,
) -> None:
    """Predict what waits for it with the model in staging or production, once a day and model."""
    if alias is not None and ab_test:
        raise typer.BadParameter("an A/B test names its own aliases; leave --alias out.")
    from ff_assets.cli.predict import predict as predict_target
    from ff_assets.core.ab_test import AB_TEST

    served = AB_TEST if ab_test else (alias or Alias.PRODUCTION).value
    output.show(predict_target(target, served, quiet=json), json)


@app.command()
def experiment(
    target: Annotated[str, typer.Argument(help="A target with an A/B test.")],
    json: Json = False,
) -> None:
    """Show the effect in the A/B test so far, with an interval that holds at every look."""
    from ff_assets.cli.experiment import experiment as look

    output.show(look(target, quiet=json), json)


@app.command()
def audit(
    target: Annotated[str, typer.Argument(help="A target.")],
    variant: Annotated[str | None, typer.Option(help="Only this variant.")] = None,
    json: Json = False,
) -> None:
    """Run a target's flow with all labels of test changed: its predictions must not change."""
    from ff_assets.cli.audit import audit_target

    output.show(audit_target(target, variant, quiet=json), json)


@app.command()
def promote(
    target: Annotated[str, typer.Argument(help="A target.")],
    to: Annotated[Alias, typer.Option(help="Which alias is moved.")],
    reason: Reason,
    variant: Annotated[
        str | None,
        typer.Option(help="Its newest version; if left out, the champion's or the only one's."),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="This version.")] = None,
    override: Annotated[
        str, typer.Option(help="Why it is right although a gate failed; is recorded.")
    ] = "",
    json: Json = False,
) -> None:
    """Let a registered version serve as staging or production, if it passes its gates."""
    if variant is not None and version is not None:
        raise typer.BadParameter("name a variant or a version, not both.")
    from ff_assets.cli.promote import promote_version

    report = promote_version(
        target, to.value, reason, variant=variant, version=version, override=override
    )
    output.show(report, json)


@app.command()
def rollback(
    target: Annotated[str, typer.Argument(help="A target.")],
    reason: Reason,
    alias: Annotated[Alias, typer.Option(help="Which alias is moved.")] = Alias.PRODUCTION,
    json: Json = False,
) -> None:
    """Let the version serve again that did before, and record it. Once more: one step further."""
    from ff_assets.cli.promote import roll_back

    output.show(roll_back(target, alias.value, reason), json)


@app.command()
def ledger(
    target: Annotated[str, typer.Argument(help="A target.")],
    at: Annotated[
        datetime | None,
        typer.Option(
            formats=_TIMES,
            help="Tell what was in place then (UTC), and what is left of it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show who moved staging and production when, from where to where, and why."""
    from ff_assets.cli.ledger import tell

    try:
        report = tell(target, at)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    output.show(report, json)


@app.command()
def replay(
    target: Annotated[str, typer.Argument(help="A target.")],
    alias: Annotated[Alias, typer.Option(help="Whose predictions.")] = Alias.PRODUCTION,
    at: Annotated[
        datetime | None,
        typer.Option(formats=_TIMES, help="The last ones at or before then (UTC)."),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="The last ones of this version of the model.")
    ] = None,
    json: Json = False,
) -> None:
    """Make published predictions again, from the stored data and the model of then, and compare."""
    from ff_assets.cli.replay import replay_target

    output.show(replay_target(target, alias.value, at, version, quiet=json), json)


@app.command()
def hypotheses(
    target: Annotated[
        str | None, typer.Argument(help="A target, declared or not; all of them if left out.")
    ] = None,
    verdict: Annotated[Shown | None, typer.Option(help="Only those with this verdict.")] = None,
    text: Annotated[str, typer.Option(help="Only those whose statement has this in it.")] = "",
    json: Json = False,
) -> None:
    """Show what was ever expected of targets, when it was stated, and what became of it."""
    from ff_assets.cli.hypotheses import tell

    output.show(tell(target, verdict and verdict.value, text), json)


@app.command()
def doctor(json: Json = False) -> None:
    """Look at Java, memory, versions and paths, and say how to mend what is wrong."""
    from ff_assets.cli.doctor import examine

    output.show(examine(), json)


def main() -> None:
    """Run `ff`. Errors that are raised on purpose are shown without a trace."""
    as_json = "--json" in sys.argv[1:]
    try:
        app()
    except FeatureFlowError as error:
        output.show_error(error, as_json)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
