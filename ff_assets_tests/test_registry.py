"""Published models load and score as they did, and tell where they came from."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from pyspark.ml import Pipeline, PipelineModel, Transformer
from pyspark.ml.classification import GBTClassifier, LogisticRegression
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import (
    IDF,
    CountVectorizer,
    OneHotEncoder,
    RegexTokenizer,
    StandardScaler,
    StopWordsRemover,
    StringIndexer,
    Tokenizer,
    VectorAssembler,
    Word2Vec,
)
from pyspark.ml.regression import LinearRegression
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets.engine.column_function import ColumnFunction
from ff_assets.registry import MlflowUnavailable, PublishError
from ff_assets.registry.publish import Published, find_version, publish
from ff_assets.registry.runs import MlflowRuns, ParentRun
from ff_assets_tests.mlflow_job import EXPERIMENT, run_job, runs_in, uri_of

pytestmark = pytest.mark.xdist_group("registry")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests: making its tables takes seconds."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def reviews(spark: SparkSession) -> DataFrame:
    rows = [
        (f"{word} film number {i}{'!' * (i % 4)}", ("en", "fr", "de")[i % 3], i / 7, float(i % 2))
        for i, word in enumerate(["great", "awful", "splendid", "poor", "fine", "bad"] * 6)
    ]
    return spark.createDataFrame(rows, ["text", "language", "length", "is_positive"]).coalesce(1)


def marks(text: Column, sign: str) -> Column:
    return F.length(text) - F.length(F.translate(text, sign, ""))


def exclamations(text: Column) -> Column:
    return marks(text, "!") / F.greatest(F.length(text), F.lit(1))


def text_variant() -> Pipeline:
    return Pipeline(
        stages=[
            RegexTokenizer(inputCol="text", outputCol="tokens", pattern=r"\W+"),
            StopWordsRemover(inputCol="tokens", outputCol="words"),
            ColumnFunction(
                function=exclamations, inputCols=["text"], outputCol="exclamations"
            ),  # between Java stages
            CountVectorizer(inputCol="words", outputCol="counts"),
            IDF(inputCol="counts", outputCol="tfidf"),
            VectorAssembler(inputCols=["tfidf", "exclamations"], outputCol="vector"),
            LogisticRegression(
                featuresCol="vector", labelCol="is_positive", predictionCol="sentiment"
            ),
        ]
    )


def embedding_variant() -> Pipeline:
    return Pipeline(
        stages=[
            Tokenizer(inputCol="text", outputCol="words"),
            Word2Vec(inputCol="words", outputCol="vector", vectorSize=4, minCount=1, seed=1),
            KMeans(featuresCol="vector", predictionCol="topic", k=3, seed=1),
            GBTClassifier(
                featuresCol="vector",
                labelCol="is_positive",
                predictionCol="sentiment",
                maxIter=2,
                seed=1,
            ),
        ]
    )


def tabular_variant() -> Pipeline:
    return Pipeline(
        stages=[
            StringIndexer(inputCol="language", outputCol="language_index"),
            OneHotEncoder(inputCols=["language_index"], outputCols=["language_vector"]),
            VectorAssembler(inputCols=["language_vector", "length"], outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="vector", withMean=True),
            LinearRegression(
                featuresCol="vector", labelCol="is_positive", predictionCol="sentiment"
            ),
        ]
    )


VARIANTS = {"text": text_variant, "embedding": embedding_variant, "tabular": tabular_variant}


@pytest.fixture(scope="module")
def models(reviews: DataFrame) -> dict[str, PipelineModel]:
    return {name: pipeline().fit(reviews) for name, pipeline in VARIANTS.items()}


def publish_model(
    parent: ParentRun, folder: Path, model: PipelineModel, **changes: Any
) -> Published:
    arguments: dict[str, Any] = {
        "target": "sentiment",
        "variant": "tfidf",
        "fingerprint": "f00d",
        "asset_key": "features/sentiment",
        "description": "Made from `text`.",
        "inputs": {"text": "string", "language": "string", "length": "double"},
        "outputs": {"sentiment": "double"},
        "parameters": {},
        "metrics": {},
        "certificates": {},
        "shown": {},
        "scratch": folder / "scratch",
    }
    return publish(parent, model=model, **{**arguments, **changes})


@pytest.fixture(scope="module")
def published(folder: Path, models: dict[str, PipelineModel]) -> dict[str, Published]:
    """Every variant, registered as a target of its own name, by threads side by side."""
    done: dict[str, Published] = {}

    def publish_all(parent: ParentRun) -> None:
        def one(name: str) -> tuple[str, Published]:
            return name, publish_model(parent, folder, models[name], target=name, variant=name)

        with ThreadPoolExecutor(3) as pool:
            done.update(pool.map(one, models))

    assert run_job(folder, publish_all).success
    return done


@pytest.fixture
def tracking(folder: Path) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri_of(folder))
    yield
    mlflow.set_tracking_uri(before)


@pytest.mark.usefixtures("tracking")
def test_published_models_score_bit_for_bit(
    reviews: DataFrame,
    models: dict[str, PipelineModel],
    published: dict[str, Published],
) -> None:
    """Whatever their stages are; test_serving.py shows it where the project is not."""
    raw = reviews.drop("is_positive")
    for name, model in models.items():
        there = mlflow.spark.load_model(published[name].model_uri).transform(raw)
        here = model.transform(raw)
        assert there.columns == here.columns
        assert bits(there) == bits(here), name


def bits(frame: DataFrame) -> list[list[object]]:
    def exact(value: Any) -> object:
        if isinstance(value, float):
            return value.hex()
        return value.toArray().tobytes() if hasattr(value, "toArray") else value

    return sorted([exact(value) for value in row] for row in frame.collect())


def test_a_version_tells_where_it_came_from(folder: Path, models: dict[str, PipelineModel]) -> None:
    done: list[Published] = []

    def publish_one(parent: ParentRun) -> None:
        done.append(
            publish_model(
                parent,
                folder,
                models["tabular"],
                outputs={"sentiment": "double", "vector": "vector", "tokens": "array<string>"},
                parameters={
                    "wide": {f"p{i:03}": i for i in range(230)},
                    "classifier": {"regParam": 0.5, "inputCols": ["a", "b"]},
                },
                metrics={"auc_test": 0.87, "auc_test_low": 0.85},
            )
        )

    result = run_job(folder, publish_one)

    assert result.success
    client = MlflowClient(uri_of(folder))
    run = client.get_run(done[0].run_id)
    assert run.data.metrics == {"auc_test": 0.87, "auc_test_low": 0.85}
    assert run.data.params["classifier.regParam"] == "0.5"
    assert run.data.params["classifier.inputCols"] == "['a', 'b']"
    assert len(run.data.params) == 232
    version = client.get_model_version("sentiment", str(done[0].version))
    assert version.run_id == run.info.run_id
    assert version.description == "Made from `text`."
    assert version.tags == {
        "ff.target": "sentiment",
        "ff.variant": "tfidf",
        "ff.fingerprint": "f00d",
        "ff.asset_key": "features/sentiment",
        "ff.dagster_run_id": result.run_id,
        "honest.sentence": "No certificate: the target has no label, so nothing about it is "
        "measured.",
    }
    assert version.tags.items() <= run.data.tags.items()
    model = mlflow.models.Model.load(f"{run.info.artifact_uri}/model")
    assert model.signature.inputs.to_dict() == [
        {"name": "text", "type": "string", "required": True},
        {"name": "language", "type": "string", "required": True},
        {"name": "length", "type": "double", "required": True},
    ]
    types = {column["name"]: column["type"] for column in model.signature.outputs.to_dict()}
    assert types == {"sentiment": "double", "vector": "sparkml_vector", "tokens": "array"}
    assert list((folder / "scratch").iterdir()) == []


def test_requirements_and_code_are_what_the_model_needs(
    folder: Path, published: dict[str, Published]
) -> None:
    def logged(name: str) -> tuple[set[str], list[str]]:
        run = MlflowClient(uri_of(folder)).get_run(published[name].run_id)
        model = Path(run.info.artifact_uri) / "model"
        lines = (model / "requirements.txt").read_text().splitlines()
        code = sorted(file.name for file in (model / "code").glob("*.py"))
        return {line.partition("==")[0] for line in lines if "==" in line}, code

    packages = {"mlflow", "numpy", "pandas", "pyarrow", "pyspark"}
    assert logged("tabular") == (packages, [])
    assert logged("text") == (packages, ["ff_column_function.py"])


def test_a_version_is_found_by_fingerprint_as_long_as_its_model_exists(
    folder: Path, models: dict[str, PipelineModel]
) -> None:
    done: list[Published] = []

    def publish_twice(parent: ParentRun) -> None:
        for _ in range(2):
            done.append(
                publish_model(parent, folder, models["tabular"], target="found", fingerprint="cafe")
            )

    assert run_job(folder, publish_twice).success
    older, newer = done
    runs = MlflowRuns(uri_of(folder), None, EXPERIMENT)
    client = runs.client()

    assert (older.version, newer.version) == (1, 2)
    assert find_version(client, "found", "cafe") == newer
    assert find_version(client, "found", "0000") is None
    assert find_version(client, "other", "cafe") is None
    client.delete_model_version("found", "2")
    assert find_version(client, "found", "cafe") == older
    (Path(client.get_run(older.run_id).info.artifact_uri) / "model" / "MLmodel").unlink()
    assert find_version(client, "found", "cafe") is None

    # Where nobody answers, nothing is known: it must not be published a second time.
    client.create_model_version(
        "found",
        "http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/model",
        run_id=older.run_id,
        tags={"ff.fingerprint": "cafe"},
    )
    began = time.monotonic()
    with pytest.raises(MlflowUnavailable, match=r"store/mlflow\.db"), runs.asking() as asked:
        find_version(asked, "found", "cafe")
    assert time.monotonic() - began < 10


def test_a_stage_of_a_class_of_the_project_is_refused(
    folder: Path, models: dict[str, PipelineModel]
) -> None:
    class Homemade(Transformer):
        __module__ = "ff_assets.flows.reviews"

        def _transform(self, dataset: DataFrame) -> DataFrame:
            return dataset

    model = PipelineModel([*models["tabular"].stages, Homemade()])
    errors: list[PublishError] = []

    def refused(parent: ParentRun) -> None:
        with pytest.raises(PublishError) as caught:
            publish_model(parent, folder, model, fingerprint="dead")
        errors.append(caught.value)

    assert run_job(folder, refused).success
    assert "ff_assets.flows.reviews" in errors[0].why
    assert "@feature" in errors[0].fix
    (failed,) = (run for run in runs_in(folder)[1] if run.data.tags["ff.fingerprint"] == "dead")
    assert failed.info.status == "FAILED"


def test_a_module_that_no_requirement_can_name_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loose_helpers.py").write_text("def same(column):\n    return column\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import loose_helpers  # type: ignore[import-not-found]

    def uses_it(text: Column) -> Column:
        return loose_helpers.same(text)

    model = PipelineModel([ColumnFunction(function=uses_it, inputCols=["text"], outputCol="n")])

    def refused(parent: ParentRun) -> None:
        with pytest.raises(PublishError, match="loose_helpers"):
            publish_model(parent, folder, model)

    assert run_job(folder, refused).success


def test_a_folder_that_cannot_be_written_is_named(
    folder: Path, models: dict[str, PipelineModel], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    def refused(parent: ParentRun) -> None:
        with pytest.raises(PublishError, match="variant 'tfidf' of target 'sentiment'"):
            publish_model(parent, folder, models["tabular"], scratch=tmp_path / "file")

    assert run_job(folder, refused).success
