"""A wrong declaration is refused with its file and line, the evidence and what to do."""

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import (
    Bucketizer,
    CountVectorizer,
    RegexTokenizer,
    RFormula,
    SQLTransformer,
    StopWordsRemover,
    VectorAssembler,
)

from ff_assets import core
from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.errors import (
    DefinitionError,
    InPlaceOverwrite,
    Location,
    UnknownParameter,
    WrongParameterType,
)
from ff_assets.core.operations import Attested
from ff_assets.core.stage import feature, stage
from ff_assets.core.target import Target
from ff_assets_tests.core.refusal import lines, refused

review = Entity("review", key="review_id")
texts = Source("texts", entity=review, load=len, features={"text": "string", "good": "double"})
tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens")


# One declaration


def test_unknown_parameter():
    def declare() -> None:
        stage(RegexTokenizer, inputCol="text", outputCol="tokens", patern=r"\W")

    error = refused(UnknownParameter, declare)
    assert "patern=" in lines(error)[0]
    assert error.what == "RegexTokenizer has no parameter `patern`."
    assert "nearest existing names: pattern" in error.why


def test_wrong_parameter_type():
    def declare() -> None:
        stage(CountVectorizer, inputCol="tokens", outputCol="counts", vocabSize="many")

    error = refused(WrongParameterType, declare)
    assert 'vocabSize="many"' in lines(error)[0]
    assert error.what == "CountVectorizer refuses vocabSize='many'."
    assert "max size of the vocabulary" in error.fix


def test_in_place_overwrite():
    def declare() -> None:
        stage(StopWordsRemover, inputCol="tokens", outputCol="tokens")

    error = refused(InPlaceOverwrite, declare)
    assert 'outputCol="tokens"' in lines(error)[0]
    assert "its own input `tokens`" in error.what


def test_overwriting_what_only_the_fit_reads():
    def declare() -> None:
        stage(LogisticRegression, featuresCol="vector", labelCol="good", predictionCol="good")

    assert "predictionCol" in lines(refused(InPlaceOverwrite, declare))[0]


def test_one_output_twice():
    def declare() -> None:
        stage(LogisticRegression, featuresCol="v", predictionCol="p", probabilityCol="p")

    error = refused(DefinitionError, declare)
    assert "probabilityCol" in lines(error)[0]
    assert "one feature twice" in error.what


def test_no_output():
    def declare() -> None:
        stage(LogisticRegression, featuresCol="vector", labelCol="good")

    error = refused(DefinitionError, declare)
    assert "labelCol" in lines(error)[0]
    assert error.what == "stage(LogisticRegression, ...) names no output."
    assert "predictionCol" in error.fix


def test_class_without_output_columns():
    error = refused(DefinitionError, lambda: stage(SQLTransformer, statement="SELECT 1"))
    assert "SQLTransformer has no parameter that names an output column" in error.why


def test_class_whose_outputs_pass_for_inputs():
    def declare() -> None:
        stage(RFormula, formula="good ~ text", featuresCol="vector", labelCol="label")

    error = refused(DefinitionError, declare)
    assert "its featuresCol and labelCol are taken for inputs" in error.why


@pytest.mark.parametrize("owner", ["nlp", "team:", "ada@example", "", 7])
def test_an_owner_that_nobody_could_reach(owner: Any):
    def of_feature() -> None:
        @feature(entity=review, owner=owner)
        def size(text: Any) -> Any: ...

    for declare in (
        lambda: Source("reviews", entity=review, load=len, features={}, owner=owner),
        lambda: tokens.owned_by(owner),
        of_feature,
        lambda: Target("t", outputs=["tokens"], owner=owner),
    ):
        error = refused(DefinitionError, declare)
        assert error.what == f"{owner!r} cannot be the owner of a declaration."
        assert "team:nlp" in error.fix


def test_no_input():
    def declare() -> None:
        stage(VectorAssembler, outputCol="vector")

    error = refused(DefinitionError, declare)
    assert "VectorAssembler" in lines(error)[0]
    assert error.what == "stage(VectorAssembler, ...) names no input."
    assert "inputCols" in error.fix


def test_positional_parameters():
    def declare() -> None:
        stage(RegexTokenizer, 1, inputCol="text", outputCol="tokens")

    error = refused(DefinitionError, declare)
    assert "RegexTokenizer, 1" in lines(error)[0]
    assert "1 positional values" in error.why


def test_no_class():
    def declare() -> None:
        stage("RegexTokenizer", inputCol="text", outputCol="tokens")

    assert '"RegexTokenizer"' in lines(refused(DefinitionError, declare))[0]


def test_columns_that_spark_reads_by_default_are_read():
    declared = stage(LogisticRegression, predictionCol="p")
    assert declared.inputs == ("features",)
    assert declared.fit_inputs == ("label",)
    assert declared.outputs == ("p",)


def test_none_is_as_good_as_not_given():
    given = stage(LogisticRegression, featuresCol="v", predictionCol="p", weightCol=None)
    assert given.fit_inputs == ("label",)
    assert dict(given.operation.params) == {}


@pytest.mark.parametrize(
    "declare",
    [
        lambda: feature(entity=review)(lambda text=1: text),
        lambda: feature(entity=review)(lambda: 1),
        lambda: feature(entity=review)(lambda *text: text),
        lambda: feature(entity=review)(lambda **text: text),
    ],
)
def test_parameters_that_name_no_feature(declare: Callable[[], object]):
    error = refused(DefinitionError, declare)
    assert "lambda: feature" in lines(error)[0]
    assert "must have plain parameters" in error.what


def test_feature_of_itself():
    def declare() -> None:
        @feature(entity=review)
        def text(text: Any) -> Any:
            return text

    assert lines(refused(InPlaceOverwrite, declare)) == ["@feature(entity=review)"]


def test_materialization():
    error = refused(DefinitionError, lambda: tokens.materialized("cube"))
    assert lines(error) == ['tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens")']


def test_unknown_task():
    def declare() -> None:
        Target("t", outputs=["p"], label="good", task="binery")

    error = refused(DefinitionError, declare)
    assert "binery" in lines(error)[0]
    assert "nearest existing names: binary" in error.why


def test_label_without_task():
    error = refused(DefinitionError, lambda: Target("t", outputs=["p"], label="good"))
    assert "`t` has a label only" in error.what
    error = refused(DefinitionError, lambda: Target("t", outputs=["p"], task="binary"))
    assert "`t` has a task only" in error.what


def test_target_without_outputs():
    assert "no outputs" in refused(DefinitionError, lambda: Target("t", outputs=[])).what


def test_no_variant_allowed():
    error = refused(DefinitionError, lambda: Target("t", outputs=["p"], max_variants=0))
    assert "allows 0 variants" in error.what


@pytest.mark.parametrize(
    ("declare", "given"),
    [
        (lambda: Target("t", outputs="text"), "'text'"),
        (lambda: Target("t", outputs=[tokens]), "Stage("),
        (lambda: Target("t", outputs=["text"], keep="text"), "'text'"),
        (lambda: Target("t", outputs=["text"], choose={"text": "texts"}), "'texts'"),
        (
            lambda: Source(
                "s", entity=review, load=len, features={"text": "string"}, labels="text"
            ),
            "'text'",
        ),
    ],
)
def test_what_is_no_list_of_names(declare: Callable[[], object], given: str):
    error = refused(DefinitionError, declare)
    assert "must be a list of names" in error.what
    assert given in error.why


def test_features_without_types():
    def declare() -> None:
        Source("s", entity=review, load=len, features=["text"])

    assert "needs a type" in refused(DefinitionError, declare).what


def test_label_that_is_no_feature():
    def declare() -> None:
        Source("s", entity=review, load=len, features={"good": "double"}, labels=["god"])

    error = refused(DefinitionError, declare)
    assert 'labels=["god"]' in lines(error)[0]
    assert "nearest existing names: good" in error.why


def test_a_horizon_without_labels():
    def declare() -> None:
        Source("s", entity=review, load=len, features={"a": "int"}, label_horizon="9d")

    assert "labels=[...]" in refused(DefinitionError, declare).fix


def test_what_attests_nothing():
    def declare() -> None:
        Attested("by team B", until="2016-12-31")  # type: ignore[arg-type]

    error = refused(DefinitionError, declare)
    assert "Attested(" in lines(error)[0]
    assert "date(2016, 12, 31)" in error.fix


@pytest.mark.parametrize("name", ["review_id", "Review_ID"])
def test_key_as_a_feature(name: str):
    def declare() -> None:
        Source("s", entity=review, load=len, features={name: "string"})

    error = refused(DefinitionError, declare)
    assert "features={name" in lines(error)[0]
    assert "declares its key `review_id` as a feature" in error.what


# Names

BAD = ["", "_probability", "1a", "a b", "a.b", "größe", "a\n", 7, None]


@pytest.mark.parametrize("name", [*BAD, "cell", "Cell"])
@pytest.mark.parametrize(
    "declare",
    [
        lambda name: Entity("item", key=name),
        lambda name: Source("s", entity=review, load=len, features={name: "string"}),
        lambda name: stage(Bucketizer, inputCols=["a"], outputCols=["b", name]).named("buckets"),
    ],
)
def test_what_cannot_be_a_column(declare: Callable[[object], object], name: object):
    with pytest.raises(DefinitionError) as caught:
        declare(name)
    assert caught.value.where
    assert "lambda name:" in lines(caught.value)[0]
    if not isinstance(caught.value, WrongParameterType):  # Spark refuses what is no text
        assert f"{name!r} cannot be the name" in caught.value.what


@pytest.mark.parametrize("name", [*BAD, "a__b", "a_"])
@pytest.mark.parametrize(
    "declare",
    [
        lambda name: Entity(name, key="id"),
        lambda name: Source(name, entity=review, load=len, features={}),
        lambda name: tokens.named(name),
        lambda name: Target(name, outputs=["tokens"]),
    ],
)
def test_what_cannot_be_an_asset(declare: Callable[[Any], object], name: object):
    error = refused(DefinitionError, lambda: declare(name))
    assert f"{name!r} cannot be the name" in error.what


def test_what_a_table_is_partitioned_by_is_said():
    def declare() -> None:
        Source("s", entity=review, load=len, features={"cell": "string"})

    assert "partitioned by a column `cell`" in refused(DefinitionError, declare).why


# Where a declaration stands


def test_a_folder_beside_the_core_is_not_part_of_it():
    beside = str(Path(core.__file__).parent) + "_flows/reviews.py"
    namespace: dict[str, Entity] = {}
    exec(compile("review = Entity('review', 'id')", beside, "exec"), {"Entity": Entity}, namespace)
    assert namespace["review"].location == Location(beside, 1)


def test_a_declaration_over_several_lines_stands_where_it_begins():
    began = inspect.currentframe().f_lineno + 1
    declared = stage(
        RegexTokenizer,
        inputCol="text",
        outputCol="words",
    ).named("several")
    assert declared.location == Location(__file__, began)


def test_an_error_is_the_same_as_plain_values():
    error = refused(DefinitionError, lambda: Target("t", outputs=[]))
    assert error.as_dict() == {
        "error": "DefinitionError",
        "code": "",
        "what": error.what,
        "where": [{"declaration": "target 't'", "file": __file__, "line": error.where[0][1].line}],
        "why": error.why,
        "fix": error.fix,
    }


def test_a_place_is_given_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = Location(str(tmp_path / "flows" / "reviews.py"), 7)
    monkeypatch.chdir(tmp_path)
    assert str(place) == "flows/reviews.py:7"
    monkeypatch.chdir("/")
    assert str(place) == f"{str(tmp_path / 'flows' / 'reviews.py')[1:]}:7"
    monkeypatch.chdir(Path(__file__).parent)
    assert str(place) == f"{tmp_path / 'flows' / 'reviews.py'}:7"


# Spark's own classes


def test_every_column_parameter_of_spark_is_known():
    """A column that passed for a plain parameter would be no edge of the flow."""
    refused_for_lack_of_outputs = ("RFormula", "VectorSizeHint")
    columns = 0
    for name in ("classification", "clustering", "feature", "fpm", "recommendation", "regression"):
        module = importlib.import_module(f"pyspark.ml.{name}")
        for cls in (getattr(module, public) for public in module.__all__):
            if not hasattr(cls, "fit") and not hasattr(cls, "transform"):
                continue  # parameters, summaries, and algorithms that are neither
            if cls.__name__.endswith(("Model", *refused_for_lack_of_outputs)):
                continue
            given = {
                parameter: ["x" + parameter] if parameter.endswith("Cols") else "x" + parameter
                for parameter in dir(cls)
                if re.fullmatch("(?!get|set)[a-z].*Cols?", parameter)
            }
            if given:
                assert not stage(cls, **given).operation.params, cls
                columns += len(given)
    assert columns > 150
