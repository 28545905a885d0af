"""Variants of real runs on the same rows: leaderboards, champions, and the gate of a promotion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from ff_assets import HashSplit, Source, Target, stage
from ff_assets.assets.champion import NoChampion
from ff_assets.assets.promoting import promote_target
from ff_assets.assets.promotion import not_worse
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.store import Store
from ff_assets.registry.gates import Gate
from ff_assets.registry.promotion import GateFailed, Moved
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.versions import find_one
from ff_assets_tests.projects import review
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("whole")

LEADERBOARD = "leaderboards/rich_leaderboard"


def load(spark: Any) -> Any:
    """Who is rich is told by the income, somewhat by the size, and not at all by the noise."""
    rows = spark.range(3000).select(F.col("id").cast("string").alias("review_id"))
    drawn = [F.rand(seed) for seed in (1, 2, 3, 4)]
    return rows.select(
        "review_id",
        drawn[0].alias("income"),
        (drawn[0] + drawn[1]).alias("size"),
        drawn[2].alias("noise"),
        (drawn[0] + drawn[3] > 1).cast("double").alias("is_rich"),
    )


def changed(spark: Any) -> Any:
    """A tenth of the rows is gone, a tenth has another label by now, and some are new."""
    digit = F.col("review_id").cast("int") % 10
    label = F.when(digit == 1, 1 - F.col("is_rich")).otherwise(F.col("is_rich"))
    old = load(spark).where(digit != 0).withColumn("is_rich", label)
    return old.union(load(spark).withColumn("review_id", F.concat(F.lit("n"), "review_id")))


def project(read: Callable[[Any], Any] = load, **target: Any) -> Project:
    """No source states a version, so that data has to be read to know whether it has changed."""
    names = ("income", "size", "noise")
    source = Source(
        "people",
        entity=review,
        load=read,
        features=dict.fromkeys([*names, "is_rich"], "double"),
        labels=["is_rich"],
    )
    vectors = [
        stage(VectorAssembler, inputCols=[name], outputCol="vector").named(f"by_{name}")
        for name in names
    ]
    model = stage(
        LogisticRegression,
        featuresCol="vector",
        labelCol="is_rich",
        predictionCol="rich",
        maxIter=3,
    )
    wanted = Target("rich", outputs=["rich"], label="is_rich", task="binary", **target)
    cells = {"train": range(600), "validation": range(600, 800), "test": range(800, 1000)}
    return Project((source,), (*vectors, model), (wanted,), split=HashSplit(cells=cells))


@pytest.fixture(scope="module")
def chosen(new_home: Callable[[], Home]) -> tuple[Home, Ran]:
    home = new_home()
    return home, home.run(project(select_on="validation"))


def test_variants_are_in_order_with_what_tells_them_apart(chosen: tuple[Home, Ran]) -> None:
    _, ran = chosen
    assert ran.success, ran.failure
    shown = ran.assets[LEADERBOARD][""]
    best, second, last = shown["comparison"]["variants"]

    assert [row["variant"] for row in (best, second, last)] == [
        "rich[by_income]",
        "rich[by_size]",
        "rich[by_noise]",
    ]
    assert [row["verdict"] for row in (best, second, last)] == ["best", "worse", "worse"]
    assert best["difference"] is None
    for row in (second, last):
        assert row["difference"]["value"] == pytest.approx(row["value"] - best["value"])
        assert row["difference"]["low"] < row["difference"]["value"] < row["difference"]["high"] < 0
    # What the variants share drops out: less is unsure of the difference than of both values.
    widths = [row["high"] - row["low"] for row in (best, last)]
    assert last["difference"]["high"] - last["difference"]["low"] < sum(widths)


def test_values_are_those_of_the_evaluations(chosen: tuple[Home, Ran]) -> None:
    _, ran = chosen
    for row in ran.assets[LEADERBOARD][""]["comparison"]["variants"]:
        slug = row["variant"].replace("[", "__").replace("]", "")
        evaluation = ran.assets[f"evaluations/{slug}_evaluation"][""]
        assert row["value"] == evaluation["auc_test"]
        ends = evaluation["auc_test_low"], evaluation["auc_test_high"]
        assert (row["low"], row["high"]) == ends


def test_the_champion_is_the_best_of_the_part_to_choose_on(chosen: tuple[Home, Ran]) -> None:
    _, ran = chosen
    shown = ran.assets[LEADERBOARD][""]
    evaluation = ran.assets["evaluations/rich__by_income_evaluation"][""]

    assert shown["champion"] == "rich[by_income]"
    assert shown["comparison"]["champion"]["value"] == evaluation["auc_validation"]
    assert shown["in_words"].startswith("by_size is worse than by_income by 0.")
    assert "by_income is the champion, chosen on validation (auc 0." in shown["in_words"]
    assert shown["picture"].startswith("![leaderboard](data:image/png;base64,iVBOR")


def test_one_variant_alone_has_its_value_and_nothing_is_chosen(chosen: tuple[Home, Ran]) -> None:
    home, _ = chosen
    ran = home.run(project(choose={"vector": ["by_size"]}))
    shown = ran.assets[LEADERBOARD][""]
    (row,) = shown["comparison"]["variants"]

    assert (row["variant"], row["verdict"], row["difference"]) == ("rich", "best", None)
    assert shown["in_words"].endswith("there is no other variant to compare with")
    assert "champion" not in shown
    assert not any(name.startswith(("models/", "features/")) for name in ran.computed)


# Promotion


def registry(home: Home) -> MlflowRuns:
    return MlflowRuns(home.tracking_uri, None, "ff_assets")


def gate(home: Home, new: str, old: str, store: Store | None = None) -> Gate:
    """What the gate says of a variant that is to replace another one."""
    runs, check = registry(home), not_worse("binary", store or home.store)
    return check(find_one(runs, "rich", new), find_one(runs, "rich", old))


def test_a_worse_version_fails_by_the_difference_on_the_same_rows(chosen: tuple[Home, Ran]) -> None:
    home, ran = chosen
    rows = ran.assets[LEADERBOARD][""]["comparison"]["rows"]
    failed = gate(home, "rich[by_size]", "rich[by_income]")

    assert not failed.passed
    assert failed.overridable
    assert failed.detail.endswith(f"on the same {rows} rows of test.")
    assert gate(home, "rich[by_income]", "rich[by_size]").passed
    assert gate(home, "rich[by_size]", "rich[by_size]").passed


def test_without_the_rows_versions_are_compared_as_it_was_recorded(
    chosen: tuple[Home, Ran], tmp_path: Path
) -> None:
    home, _ = chosen
    empty = Store(tmp_path)
    failed = gate(home, "rich[by_noise]", "rich[by_income]", empty)

    assert not failed.passed
    number = find_one(registry(home), "rich", "rich[by_noise]").number
    assert failed.detail.endswith(
        f"this is not on the same rows, as the rows of test that version {number} of rich was "
        "measured on are gone from the store, so only intervals that do not overlap count."
    )
    assert gate(home, "rich[by_income]", "rich[by_noise]", empty).passed


def test_the_champion_of_the_last_run_is_promoted(chosen: tuple[Home, Ran], tmp_path: Path) -> None:
    home, _ = chosen
    flow = infer(project(select_on="validation"))
    with pytest.raises(NoChampion) as caught:
        promote_target(flow, registry(home), Store(tmp_path), "rich", "production", "try")
    assert "no leaderboard in the store compares the newest versions, " in str(caught.value)
    assert "(rich[by_noise])" in str(caught.value)

    moved = promote_target(flow, registry(home), home.store, "rich", "production", "try")
    looks = {gate.name: gate for gate in moved.logged.entry.gates}
    assert moved.logged.entry.variant == "rich[by_income]"
    assert "rich[by_income] is it, chosen on validation (auc 0." in looks["champion"].detail


def test_what_was_trained_on_changed_data_is_compared_on_the_rows_that_both_have(
    chosen: tuple[Home, Ran],
) -> None:
    home, _ = chosen
    later = project(changed, select_on="validation")
    ran = home.run(later, only=["registry/rich__by_size_registered"])
    assert ran.success, ran.failure
    flow, runs, to = infer(later), registry(home), ("rich", "production", "try")

    with pytest.raises(GateFailed) as caught:
        promote_target(flow, runs, home.store, *to, variant="rich[by_size]")

    (failed,) = (gate for gate in caught.value.gates if gate.failed)
    split = later.split
    old = [key for key in range(3000) if split.cell(str(key)) == "test"]
    new = [key for key in range(3000) if split.cell(f"n{key}") == "test"]
    digits = [key % 10 for key in old]
    both, relabelled = sum(digit > 1 for digit in digits), digits.count(1)
    assert failed.name == "not worse"
    assert failed.detail.endswith(
        f"on the same {both} rows of test, which both have with the same label, of "
        f"{both + relabelled + len(new):,} and {len(old)}; {relabelled} more that both have are "
        "labelled differently."
    )
    # Nobody has compared it with the other variants' versions, so the last champion is none now.
    (champion,) = (gate for gate in caught.value.gates if gate.name == "champion")
    assert champion.detail.startswith("not known: no leaderboard in the store compares the newest")
    with pytest.raises(NoChampion):
        promote_target(flow, runs, home.store, *to)


# Floors and slices. This comes last: it registers newer versions of the same target.


def test_a_slice_and_a_floor_fit_nothing_anew_and_speak_at_a_promotion(
    chosen: tuple[Home, Ran],
) -> None:
    home, before = chosen
    stricter = project(select_on="validation", slices=["noise"], floor={"auc": 0.99})
    ran = home.run(stricter)
    assert ran.success, ran.failure
    fitted = ("sources/", "models/", "features/")
    assert not any(name.startswith(fitted) for name in ran.computed)
    name = "evaluations/rich__by_income_evaluation"
    shown, old = ran.assets[name][""], before.assets[name][""]
    assert shown["auc_test"] == old["auc_test"]
    assert shown["slices"].count("| `noise` |") == 4
    assert shown["calibration_picture"].startswith("![calibration](data:image/png;base64,iVBOR")
    assert 0 < shown["calibration_error_test"] < 0.2

    runs = registry(home)

    def promoted(**more: Any) -> Moved:
        return promote_target(infer(stricter), runs, home.store, "rich", "staging", "try", **more)

    with pytest.raises(GateFailed) as caught:
        promoted()
    assert caught.value.what.endswith("(rich[by_income]) did not pass into staging: floor of auc.")
    entry = promoted(override="no better one until June").logged.entry
    assert (entry.variant, entry.override) == ("rich[by_income]", "no better one until June")
    looks = {gate.name: gate for gate in entry.gates}
    assert looks["floor of auc"].failed
    assert "wanted at least 0.99" in looks["floor of auc"].detail
    assert "rich[by_income] is it, chosen on validation (auc 0." in looks["champion"].detail
    assert looks["calibration"].detail.startswith("probabilities are off by 0.")
    assert looks["slices by noise"].detail.count(": auc 0.") == 4
    judging_nothing = [name for name, gate in looks.items() if gate.outcome == "shown"]
    assert judging_nothing == ["champion", "calibration", "slices by noise"]
