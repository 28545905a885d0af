"""Predicting as `ff predict` does it, beside a script that applies the same model by hand.

Both load the model, read the same Parquet files, apply it, and write the same columns of all rows.
The engine also asks MLflow which version that is and fetches its files, digests the rows, checks
their keys and that none is lost, compares them with those of train, and publishes. The job is all
that as a Dagster run, with what that records.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets.assets.build import build_definitions
from ff_assets.assets.jobs import ALL_CELLS, fit_job_name, predict_job_name
from ff_assets.assets.serving import scorer
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine.predict import Prediction
from ff_assets.engine.store import Store
from ff_assets.flows import reviews
from ff_assets.flows.datasets import snippets_path
from ff_assets.registry.promotion import promote
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.serving import Behind, behind, load
from ff_assets_tests.bench.whole import settings_in
from ff_assets_tests.bench.workload import FILES

TARGET, ALIAS = "sentiment", "staging"


@dataclass(frozen=True)
class Predicting:
    """The ways to predict with a model of the reviews flow. Each predicts anew.

    Args:
        home: a folder for the store, the registry and Dagster's instance.
        rows: a folder with Parquet files of the rows that wait for a prediction.
    """

    home: Path
    rows: Path
    spark: SparkSession

    def fit(self) -> None:
        """Fit the model, and let it serve."""
        self._run(fit_job_name(TARGET), ALL_CELLS)
        promote(self._runs, TARGET, ALIAS, why="it is measured")
        load(self._behind.version, self.home / "registered").write().save(self._model)

    def by_hand(self, out: Path) -> None:
        """As a script."""
        scored = PipelineModel.load(self._model).transform(self._read(self.spark))
        scored.select(
            *("review_id", "document_id", "text", "sentiment", "probability"),
            F.lit(1).alias("model_version"),
            F.lit("a digest").alias("certificate"),
            F.lit(datetime.now(UTC)).alias("predicted_at"),
        ).write.parquet(str(out))

    def by_engine(self) -> None:
        """As the engine does it."""
        self._forget()
        flow, store = infer(self._project), self._store
        with store.staging() as staging:
            scores = scorer(
                *(flow, TARGET, {"": self._behind}, None, store, staging),
                *(lambda: self.spark, lambda event: None),
            )
            Prediction(scores, datetime.now(UTC), lambda: "").run()

    def by_job(self) -> None:
        """As the job that `ff predict` runs."""
        self._forget()
        self._run(predict_job_name(TARGET, ALIAS))

    @property
    def _project(self) -> Project:
        declared = reviews.sentiment_target
        target = replace(declared, choose={"text_vector": ["tfidf"]}, hypotheses=())
        source = replace(reviews.snippets, scoring=self._read)
        return replace(Project.collect([reviews]), sources=(source,), targets=(target,))

    @property
    def _runs(self) -> MlflowRuns:
        return MlflowRuns(settings_in(self.home).mlflow_tracking_uri, None, "ff_assets")

    @property
    def _behind(self) -> Behind:
        found = behind(self._runs, TARGET, ALIAS)
        assert found is not None
        return found

    @property
    def _store(self) -> Store:
        settings = settings_in(self.home)
        return Store(settings.store, settings.kept)

    @property
    def _model(self) -> str:
        return str(self.home / "model")

    def _read(self, spark: SparkSession) -> DataFrame:
        return spark.read.parquet(str(self.rows))

    def _forget(self) -> None:
        """What a day has already is looked for first, which takes another pass over the rows."""
        shutil.rmtree(self._store.kept / "predictions", ignore_errors=True)

    def _run(self, job: str, tags: Mapping[str, str] = MappingProxyType({})) -> None:
        settings = settings_in(self.home)
        definitions = build_definitions(self._project, settings)
        quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        with dg.DagsterInstance.local_temp(str(settings.dagster_home)) as instance:
            definitions.resolve_job_def(job).execute_in_process(
                instance=instance, tags=dict(tags), run_config=quiet
            )


def write_waiting(folder: Path, rows: int) -> Path:
    """Repeat the snippets to a number of rows, each with a key of its own."""
    snippets = pq.read_table(snippets_path(), columns=["review_id", "text"]).to_pandas()
    times = -(-rows // len(snippets))
    repeated = snippets.loc[snippets.index.repeat(times)].reset_index(drop=True)
    copy = "#" + (repeated.index % times).astype(str)
    repeated["document_id"] = repeated["review_id"].str.replace(r"_\d+$", "", regex=True) + copy
    repeated["review_id"] += copy
    # Drawn from all of them: they are sorted by collection, and a few rows are of one kind.
    repeated = repeated.sample(rows, random_state=1, ignore_index=True)
    folder.mkdir(parents=True)
    for file in range(FILES):
        written = pa.Table.from_pandas(repeated.iloc[file::FILES], preserve_index=False)
        pq.write_table(written, folder / f"{file}.parquet")
    return folder
