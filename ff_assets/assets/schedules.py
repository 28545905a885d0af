"""Schedules that targets declare; off until somebody turns them on in the UI."""

from collections.abc import Iterator

import dagster as dg

from ff_assets.assets.automation import RETRIED
from ff_assets.assets.jobs import ALL_CELLS, experiment_job_name, fit_job_name, predict_job_name
from ff_assets.core.ab_test import serving
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError
from ff_assets.core.flow import Flow
from ff_assets.core.names import ALIASES
from ff_assets.core.target import Target


def target_schedules(flow: Flow) -> list[dg.ScheduleDefinition]:
    """A schedule for each job of a target that declares when: fit, predict, look at its A/B test.

    While a target has a test, its predictions are those of the test, which serves both aliases:
    else every row would be predicted twice, and nobody could say which one counted. Where both
    aliases have one version, all rows are still predicted, and the test is over. A look needs not
    wait for the predictions of that hour: nothing came of them yet.

    All have the same time. What is predicted does not depend on the fit of that hour: it is
    the version behind the alias that predicts, and a fit moves no alias. So predictions need not
    wait for it, and come first where runs wait in a queue: people wait for them, and they are
    short. At most how many runs, and so Spark sessions, go on at once is what the instance's
    `max_concurrent_runs` says, which holds for runs of all targets and for those started by hand;
    an offset in the cron would help for one target only, and as long as no run is late.

    Raises:
        DefinitionError: a schedule is no cron.
    """
    return [
        schedule
        for target in flow.project.targets
        if target.schedule is not None
        for schedule in _schedules_of(target, target.schedule)
    ]


def _schedules_of(target: Target, cron: str) -> Iterator[dg.ScheduleDefinition]:
    # The fit's assets have cells, and a plain schedule asks for none of them.
    yield _schedule(target, cron, fit_job_name(target.name), ALL_CELLS)
    for after, served_as in enumerate(serving(target)):
        # Dagster's queue starts what has the higher number first; without one it is 0.
        tags = {"dagster/priority": str(len(ALIASES) - after)}
        yield _schedule(target, cron, predict_job_name(target.name, served_as), tags)
    if target.ab_test is not None:
        yield _schedule(target, cron, experiment_job_name(target.name), {})


def _schedule(target: Target, cron: str, job: str, tags: dict[str, str]) -> dg.ScheduleDefinition:
    def request(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        # A tick that is repeated after a crash has the same key, and so launches nothing again.
        key = context.scheduled_execution_time.isoformat()
        return dg.RunRequest(run_key=key, tags=RETRIED | tags)

    try:
        return dg.ScheduleDefinition(
            name=f"{job}_schedule",
            cron_schedule=cron,
            job_name=job,
            execution_fn=request,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description=f"Launches `{job}` at `{cron}` UTC, as target `{target.name}` declares.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise DefinitionError(
            f"target `{target.name}` has the schedule {cron!r}, which is no cron.",
            where=[describe(target)],
            why=str(error),
            fix='five fields: minute, hour, day of the month, month, day of the week. "0 6 * * *" '
            'is daily at 6:00 UTC, "*/30 * * * *" every half hour, "0 6 * * 1" on Mondays.',
        ) from error
