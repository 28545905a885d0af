"""The course of an A/B test: versions that come and go, and looks that were kept long ago."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from ff_assets import ABTest, Source
from ff_assets.core.ab_test import EXPERIMENTS
from ff_assets.engine.experiment import Experiment
from ff_assets.engine.exposures import Exposures
from ff_assets.engine.journal import append
from ff_assets.engine.looks import ArmSeen, Look, looks_at
from ff_assets.engine.outcomes import Outcomes
from ff_assets.engine.published import Published
from ff_assets.engine.store import RECORD, Record
from ff_assets_tests.projects import review
from ff_assets_tests.running import Home
from ff_assets_tests.test_ab_test import ab_test, purchases


def served(*pairs: tuple[int, int], again: tuple[int, int] | None = None) -> Exposures:
    """Exposures by versions of control and treatment, one day after the other.

    Args:
        again: the number of a day, and that on which its predictions were used again.
    """
    used = [
        Published(
            Path(f"day={day}"),
            Record(
                "f",
                1.0,
                rows=5,
                details={
                    "predicted_at": f"2026-07-{day:02d}T06:00:00+00:00",
                    "share": 0.1,
                    "arms": {
                        side: {"version": version, "alias": side}
                        for side, version in zip(("control", "treatment"), pair, strict=True)
                    },
                },
            ),
            datetime(2026, 7, day, 6, 2, tzinfo=UTC),
        )
        for day, pair in enumerate(pairs, 1)
    ]
    if again is not None:
        at = datetime(2026, 7, again[1], 9, tzinfo=UTC)
        used.append(replace(used[again[0] - 1], time=at))
    return Exposures.among(used)


def test_the_versions_of_the_arms() -> None:
    plain = served((4, 4), (4, 5), (4, 6))
    assert (plain.versions("treatment"), plain.shared_versions, plain.end) == ([5, 6], [], None)
    assert served((4, 5), (5, 4)).shared_versions == [4, 5]

    promoted = served((4, 5), (5, 5), (5, 6), (5, 5))
    assert promoted.days == ["2026-07-01"]
    assert promoted.shared_versions == []
    assert promoted.end is not None
    assert promoted.resumed is not None
    assert (promoted.end.day, promoted.resumed.day) == (2, 3)

    assert served((4, 4), (4, 5)).end is None
    twice = served((4, 5), (4, 6), again=(1, 3))
    assert twice.since[Path("day=1")] == datetime(2026, 7, 1, 6, 2, tzinfo=UTC)
    back = served((4, 4), (4, 5), again=(1, 3))
    assert back.end is not None
    assert (back.end.day, back.days) == (3, ["2026-07-02"])


def test_versions_that_make_an_effect_doubtful(home: Home, tmp_path: Path) -> None:
    def doubts(exposures: Exposures, test: ABTest) -> str:
        with home.store.staging() as staging:
            look = Experiment("sentiment", test, review, no_spark, home.store, staging, no_spark)
            return "; ".join(look.doubts(exposures, 0, []))

    test = ab_test(purchases(tmp_path))
    assert doubts(served((4, 5), (4, 6), (4, 4)), test) == ""
    assert "versions 4 and 5 have served both arms" in doubts(served((4, 5), (5, 4)), test)
    again = doubts(served((4, 5), (5, 5), (5, 6)), test)
    assert "different versions again since 2026-07-03" in again
    timeless = ab_test(Source("sums", review, no_spark, {"amount": "double"}))
    assert "since 2026-07-02 both arms have one" in doubts(served((4, 5), (5, 5)), timeless)


def test_a_test_that_is_taken_up_again_is_doubtful(home: Home, tmp_path: Path) -> None:
    store, test = home.store, ab_test(purchases(tmp_path))
    exposures = served((4, 5), (4, 5), (4, 5), (4, 5))

    def doubts(*days: int) -> list[str]:
        """With a test that has predicted on these days, and the control alone on the second."""
        kept = {f: r for f, r in exposures.predictions.items() if int(f.name[4:]) in days}
        with store.staging() as staging:
            look = Experiment("sentiment", test, review, no_spark, store, staging, no_spark)
            return look.doubts(replace(exposures, predictions=kept), 0, [])

    folder = store.predictions_path("sentiment", "production", 4) / "data=d/day=2026-07-02"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(asdict(Record("f", 1.0, rows=5))))
    published = store.journal(store.published("sentiment", "production"))
    use = {"folder": str(folder.relative_to(store.kept)), "at": "2026-07-02T06:00:00+00:00"}
    append(published, use)

    (told,) = doubts(1, 4)
    assert "there is 1 on which something else predicted instead (2026-07-02)" in told
    assert doubts(3, 4) == doubts(1, 2, 4) == []


def no_spark(*_: Any) -> Any:
    raise AssertionError("nothing has to be read")


def test_another_loader_is_news_under_a_stated_version_too(home: Home, tmp_path: Path) -> None:
    def other(spark: SparkSession) -> DataFrame:
        return spark.range(3)

    with home.store.staging() as staging:
        one, same, edited = (
            Outcomes(ab_test(purchases(tmp_path, version="1", **given)), review, staging, no_spark)
            for given in ({"load": no_spark}, {"load": no_spark}, {"load": other})
        )
        assert one.version == same.version != edited.version


def test_looks_of_other_releases_are_read(home: Home) -> None:
    arm_seen = ArmSeen("production", [1], 30, 3, 0.1, 0.09)
    look = Look(
        *("f", "2026-07-01T06:00:00+00:00", "review", arm_seen, arm_seen, 0.5, None),
        *(0, "2026-07-01", "2026-07-01", 1, 3, 0, 0, 0, "purchases.amount", 200),
    )
    older = {k: v for k, v in look.as_dict().items() if k not in ("ended", "after", "later")}
    newer = {**look.as_dict(), "fingerprint": "g", "hunch": 1}
    newer["control"] = {**newer["control"], "hunch": 1}
    append(home.store.journal(f"{EXPERIMENTS}/old/spring"), older)
    append(home.store.journal(f"{EXPERIMENTS}/old/spring"), newer)
    assert looks_at(home.store, "old", "spring") == [look, replace(look, fingerprint="g")]
