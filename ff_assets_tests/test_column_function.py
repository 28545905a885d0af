"""A column function computes like a Spark stage, and travels without its project."""

import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import CountVectorizer, Tokenizer, VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType

from ff_assets.engine.column_function import ColumnFunction, NotPortableError

pytestmark = pytest.mark.xdist_group("small")


@pytest.fixture(scope="module")
def texts(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([("hello wow!!",), ("a b!",), (None,)], ["text"])


def exclamations(text: Column) -> Column:
    return F.length(text) - F.length(F.translate(text, "!", ""))


def stage(function: Callable[..., Column] = exclamations) -> ColumnFunction:
    return ColumnFunction(function=function, inputCols=["text"], outputCol="n")


def values(frame: DataFrame, column: str) -> list[object]:
    return [row[column] for row in frame.collect()]


def test_it_works_between_java_stages_before_and_after_saving(
    texts: DataFrame, tmp_path: Path
) -> None:
    tokens = Tokenizer(inputCol="text", outputCol="tokens")
    known = texts.dropna()
    counts = CountVectorizer(inputCol="tokens", outputCol="counts").fit(tokens.transform(known))
    together = VectorAssembler(inputCols=["counts", "n"], outputCol="vector")
    model = PipelineModel([tokens, stage(), counts, together])

    model.save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model"))

    assert values(model.transform(known), "n") == [2, 1]
    assert loaded.transform(known).collect() == model.transform(known).collect()
    assert [stage.uid for stage in loaded.stages] == [stage.uid for stage in model.stages]


def test_columns_are_renamed_by_copy_as_for_sparks_own_stages(texts: DataFrame) -> None:
    original = stage()
    copied = original.copy(
        {original.getParam("inputCols"): ["body"], original.getParam("outputCol"): "marks"}
    )

    assert values(copied.transform(texts.withColumnRenamed("text", "body")), "marks") == [
        2,
        1,
        None,
    ]
    assert values(original.transform(texts), "n") == [2, 1, None]


def test_arguments_come_in_the_order_of_the_input_columns(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(10, 3)], ["b", "a"])

    def difference(first: Column, second: Column) -> Column:
        return first - second

    made = ColumnFunction(function=difference, inputCols=["a", "b"], outputCol="d")
    assert values(made.transform(frame), "d") == [-7]


def test_an_existing_column_is_not_overwritten(texts: DataFrame) -> None:
    with pytest.raises(ValueError, match=r"column 'n' exists already.*exclamations"):
        stage().transform(texts.withColumn("n", F.lit(1)))


def test_a_function_that_returns_no_column_is_named(texts: DataFrame) -> None:
    def length(text: Column) -> Column:
        return 3  # type: ignore[return-value]

    with pytest.raises(TypeError, match=r"length returned 3 \(int\), not a pyspark Column"):
        stage(length).transform(texts)


# Travelling without the project -------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a flow that uses a helper of another of its modules."""
    folder = tmp_path / "acme_project"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "helpers.py").write_text(
        "from pyspark.sql import functions as F\n"
        "def count(text, mark):\n"
        "    return F.length(text) - F.length(F.translate(text, mark, ''))\n"
    )
    (folder / "flow.py").write_text(
        "from acme_project.helpers import count\n"
        "from acme_project import helpers\n"
        "MARK = '!'\n"
        "def by_name(text):\n"
        "    return count(text, MARK)\n"
        "def by_module(text):\n"
        "    return helpers.count(text, MARK)\n"
        "def absolute_import_inside(text):\n"
        "    from acme_project.helpers import count\n"
        "    return count(text, MARK)\n"
        "def relative_import_inside(text):\n"
        "    def nested():\n"
        "        from .helpers import count\n"
        "        return count(text, MARK)\n"
        "    return nested()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    forget_project()


def forget_project() -> None:
    for name in [name for name in sys.modules if name.startswith("acme_project")]:
        del sys.modules[name]


def flow() -> ModuleType:
    return importlib.import_module("acme_project.flow")


@pytest.mark.parametrize("name", ["by_name", "by_module"])
def test_a_saved_function_takes_its_helpers_along(
    name: str, project: Path, texts: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(getattr(flow(), name)).save(str(tmp_path / "stage"))
    forget_project()
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    with pytest.raises(ImportError):
        flow()

    loaded = ColumnFunction.load(str(tmp_path / "stage"))
    assert values(loaded.transform(texts), "n") == [2, 1, None]


def test_a_saved_function_stays_as_it_was_when_the_project_is_edited(
    project: Path, texts: DataFrame, tmp_path: Path
) -> None:
    stage(flow().by_name).save(str(tmp_path / "stage"))
    (project / "flow.py").write_text("def by_name(text):\n    return text\n")
    forget_project()
    importlib.invalidate_caches()
    assert values(stage(flow().by_name).transform(texts), "n") == values(texts, "text")

    loaded = ColumnFunction.load(str(tmp_path / "stage"))
    loaded.save(str(tmp_path / "again"))
    again = ColumnFunction.load(str(tmp_path / "again"))
    assert values(loaded.transform(texts), "n") == [2, 1, None]
    assert values(again.transform(texts), "n") == [2, 1, None]


@pytest.mark.parametrize("name", ["absolute_import_inside", "relative_import_inside"])
def test_an_import_of_the_project_inside_the_function_is_refused(name: str, project: Path) -> None:
    with pytest.raises(NotPortableError, match=rf"flow\.{name} imports 'acme_project' while it"):
        stage(getattr(flow(), name))


def test_what_cannot_be_taken_along_is_refused_with_its_reason() -> None:
    lock = threading.Lock()

    def guarded(text: Column) -> Column:
        with lock:
            return text

    with pytest.raises(NotPortableError, match=r"guarded cannot be saved.*lock.*Create it inside"):
        stage(guarded)


def test_the_modules_that_a_function_needs_are_known() -> None:
    def scaled(text: Column) -> Column:
        import math

        import numpy

        return F.length(text) * float(numpy.float64(math.pi))

    assert stage(scaled).imports == {"numpy", "pyspark"}


@F.udf(IntegerType())
def doubled(number):  # type: ignore[no-untyped-def]  # Spark would read hints as types of columns
    return None if number is None else 2 * number


def with_udf(text: Column) -> Column:
    return doubled(F.length(text))


def test_a_python_udf_can_be_taken_along_after_it_was_used(
    texts: DataFrame, tmp_path: Path
) -> None:
    assert values(texts.select(with_udf(F.col("text")).alias("n")), "n") == [22, 8, None]

    stage(with_udf).save(str(tmp_path / "stage"))
    loaded = ColumnFunction.load(str(tmp_path / "stage"))
    assert values(loaded.transform(texts), "n") == [22, 8, None]


def test_another_python_version_is_refused_by_name(spark: SparkSession, tmp_path: Path) -> None:
    stage().save(str(tmp_path / "stage"))
    (file,) = (tmp_path / "stage" / "metadata").glob("part-*")
    metadata = json.loads(file.read_text())
    metadata["function"]["python"] = "3.2"
    file.write_text(json.dumps(metadata))
    file.with_name(f".{file.name}.crc").unlink()

    with pytest.raises(RuntimeError, match=r"exclamations.*saved with Python 3\.2.*python_env"):
        ColumnFunction.load(str(tmp_path / "stage"))
