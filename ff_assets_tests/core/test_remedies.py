"""What a finding says is to be done: whoever does it is refused no more."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import pytest
from pyspark.ml.clustering import KMeans

from ff_assets import Attested, HashSplit, LeakPolicy, Stage, TimeSplit, aggregates, stage
from ff_assets.core.leak_refusals import Finding
from ff_assets_tests.core.founding import (
    MAY,
    action,
    event,
    external,
    label_free,
    order,
    people,
    supervised,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, transformer

first = estimator("first", ["age"], label="churned")
second = estimator("segments", ["first"], label="churned")
scaled = estimator("scaled", ["segments"])
of_scaled = estimator("action", ["scaled"], label="bought")
one, two = (estimator("action", [f], label="bought").named(f) for f in ("age", "spend"))
clusters = stage(KMeans, featuresCol="age", predictionCol="segments")
visit = replace(order, name="visit", time="at")
lag = aggregates("lag", of=visit, to=visit, measures={"bought": ["mean"]})
of_lag = estimator("action", ["bought_mean"], label="bought")
hint, of_hint = transformer("hint", ["bought"]), estimator("action", ["hint"], label="bought")
DAYS = {"source": people(event), "split": MAY}
LATE = {"source": people(event, "30d"), "split": MAY}
BY_LATER = {"source": people(visit, "30d"), "entity": visit}
VALIDATED_DAYS = {"source": people(event), "split": TimeSplit("2017-05-01", validation="30d")}
VALIDATED = HashSplit(
    cells={"train": range(600), "validation": range(600, 800), "test": range(800, 1000)}
)


class Plan(NamedTuple):
    """Stages, and the rest of what `verdicts` takes."""

    stages: tuple[Stage, ...]
    given: Mapping[str, Any]

    def findings(self) -> list[Finding]:
        return [f for v in verdicts(*self.stages, **self.given) for f in (*v.refusals, *v.warnings)]


def plan(*stages: Stage, **given: Any) -> Plan:
    return Plan(stages, given)


def attested(**given: Any) -> Stage:
    return external(Attested("by team B", **given))


# The code of a finding, what its fix names, a plan that has it, and the plan with what is named.
REMEDIES = [
    (
        "FIT_OVERLAP",
        "leave out .fit_on('train', 'test')",
        plan(supervised.fit_on("train", "test"), action),
        plan(supervised, action),
    ),
    (
        "FIT_OVERLAP_X",
        "leave out .fit_on('train', 'test')",
        plan(label_free.fit_on("train", "test"), action),
        plan(label_free, action),
    ),
    (
        "FIT_OVERLAP_X",
        "LeakPolicy(transductive='warn')",
        plan(label_free.fit_on("train", "test"), action),
        plan(label_free.fit_on("train", "test"), action, policy=LeakPolicy("warn")),
    ),
    (
        "FIT_OVERLAP",
        "cross-fit `segments` and what reads it: .cross_fit(5, nested=True)",
        plan(supervised, action.cross_fit(5), certify=["fold_0"]),
        plan(*(s.cross_fit(5, nested=True) for s in (supervised, action)), certify=["fold_0"]),
    ),
    (
        "FIT_OVERLAP_X",
        "cross-fit `segments` and what reads it: .cross_fit(5, ordered=True)",
        plan(label_free, action.cross_fit(5, ordered=True), certify=["block_3"], **DAYS),
        plan(
            *(s.cross_fit(5, ordered=True) for s in (label_free, action)),
            certify=["block_3"],
            **DAYS,
        ),
    ),
    (
        "FIT_OVERLAP",
        "certify test",
        plan(supervised, action, certify=["train"]),
        plan(supervised, action, certify=["test"]),
    ),
    (
        "FIT_OVERLAP",
        "a split whose test it has not read",
        plan(attested(buckets=range(950)), action),
        plan(
            attested(buckets=range(950)),
            action,
            split=HashSplit(cells={"train": range(950), "test": range(950, 1000)}),
        ),
    ),
    (
        "OOF_REQUIRED",
        "let `segments` be .cross_fit(5)",
        plan(supervised, action),
        plan(supervised.cross_fit(5), action),
    ),
    (
        "OOF_REQUIRED",
        "on .slices(...) of train",
        plan(supervised, action),
        plan(supervised.slices(1, of=2), action.slices(2, of=2)),
    ),
    (
        "OOF_REQUIRED",
        "fit `action` on a slice that `segments` has not read: .slices(2, of=2)",
        plan(supervised.slices(1, of=2), action),
        plan(supervised.slices(1, of=2), action.slices(2, of=2)),
    ),
    *(
        (
            "DEPTH_TAINT",
            says,
            plan(supervised.cross_fit(5), scaled, of_scaled),
            plan(*(fit(k, each) for k, each in enumerate((supervised, scaled, of_scaled), 1))),
        )
        for says, fit in (
            (".slices(1, of=3)", lambda k, each: each.slices(k, of=3)),
            (".cross_fit(5, nested=True)", lambda _, each: each.cross_fit(5, nested=True)),
        )
    ),
    (
        "DEPTH_TAINT",
        ".cross_fit(..., ordered=True)",
        plan(*(each.cross_fit(5) for each in (first, second, action)), **DAYS),
        plan(*(each.cross_fit(5, ordered=True) for each in (first, second, action)), **DAYS),
    ),
    (
        "TRANSITIVE_TAINT",
        ".cross_fit(5, nested=True)",
        plan(supervised.cross_fit(5), action.cross_fit(5), certify=["fold_1"]),
        plan(*(s.cross_fit(5, nested=True) for s in (supervised, action)), certify=["fold_1"]),
    ),
    (
        "TRANSITIVE_TAINT",
        "certify test",
        plan(supervised.cross_fit(5), action.cross_fit(5), certify=["fold_1"]),
        plan(supervised.cross_fit(5), action.cross_fit(5), certify=["test"]),
    ),
    (
        "NO_PREDICTION",
        "cross-fit `raw`, .cross_fit(5)",
        plan(
            estimator("raw", ["age"], label="bought"),
            transformer("action", ["raw"]),
            certify=["fold_0"],
        ),
        plan(
            estimator("raw", ["age"], label="bought").cross_fit(5),
            transformer("action", ["raw"]),
            certify=["fold_0"],
        ),
    ),
    (
        "UNALIGNED_OOF",
        "leave .cross_fit(...) out",
        plan(clusters.cross_fit(5), action),
        plan(clusters, action),
    ),
    (
        "SERVE_ONLY_UPSTREAM",
        "without .serve_only()",
        plan(label_free.serve_only(), action),
        plan(label_free, action),
    ),
    (
        "UNKNOWN_FITSET",
        "attested=Attested('trained on ... only')",
        plan(external(None), action),
        plan(attested(), action),
    ),
    (
        "UNKNOWN_FITSET",
        "Attested(..., buckets=...)",
        plan(attested(until=date(2016, 12, 31)), action),
        plan(attested(until=date(2016, 12, 31), buckets=range(800)), action),
    ),
    (
        "UNKNOWN_FITSET",
        "or split by time",
        plan(attested(until=date(2016, 12, 31)), action),
        plan(attested(until=date(2016, 12, 31)), action, **DAYS),
    ),
    (
        "POLICY_MISMATCH",
        "Attested(..., until=...)",
        plan(attested(buckets=range(800)), action, **DAYS),
        plan(attested(buckets=range(800), until=date(2017, 4, 30)), action, **DAYS),
    ),
    (
        "POLICY_MISMATCH",
        "Attested(..., salt='mine')",
        plan(attested(buckets=range(800)), action, split=HashSplit("mine")),
        plan(attested(buckets=range(800), salt="mine"), action, split=HashSplit("mine")),
    ),
    (
        "FUTURE_FIT",
        "let the evaluation begin later",
        plan(attested(until=date(2017, 5, 9)), action, **DAYS),
        plan(
            attested(until=date(2017, 5, 9)),
            action,
            source=people(event),
            split=TimeSplit("2017-05-10"),
        ),
    ),
    (
        "FUTURE_FIT",
        "leave out .fit_on('train', 'test')",
        plan(label_free.fit_on("train", "test"), action, certify=["validation"], **VALIDATED_DAYS),
        plan(label_free, action, certify=["validation"], **VALIDATED_DAYS),
    ),
    (
        "SPLIT_KEY_INCOMPARABLE",
        "Attested(..., until=...)",
        plan(attested(buckets=range(9), root="shop"), action, **DAYS),
        plan(attested(buckets=range(9), root="shop", until=date(2017, 4, 30)), action, **DAYS),
    ),
    (
        "SELECTION_IN_SAMPLE",
        "use a model that has not read validation",
        plan(attested(buckets=range(700)), one, action, select_on="validation", split=VALIDATED),
        plan(attested(buckets=range(600)), one, action, select_on="validation", split=VALIDATED),
    ),
    (
        "EMBARGO_TOO_SHORT",
        "TimeSplit(..., embargo='30d')",
        plan(label_free, action, **LATE),
        plan(label_free, action, source=LATE["source"], split=TimeSplit("2017-05-01", "30d")),
    ),
    (
        "TARGET_PATH",
        "leave `bought` and what is made of it out of the inputs",
        plan(hint, of_hint),
        plan(one),
    ),
    (
        "TARGET_PATH",
        "aggregates(..., of=visit, to=visit, measures={'bought': [...]}, gap='30d')",
        plan(lag, of_lag, **BY_LATER),
        plan(
            aggregates("lag", of=visit, to=visit, measures={"bought": ["mean"]}, gap="30d"),
            of_lag,
            **BY_LATER,
        ),
    ),
    (
        "OUTCOME_AS_INPUT",
        "leave `churned` out of the inputs",
        plan(estimator("action", ["age", "churned"], label="bought")),
        plan(one),
    ),
    (
        "OUTCOME_AS_INPUT",
        "leave it out of the labels=[...] of `people`",
        plan(estimator("action", ["age", "churned"], label="bought")),
        plan(
            estimator("action", ["age", "churned"], label="bought"),
            source=replace(people(), labels=["bought"]),
        ),
    ),
    (
        "SELECTION_ON_TEST",
        "select_on='folds'",
        plan(one, two, select_on="test"),
        plan(one.cross_fit(5), two.cross_fit(5), select_on="folds"),
    ),
    (
        "SELECTION_ON_TEST",
        "select_on='validation'",
        plan(one, two, select_on="test", split=VALIDATED),
        plan(one, two, select_on="validation", split=VALIDATED),
    ),
    (
        "SELECTION_IN_SAMPLE",
        "cross-fit the prediction for select_on='folds'",
        plan(one, two, select_on="train"),
        plan(one.cross_fit(5), two.cross_fit(5), select_on="folds"),
    ),
]


@pytest.mark.parametrize(("code", "says", "refused", "mended"), REMEDIES)
def test_what_is_advised_helps(code: str, says: str, refused: Plan, mended: Plan) -> None:
    fixes = [finding.fix for finding in refused.findings() if finding.code == code]
    assert any(says in fix for fix in fixes), fixes or [f.code for f in refused.findings()]
    assert code not in [finding.code for finding in mended.findings()]
    assert all(verdict.allowed for verdict in verdicts(*mended.stages, **mended.given))
