"""A validation part: where the champion is chosen, so that test stays for the report."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_assets import HashSplit, Source, Target, TimeSplit
from ff_assets.cli.splits import splits_of
from ff_assets.core.buckets import ALL, describe
from ff_assets.core.errors import DefinitionError
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.influence import accounts_of
from ff_assets.core.project import Project
from ff_assets.core.requested import measured_cells
from ff_assets.core.verdict import Verdict
from ff_assets_tests.core.founding import event, is_clean, path, people, target, verdict, verdicts
from ff_assets_tests.core.stubs import estimator, load, transformer

BY_KEY = HashSplit(
    cells={"train": range(700), "validation": range(700, 800), "test": range(800, 1000)}
)
BOTH = ("validation", "test")
one, two = (estimator("action", [f], label="bought").named(f"by_{f}") for f in ("age", "spend"))


def by_time(embargo: str = "0d", validation: str = "14d") -> TimeSplit:
    return TimeSplit("2017-05-01", embargo, validation=validation)


def judged(horizon: str, split: TimeSplit, **given: object) -> list[Verdict]:
    source = people(event, horizon)
    return verdicts(one, two, source=source, split=split, certify=BOTH, **given)


# The parts


@settings(deadline=None)
@given(embargo=st.integers(0, 60), validation=st.integers(1, 60), first=st.integers(-400, -200))
def test_parts_of_a_time_split_keep_their_distance(embargo: int, validation: int, first: int):
    cutoff = date(2017, 5, 1)
    split = TimeSplit(
        cutoff,
        timedelta(days=embargo),
        start=cutoff + timedelta(days=first),
        validation=timedelta(days=validation),
    )
    days = {cell: [split.day(b) for b in buckets] for cell, buckets in split.cells.items()}
    assert list(days) == ["train", "validation", "test"]
    assert len(days["validation"]) == validation
    assert days["train"][0] == cutoff + timedelta(days=first)
    assert days["test"][0] == cutoff
    for before, after in (("train", "validation"), ("validation", "test")):
        assert (days[after][0] - days[before][-1]).days == embargo + 1
    assert all(split.bucket(day) in split.cells[cell] for cell in days for day in days[cell])


def test_without_validation_a_split_is_what_it_was():
    assert TimeSplit("2017-05-01", "7d").describe() == {
        "policy": "time",
        "cutoff": "2017-05-01",
        "cells": {"train": [0, 493, 1], "test": [500, 1000, 1]},
    }
    assert by_time("7d").name != TimeSplit("2017-05-01", "7d").name
    assert BY_KEY.name != HashSplit().name


def test_a_split_that_leaves_a_part_empty_is_refused():
    with pytest.raises(DefinitionError, match="no day for train"):
        TimeSplit("2017-05-01", "30d", start="2017-03-01", validation="14d")
    for empty in (range(0), range(800, 800)):
        with pytest.raises(DefinitionError):
            HashSplit(cells={"train": range(800), "validation": empty, "test": range(800, 1000)})


def test_the_parts_are_told():
    (told,) = splits_of([verdict(one, split=BY_KEY).variant]).values()
    assert "train 70% (buckets 0-699), validation 10% (buckets 700-799), test 20%" in told
    variant = verdict(one, source=people(event), split=by_time("7d")).variant
    (told,) = splits_of([variant]).values()
    assert told.startswith(
        "by day: train until 2017-04-02, validation from 2017-04-10 until 2017-04-23, test from "
        "2017-05-01 on, nothing of the 7 days between one and the next"
    )


# The verdicts


@pytest.mark.parametrize("split", [BY_KEY, by_time()], ids=["by key", "by time"])
def test_chosen_on_validation_and_reported_on_test(split: HashSplit | TimeSplit):
    source = people(event)
    found = verdicts(one, two, source=source, split=split, select_on="validation")
    assert [v.cell for v in found] == ["test", "test"]
    assert all(is_clean(v) for v in found)
    both = verdicts(one, two, source=source, split=split, select_on="validation", certify=BOTH)
    assert [v.code for v in both] == ["SELECTION_ON_TEST", ""] * 2
    on_test = verdicts(one, two, source=source, split=split, select_on="test")
    assert [v.code for v in on_test] == ["SELECTION_ON_TEST"] * 2
    assert "select_on='validation'" in on_test[0].refusals[0].fix
    alone = verdicts(one, source=source, split=split, select_on="validation", certify=BOTH)
    assert all(is_clean(v) for v in alone)  # one of one is no choice
    assert [describe(v.evaluated) for v in alone] == [describe(split.bits(c)) for c in BOTH]


def test_fitted_on_validation():
    """The metric on it is refused, as on any part that a fit has read; that on test is not."""
    refit = one.fit_on("train", "validation")
    on_validation, on_test = verdicts(refit, split=BY_KEY, certify=BOTH)
    assert (on_validation.code, path(on_validation)) == ("FIT_OVERLAP", ["by_age"])
    assert "leave out .fit_on('train', 'validation')" in on_validation.refusals[0].fix
    assert is_clean(on_test)
    (fit,) = on_test.models[0].fits
    assert describe(fit.region) == "0-799"


def test_no_choice_is_made_by_what_was_learned_by_heart():
    refit = one.fit_on("train", "validation")
    found = verdicts(refit, two, split=BY_KEY, select_on="validation")
    assert [v.code for v in found] == ["SELECTION_IN_SAMPLE", ""]
    assert path(found[0]) == ["by_age"]
    assert "as a target with one variant" in found[0].refusals[0].fix
    assert is_clean(verdict(refit, split=BY_KEY, select_on="validation"))


def test_folds_are_of_train_only():
    found = verdict(one.cross_fit(7), split=BY_KEY)
    assert all(not fit.region & BY_KEY.bits("validation") for fit in found.models[0].fits)
    assert found.models[0].available == ALL


def test_a_split_without_validation_says_how_to_get_one():
    for asked in ({"certify": ["validation"]}, {"select_on": "validation"}):
        with pytest.raises(DefinitionError) as caught:
            verdicts(one, two, **asked)
        assert "validation='30d'" in caught.value.fix
    with pytest.raises(DefinitionError, match="'validation', which is no cell"):
        verdicts(one.fit_on("train", "validation"))


# What was known when


@pytest.mark.parametrize(
    ("horizon", "embargo", "found"),
    [
        ("30d", "30d", ["", ""]),
        # labels of train are known in time for test, those that decide are not
        ("30d", "29d", ["EMBARGO_TOO_SHORT", "EMBARGO_TOO_SHORT"]),
        ("40d", "30d", ["EMBARGO_TOO_SHORT", "EMBARGO_TOO_SHORT"]),
    ],
)
def test_by_time_a_choice_needs_labels_that_were_known(horizon: str, embargo: str, found: list):
    on_validation, on_test = judged(horizon, by_time(embargo))[:2]
    assert [on_validation.code, on_test.code] == [found[0], ""]
    chosen = verdicts(
        one, two, source=people(event, horizon), split=by_time(embargo), select_on="validation"
    )
    assert [v.code for v in chosen] == [found[1]] * 2
    if found[1]:
        assert "champion" in chosen[0].refusals[0].text


@pytest.mark.parametrize("embargo", ["7d", "30d"])
def test_by_time_labels_of_train_are_known_before_validation_or_it_decides_nothing(embargo: str):
    given = {"source": people(event, "30d"), "split": by_time(embargo, validation="60d")}
    chosen = verdicts(one, two, select_on="validation", **given)
    is_known = embargo == "30d"
    assert [v.code for v in chosen] == ["" if is_known else "EMBARGO_TOO_SHORT"] * 2
    flow = infer(Project((given["source"],), (one,), (target(split=given["split"]),)))
    shown = measured_cells(accounts_of(flow), flow.variants[0])
    assert list(shown) == ["train", "validation", "test"][:: 1 if is_known else 2]


@pytest.mark.parametrize(("embargo", "code"), [("29d", "EMBARGO_TOO_SHORT"), ("30d", "")])
def test_by_time_a_label_that_is_made_is_known_when_its_parts_are(embargo: str, code: str):
    features = dict.fromkeys(("age", "spend", "paid", "owed"), "double")
    source = Source(
        "people",
        entity=event,
        load=load,
        features=features,
        labels=["paid", "owed"],
        label_horizon="30d",
        version="1",
    )
    chosen = verdicts(
        *(estimator("action", [f], label="settled").named(f) for f in ("age", "spend")),
        transformer("settled", ["paid", "owed"]),
        source=source,
        label="settled",
        split=by_time(embargo),
        select_on="validation",
    )
    assert [v.code for v in chosen] == [code] * 2


def test_by_time_no_choice_is_made_by_what_comes_later():
    found = judged("0d", by_time(), select_on="test")
    assert [v.code for v in found] == ["FUTURE_FIT", "SELECTION_ON_TEST"] * 2


def test_by_time_predictions_and_labels_are_of_the_same_rows():
    """A household of train has offers in test: measured there, its prediction is not out of it."""
    from ff_assets import Entity

    shop = Entity("shop", key="shop_id", time="opened_at")
    sale = Entity("sale", key="sale_id", parent=shop, foreign_key="shop_id", time="sold_at")
    shops = Source("shops", entity=shop, load=load, features={"size": "double", "open": "double"})
    sales = Source("sales", entity=sale, load=load, features={"back": "double"}, labels=["back"])
    model = estimator("action", ["size"], label="open")

    def flow(split: HashSplit | TimeSplit):
        wanted = Target(
            "t", outputs=["action"], label="back", task="binary", split=split, entity=sale
        )
        return infer(Project((shops, sales), (model,), (wanted,)))

    with pytest.raises(DefinitionError, match="about `shop` with labels of `sale`"):
        check(flow(by_time()))
    assert check(flow(BY_KEY))[0].allowed


def test_the_project_may_be_split_by_time():
    project = Project((people(event),), (one,), (target(),), split=by_time())
    (found,) = check(infer(project))
    assert found.variant.split == by_time()
    assert [i.name for i in found.variant.instances] == ["people", "by_age"]
    assert is_clean(found)
