"""Declarative automation, for a team that prefers it to schedules; off until it is turned on.

Only what reports on a variant or a target has a condition: evaluations, leaderboards, registered
models, and the predictions. These have no cells, so whatever a tick asks for is *one run*, and the
engine computes what that run lacks: sources, features and models. With a condition of their own,
assets with cells would be asked for in runs of their own, cell by cell, each with its own Spark.

What that costs: sources, features and models that were computed on the way are in the store, where
the next run finds them, but Dagster has recorded them for no run, so their pages show the last run
that had asked for them. `<target>_fit` records all of them.

The conditions look at the data that were observed, and at the code. Sources that state no version
are never seen to change. The first version that is observed counts as another one, so what has
never run is made. A version that a run itself noted, because nobody had observed it before, counts
as well: such a tick launches a run that finds all done and needs no Spark.
"""

import dagster as dg

SENSOR_NAME = "automation"

# What starts by itself and fails is launched anew, by Dagster's own daemon, where the instance
# allows it (`run_retries` in dagster.yaml). A run of somebody who looks at it is not.
RETRIED = {"dagster/max_retries": "2"}

# What changed while a run went on must not be forgotten when it ends, as `since_last_handled` does:
# the run may have read what was there before.
_ONCE = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.initial_evaluation()
_IDLE = ~dg.AutomationCondition.in_progress()
# What no run makes is the data.
_OTHER_DATA = dg.AutomationCondition.any_deps_match(
    dg.AutomationCondition.data_version_changed()
).ignore(dg.AssetSelection.all())

ON_OTHER_DATA = (_OTHER_DATA.since(_ONCE) & _IDLE).with_label("other data were observed")
ON_OTHER_DATA_OR_CODE = (
    (_OTHER_DATA | dg.AutomationCondition.code_version_changed()).since(_ONCE) & _IDLE
).with_label("other data were observed, or the code behind it changed")


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """What evaluates the conditions."""
    return dg.AutomationConditionSensorDefinition(
        SENSOR_NAME,
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.STOPPED,
        run_tags=RETRIED,
        description="Fits, evaluates, registers and predicts anew, in one run, whatever stands on "
        "data of which another version was observed, or on code that has changed. It needs the "
        "schedule that observes. Turning it on launches nothing.",
    )
