"""MLflow runs follow Dagster runs, and published models load and score where the project is not."""

import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import PrivateAttr
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

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

EXPERIMENT = "test"


class MlflowResource(dg.ConfigurableResource):
    """What the project's own resource does."""

    tracking_uri: str
    artifact_root: str
    _context: dg.InitResourceContext = PrivateAttr()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        self._context = context

    def open(self) -> Any:
        return MlflowRuns(self.tracking_uri, self.artifact_root, EXPERIMENT).open(self._context)


Body = Callable[[ParentRun], None]


def run_job(
    folder: Path,
    body: Body,
    *,
    tracking_uri: str | dg.EnvVar | None = None,
    retry_policy: dg.RetryPolicy | None = None,
) -> dg.ExecuteInProcessResult:
    """A real Dagster run of one op, which opens the MLflow run and then does `body` in it."""

    @dg.op(retry_policy=retry_policy)
    def work(mlflow_runs: MlflowResource) -> None:
        with mlflow_runs.open() as parent:
            body(parent)

    @dg.job
    def work_job() -> None:
        work()

    resource = MlflowResource(
        tracking_uri=tracking_uri or uri_of(folder), artifact_root=str(folder / "artifacts")
    )
    return work_job.execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        resources={"mlflow_runs": resource},
        raise_on_error=False,
    )


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder}/store/mlflow.db"


def runs_in(folder: Path) -> tuple[list[Run], list[Run]]:
    """The runs of Dagster runs, and the nested ones."""
    client = MlflowClient(uri_of(folder))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    nested = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    return [run for run in found if run not in nested], nested


def one_variant(parent: ParentRun) -> None:
    with parent.variant_run("tfidf", {"ff.variant": "tfidf"}):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests that tell their runs apart: making its tables takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    assert run_job(folder, one_variant).success
    return folder


def delete_runs(folder: Path) -> None:
    parents, nested = runs_in(folder)
    for run in parents + nested:
        MlflowClient(uri_of(folder)).delete_run(run.info.run_id)


@pytest.fixture
def clean(folder: Path) -> Path:
    delete_runs(folder)
    return folder


# Runs ---------------------------------------------------------------------------------------------


def test_a_dagster_run_has_one_finished_run_with_a_nested_run_per_variant(clean: Path) -> None:
    environment = dict(os.environ)

    def two_variants(parent: ParentRun) -> None:
        for name in ("tfidf", "word2vec"):
            with parent.variant_run(name, {"ff.variant": name}):
                pass

    result = run_job(clean, two_variants)

    (parent,), nested = runs_in(clean)
    assert result.success
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["dagster_run_id"] == result.run_id
    assert parent.info.run_name == "work_job"
    assert {run.info.run_name for run in nested} == {"tfidf", "word2vec"}
    assert {run.info.status for run in nested} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}
    assert {run.data.tags["ff.dagster_run_id"] for run in nested} == {result.run_id}
    assert nested[0].info.artifact_uri.startswith(str(clean / "artifacts"))
    assert dict(os.environ) == environment
    assert mlflow.active_run() is None


def test_variants_of_several_threads_are_nested_in_one_run(clean: Path) -> None:
    def in_threads(parent: ParentRun) -> None:
        def variant(name: str) -> None:
            with parent.variant_run(name, {}):
                time.sleep(0.05)
                assert mlflow.active_run().info.run_name == name  # type: ignore[union-attr]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(variant, "abcdefgh"))

    assert run_job(clean, in_threads).success
    (parent,), nested = runs_in(clean)
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}
    assert sorted(run.info.run_name for run in nested) == list("abcdefgh")
    assert {run.info.status for run in nested} == {"FINISHED"}


def test_a_failure_ends_the_run_and_its_variant_as_failed(clean: Path) -> None:
    def fail(parent: ParentRun) -> None:
        one_variant(parent)
        with parent.variant_run("word2vec", {}):
            raise ValueError("the work failed")

    assert not run_job(clean, fail).success
    (parent,), nested = runs_in(clean)
    assert parent.info.status == "FAILED"
    statuses = {run.info.run_name: run.info.status for run in nested}
    assert statuses == {"tfidf": "FINISHED", "word2vec": "FAILED"}
    assert mlflow.active_run() is None


def test_an_interrupt_ends_the_run_and_its_variant_as_killed(clean: Path) -> None:
    def interrupted(parent: ParentRun) -> None:
        with parent.variant_run("tfidf", {}):
            raise DagsterExecutionInterruptedError

    assert not run_job(clean, interrupted).success
    (parent,), (nested,) = runs_in(clean)
    assert (parent.info.status, nested.info.status) == ("KILLED", "KILLED")
    assert mlflow.active_run() is None


def test_a_retry_continues_the_run_and_ends_it_as_finished(clean: Path) -> None:
    attempts: list[str] = []

    def fail_once(parent: ParentRun) -> None:
        one_variant(parent)
        attempts.append(parent.dagster_run_id)
        if len(attempts) == 1:
            raise ValueError("the first attempt failed")

    result = run_job(clean, fail_once, retry_policy=dg.RetryPolicy(max_retries=1))

    (parent,), nested = runs_in(clean)
    assert result.success
    assert attempts == [result.run_id, result.run_id]
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}


def test_a_run_of_the_surroundings_is_not_taken_over(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert run_job(clean, one_variant).success
    assert os.environ["MLFLOW_RUN_ID"] == "0" * 32
    assert len(runs_in(clean)[0]) == 1


def test_the_address_may_come_from_an_environment_variable(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_MLFLOW", uri_of(clean))
    assert run_job(clean, one_variant, tracking_uri=dg.EnvVar("TEAM_MLFLOW")).success
    assert len(runs_in(clean)[0]) == 1


def test_an_unreachable_server_fails_publishing_at_once_and_nothing_else(tmp_path: Path) -> None:
    errors: list[MlflowUnavailable] = []

    def publish_twice(parent: ParentRun) -> None:
        for _ in range(2):
            try:
                one_variant(parent)
            except MlflowUnavailable as error:
                errors.append(error)

    started = time.monotonic()
    result = run_job(tmp_path, publish_twice, tracking_uri="http://127.0.0.1:9")

    assert result.success
    assert time.monotonic() - started < 20
    assert len(errors) == 2
    assert "http://127.0.0.1:9" in str(errors[0])
    assert "server runs" in errors[0].fix


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").touch()  # where a folder should be
    with pytest.raises(MlflowUnavailable, match="store/mlflow.db cannot be used"):
        MlflowRuns(uri_of(tmp_path), None, EXPERIMENT).client()


FRESH = """
import sys, time, warnings
from pathlib import Path
import dagster as dg
from pydantic import PrivateAttr
from ff_assets.registry.runs import MlflowRuns

warnings.simplefilter("error", dg.BetaWarning)
folder, me = Path(sys.argv[1]), sys.argv[2]

class MlflowResource(dg.ConfigurableResource):
    _context: dg.InitResourceContext = PrivateAttr()
    def setup_for_execution(self, context):
        self._context = context
    def open(self):
        return MlflowRuns(f"sqlite:///{folder}/store/mlflow.db", folder / "artifacts", "test").open(
            self._context
        )

def job_of(publishes):
    @dg.op
    def work(mlflow_runs: MlflowResource):
        with mlflow_runs.open() as parent:
            if publishes:
                with parent.variant_run(me, {}):
                    pass
    @dg.job
    def work_job():
        work()
    return work_job

def execute(publishes):
    with dg.DagsterInstance.ephemeral() as instance:
        job_of(publishes).execute_in_process(
            instance=instance, resources={"mlflow_runs": MlflowResource()}
        )

execute(publishes=False)
assert "mlflow" not in sys.modules
import mlflow.store.model_registry.sqlalchemy_store, mlflow.store.tracking.sqlalchemy_store
(folder / f"{me}.ready").touch()
while len(list(folder.glob("*.ready"))) < 2:
    time.sleep(0.001)
execute(publishes=True)
"""


def test_two_processes_may_be_the_first_to_touch_a_store(tmp_path: Path) -> None:
    """Also that MLflow is loaded by the first variant only, and that no beta warning shows."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FRESH, str(tmp_path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two")
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    parents, nested = runs_in(tmp_path)
    assert [run.info.status for run in parents + nested] == ["FINISHED"] * 4
    assert {run.info.run_name for run in nested} == {"one", "two"}


# Publishing ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark() -> SparkSession:
    return (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )


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


ELSEWHERE = """
import importlib.util, json, sys
assert importlib.util.find_spec("ff_assets") is None
assert importlib.util.find_spec("ff_column_function") is None
tracking_uri, rows, scored, models = sys.argv[1:]
import mlflow
from pyspark.sql import SparkSession
spark = (
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "1g").config("spark.sql.shuffle.partitions", "2").getOrCreate()
)
mlflow.set_tracking_uri(tracking_uri)
for name, uri in json.loads(models).items():
    model = mlflow.spark.load_model(uri)
    model.transform(spark.read.parquet(rows)).write.parquet(f"{scored}/{name}")
"""


def test_published_models_score_bit_for_bit_where_the_project_is_not(
    spark: SparkSession,
    reviews: DataFrame,
    folder: Path,
    models: dict[str, PipelineModel],
    published: dict[str, Published],
    tmp_path: Path,
) -> None:
    raw = reviews.drop("is_positive")
    raw.write.parquet(str(tmp_path / "rows"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    uris = {name: version.model_uri for name, version in published.items()}
    # Without `site`, an editable installation of the project is not found either.
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    ended = subprocess.run(
        [
            *(sys.executable, "-S", "-c", ELSEWHERE, uri_of(folder)),
            *(str(tmp_path / "rows"), str(tmp_path / "scored"), json.dumps(uris)),
        ],
        cwd=elsewhere,
        env={
            **{name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ},
            "PYTHONPATH": os.pathsep.join(sorted(packages)),
            "HOME": str(elsewhere),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert ended.returncode == 0, ended.stderr
    for name, model in models.items():
        there = spark.read.parquet(str(tmp_path / "scored" / name))
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
        code = sorted(file.name for file in (model / "code").glob("*"))
        return {line.partition("==")[0] for line in lines if "==" in line}, code

    assert logged("tabular") == ({"mlflow", "numpy", "pyspark"}, [])
    assert logged("text") == ({"mlflow", "numpy", "pyspark"}, ["ff_column_function.py"])


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
    client = MlflowRuns(uri_of(folder), None, EXPERIMENT).client()

    assert (older.version, newer.version) == (1, 2)
    assert find_version(client, "found", "cafe") == newer
    assert find_version(client, "found", "0000") is None
    assert find_version(client, "other", "cafe") is None
    client.delete_model_version("found", "2")
    assert find_version(client, "found", "cafe") == older
    (Path(client.get_run(older.run_id).info.artifact_uri) / "model" / "MLmodel").unlink()
    assert find_version(client, "found", "cafe") is None


def test_a_stage_of_a_class_of_the_project_is_refused(
    clean: Path, models: dict[str, PipelineModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Homemade(Transformer):
        __module__ = "ff_assets.flows.reviews"

        def _transform(self, dataset: DataFrame) -> DataFrame:
            return dataset

    model = PipelineModel([*models["tabular"].stages, Homemade()])
    errors: list[PublishError] = []

    def refused(parent: ParentRun) -> None:
        with pytest.raises(PublishError) as caught:
            publish_model(parent, clean, model)
        errors.append(caught.value)

    assert run_job(clean, refused).success
    assert "ff_assets.flows.reviews" in errors[0].why
    assert "@feature" in errors[0].fix
    assert [run.info.status for run in runs_in(clean)[1]] == ["FAILED"]


def test_a_module_that_no_requirement_can_name_is_refused(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loose_helpers.py").write_text("def same(column):\n    return column\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import loose_helpers  # type: ignore[import-not-found]

    def uses_it(text: Column) -> Column:
        return loose_helpers.same(text)

    model = PipelineModel([ColumnFunction(function=uses_it, inputCols=["text"], outputCol="n")])

    def refused(parent: ParentRun) -> None:
        with pytest.raises(PublishError, match="loose_helpers"):
            publish_model(parent, clean, model)

    assert run_job(clean, refused).success


def test_a_folder_that_cannot_be_written_is_named(
    clean: Path, models: dict[str, PipelineModel], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    def refused(parent: ParentRun) -> None:
        with pytest.raises(PublishError, match="variant 'tfidf' of target 'sentiment'"):
            publish_model(parent, clean, models["tabular"], scratch=tmp_path / "file")

    assert run_job(clean, refused).success
