"""A fingerprint changes with everything that a result is made from, and with nothing else."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.linalg import DenseMatrix, DenseVector, SparseVector

from ff_assets.core.declare import Source
from ff_assets.core.fingerprint import Fingerprints, declaration_digest, digest
from ff_assets.core.flow import Flow, infer
from ff_assets.core.instance import Instance
from ff_assets.core.project import Project
from ff_assets.core.split import HashSplit
from ff_assets.core.stage import stage
from ff_assets.core.target import Target
from ff_assets_tests.core.stubs import Imported, edited, estimator, source, transformer

FLOW = '''
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import IDF, CountVectorizer, RegexTokenizer, VectorAssembler

from ff_assets import Entity, HashSplit, Source, Target, feature, stage
from team.helpers import clean, shouting

LIMIT = 3
review = Entity("review", key="review_id")
split = HashSplit(salt="salt")


def load(spark):
    """Reviews as they were written."""
    return clean(spark.table("reviews"))


reviews = Source(
    "reviews",
    entity=review,
    load=load,
    features={"text": "string", "good": "double"},
    labels=["good"],
    version="1",
    owner="team:nlp",
)
ratings = Source(
    "ratings",
    entity=review,
    load=lambda spark: spark.table("ratings"),
    features={"stars": "double"},
    version="1",
    owner="team:nlp",
)

tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens", gaps=True)
counts = stage(CountVectorizer, inputCol="tokens", outputCol="counts", minDF=2.0)
tfidf = stage(IDF, inputCol="counts", outputCol="vector").named("tfidf")


@feature(entity=review, owner="team:nlp")
def loud(text):
    """Is it written in capitals?"""
    return shouting(text) > LIMIT


@feature(entity=review)
def twice(stars):
    return 2 * stars


signals = stage(VectorAssembler, inputCols=["vector", "loud"], outputCol="signals")
verdict = stage(
    LogisticRegression,
    featuresCol="signals",
    labelCol="good",
    predictionCol="verdict",
    regParam=0.1,
)
verdict_target = Target(
    "verdict",
    outputs=["verdict"],
    keep=["stars", "twice"],
    label="good",
    task="binary",
    owner="team:nlp",
)
'''
HELPERS = """
def clean(frame):
    return frame.where("text is not null")


def shouting(text):
    return capitals(text) / 2


def capitals(text):
    return text.count("A")
"""


def fingerprints_of(
    flow: Flow, data: Mapping[str, str] | None = None, metrics: str = "1"
) -> Fingerprints:
    versions = {"reviews": "1", "ratings": "1", "src": "1"} | dict(data or {})
    made = Fingerprints(versions, engine="4.3.0", reading="1", metrics=metrics, comparing="1")
    made.add(flow.instances)
    return made


def prints(module: ModuleType, **data: str) -> tuple[Flow, dict[tuple[str, ...], str]]:
    """The flow of a module, and the fingerprint of each instance by its outputs."""
    flow = infer(Project.collect([module]))
    found = fingerprints_of(flow, data)
    return flow, {i.provider.outputs: found[i] for i in flow.instances}


def descendants(flow: Flow, changed: set[str]) -> set[tuple[str, ...]]:
    """The outputs of instances of providers that were edited, and of all that read them."""
    below: set[Instance] = set()
    for instance in flow.instances:
        if changed.intersection(instance.provider.outputs) or below.intersection(instance.parents):
            below.add(instance)
    return {instance.provider.outputs for instance in below}


EVERYTHING = {"text", "stars"}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("gaps=True", "gaps=False", {"tokens"}),
        ("minDF=2.0", "minDF=3.0", {"counts"}),
        ("regParam=0.1", "regParam=0.2", {"verdict"}),
        ("regParam=0.1", "maxIter=5", {"verdict"}),
        ("import IDF, CountVectorizer", "import HashingTF as IDF, CountVectorizer", {"vector"}),
        ('inputCols=["vector", "loud"]', 'inputCols=["loud", "vector"]', {"signals"}),
        ("> LIMIT", ">= LIMIT", {"loud"}),
        ("LIMIT = 3", "LIMIT = 4", {"loud"}),
        ("return 2 * stars", "return 3 * stars", {"twice"}),
        ('spark.table("reviews")', 'spark.table("new_reviews")', {"text"}),
        ('spark.table("ratings")', 'spark.table("new_ratings")', {"stars"}),
        ('{"stars": "double"}', '{"stars": "float"}', {"stars"}),
        ('{"stars": "double"}', '{"stars": "double", "helpful": "int"}', {"stars"}),
        ('    labels=["good"],\n', "", {"text"}),
        ('key="review_id"', 'key="id"', EVERYTHING),
        ('salt="salt"', 'salt="pepper"', EVERYTHING),
        (
            'HashSplit(salt="salt")',
            'HashSplit("salt", {"train": range(700), "test": range(700, 1000)})',
            EVERYTHING,
        ),
    ],
)
def test_an_edit_changes_exactly_the_descendants(
    imported: Imported, old: str, new: str, changed: set[str]
):
    flow, before = prints(imported(FLOW, helpers=HELPERS))
    _, after = prints(imported(edited(FLOW, old, new), helpers=HELPERS))
    found = {outputs for outputs in before if before[outputs] not in after.values()}
    assert found == descendants(flow, changed)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("text is not null", "text != ''", {"text"}),
        ("capitals(text) / 2", "capitals(text) / 3", {"loud"}),
        ('text.count("A")', 'text.count("B")', {"loud"}),
    ],
)
def test_an_edit_of_a_helper_changes_exactly_the_descendants(
    imported: Imported, old: str, new: str, changed: set[str]
):
    flow, before = prints(imported(FLOW, helpers=HELPERS))
    _, after = prints(imported(FLOW, helpers=edited(HELPERS, old, new)))
    assert {o for o in before if before[o] != after[o]} == descendants(flow, changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('.named("tfidf")', '.named("inverse_frequency")'),
        ('"""Reviews as they were written."""', '"""Raw."""'),
        ('"""Is it written in capitals?"""', '"""Capitals?"""'),
        ("LIMIT = 3", "# a comment\n\n\nLIMIT = 3  # another"),
        ("return 2 * stars", "return 2*stars"),
        ('@feature(entity=review, owner="team:nlp")', "@feature(entity=review)"),
        ('owner="team:nlp",\n)\nratings', 'owner="a@b.org", description="x",\n)\nratings'),
        ("gaps=True)", 'gaps=True).described("words").materialized("table")'),
        (
            'inputCol="tokens", outputCol="counts", minDF=2.0',
            'minDF=2.0, inputCol="tokens", outputCol="counts"',
        ),
        ('Target(\n    "verdict"', 'Target(\n    "judgement"'),
        ('labels=["good"],', 'labels=["good"], sensitivity={"text": ["pii"]},'),
        ('.named("tfidf")', '.named("tfidf").declassified("pii", because="only weights")'),
    ],
)
def test_what_changes_no_result_changes_no_fingerprint(imported: Imported, old: str, new: str):
    _, before = prints(imported(FLOW, helpers=HELPERS))
    _, after = prints(imported(edited(FLOW, old, new), helpers=HELPERS))
    assert before == after


def test_an_undone_edit_gives_the_fingerprints_back(imported: Imported):
    _, before = prints(imported(FLOW, helpers=HELPERS))
    prints(imported(edited(FLOW, "minDF=2.0", "minDF=3.0"), helpers=HELPERS))
    assert prints(imported(FLOW, helpers=HELPERS))[1] == before


def test_new_data_change_what_is_made_from_them(imported: Imported):
    module = imported(FLOW, helpers=HELPERS)
    flow, before = prints(module)
    _, after = prints(module, ratings="2")
    assert {o for o in before if before[o] != after[o]} == descendants(flow, {"stars"})


def test_another_engine_changes_all_but_what_was_loaded(imported: Imported):
    flow = infer(Project.collect([imported(FLOW, helpers=HELPERS)]))
    before = fingerprints_of(flow)
    after = Fingerprints(
        {"reviews": "1", "ratings": "1"}, engine="5.0.0", reading="1", metrics="1", comparing="1"
    )
    after.add(flow.instances)
    assert {i for i in flow.instances if before[i] == after[i]} == {
        i for i in flow.instances if i.is_source
    }


def test_equal_in_another_process(imported: Imported):
    module = imported(FLOW, helpers=HELPERS)
    _, expected = prints(module)
    script = """
        import json
        from ff_assets_tests.core.test_fingerprint import prints
        import team.flow
        flow, found = prints(team.flow)
        print(json.dumps({"|".join(outputs): value for outputs, value in found.items()}))
    """
    folder = str(Path(module.__file__).parent.parent)
    root = str(Path(__file__).parent.parent.parent)
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join([folder, root]),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == {"|".join(o): value for o, value in expected.items()}


def test_the_parameter_that_names_a_column_counts():
    def declared(**columns: str) -> str:
        return declaration_digest(
            stage(LogisticRegression, featuresCol="x", **columns), HashSplit()
        )

    one = declared(predictionCol="p", labelCol="y", weightCol="z")
    assert one != declared(predictionCol="p", labelCol="z", weightCol="y")
    both = declared(predictionCol="p", probabilityCol="q")
    assert both != declared(predictionCol="q", probabilityCol="p")


# Variants


def variant_prints(
    *targets: Target, metrics: str = "1", claimed: str = ""
) -> list[tuple[str, str]]:
    stages = (
        estimator("first", ["x"], "p", "q", label="y"),
        estimator("second", ["x"], "r", label="y"),
    )
    flow = infer(Project((source("src", "x", "y", "z"),), stages, targets))
    found = fingerprints_of(flow, metrics=metrics)
    return [
        (found.of_evaluation(v, claimed), found.of_registration(v, claimed)) for v in flow.variants
    ]


def test_an_evaluation_is_of_a_prediction_a_label_and_a_task():
    base = Target("base", outputs=["p"], label="y", task="binary")
    targets = (
        base,
        replace(base, name="other_output", outputs=["q"]),
        replace(base, name="other_prediction", outputs=["r"]),
        replace(base, name="other_label", label="z"),
        replace(base, name="other_task", task="regression"),
    )
    evaluations = [evaluation for evaluation, _ in variant_prints(*targets)]
    assert len(set(evaluations)) == len(targets)
    same = replace(base, name="same", keep=["x"], owner="team:nlp")
    (first, _), (second, _) = variant_prints(base, same)
    assert first == second


def test_metrics_of_other_code_are_other_metrics():
    target = Target("t", outputs=["p"], label="y", task="binary")
    ((before, _),) = variant_prints(target)
    ((after, _),) = variant_prints(target, metrics="2")
    assert before != after


def test_metrics_of_which_something_else_is_claimed_are_other_metrics():
    target = Target("t", outputs=["p"], label="y", task="binary")
    (before,) = variant_prints(target)
    (after,) = variant_prints(target, claimed="something else")
    assert not set(before) & set(after)


def test_a_registration_is_of_a_name_too():
    base = Target("base", outputs=["p"], label="y", task="binary")
    targets = (
        base,
        replace(base, name="renamed"),
        replace(base, name="more", outputs=["p", "r"]),
        replace(base, name="unmeasured", label=None, task=None),
    )
    registrations = [registration for _, registration in variant_prints(*targets)]
    assert len(set(registrations)) == len(targets)


# Parameters


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DenseVector([1, 2]), DenseVector([1, 3])),
        (DenseVector([0, 1]), SparseVector(2, {1: 1.0})),
        (DenseMatrix(50, 1, list(range(50))), DenseMatrix(50, 1, [*range(25), 0, *range(26, 50)])),
        (np.zeros(5000), np.where(np.arange(5000) == 2500, 1, np.zeros(5000))),
        ([[1], 2], [[1, 2]]),
        (0.1, 0.2),
        ("a", "b"),
        (True, "True"),
    ],
)
def test_parameters_count_by_all_of_their_value(one: object, other: object):
    assert digest({"value": one}) != digest({"value": other})


def test_the_order_of_keys_does_not_count():
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})


def test_bounds_of_a_model_count():
    def declared(middle: float) -> str:
        bounds = DenseMatrix(1, 50, [0.0] * 25 + [middle] + [0.0] * 24)
        return declaration_digest(
            stage(
                LogisticRegression,
                featuresCol="x",
                predictionCol="p",
                lowerBoundsOnCoefficients=bounds,
            ),
            HashSplit(),
        )

    assert declared(0.0) == declared(0.0)
    assert declared(0.0) != declared(1.0)


def test_a_class_of_ones_own_counts_by_its_code(imported: Imported):
    text = """
        from ff_assets_tests.core.stubs import Transformer

        class Own(Transformer):
            def transform(self, frame):
                return frame.select("a")
    """

    def declared(code: str) -> str:
        own = imported(code).Own
        return declaration_digest(stage(own, inputCols=["x"], outputCols=["y"]), HashSplit())

    assert declared(text) == declared(text)
    assert declared(text) != declared(edited(text, '"a"', '"b"'))


def test_equal_stages_under_two_names_are_one_result():
    stages = (transformer("one", ["x"], "y"), transformer("two", ["x"], "y"))
    flow = infer(Project((source("src", "x"),), stages, (Target("t", outputs=["y"]),)))
    found = fingerprints_of(flow)
    assert found[flow.variants[0].prediction] == found[flow.variants[1].prediction]


def test_sources_are_told_apart_by_name():
    assert isinstance(source("a", "x"), Source)
    digests = {declaration_digest(source(name, "x"), HashSplit()) for name in ("a", "b")}
    assert len(digests) == 2
