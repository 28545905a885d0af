"""The flip audit: it finds labels of test that reach predictions, and clears flows without any."""

import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.ml.classification import DecisionTreeClassifier, LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from ff_assets import Entity, Source, Stage, Target, TimeSplit, aggregate, feature, stage
from ff_assets.cli.audit import AuditReport
from ff_assets.core.errors import DataError, DefinitionError
from ff_assets.core.project import Project
from ff_assets.engine.audit import Audit, Audited, audit
from ff_assets_tests.projects import (
    hashed,
    make_rows,
    marks,
    review,
    reviews,
    sentiment_stage,
    sentiment_target,
    small_project,
    tokens,
)

pytestmark = pytest.mark.xdist_group("audit")

SETTINGS = ("spark.sql.shuffle.partitions", "spark.sql.adaptive.enabled")


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Audit]:
    """Audits, and sees that nothing is left behind."""
    folder = tmp_path_factory.mktemp("home")

    def run(project: Project, target: str, **options: Any) -> Audit:
        before = [spark.conf.get(name) for name in SETTINGS]
        try:
            return audit(project, target, lambda: spark, folder, **options)
        finally:
            assert not list(folder.iterdir())
            assert [spark.conf.get(name) for name in SETTINGS] == before

    return run


Run = Callable[..., Audit]


def by_variant(found: Audit) -> Mapping[str, Audited]:
    return {each.variant: each for each in found.variants}


def assembled(name: str, output: str, *inputs: str) -> Stage:
    return stage(VectorAssembler, inputCols=list(inputs), outputCol=output).named(name)


def learned(label: str, reads: str, output: str) -> Stage:
    return stage(
        LogisticRegression, featuresCol=reads, labelCol=label, predictionCol=output, maxIter=3
    )


# Every outcome


guess = stage(
    DecisionTreeClassifier,
    featuresCol="text_vector",
    labelCol="is_severe",
    predictionCol="guess",
    maxDepth=8,
).fit_on("train", "test")


@feature(entity=review)
def noise(text: Column) -> Column:
    """Another number in every run."""
    return F.length(text) + F.rand()


@feature(entity=review)
def sentiment(text: Column) -> Column:
    """A prediction that is learned from nothing."""
    return (F.length(text) % 2).cast("double")


@pytest.fixture(scope="module")
def four(run: Run, reviews_file: Path) -> Audit:
    """One flow with a variant for each outcome; its source states no version."""
    stages = [
        assembled("clean", "signals", "text_vector", "marks"),
        assembled("leaky", "signals", "text_vector", "guess"),
        assembled("random", "signals", "text_vector", "noise"),
    ]
    project = Project(
        sources=(reviews(reviews_file, version=None),),
        stages=(
            *(tokens, hashed, marks, guess, noise, *stages),
            *(sentiment_stage().named("learned"), sentiment.named("rule")),
        ),
        targets=(sentiment_target(),),
    )
    return run(project, "sentiment")


def test_each_variant_gets_its_outcome(four: Audit) -> None:
    assert {name: each.outcome for name, each in by_variant(four).items()} == {
        "sentiment[learned, clean]": "no leak",
        "sentiment[learned, leaky]": "leak",
        "sentiment[learned, random]": "not reproducible",
        "sentiment[rule]": "control failed",
    }
    assert not four.passed


def test_every_label_of_test_is_changed_and_a_few_of_train(four: Audit) -> None:
    split = Project().split
    test = [row for row in make_rows() if split.cell(row["review_id"]) == "test"]

    assert {(flip.column, flip.copy_of, flip.low, flip.high) for flip in four.flips} == {
        ("is_positive", "", 0.0, 1.0),
        ("is_severe", "", 0.0, 1.0),
    }
    for flip in four.flips:
        assert flip.rows == sum(row[flip.column] is not None for row in test)
        assert {split.cell(key) for key in flip.control} == {"train"}
    assert {each.rows for each in four.variants} == {len(test)}


def test_a_leak_comes_with_examples(four: Audit) -> None:
    leaky = by_variant(four)["sentiment[learned, leaky]"]

    assert 0 < len(leaky.examples) <= 3 <= leaky.changed <= leaky.rows
    assert {Project().split.cell(int(key)) for key in leaky.examples} == {"test"}
    assert "_probability" in leaky.columns
    assert leaky.one_partition


def test_the_report_says_it_and_fails(four: Audit) -> None:
    report = AuditReport(four)
    console = Console(file=StringIO(), width=200)
    report.print(console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]

    assert report.exit_code == 1
    assert not report.as_dict()["passed"]
    leaky = by_variant(four)["sentiment[learned, leaky]"]
    assert f"labels of test change {leaky.changed} of {leaky.rows} predictions" in printed
    assert ", ".join(leaky.examples) in printed
    assert "shown nothing" in printed
    assert "cannot be audited" in printed
    assert "Not seen is what a loader has made of a label" in printed


# A split by a parent's key, and a cross-fitted stage


household = Entity("household", key="household_id")
offer = Entity("offer", key="offer_id", parent=household, foreign_key="household_id")


def load_households(spark: SparkSession) -> DataFrame:
    draw = random.Random(3)
    rows = [(number, draw.random()) for number in range(120)]
    frame = pd.DataFrame(rows, columns=["household_id", "income"])
    frame["spends"] = (frame["income"] + [draw.gauss(0, 0.3) for _ in rows] > 0.5).astype(float)
    return spark.createDataFrame(frame)


def load_offers(spark: SparkSession) -> DataFrame:
    draw = random.Random(5)
    rows = [(n, n % 120, draw.random(), float(draw.random() < 0.4)) for n in range(360)]
    columns = ["offer_id", "household_id", "discount", "redeemed"]
    return spark.createDataFrame(pd.DataFrame(rows, columns=columns))


@aggregate(of=offer, to=household)
def redeemed_share(redeemed: Column) -> Column:
    """Of all of the household's offers, the row's own included."""
    return F.mean(redeemed)


def test_a_share_of_the_households_own_labels_beside_a_cross_fitted_stage(run: Run) -> None:
    propensity = learned("spends", "household_vector", "propensity").of(household).cross_fit(2)
    project = Project(
        sources=(
            Source(
                "households",
                entity=household,
                load=load_households,
                features={"income": "double", "spends": "double"},
                labels=["spends"],
                version="1",
            ),
            Source(
                "offers",
                entity=offer,
                load=load_offers,
                features={"discount": "double", "redeemed": "double"},
                labels=["redeemed"],
            ),
        ),
        stages=(
            assembled("household_vector", "household_vector", "income").of(household),
            propensity,
            redeemed_share,
            assembled("honest", "profile", "discount", "propensity"),
            assembled("telling", "profile", "discount", "propensity", "redeemed_share"),
            learned("redeemed", "profile", "action").of(offer),
        ),
        targets=(Target("action", outputs=["action"], label="redeemed", task="binary"),),
    )
    found = run(project, "action", variant="action[telling]")
    sides = [project.split.cell(number % 120) for number in range(360)]

    assert [(each.variant, each.outcome) for each in found.variants] == [
        ("action[telling]", "leak")  # and not the other, which nobody asked for
    ]
    assert {(flip.source, flip.column, flip.rows) for flip in found.flips} == {
        ("households", "spends", sides.count("test") // 3),
        ("offers", "redeemed", sides.count("test")),
    }


def test_a_label_that_is_an_aggregate_is_changed_in_what_it_sums_up(run: Run) -> None:
    @aggregate(of=offer, to=household)
    def redeems(redeemed: Column) -> Column:
        return F.max(redeemed)

    project = Project(
        sources=(
            Source("households", household, load_households, {"income": "double"}, version="1"),
            Source("offers", offer, load_offers, {"redeemed": "double"}, version="1"),
        ),
        stages=(
            assembled("household_vector", "household_vector", "income").of(household),
            redeems,
            learned("redeems", "household_vector", "action"),
        ),
        targets=(Target("action", outputs=["action"], label="redeems", task="binary"),),
    )
    found = run(project, "action")
    test = [n for n in range(360) if project.split.cell(n % 120) == "test"]

    assert [(f.source, f.column, f.rows) for f in found.flips] == [
        ("offers", "redeemed", len(test))
    ]
    assert by_variant(found)["action"].outcome == "no leak"
    assert AuditReport(found).exit_code == 0


# A split by time, and a column that gives the label away


event = Entity("event", key="event_id", time="day")
CUTOFF = date(2024, 6, 1)


def event_rows() -> pd.DataFrame:
    draw = random.Random(11)
    rows = []
    for number in range(240):
        day = CUTOFF + timedelta(days=draw.randrange(-60, 30))
        late = float(draw.random() < 0.4)
        rows.append((number, day, draw.random(), late, 5 - 3 * late))
    return pd.DataFrame(rows, columns=["event_id", "day", "size", "late", "state"])


def test_a_copy_of_the_label_among_the_features_under_a_time_split(run: Run) -> None:
    days = event_rows()["day"]
    project = Project(
        sources=(
            Source(
                "events",
                entity=event,
                load=lambda spark: spark.createDataFrame(event_rows()),
                features={"size": "double", "late": "double", "state": "double"},
                labels=["late"],
                version="1",
            ),
        ),
        stages=(
            assembled("honest", "vector", "size"),
            assembled("telling", "vector", "size", "state"),
            learned("late", "vector", "delay"),
        ),
        targets=(
            Target(
                "delay",
                outputs=["delay"],
                label="late",
                task="binary",
                split=TimeSplit(CUTOFF, embargo="10d"),
            ),
        ),
    )
    found = run(project, "delay")
    outcomes = by_variant(found)

    assert outcomes["delay[honest]"].outcome == "no leak"
    assert outcomes["delay[telling]"].outcome == "leak"
    assert [(f.column, f.copy_of, f.rows) for f in found.flips] == [
        ("late", "", sum(days >= CUTOFF)),
        ("state", "late", sum(days >= CUTOFF)),
    ]
    for flip in found.flips:
        assert len(flip.control) == 5
        assert all(days[key] < CUTOFF - timedelta(days=10) for key in flip.control)


# What cannot be audited


def test_an_unknown_variant_is_named(run: Run, reviews_file: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        run(small_project(reviews(reviews_file)), "sentiment", variant="sentiment[tfidf]")
    assert "has no variant `sentiment[tfidf]`" in str(caught.value)
    assert "sentiment" in caught.value.why


def test_without_labels_there_is_nothing_to_change(run: Run, reviews_file: Path) -> None:
    project = Project(
        sources=(reviews(reviews_file, features={"text": "string"}, labels=[]),),
        stages=(marks,),
        targets=(Target("marks", outputs=["marks"]),),
    )
    with pytest.raises(DataError) as caught:
        run(project, "marks")
    assert "declare none" in caught.value.why
