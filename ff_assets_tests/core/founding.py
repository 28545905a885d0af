"""The founding example, in stages that compute nothing: segments, then the next best action."""

from ff_assets import Attested, Entity, LeakPolicy, Source, Stage, Target, TimeSplit, pretrained
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.project import Project
from ff_assets.core.verdict import Verdict
from ff_assets_tests.core.stubs import estimator, load

customer = Entity("customer", key="customer_id")
order = Entity("order", key="order_id", parent=customer, foreign_key="customer_id")
event = Entity("event", key="event_id", time="happened_at")
DOUBLES = {"age": "double", "spend": "double", "bought": "double", "churned": "double"}


def people(entity: Entity = customer, horizon: str = "0d") -> Source:
    return Source(
        "people",
        entity=entity,
        load=load,
        features=DOUBLES,
        labels=["bought", "churned"],
        label_horizon=horizon,
        version="1",
    )


label_free = estimator("segments", ["age", "spend"])
supervised = estimator("segments", ["age", "spend"], label="churned")
action = estimator("action", ["segments", "age"], label="bought")


def target(**given) -> Target:
    return Target(
        **{"name": "t", "outputs": ["action"], "label": "bought", "task": "binary"} | given
    )


def verdicts(
    *stages: Stage,
    source: Source | None = None,
    policy: LeakPolicy | None = None,
    **given,
) -> list[Verdict]:
    """On what the target certifies."""
    return [v for v in judged(*stages, source=source, policy=policy, **given) if v.certified]


def judged(
    *stages: Stage, source: Source | None = None, policy: LeakPolicy | None = None, **given
) -> list[Verdict]:
    """On all that is shown."""
    policy = policy or LeakPolicy()
    return check(infer(Project((source or people(),), stages, (target(**given),), policy=policy)))


def verdict(*stages: Stage, **given) -> Verdict:
    (only,) = verdicts(*stages, **given)
    return only


def path(verdict: Verdict) -> list[str]:
    return [instance.name for instance in verdict.refusals[0].path]


def codes(verdict: Verdict) -> list[str]:
    assert all(f.text and f.why and f.fix for f in (*verdict.refusals, *verdict.warnings))
    return [finding.code for finding in verdict.warnings]


def is_clean(verdict: Verdict) -> bool:
    return (verdict.code, verdict.grade, codes(verdict)) == ("", "A", [])


def external(attested: Attested | None) -> Stage:
    return pretrained(load, inputs=["age"], outputs=["segments"], version="1", attested=attested)


MAY = TimeSplit("2017-05-01")
