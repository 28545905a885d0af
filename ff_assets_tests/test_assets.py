"""The asset graph shows that no model sees a test row, and any selection of it can be run."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark import keyword_only
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import Binarizer, StandardScaler, StandardScalerModel, VectorAssembler
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ff_assets import stage
from ff_assets.assets.build import build_definitions
from ff_assets.assets.registration import parameters
from ff_assets.core.flow import infer
from ff_assets.core.steps import CELLS
from ff_assets.settings import Settings
from ff_assets_tests.projects import (
    FEATURES,
    reviews,
    sentiment_target,
    small_project,
    whole_project,
)
from ff_assets_tests.running import Home, WholeRun

pytestmark = pytest.mark.xdist_group("whole")

SENTIMENT = "features/sentiment"
DATA = {dg.AssetKey(["data", "reviews"]): {None}}  # what reports is drawn to the data behind it


# The graph ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph(reviews_file: Path) -> Any:
    definitions = build_definitions(whole_project(reviews_file), Settings.load())
    return definitions.resolve_asset_graph()


def parents(graph: Any, key: dg.AssetKey, cell: str | None) -> dict[dg.AssetKey, set[str | None]]:
    """What Dagster takes an asset, or one cell of it, to be made from: asset -> its cells."""
    found: dict[dg.AssetKey, set[str | None]] = {}
    for parent in graph.get_parents_partitions(key, cell).parent_partitions:
        found.setdefault(parent.asset_key, set()).add(parent.partition_key)
    return found


def of_kind(graph: Any, kind: str) -> Iterator[dg.AssetKey]:
    return (key for key in graph.get_all_asset_keys() if key.path[0] == kind)


def test_a_model_depends_on_the_train_cell_of_what_it_reads_and_on_nothing_else(graph: Any) -> None:
    models = list(of_kind(graph, "models"))
    assert len(models) == 9
    for key in models:
        read = parents(graph, key, None)
        assert read, key
        assert set().union(*read.values()) == {"train"}, key


def test_whatever_stands_behind_a_model_is_of_train(graph: Any) -> None:
    """The same through any number of assets in between."""
    agenda: list[tuple[dg.AssetKey, str | None]] = [(k, None) for k in of_kind(graph, "models")]
    seen = set(agenda)
    while agenda:
        for parent, cells in parents(graph, *agenda.pop()).items():
            new = {(parent, cell) for cell in cells} - seen
            seen |= new
            agenda.extend(new)
    assert {cell for _, cell in seen} == {None, "train"}
    assert (dg.AssetKey(["sources", "reviews"]), "train") in seen


def test_rows_depend_on_rows_of_their_own_cell(graph: Any) -> None:
    for key in of_kind(graph, "features"):
        for cell in CELLS:
            for parent, cells in parents(graph, key, cell).items():
                assert cells == ({None} if parent.path[0] == "models" else {cell}), key


def test_an_evaluation_depends_on_both_cells_of_prediction_and_truth(graph: Any) -> None:
    read = parents(graph, dg.AssetKey(["evaluations", "sentiment__tfidf_evaluation"]), None)
    assert read == {
        **DATA,
        dg.AssetKey(["features", "sentiment__tfidf"]): set(CELLS),
        dg.AssetKey(["sources", "reviews"]): set(CELLS),
    }


def test_a_registered_model_depends_on_its_evaluation(graph: Any) -> None:
    read = parents(graph, dg.AssetKey(["registry", "sentiment__tfidf_registered"]), None)
    assert read == {dg.AssetKey(["evaluations", "sentiment__tfidf_evaluation"]): {None}, **DATA}


def test_assets_can_be_found_and_lead_to_their_declaration(graph: Any) -> None:
    node = graph.get(dg.AssetKey(["features", "tfidf"]))
    assert {name: tag for name, tag in node.tags.items() if "kind/" not in name} == {
        "stage": "tfidf",
        "variant": "tfidf",
        "provides/text_vector": "",
        "consumes/term_counts": "",
        "target/sentiment": "",
        "target/severity": "",
    }
    assert node.group_name == "review"
    assert node.kinds == {"spark", "table"}
    assert node.code_version
    marks = graph.get(dg.AssetKey(["features", "marks"]))
    assert marks.owners == ["team:tests"]
    assert "Number of exclamation marks." in marks.description
    (reference,) = marks.metadata["dagster/code_references"].code_references
    lines = Path(reference.file_path).read_text().splitlines()
    assert "def marks" in "".join(lines[reference.line_number - 1 : reference.line_number + 1])


def test_a_name_may_be_longer_than_a_tag(reviews_file: Path) -> None:
    target = replace(sentiment_target(), name="x" * 70)
    project = small_project(reviews(reviews_file), target=target)

    graph = build_definitions(project, Settings.load()).resolve_asset_graph()

    node = graph.get(dg.AssetKey(["registry", f"{target.name}_registered"]))
    assert f"target/{'x' * 63}" in node.tags


def test_owners_are_those_that_dagster_takes(reviews_file: Path) -> None:
    for owner in ("team:nlp", "team:data science", "ada.l+x@mail.example.com"):
        project = small_project(reviews(reviews_file, owner=owner))
        graph = build_definitions(project, Settings.load()).resolve_asset_graph()
        assert graph.get(dg.AssetKey(["sources", "reviews"])).owners == [owner]


def test_stages_that_only_a_fit_needs_are_among_a_models_parameters(reviews_file: Path) -> None:
    """They shaped it as much as the others did."""
    binary = stage(Binarizer, inputCol="is_severe", outputCol="is_positive_enough", threshold=0.7)
    weighed = stage(
        LogisticRegression,
        featuresCol="signals",
        labelCol="is_positive_enough",
        predictionCol="sentiment",
        maxIter=3,
    )
    project = small_project(reviews(reviews_file), replaced={"sentiment": weighed}, added=(binary,))
    found = parameters(infer(project).variants[0])
    assert found["is_positive_enough"] == {"stage": "Binarizer", "threshold": 0.7}
    assert found["sentiment"] == {"stage": "LogisticRegression", "maxIter": 3}


# Fits see train only ------------------------------------------------------------------------------


class Witness(StandardScaler):
    """Scales, and writes down every vector that its fit was given."""

    file = Param(Params._dummy(), "file", "where to", TypeConverters.toString)

    @keyword_only
    def __init__(self, *, inputCol: str = "", outputCol: str = "", file: str = "") -> None:
        super().__init__()
        self._set(**self._input_kwargs)

    def _fit(self, dataset: DataFrame) -> StandardScalerModel:
        seen = [int(row[0][0]) for row in dataset.select(self.getInputCol()).collect()]
        Path(self.getOrDefault("file")).write_text(" ".join(map(str, seen)))
        plain = StandardScaler(inputCol=self.getInputCol(), outputCol=self.getOutputCol())
        return plain.fit(dataset)


def test_the_frame_that_a_fit_is_given_holds_train_rows_only(
    home: Home, reviews_file: Path, tmp_path: Path
) -> None:
    def load(spark: Any) -> DataFrame:
        rows = spark.read.parquet(str(reviews_file))
        return rows.withColumn("number", F.col("review_id").cast("double"))

    source = reviews(reviews_file, load=load, features={**FEATURES, "number": "double"})
    key_vector = stage(VectorAssembler, inputCols=["number"], outputCol="key_vector")
    witness = stage(
        Witness, inputCol="key_vector", outputCol="text_vector", file=str(tmp_path / "seen")
    ).named("witness")
    project = small_project(source, replaced={"hashed": key_vector, "tokens": witness})
    whole = WholeRun(home, project, reviews_file, home.run(project, only=["features/witness"]))

    assert whole.ran.success
    seen = [int(key) for key in (tmp_path / "seen").read_text().split()]
    assert sorted(seen) == [key for key in sorted(whole.rows) if whole.cell_of(key) == "train"]


# Selections ---------------------------------------------------------------------------------------


def test_only_a_model_with_nothing_there(home: Home, reviews_file: Path) -> None:
    ran = home.run(small_project(reviews(reviews_file)), only=["models/sentiment_model"], cells=[])

    assert ran.success
    assert set(ran.assets) == {"models/sentiment_model"}
    assert {p.parent.name for p in home.store_root.glob("models/*/spark")} == {
        ran.assets["models/sentiment_model"][""]["fingerprint"]
    }


def test_one_selection_after_the_other(home: Home, reviews_file: Path) -> None:
    """Each does what is missing, and records what was asked for and nothing else."""
    project = small_project(reviews(reviews_file))

    view = home.run(project, only=["features/marks"], cells=["test"])
    assert {name: set(cells) for name, cells in view.assets.items()} == {"features/marks": {"test"}}
    assert view.assets["features/marks"]["test"]["dagster/row_count"] > 0
    assert not list(home.store_root.glob("models/*"))

    cell = home.run(project, only=[SENTIMENT], cells=["test"])
    assert {name: set(cells) for name, cells in cell.assets.items()} == {SENTIMENT: {"test"}}
    fingerprint = cell.assets[SENTIMENT]["test"]["fingerprint"]
    assert home.store.table(fingerprint, "test") is not None
    assert home.store.table(fingerprint, "train") is None

    evaluation = home.run(project, only=["evaluations/sentiment_evaluation"], cells=[])
    assert set(evaluation.assets) == {"evaluations/sentiment_evaluation"}
    assert home.store.table(fingerprint, "train") is not None
    begun = {message for message in evaluation.messages if message.startswith("▶")}
    assert begun == {"▶ features/sentiment", "▶ evaluations/sentiment"}

    both = home.run(project, only=[SENTIMENT])
    assert set(both.assets[SENTIMENT]) == set(CELLS)
    assert both.computed == set()
    assert not both.asked_for_spark


def test_what_has_no_cells_can_be_run_alone(whole: WholeRun) -> None:
    """With everything there, as the UI does for a selection of models and evaluations."""
    names = [name for name, cells in whole.ran.assets.items() if set(cells) == {""}]
    assert len(names) == 19

    ran = whole.home.run(whole.project, only=names, cells=[])

    assert ran.success
    assert set(ran.assets) == set(names)
    assert ran.computed == set()
    assert not ran.asked_for_spark


def test_rows_without_a_cell_are_refused_before_anything_is_recorded(whole: WholeRun) -> None:
    ran = whole.home.run(whole.project, cells=[])

    assert not ran.success
    assert ran.assets == {}
    assert not ran.asked_for_spark
    assert "names no cell" in ran.failure
    assert "dagster/asset_partition_range_start=train" in ran.failure
    assert "ff run" in ran.failure


@pytest.mark.parametrize("cell", CELLS)
def test_everything_for_one_cell(new_home: Callable[[], Home], whole: WholeRun, cell: str) -> None:
    """What exists in the other cell stays out of the record."""
    ran = whole.home.run(whole.project, cells=[cell])

    assert ran.success
    assert {c for cells in ran.assets.values() for c in cells} == {"", cell}
    assert ran.computed == set()
