"""A/B tests in production: every row by the model of its arm, and the effect of what came of it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import ABTest, Entity, Source
from ff_assets.assets.serving import scorer
from ff_assets.core.ab_test import AB_TEST
from ff_assets.core.errors import DataError
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.arms import Division, arm_column
from ff_assets.engine.experiment import Experiment, Looked
from ff_assets.engine.outcomes import Outcomes
from ff_assets.engine.predict import Predicted, Prediction
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.serving import behind
from ff_assets.stats.sequential import effect
from ff_assets_tests.arms import arm, arm_of
from ff_assets_tests.projects import make_rows, review, reviews, sentiment_target, write_rows
from ff_assets_tests.running import Home, WholeRun
from ff_assets_tests.test_predictions import move, only, put, read
from ff_assets_tests.test_serving import exact

pytestmark = pytest.mark.xdist_group("whole")

PREDICTED = "predictions/sentiment/ab_test"
EFFECT = "experiments/sentiment/spring"
purchase = Entity(
    "purchase", key="purchase_id", parent=review, foreign_key="review_id", time="bought_at"
)
COLUMNS = ["purchase_id", "review_id", "bought_at", "amount"]


@pytest.fixture(autouse=True, scope="module")
def no_alias_is_left(whole: WholeRun) -> Iterator[None]:
    """Other tests on the same registry begin without a model in production."""
    yield
    for alias in ("staging", "production"):
        whole.home.client.delete_registered_model_alias("sentiment", alias)


def purchases(path: Path, **changes: Any) -> Source:
    def load(spark: SparkSession) -> DataFrame:
        frame = spark.read.json(
            str(path),
            schema="purchase_id string, review_id bigint, bought_at string, amount double",
        )
        return frame.withColumn("bought_at", F.to_timestamp("bought_at"))

    given = {"load": load, "features": {"amount": "double"}} | changes
    return Source("purchases", entity=purchase, **given)


def ab_test(outcomes: Source, **changes: Any) -> ABTest:
    given = {"share": 0.5, "measure": "amount", "planned": 200, "name": "spring"} | changes
    return ABTest("production", "staging", outcomes=outcomes, **given)


def with_test(whole: WholeRun, test: ABTest, source: Source | None = None) -> Project:
    """The whole project, whose target has a test."""
    first, *others = whole.project.targets
    assert first.name == "sentiment"
    targets = (sentiment_target(ab_test=test), *others)
    return replace(whole.project, sources=(source or reviews(whole.file),), targets=targets)


def two_versions(whole: WholeRun) -> dict[str, int]:
    """Arm -> version."""
    return {
        "control": move(whole, "sentiment[tfidf]", "production"),
        "treatment": move(whole, "sentiment[hashed]", "staging"),
    }


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_arms_in_spark_are_those_in_python(spark: SparkSession, share: float) -> None:
    keys = [*range(-1500, 1500), 2**62]
    numbers = spark.createDataFrame([(key,) for key in keys], "key bigint")
    texts = spark.createDataFrame(
        [(f"Käufer {key}\x1f",) for key in keys] + [(None,)], "key string"
    )
    for frame in (numbers, texts):
        found = frame.select("key", arm_column(F.col("key"), "sentiment/spring", share)).collect()
        assert len(found) >= 3001
        for key, assigned in found:
            assert assigned == (None if key is None else arm(key, "sentiment/spring", share))


def test_every_row_is_scored_by_the_model_of_its_arm(
    whole: WholeRun, spark: SparkSession, tmp_path: Path
) -> None:
    versions = two_versions(whole)
    project = with_test(whole, ab_test(purchases(tmp_path / "none.json")))
    made = only(whole.home.predict(project, "sentiment", AB_TEST), PREDICTED)

    stored = {
        side: whole.stored(spark, next(v for v in whole.flow.variants if v.name == name))
        for side, name in (("control", "sentiment[tfidf]"), ("treatment", "sentiment[hashed]"))
    }
    rows = read(spark, made)
    assert set(rows) == {key for key, row in whole.rows.items() if row["is_positive"] is None}
    for key, row in rows.items():
        assert row["arm"] == arm(key, "sentiment/spring", 0.5)
        assert row["model_version"] == versions[row["arm"]]
        assert row["text"] == whole.rows[key]["text"]
        assert exact(row["sentiment"]) == exact(stored[row["arm"]][key]["sentiment"])
        assert exact(row["probability"]) == exact(stored[row["arm"]][key]["_probability"])
    assert {made["rows_control"], made["rows_treatment"]} != {0, 50}
    assert made["rows_control"] + made["rows_treatment"] == made["dagster/row_count"] == 50

    again = whole.home.predict(project, "sentiment", AB_TEST)
    assert only(again, PREDICTED)["reused"]
    assert not again.asked_for_spark

    put(whole.home, "sentiment", "staging", versions["control"])
    ran = whole.home.predict(project, "sentiment", AB_TEST)
    assert only(ran, PREDICTED)["model_version_treatment"] == versions["control"]
    assert any("`spring` compares nothing" in message for message in ran.messages)


def test_without_a_model_behind_both_aliases_nothing_happens(
    whole: WholeRun, tmp_path: Path
) -> None:
    first, severity = whole.project.targets
    test = ab_test(purchases(tmp_path / "none.json"))
    project = replace(whole.project, targets=(first, replace(severity, ab_test=test)))
    for ran, told in (
        (whole.home.predict(project, "severity", AB_TEST), "no model is production"),
        (whole.home.experiment(project, "severity"), "nobody was exposed in `spring` yet"),
    ):
        assert ran.success
        assert ran.assets == {}
        assert not ran.asked_for_spark
        (message,) = ran.messages
        assert told in message


def predict_at(
    home: Home, project: Project, spark: SparkSession, at: datetime, seconds: float = 0
) -> Predicted:
    """What the job does, at another time.

    Args:
        seconds: how long it takes.
    """
    flow, runs = infer(project), MlflowRuns(home.tracking_uri, None, "ff_assets")
    test, variants = flow.project.targets[0].ab_test, flow.variants_of("sentiment")
    assert test is not None
    models = {}
    for name, alias in test.aliases.items():
        found = behind(runs, "sentiment", alias)
        assert found is not None
        models[name] = found
    division = Division.of(test, "sentiment", variants[0].entity)
    with home.store.staging() as staging:
        scores = scorer(
            *(flow, "sentiment", models, division, home.store, staging),
            *(lambda: spark, lambda _: None),
        )
        ended = at + timedelta(seconds=seconds)
        return Prediction(scores, at, lambda: "", lambda: ended).run()


def write_outcomes(path: Path, rows: Iterable[tuple[Any, ...]]) -> None:
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    frame.to_json(path, orient="records", lines=True, date_format="iso")


def test_the_effect_is_that_of_plain_arithmetic_and_every_look_is_kept(
    whole: WholeRun, spark: SparkSession, tmp_path: Path
) -> None:
    two_versions(whole)
    home = replace(whole.home, store_root=tmp_path / "store")
    file, waiting = tmp_path / "purchases.json", tmp_path / "waiting.parquet"
    source = reviews(whole.file, scoring=lambda spark: spark.read.parquet(str(waiting)))
    test = ab_test(purchases(file))
    project = with_test(whole, test, source)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first, second = today - timedelta(days=2), today - timedelta(days=1)

    write_rows(waiting, make_rows(80))
    slow = timedelta(hours=5)
    one = predict_at(home, project, spark, first, slow.total_seconds())
    assert predict_at(home, project, spark, first + slow + timedelta(hours=1)).reused
    write_rows(waiting, make_rows(120))
    two = predict_at(home, project, spark, second)
    assert (one.record.rows, two.record.rows, two.reused) == (80, 120, False)

    # Some units come more than once, some never, some before they were exposed.
    draw = np.random.default_rng(3)
    keys = draw.integers(0, 140, size=300)
    times = [first + timedelta(hours=float(h)) for h in draw.uniform(-24, 48, size=300)]
    amounts = [float(x) for x in np.round(draw.gamma(2, 10, size=300), 2)]
    outcomes = [
        (f"p{i}", int(k), t.isoformat(), None if i % 50 == 0 else x)
        for i, (k, t, x) in enumerate(zip(keys, times, amounts, strict=True))
    ]
    write_outcomes(file, outcomes)

    since = {key: first + slow if key < 80 else second for key in range(120)}
    bought = pd.DataFrame(outcomes, columns=COLUMNS)
    bought["bought_at"] = pd.to_datetime(bought["bought_at"], format="ISO8601")
    exposed = bought[bought["review_id"].map(lambda key: key in since)]
    late = exposed[exposed["bought_at"] > exposed["review_id"].map(since)]
    sums = late.groupby("review_id")["amount"].sum().reindex(range(120), fill_value=0.0)
    arms = pd.Series({key: arm(key, "sentiment/spring", 0.5) for key in range(120)})
    sides = {
        side: arm_of(sums.index[arms == side], sums[arms == side])
        for side in ("control", "treatment")
    }
    expected = effect(sides["control"], sides["treatment"], planned=200)

    made = only(home.experiment(project, "sentiment"), EFFECT)
    found = [made[name] for name in ("effect", "low", "high", "p")]
    assert found == pytest.approx([expected.value, expected.low, expected.high, expected.p])
    assert [made["control_units"], made["treatment_units"]] == [
        sides["control"].entities,
        sides["treatment"].entities,
    ]
    assert made["outcomes"] == late["amount"].notna().sum()
    assert made["outcomes_not_known_yet"] == late["amount"].isna().sum() > 0
    assert made["outcomes_before_exposure"] == len(exposed) - len(late) > 0
    assert made["reviews_not_in_the_test"] == len({k for k in keys if k >= 120}) > 0
    assert made["control_units_without_outcome"] > 0
    assert (made["days"], made["looks"], made["believable"], made["moved"]) == (2, 1, True, 0)
    assert made["result"].startswith("staging is not distinguishable from production")
    assert made["picture"].startswith("![effect](data:image/png;base64,")

    again = only(home.experiment(project, "sentiment"), EFFECT)
    assert (again["reused"], again["looks"]) == (True, 1)
    assert again["data_version"] == made["data_version"]

    # Every purchase of the treatment becomes dearer by far: the next look shows it.
    dearer = [
        (i, k, t, x and x + 200 * (arm(k, "sentiment/spring", 0.5) == "treatment"))
        for i, k, t, x in outcomes
    ]
    write_outcomes(file, dearer)
    after = only(home.experiment(project, "sentiment"), EFFECT)
    assert (after["reused"], after["looks"]) == (False, 2)
    assert after["low"] > 0
    assert after["result"].startswith("staging raises `purchases.amount` for each review by ")

    # Another share under the same name moves units; they are left out, and the effect is in doubt.
    grown = with_test(whole, ab_test(purchases(file), share=0.9), source)
    predict_at(home, grown, spark, today)
    moved = sum(arms != [arm(key, "sentiment/spring", 0.9) for key in range(120)])
    doubted = only(home.experiment(grown, "sentiment"), EFFECT)
    assert doubted["moved"] == moved > 20
    assert doubted["control_units"] + doubted["treatment_units"] == 120 - moved
    assert not doubted["believable"]
    assert doubted["result"].startswith("Do not believe the effect: the share was changed")
    assert "(0.5, then 0.9)" in doubted["result"]
    assert "sample_ratio_p" not in doubted


def looked(home: Home, spark: SparkSession, test: ABTest, at: datetime | None = None) -> Looked:
    with home.store.staging() as staging:
        found = Experiment(
            *("sentiment", test, review, lambda: at or datetime.now(UTC)),
            *(home.store, staging, lambda: spark),
        ).run()
    assert found is not None
    return found


def test_what_makes_an_effect_doubtful(
    whole: WholeRun, spark: SparkSession, tmp_path: Path
) -> None:
    versions = two_versions(whole)
    home = replace(whole.home, store_root=tmp_path / "store")
    file, waiting = tmp_path / "purchases.json", tmp_path / "waiting.parquet"
    write_outcomes(file, [("a", 1, "2026-01-01T00:00:00Z", 1.0)])
    source = reviews(whole.file, scoring=lambda spark: spark.read.parquet(str(waiting)))
    test = ab_test(purchases(file), share=0.2)
    project = with_test(whole, test, source)

    # Whoever is in the treatment mostly gets lost before anybody predicts.
    rows = make_rows(400)
    lost = [r for r in rows if arm(r["review_id"], "sentiment/spring", 0.2) == "control"]
    write_rows(waiting, lost)
    put(whole.home, "sentiment", "staging", versions["control"])
    predict_at(home, project, spark, datetime.now(UTC) - timedelta(days=1))
    with home.store.staging() as staging:  # both arms had one model: nobody was exposed
        alone = Experiment(
            "sentiment", test, review, lambda: datetime.now(UTC), home.store, staging, lambda: spark
        ).run()
    assert alone is None

    put(whole.home, "sentiment", "staging", versions["treatment"])
    made = predict_at(home, project, spark, datetime.now(UTC))
    assert made.record.details["arms"]["treatment"]["rows"] == 0
    last = looked(home, spark, test).looks[-1]
    assert last.sentence.startswith("Do not believe the effect: the treatment has 0.00% of")
    assert last.sentence.endswith("nobody was predicted by staging yet.")

    # When both aliases have come to one version, the test is over: what follows does not count.
    bought = (last.last_day + "T23:59:59Z", "2999-01-01T00:00:00Z")
    write_outcomes(file, [(day, lost[0]["review_id"], day, 5.0) for day in bought])
    put(whole.home, "sentiment", "staging", versions["control"])
    tomorrow = datetime.now(UTC).replace(hour=0) + timedelta(days=1)
    predict_at(home, project, spark, tomorrow)
    early = looked(home, spark, test, tomorrow).looks[-1]
    assert (early.outcomes, early.after, early.later) == (1, 0, 1)
    assert looked(home, spark, test, tomorrow).reused
    ages = datetime(2999, 1, 1, tzinfo=UTC) - tomorrow.replace(microsecond=0)
    assert f"1 rows of outcomes are from after this look, by up to {ages}" in early.sentence

    # In time it is no longer from the future, though nothing else is new.
    ended = looked(home, spark, test, datetime(3000, 1, 1, tzinfo=UTC)).looks[-1]
    assert (ended.outcomes, ended.after, ended.later) == (1, 1, 0)
    assert "from after this look" not in ended.sentence
    assert ended.ended == tomorrow.isoformat()
    assert ended.control.with_outcome == 1
    assert f"the test ended on {tomorrow:%Y-%m-%d}" in ended.sentence
    assert looked(home, spark, test).reused

    other = looked(home, spark, ab_test(purchases(file), share=0.2, planned=300)).looks
    assert len(other) == 4
    assert "planned number of units was changed after a look (it was 200)" in other[-1].doubts[-1]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([("a", 1, "2026-01-01", 1.0), ("a", 2, "2026-01-01", 1.0)], "`purchase_id` occurred"),
        ([("a", None, "2026-01-01", 1.0)], "null `review_id`"),
        ([("a", 1, None, 1.0)], "null `bought_at`"),
        ([("a", 1, "2026-01-01", float("inf"))], "1 rows with an infinite `amount`"),
    ],
)
def test_outcomes_that_are_refused(
    home: Home, spark: SparkSession, tmp_path: Path, rows: list[Any], what: str
) -> None:
    schema = "purchase_id string, review_id bigint, bought_at string, amount double"

    def load(spark: SparkSession) -> DataFrame:
        frame = spark.createDataFrame(rows, schema)
        return frame.withColumn("bought_at", F.to_timestamp("bought_at"))

    test = ab_test(purchases(tmp_path, load=load))
    with home.store.staging() as staging, pytest.raises(DataError) as caught:
        _ = Outcomes(test, review, staging, lambda: spark).rows
    assert what in caught.value.what
