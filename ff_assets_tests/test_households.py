"""The example flow of households: what is derived from what, from which rows, and at what time."""

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from ff_assets.core.buckets import bitmap
from ff_assets.core.durations import duration
from ff_assets.core.flow import Flow, Instance, Variant, infer
from ff_assets.core.project import Project
from ff_assets.flows import households
from ff_assets.flows.datasets import panel_table


@pytest.fixture(scope="module")
def flow() -> Flow:
    return infer(Project.collect([households]))


def variant(flow: Flow, name: str) -> Variant:
    return next(v for v in flow.variants if v.name == name)


def names(instances: Iterable[Instance]) -> set[str]:
    return {instance.provider.name for instance in instances}


def test_segments_and_models_are_compared_and_time_gets_a_target_of_its_own(flow: Flow) -> None:
    assert [(v.name, v.entity.name, v.split.name) for v in flow.variants] == [
        ("next_best_action[linear, plain]", "offer", "by_key"),
        ("next_best_action[linear, segmented]", "offer", "by_key"),
        ("next_best_action[boosted, plain]", "offer", "by_key"),
        ("next_best_action[boosted, segmented]", "offer", "by_key"),
        ("redemption_by_time", "offer", "until_20171015"),
    ]


def test_sales_become_habits_segments_and_a_next_best_action(flow: Flow) -> None:
    made = variant(flow, "next_best_action[linear, segmented]")
    by_name = {instance.provider.name: instance for instance in made.instances}

    chain = ["baskets", "habits", "log_baskets", "behaviour", "scaled_behaviour", "segment"]
    chain += ["segment_flags", "segmented", "linear"]
    for upstream, reader in pairwise(chain):
        assert upstream in names(by_name[reader].parents)
    assert {name: by_name[name].entity.name for name in chain} == {
        "baskets": "basket",
        **dict.fromkeys(chain[1:-2], "household"),
        **dict.fromkeys(chain[-2:], "offer"),
    }


def test_the_plain_variants_need_nothing_of_the_household(flow: Flow) -> None:
    for name in ("next_best_action[boosted, plain]", "redemption_by_time"):
        made = variant(flow, name)
        assert {i.entity.name for i in made.instances} == {"basket", "offer"}
        assert len(names(made.instances) & {"boosted", "linear"}) == 1


def test_segments_are_fitted_once_on_train_and_the_propensity_out_of_fold(flow: Flow) -> None:
    made = variant(flow, "next_best_action[linear, segmented]")
    by_name = {instance.provider.name: instance for instance in made.instances}
    train, test = bitmap(range(800)), bitmap(range(800, 1000))

    for name in ("scaled_behaviour", "segment", "segment_flags", "linear"):
        assert [fit.region for fit in by_name[name].fits] == [train]
    *folds, whole = by_name["spend_propensity"].fits
    assert len(folds) == 5
    for fold in folds:
        assert fold.region & fold.serves == 0
        assert fold.region | fold.serves == train
    assert (whole.region, whole.serves) == (train, test)


def test_only_the_last_model_reads_whether_offers_were_redeemed(flow: Flow) -> None:
    for made in flow.variants:
        readers = [i for i in made.instances if {"redeemed"} & {*i.inputs, *i.fit_inputs}]
        assert readers == [made.prediction]
        assert "redeemed" not in made.prediction.inputs


def test_every_offer_that_counts_comes_after_all_that_tells_of_its_household() -> None:
    as_of = date.fromisoformat(households.AS_OF)
    first_offers = date.fromisoformat(households.FIRST_OFFERS)

    assert as_of + duration(households.households.label_horizon, []) == first_offers


def test_the_time_split_waits_until_every_label_of_train_is_known() -> None:
    campaigns = pq.read_table(panel_table("campaign_descriptions")).to_pylist()
    last_day = date.fromisoformat(households.LAST_DAY)
    spans = [(row["start_date"].date(), row["end_date"].date()) for row in campaigns]
    first_offers = date.fromisoformat(households.FIRST_OFFERS)
    known = [(start, end) for start, end in spans if start >= first_offers and end <= last_day]
    split = households.redemption_by_time.split
    assert split is not None
    sides = {
        cell: [span for span in known if split.bucket(span[0]) in split.cells[cell]]
        for cell in ("train", "test")
    }

    horizon = duration(households.offers.label_horizon, [])
    assert max(end - start for start, end in known) == horizon
    assert timedelta(days=split.embargo_days) >= horizon
    last_end = max(end for _, end in sides["train"])
    assert last_end < min(start for start, _ in sides["test"])
    assert len(sides["train"]) == 6
    assert len(sides["test"]) == 3
