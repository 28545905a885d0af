"""What is read by name outside of a run: which variant is meant, and what is no training set."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ff_assets import Entity, Source, Stage, Target
from ff_assets.core.errors import DefinitionError, LeakError, Location
from ff_assets.core.project import Project
from ff_assets.core.reading import Reading, reading_of
from ff_assets.core.split import TimeSplit
from ff_assets.core.stage import stage
from ff_assets.core.training_set import judge, judge_alone
from ff_assets_tests.core.stubs import Estimator, Transformer, item, load

HERE = Location("notebook.py", 3)

table = Source(
    "table",
    entity=item,
    load=load,
    features={"text": "string", "label": "double", "other_label": "double"},
    labels=["label", "other_label"],
    version="1",
)


def row_wise(output: str, *inputs: str) -> Stage:
    return stage(Transformer, inputCols=list(inputs), outputCols=[output])


def learned(output: str, *inputs: str, label: str | None = None) -> Stage:
    supervised = {} if label is None else {"labelCol": label}
    return stage(Estimator, inputCols=list(inputs), predictionCol=output, **supervised)


words = row_wise("words", "text")
vector = learned("vector", "words").named("counted")
hashed = row_wise("vector", "words").named("hashed")
score = learned("score", "vector", label="label")
target = Target("rated", outputs=["score"], label="label", task="binary")


def project(*added: Any, **changes: Any) -> Project:
    stages = [words, vector, hashed, score, *(a for a in added if isinstance(a, Stage))]
    targets = [target, *(a for a in added if isinstance(a, Target))]
    return Project((table,), tuple(stages), tuple(targets), **changes)


def reading(
    features: Sequence[str], *added: Any, variant: str | None = "counted", **more: Any
) -> Reading:
    return reading_of(project(*added), features, variant, more.get("target"), HERE)


def provider(found: Reading, name: str) -> str:
    return {feature: i.provider.name for i, feature in found.columns}[name]


# Which one is meant


@pytest.mark.parametrize("label", ["hashed", "rated[hashed]", " hashed "])
def test_a_variant_is_named_by_the_label_that_is_shown(label: str) -> None:
    assert provider(reading(["vector"], variant=label), "vector") == "hashed"
    upstream = reading(["score"], variant=label).columns[0][0]
    assert upstream.inputs["vector"].provider.name == "hashed"


def test_where_there_is_one_way_only_no_variant_is_named() -> None:
    assert provider(reading(["words", "label"], variant=None), "words") == "words"


def test_a_feature_that_no_target_uses_can_be_read() -> None:
    found = reading(["length"], row_wise("length", "text"), variant=None)
    assert provider(found, "length") == "length"
    assert found.targets_with(found.columns[0][0]) == []


@pytest.mark.parametrize(
    ("features", "variant", "words"),
    [
        (["vectr"], None, "there is no feature `vectr`.+nearest existing names: vector"),
        (["vector"], None, 'several variants of `vector`.+2 ways: counted; hashed.+="counted"'),
        (["vector"], "hashd", "no variant `hashd` of `vector`.+nearest existing names: hashed"),
        (["vector"], "zzz", "`zzz` is not behind them; existing names: counted, hashed\n"),
        (["vector"], "hashed, zzz", "`zzz` is not behind them; existing names: counted, hashed\n"),
        (["words"], "hashed", "no variant `hashed` of `words`.+one way.+leave `variant` out"),
        (["vector"], "hashed, counted", "`counted` does not go together"),
        ("words", None, "the features to read"),
        ([], None, "no feature is named"),
    ],
)
def test_a_name_that_tells_too_little_is_refused(
    features: list[str], variant: str | None, words: str
) -> None:
    with pytest.raises(DefinitionError, match=f"(?s){words}") as refused:
        reading(features, variant=variant)
    assert "notebook.py:3" in str(refused.value)


def test_too_many_variants_are_named_by_their_choices() -> None:
    more = [row_wise("vector", "words").named(f"way{n}") for n in range(20)]
    chosen = replace(target, choose={"vector": ["counted"]})
    given = Project((table,), (words, vector, score, *more), (chosen,))
    with pytest.raises(DefinitionError, match=r"(?s)several variants.+`vector` from counted, way0"):
        reading_of(given, ["vector"], None, None, HERE)
    assert provider(reading_of(given, ["vector"], "way7", None, HERE), "vector") == "way7"


def test_a_target_has_them_read_by_its_split_and_choice() -> None:
    dated = Entity("dated", key="dated_id", time="at")
    source = Source("days", entity=dated, load=load, features={"x": "double", "y": "double"})
    timed = Target(
        "timed",
        outputs=["out"],
        label="y",
        task="binary",
        split=TimeSplit("2020-01-01"),
        choose={"made": ["second"]},
    )
    always = Target("always", outputs=["out"], label="y", task="binary")
    both = [row_wise("made", "x").named(name) for name in ("first", "second")]
    given = Project((source,), (*both, learned("out", "made")), (timed, always))

    found = reading_of(given, ["made"], None, "timed", HERE)
    assert (found.split.name, provider(found, "made")) == (timed.split.name, "second")  # type: ignore[union-attr]
    assert reading_of(given, ["x"], None, None, HERE).split == given.split


# What is no training set

refit = learned("topic", "words").fit_on("train", "test")
echo = row_wise("echo", "label")
supervised = learned("encoded", "words", label="label")
LEAKING = {
    "FIT_OVERLAP_X": (["topic"], [refit], "leave out .fit_on('train', 'test')"),
    "SERVE_ONLY_UPSTREAM": (["topic"], [refit.serve_only()], "without .serve_only()"),
    "TARGET_PATH": (["echo", "words"], [echo], "echo"),
    "OOF_REQUIRED": (["words", "encoded"], [supervised], ".cross_fit(5)"),
}


@pytest.mark.parametrize("code", LEAKING)
def test_what_a_model_on_it_would_be_refused_for_is_no_training_set(code: str) -> None:
    features, stages, fix = LEAKING[code]
    with pytest.raises(LeakError) as refused:
        judge(reading(features, *stages, variant=None))
    assert refused.value.code == code
    assert "cannot be a training set for `rated`" in str(refused.value)
    assert fix in str(refused.value)
    assert "notebook.py:3" in str(refused.value)


def test_a_leak_behind_row_wise_stages_is_found() -> None:
    with pytest.raises(LeakError, match="`topic`") as refused:
        judge(reading(["renamed"], refit, row_wise("renamed", "topic"), variant=None))
    assert refused.value.code == "FIT_OVERLAP_X"


def test_clean_features_and_the_label_itself_are_a_training_set() -> None:
    crossed = supervised.cross_fit(5)
    assert judge(reading(["vector", "words", "encoded", "label"], crossed)) == []
    assert judge(reading(["label"], variant=None)) == []


def test_one_clean_variant_is_not_refused_for_another() -> None:
    leaky = learned("vector", "words").named("leaky").fit_on("train", "test")
    assert judge(reading(["vector"], leaky, variant="counted")) == []
    with pytest.raises(LeakError):
        judge(reading(["vector"], leaky, variant="leaky"))


def test_another_targets_label_is_an_outcome_as_well() -> None:
    severe = Target("severe", outputs=["echo"], label="other_label", task="binary")
    echo_of_other = row_wise("echo", "other_label")
    for target, code in (("rated", "OUTCOME_AS_INPUT"), ("severe", "TARGET_PATH")):
        with pytest.raises(LeakError, match=f"`{target}`") as refused:
            judge(reading(["echo"], echo_of_other, severe, variant=None, target=target))
        assert refused.value.code == code


def test_a_depth_of_two_is_doubtful() -> None:
    first = learned("first", "words", label="label").cross_fit(5)
    second = learned("second", "first", label="label").cross_fit(5)
    (doubt,) = judge(reading(["second"], first, second, variant=None))
    assert doubt.code == "DEPTH_TAINT"


def test_where_no_target_has_a_label_nobody_can_tell() -> None:
    plain = Target("plain", outputs=["words"])
    with pytest.raises(DefinitionError, match="target `plain` has no label"):
        judge(reading(["words"], plain, variant=None, target="plain"))


# One feature


@pytest.mark.parametrize(
    ("added", "cell", "code"),
    [
        (supervised, "train", "IN_SAMPLE"),
        (supervised, None, "IN_SAMPLE"),
        (supervised, "test", ""),
        (supervised.cross_fit(5), None, ""),
        (supervised.fit_on("train", "test"), "test", "IN_SAMPLE"),
        (refit, "train", "FIT_OVERLAP_X"),
        (learned("topic", "words"), None, ""),
        (echo, "train", ""),
    ],
)
def test_what_a_feature_comes_from_decides_what_it_is_good_for(
    added: Stage, cell: str | None, code: str
) -> None:
    found = reading(added.outputs, added, variant=None)
    if not code:
        assert judge_alone(found, cell) == []
        return
    with pytest.raises(LeakError) as refused:
        judge_alone(found, cell)
    assert refused.value.code == code
    assert "training=False" in str(refused.value)
    assert "notebook.py:3" in str(refused.value)


def test_in_sample_values_are_found_behind_row_wise_stages() -> None:
    renamed = row_wise("renamed", "encoded")
    with pytest.raises(LeakError, match="path: encoded -> renamed") as refused:
        judge_alone(reading(["renamed"], supervised, renamed, variant=None), "train")
    assert refused.value.code == "IN_SAMPLE"


# Of which rows

shop = Entity("shop", key="shop_id")
sale = Entity("sale", key="sale_id", parent=shop, foreign_key="shop_id", time="sold_at")
refund = Entity("refund", key="refund_id", parent=shop, foreign_key="shop_id", time="paid_at")


def of_shops(columns: Sequence[str], named: str | None = None) -> str:
    sources = (
        Source("shops", entity=shop, load=load, features={"z": "double"}),
        Source("sales", entity=sale, load=load, features={"x": "double"}),
        Source("refunds", entity=refund, load=load, features={"y": "double"}),
    )
    paid = Target("paid", outputs=["y"], keep=["z"])
    found = reading_of(Project(sources, (), (paid,)), ["z"], None, named, HERE)
    return found.of_rows(columns).entity.name


def test_rows_are_of_what_they_have_the_time_of() -> None:
    assert of_shops(["shop_id"]) == "shop"
    assert of_shops(["shop_id", "sold_at"]) == "sale"
    assert of_shops(["sold_at"]) == "shop"  # and its key is asked for
    both = ["shop_id", "sold_at", "paid_at"]
    assert of_shops(["sale_id", *both]) == "sale"
    assert of_shops(both, "paid") == "refund"
    with pytest.raises(DefinitionError, match="rows of `sale` or `refund`") as refused:
        of_shops(both)
    assert "notebook.py:3" in str(refused.value)
