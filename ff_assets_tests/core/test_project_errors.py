"""Declarations that are right alone and wrong together are refused with all their places."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from types import ModuleType

import pytest
from pyspark.ml.feature import (
    IDF,
    CountVectorizer,
    RegexTokenizer,
    StopWordsRemover,
    VectorAssembler,
)

from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.errors import (
    CyclicFlow,
    DefinitionError,
    DuplicateName,
    MixedEntities,
    UnreachableOutput,
    VariantExplosion,
)
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.split import HashSplit, TimeSplit
from ff_assets.core.stage import stage
from ff_assets.core.target import Target
from ff_assets_tests.core.refusal import lines, names, refused

review = Entity("review", key="review_id")
product = Entity("product", key="product_id")
texts = Source("texts", entity=review, load=len, features={"text": "string", "good": "double"})
tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens")


# Declarations that do not go together


def test_duplicate_stage():
    first = stage(CountVectorizer, inputCol="tokens", outputCol="vector")
    second = stage(IDF, inputCol="tokens", outputCol="vector")
    error = refused(DuplicateName, lambda: Project((texts,), (tokens, first, second)))
    assert "first = stage(" in lines(error)[0]
    assert "second = stage(" in lines(error)[1]
    assert '.named("...")' in error.fix
    Project((texts,), (tokens, first.named("counts"), second))


def test_duplicate_target():
    first, second = (Target("t", outputs=["tokens"]) for _ in range(2))
    error = refused(DuplicateName, lambda: Project((texts,), (tokens,), (first, second)))
    assert "two declarations of a target are named `t`" in error.what


def test_one_entity_with_two_keys():
    other = Entity("review", key="id")
    more = Source("more", entity=other, load=len, features={"stars": "double"})
    for project in (
        lambda: Project((texts, more)),
        lambda: Project((texts,), (), (Target("t", outputs=["text"], entity=other),)),
    ):
        error = refused(DuplicateName, project)
        assert lines(error) == [
            'review = Entity("review", key="review_id")',
            'other = Entity("review", key="id")',
        ]


def test_stage_that_provides_a_key():
    keyed = stage(RegexTokenizer, inputCol="text", outputCol="review_id")
    error = refused(DefinitionError, lambda: Project((texts,), (keyed,)))
    assert names(error)[0] == "keyed"
    assert lines(error)[1] == 'review = Entity("review", key="review_id")'
    assert "`review_id`, which is the key of entity `review`" in error.what
    # For another entity it is a column like any other, such as one that refers to a review.
    sold = Source("sold", entity=product, load=len, features={"text": "string"})
    Project((texts, sold), (keyed.of(product),))


def test_features_that_differ_in_case():
    upper = stage(RegexTokenizer, inputCol="text", outputCol="Tokens")
    error = refused(DuplicateName, lambda: Project((texts,), (tokens, upper)))
    assert names(error)[0] == "tokens"
    assert names(error)[1] == "upper"
    of_products = Source("sold", entity=product, load=len, features={"Text": "string"})
    Project((texts, of_products), (tokens,))


def test_choice_of_an_unknown_provider():
    target = Target("t", outputs=["tokens"], choose={"tokens": ["token"]})
    error = refused(DefinitionError, lambda: Project((texts,), (tokens,), (target,)))
    assert names(error)[0] == "target"
    assert "chooses `token` for `tokens`" in error.what
    assert "nearest existing names: tokens" in error.why


def test_choice_for_an_unknown_feature():
    target = Target("t", outputs=["tokens"], choose={"tokns": ["tokens"]})
    error = refused(DefinitionError, lambda: Project((texts,), (tokens,), (target,)))
    assert "which nothing provides" in error.what
    assert "nearest existing names: tokens" in error.why


def test_two_split_policies():
    module = ModuleType("flows")
    module.one, module.two = HashSplit("one"), HashSplit("two")
    error = refused(DuplicateName, lambda: Project.collect([module]))
    assert len(error.where) == 2
    assert 'HashSplit("two")' in lines(error)[1]
    module.two = TimeSplit("2017-05-01")
    error = refused(DuplicateName, lambda: Project.collect([module]))
    assert [thing for thing, _ in error.where] == ["HashSplit(...)", "TimeSplit(...)"]
    assert "Target(..., split=...)" in error.fix


def test_the_split_that_no_target_names_is_the_projects():
    module = ModuleType("flows")
    module.texts = replace(texts, owner="team:nlp")
    module.by_time = TimeSplit("2017-05-01")
    assert Project.collect([module]).split is module.by_time
    module.target = Target("t", outputs=["text"], split=module.by_time, owner="team:nlp")
    assert Project.collect([module]).split == HashSplit()
    module.by_key = HashSplit("own")
    assert Project.collect([module]).split is module.by_key


def test_a_split_that_one_target_names_is_that_of_the_others_if_there_is_no_other():
    module = ModuleType("flows")
    module.texts, module.mine = replace(texts, owner="team:nlp"), HashSplit("team")
    module.one = Target("one", outputs=["text"], owner="team:nlp", split=module.mine)
    module.two = Target("two", outputs=["text"], owner="team:nlp")
    project = Project.collect([module])
    assert project.split is module.mine
    assert len(infer(project).instances) == 1  # which both targets share


def test_a_target_without_a_split_where_others_name_theirs():
    module = ModuleType("flows")
    module.texts = replace(texts, owner="team:nlp")
    module.mine, module.months = HashSplit("team"), TimeSplit("2017-05-01")
    module.one = Target("one", outputs=["text"], owner="team:nlp", split=module.mine)
    module.two = Target("two", outputs=["text"], owner="team:nlp", split=module.months)
    module.three = Target("three", outputs=["text"], owner="team:nlp")
    error = refused(DefinitionError, lambda: Project.collect([module]))
    assert error.what == "target `three` does not say which of 2 splits is its."
    assert [thing for thing, _ in error.where] == [
        "target 'three'",
        "HashSplit(...)",
        "TimeSplit(...)",
    ]
    module.rest = HashSplit()
    assert Project.collect([module]).split is module.rest


def test_one_split_in_other_words_is_one_split():
    cells = {"train": range(800), "test": range(800, 1000)}
    by_key = HashSplit(cells=cells), HashSplit(cells=dict(reversed(cells.items())))
    by_time = (
        TimeSplit("2017-05-01", "7d", start="2017-01-01", validation="1d"),
        TimeSplit(date(2017, 5, 1), timedelta(days=7), date(2017, 1, 1), timedelta(hours=20)),
        TimeSplit(datetime(2017, 5, 1, 12), timedelta(weeks=1), "2017-01-01", "24h"),
    )
    sold = Source(
        "sold",
        entity=Entity("sale", key="id", time="at"),
        load=len,
        features={"text": "string"},
    )
    for splits in (by_key, by_time):
        assert len(set(splits)) == 1
        given = enumerate(splits)
        targets = tuple(Target(f"t{n}", outputs=["text"], split=split) for n, split in given)
        assert len(infer(Project((sold,), (), targets)).instances) == 1
    assert by_time[0] != TimeSplit("2017-05-01", "8d", start="2017-01-01", validation="1d")


def test_two_splits_that_would_have_one_name():
    def project(*splits: HashSplit | TimeSplit) -> Project:
        first, second = (Target(f"t{n}", ["text"], split=split) for n, split in enumerate(splits))
        return Project((texts,), (), (first, second))

    short, long = (TimeSplit("2017-05-01", embargo) for embargo in ("7d", "30d"))
    error = refused(DefinitionError, lambda: project(short, long))
    assert "are much alike" in error.what
    assert len(error.where) == 2
    cells = {"train": range(900), "test": range(900, 1000)}
    halves = {"train": range(500), "test": range(500, 1000)}
    refused(DefinitionError, lambda: project(HashSplit(cells=cells), HashSplit(cells=halves)))
    project(short, TimeSplit("2017-05-01", "7d"))
    project(short, TimeSplit("2017-05-01", "7d", validation="7d"))
    project(HashSplit(cells=cells), HashSplit())  # the project's own goes without a name


@pytest.mark.parametrize(
    "cells",
    [
        {"train": range(1000)},
        {"train": range(800), "test": range(799, 1000)},
        {"train": range(800), "test": range(801, 1000)},
        {"train": range(800), "test": range(800, 1001)},
        {"train": range(800), "test": range(800, 900), "dev": range(900, 1000)},
        {"train": range(800), "validation": range(800, 1000)},
        {"train": range(800), "validation": range(800, 800), "test": range(800, 1000)},
        {"train": range(800), "test": range(999, 799, -1)},
        {"train": range(800), "test": list(range(800, 1000))},
        ["train", "test"],
        {},
        None,
    ],
)
def test_split_that_does_not_divide(cells: dict[str, range]):
    error = refused(DefinitionError, lambda: HashSplit(cells=cells))
    assert "HashSplit(cells=cells)" in lines(error)[0]
    assert str(cells) in error.why


def test_a_salt_is_a_text():
    assert 'write it as one, "7"' in refused(DefinitionError, lambda: HashSplit(7)).fix


@pytest.mark.parametrize("day", [20170501, "1 May", None])
def test_a_cutoff_is_a_day(day: object):
    assert repr(day) in refused(DefinitionError, lambda: TimeSplit(day)).what


def test_train_does_not_begin_before_days_are_told_apart():
    """All that is 500 days older than the cutoff, or more, is one bucket."""
    for start in ("2010-01-01", "2015-12-18"):
        error = refused(DefinitionError, lambda: TimeSplit("2017-05-01", start=start))  # noqa: B023
        assert start in error.what
        assert 'start="2015-12-19"' in error.fix
    split = TimeSplit("2017-05-01", start="2015-12-19")
    assert split.bucket(date(2015, 12, 19)) in split.cells["train"]
    assert split.bucket(date(2015, 12, 18)) not in split.cells["train"]


# What cannot be derived


def test_unreachable_output():
    counts = stage(CountVectorizer, inputCol="tokns", outputCol="counts")
    tfidf = stage(IDF, inputCol="counts", outputCol="tfidf")
    target = Target("t", outputs=["tfidf"])
    error = refused(
        UnreachableOutput, lambda: infer(Project((texts,), (tokens, counts, tfidf), (target,)))
    )
    assert error.what == "stage `counts` reads `tokns`, which nothing provides for entity `review`."
    assert names(error) == ["target", "tfidf", "counts"]
    assert error.why.splitlines() == [
        "target `t` wants `tfidf`",
        "`tfidf` is provided by `tfidf`, which reads `counts`",
        "`counts` is provided by `counts`, which reads `tokns`",
        "nothing provides `tokns`; nearest existing names: tokens",
    ]


def test_output_that_nothing_provides():
    target = Target("t", outputs=["tokns"])
    error = refused(UnreachableOutput, lambda: infer(Project((texts,), (tokens,), (target,))))
    assert error.what == "target `t` wants `tokns`, which nothing provides for entity `review`."
    assert "nearest existing names: tokens" in error.why


def test_key_that_is_read():
    target = Target("t", outputs=["words"])
    words = stage(RegexTokenizer, inputCol="review_id", outputCol="words")
    error = refused(UnreachableOutput, lambda: infer(Project((texts,), (words,), (target,))))
    assert "stage `words` reads `review_id`, which is the key" in error.what


def test_choice_of_nothing():
    target = Target("t", outputs=["tokens"], choose={"tokens": []})
    error = refused(UnreachableOutput, lambda: infer(Project((texts,), (tokens,), (target,))))
    assert "allows no provider of `tokens`" in error.what
    assert "choose={'tokens': []}" in error.why


def test_no_source():
    target = Target("t", outputs=["tokens"])
    error = refused(UnreachableOutput, lambda: infer(Project((), (tokens,), (target,))))
    assert "declares no source" in error.what


def test_cycle():
    one = stage(StopWordsRemover, inputCol="three", outputCol="one")
    two = stage(StopWordsRemover, inputCol="one", outputCol="two")
    three = stage(StopWordsRemover, inputCol="two", outputCol="three")
    last = stage(StopWordsRemover, inputCol="two", outputCol="last")
    target = Target("t", outputs=["last"])
    error = refused(
        CyclicFlow, lambda: infer(Project((texts,), (one, two, three, last), (target,)))
    )
    assert error.what == "target `t` needs `two`, which can only be derived from itself."
    assert error.why.endswith("`two` (two) <- `one` (one) <- `three` (three) <- `two`")
    assert names(error) == ["target", "two", "one", "three"]


def test_a_missing_feature_is_said_rather_than_a_cycle_around_it():
    there = stage(StopWordsRemover, inputCol="back", outputCol="there")
    back = stage(StopWordsRemover, inputCol="there", outputCol="back")
    other = stage(StopWordsRemover, inputCol="tokns", outputCol="there").named("other")
    target = Target("t", outputs=["there"])
    error = refused(
        UnreachableOutput, lambda: infer(Project((texts,), (there, back, other), (target,)))
    )
    assert "stage `other` reads `tokns`" in error.what


def test_the_nearest_of_several_lacks_is_said():
    near = stage(StopWordsRemover, inputCol="gone", outputCol="wanted").named("near")
    far = stage(StopWordsRemover, inputCol="between", outputCol="wanted").named("far")
    between = stage(StopWordsRemover, inputCol="gone_too", outputCol="between")
    target = Target("t", outputs=["wanted"])
    error = refused(
        UnreachableOutput, lambda: infer(Project((texts,), (near, far, between), (target,)))
    )
    assert "stage `near` reads `gone`" in error.what


def test_mixed_entities():
    sold = Source("sold", entity=product, load=len, features={"price": "double"})
    mixed = stage(VectorAssembler, inputCols=["good", "price"], outputCol="mixed")
    target = Target("t", outputs=["mixed"])
    error = refused(MixedEntities, lambda: infer(Project((texts, sold), (mixed,), (target,))))
    assert "stage 'mixed' reads `price` of entity `product` for rows of entity" in error.what
    assert names(error) == ["mixed", "sold", "texts", "target"]
    assert "`price` belongs to `product` (source 'sold'), `good` to `review`" in error.why


def test_target_that_wants_of_two_entities():
    sold = Source("sold", entity=product, load=len, features={"price": "double"})
    target = Target("t", outputs=["tokens"], keep=["price"])
    error = refused(MixedEntities, lambda: infer(Project((texts, sold), (tokens,), (target,))))
    assert "target 't' wants `price` of entity `product`" in error.what


def test_ambiguous_entity():
    sold = Source("sold", entity=product, load=len, features={"text": "string"})
    target = Target("t", outputs=["tokens"])
    error = refused(DefinitionError, lambda: infer(Project((texts, sold), (tokens,), (target,))))
    assert "for several entities: `review`, `product`" in error.what
    assert lines(error) == [
        'target = Target("t", outputs=["tokens"])',
        'review = Entity("review", key="review_id")',
        'product = Entity("product", key="product_id")',
    ]
    clear = Target("t", outputs=["tokens"], entity=product)
    assert infer(Project((texts, sold), (tokens,), (clear,))).variants[0].entity == product


def test_variant_explosion():
    ways = [stage(IDF, inputCol="text", outputCol="vector").named(f"way{n}") for n in range(3)]
    target = Target("t", outputs=["vector"], max_variants=2)
    error = refused(VariantExplosion, lambda: infer(Project((texts,), tuple(ways), (target,))))
    assert error.what == "target `t` has more than 2 variants."
    assert "`vector` from way0, way1, way2" in error.why
    assert "choose={'vector': ['way0']}" in error.fix
    assert names(error)[0] == "target"
    assert names(error)[1] == "ways"
