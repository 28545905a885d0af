"""What exists is found again by what it was made from, and nothing else is computed."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark import keyword_only
from pyspark.ml.feature import CountVectorizer, StandardScaler, StandardScalerModel
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from ff_assets import Stage, Target, feature, stage
from ff_assets.core.project import Project
from ff_assets_tests.projects import (
    counts,
    make_rows,
    review,
    reviews,
    small_project,
    tfidf,
    write_rows,
)
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("small")


def pair_project(path: Path, version: str = "a pair", **replaced: Stage) -> Project:
    """One target of two variants, `sentiment[hashed]` and `sentiment[tfidf]`.

    The version is its own, as MLflow is shared with tests that register the same variants.
    """
    return small_project(
        reviews(path, version=version),
        replaced={name: new for name, new in replaced.items() if name == "marks"},
        added=(replaced.get("term_counts", counts), tfidf),
    )


@pytest.fixture(scope="module")
def pair(new_home: Callable[[], Home], reviews_file: Path) -> tuple[Home, Ran]:
    """The project as it is, whole."""
    home = new_home()
    ran = home.run(pair_project(reviews_file))
    assert ran.success
    assert ran.computed == set(ran.assets)
    return home, ran


def behind_signals(variant: str) -> set[str]:
    return {
        f"features/signals__{variant}",
        f"models/sentiment__{variant}_model",
        f"features/sentiment__{variant}",
        f"evaluations/sentiment__{variant}_evaluation",
        f"registry/sentiment__{variant}_registered",
        "leaderboards/sentiment_leaderboard",
    }


def test_an_edit_of_one_stage_computes_its_descendants_only(
    pair: tuple[Home, Ran], reviews_file: Path
) -> None:
    home, before = pair
    edited = stage(CountVectorizer, inputCol="tokens", outputCol="term_counts", minDF=3.0)

    after = home.run(pair_project(reviews_file, term_counts=edited))

    assert after.success
    assert after.computed == behind_signals("tfidf") | {
        "models/term_counts_model",
        "features/term_counts",
        "models/tfidf_model",
        "features/tfidf",
    }
    for name, cells in after.assets.items():
        for cell, metadata in cells.items():
            same = metadata["fingerprint"] == before.assets[name][cell]["fingerprint"]
            assert same is (name not in after.computed)

    undone = home.run(pair_project(reviews_file))
    assert undone.success
    assert undone.computed == set()
    assert not undone.asked_for_spark


def test_an_edit_of_a_functions_code_is_noticed(pair: tuple[Home, Ran], reviews_file: Path) -> None:
    @feature(entity=review)
    def marks(text: Column) -> Column:
        return F.length(F.regexp_replace(text, "[^!]", "")).cast("double") * 2

    home, _ = pair
    after = home.run(pair_project(reviews_file, marks=marks))

    assert after.success
    assert after.computed == behind_signals("tfidf") | behind_signals("hashed") | {"features/marks"}


def test_a_deleted_version_is_registered_again_and_the_rest_is_reused(
    pair: tuple[Home, Ran], reviews_file: Path
) -> None:
    home, before = pair
    gone = before.assets["registry/sentiment__hashed_registered"][""]["version"]
    home.client.delete_model_version("sentiment", str(gone))

    after = home.run(pair_project(reviews_file))

    assert after.success
    assert after.computed == {"registry/sentiment__hashed_registered"}
    again = after.assets["registry/sentiment__hashed_registered"][""]
    assert again["version"] > gone
    version = home.client.get_model_version("sentiment", str(again["version"]))
    assert version.tags["ff.fingerprint"] == again["fingerprint"]
    assert home.run(pair_project(reviews_file)).computed == set()


def test_a_new_version_of_the_data_makes_everything_new(
    pair: tuple[Home, Ran], reviews_file: Path
) -> None:
    home, before = pair
    evaluations = [f"evaluations/sentiment__{v}_evaluation" for v in ("hashed", "tfidf")]

    after = home.run(pair_project(reviews_file, version="another pair"), only=evaluations, cells=[])

    assert after.success
    assert after.computed == set(evaluations)
    begun = {message for message in after.messages if message.startswith("▶")}
    assert len(begun) == 11  # all but the registrations, and the views that nobody asked for
    for name in evaluations:  # the data are the same in truth, and so are the metrics
        assert after.assets[name][""]["auc_test"] == before.assets[name][""]["auc_test"]


def test_a_source_without_a_version_is_known_by_its_rows(home: Home, tmp_path: Path) -> None:
    def run(rows: list[dict[str, object]]) -> Ran:
        write_rows(tmp_path / "reviews.parquet", rows)
        source = reviews(tmp_path / "reviews.parquet", version=None)
        return home.run(small_project(source), only=["sources/reviews", "features/sentiment"])

    rows = make_rows(80)
    first = run(rows)
    assert first.success
    assert first.computed == {"sources/reviews", "features/sentiment"}

    random.Random(1).shuffle(rows)
    shuffled = run(rows)
    assert shuffled.success
    assert shuffled.asked_for_spark  # it has to be read
    assert shuffled.computed == set()

    rows[5] = {**rows[5], "text": "another text"}
    changed = run(rows)
    assert changed.success
    assert changed.computed == {"sources/reviews", "features/sentiment"}


class Overtaken(StandardScaler):
    """While it is fitted, another run that fitted something else is done with the same model."""

    note = Param(
        Params._dummy(), "note", "says whose models, and where to", TypeConverters.toString
    )

    @keyword_only
    def __init__(self, *, inputCol: str = "", outputCol: str = "", note: str = "") -> None:
        super().__init__()
        self._set(**self._input_kwargs)

    def _fit(self, dataset: DataFrame) -> StandardScalerModel:
        columns = {"inputCol": self.getInputCol(), "outputCol": self.getOutputCol()}
        note = Path(self.getOrDefault("note"))
        if note.exists():
            theirs, ours = note.read_text().splitlines()
            shutil.copytree(theirs, ours)
        return StandardScaler(**columns, withMean=note.exists()).fit(dataset)


def test_of_two_runs_that_fit_the_same_the_first_ones_model_is_used_by_both(
    new_home: Callable[[], Home], reviews_file: Path, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    scaled = stage(Overtaken, inputCol="text_vector", outputCol="scaled", note=str(note))
    project = small_project(
        reviews(reviews_file), added=(scaled,), target=Target("scaled", outputs=["scaled"])
    )
    first, second = new_home(), new_home()

    def run(home: Home) -> list[dict[str, object]]:
        ran = home.run(project, only=["features/scaled"], cells=["test"])
        assert ran.success, ran.failure
        return pq.read_table(ran.assets["features/scaled"]["test"]["path"]).to_pylist()

    there = run(first)
    note.write_text(f"{first.store_root / 'models'}\n{second.store_root / 'models'}")
    assert run(second) == there
