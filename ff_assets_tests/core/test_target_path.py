"""Labels that are sums of rows, inputs that are other sums of them; targets with two outputs."""

from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import functions as F

from ff_assets import (
    Entity,
    HashSplit,
    Source,
    Stage,
    Target,
    TimeSplit,
    aggregate,
    aggregates,
    feature,
)
from ff_assets.core.errors import DefinitionError
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.project import Project
from ff_assets.core.verdict import Verdict
from ff_assets_tests.core.founding import (
    action,
    is_clean,
    label_free,
    path,
    supervised,
    verdict,
    verdicts,
)
from ff_assets_tests.core.stubs import estimator, load, transformer

household = Entity("household", key="household_id")
basket = Entity("basket", key="basket_id", parent=household, foreign_key="household_id", time="at")
item = Entity("item", key="item_id", parent=basket, foreign_key="basket_id")
visit = Entity("visit", key="visit_id", parent=household, foreign_key="household_id", time="at")
offer = Entity("offer", key="offer_id", parent=household, foreign_key="household_id", time="at")


def source(of: Entity, *features: str, labels: tuple[str, ...] = ()) -> Source:
    types = dict.fromkeys(features, "double")
    return Source(of.name + "s", entity=of, load=load, features=types, labels=labels, version="1")


def sums(to: Entity, of: Entity = basket, *windows: str, **measures: list[Any]) -> Stage:
    name = f"{of.name}_of_{to.name}"
    return aggregates(name, of=of, to=to, measures=measures, windows=windows)


def judged(
    *stages: Stage, label: str, outcome: str = "", entity: Entity | None = None, **target: Any
) -> Verdict:
    """The verdict on a prediction about households.

    Args:
        outcome: the feature of baskets that their source declares as a label.
    """
    sources = (
        source(household, "size"),
        source(basket, "amount", "discount", "won", labels=(outcome,) if outcome else ()),
        source(item, "price"),
        source(visit, "length"),
        source(offer, "kind", "redeemed", labels=("redeemed",)),
    )
    given = {"outputs": ["action"], "task": "regression", "entity": entity} | target
    (only,) = check(infer(Project(sources, stages, (Target("t", label=label, **given),))))
    return only


def test_sums_of_one_feature_do_not_predict_each_other() -> None:
    both = sums(household, amount=["sum", "mean"])
    leaky = judged(both, estimator("action", ["amount_mean"]), label="amount_sum")
    assert (leaky.code, path(leaky)) == (
        "TARGET_PATH",
        ["baskets", "basket_of_household", "action"],
    )
    behind = transformer("spread", ["amount_mean", "size"])
    assert judged(behind, both, estimator("action", ["spread"]), label="amount_sum").code
    assert is_clean(judged(both, estimator("action", ["size"]), label="amount_sum"))


def test_nor_do_sums_of_two_features_of_the_same_rows() -> None:
    both = sums(household, amount=["sum"], discount=["sum", "count"])
    leaky = judged(both, estimator("action", ["discount_count"]), label="amount_sum")
    assert (leaky.code, path(leaky)) == ("TARGET_PATH", ["basket_of_household", "action"])
    assert "sums up rows of `basket`, as the label `amount_sum` does" in leaky.refusals[0].text
    assert "labels=[...]" in leaky.refusals[0].fix
    parts = sums(household, item, price=["sum"])  # a basket's items tell of the basket
    assert judged(both, parts, estimator("action", ["price_sum"]), label="amount_sum").code
    others = sums(household, visit, length=["sum"])
    model = estimator("action", ["length_sum"])
    assert is_clean(judged(both, others, model, label="amount_sum"))


def test_a_source_that_declares_the_outcome_tells_it_from_the_rest() -> None:
    both = sums(household, won=["max", "mean"], discount=["sum"])
    told = {"label": "won_max", "outcome": "won"}
    assert judged(both, estimator("action", ["won_mean"]), **told).code == "TARGET_PATH"
    assert is_clean(judged(both, estimator("action", ["discount_sum"]), **told))


@pytest.mark.parametrize("window", ["30d", "90d"])
def test_two_sums_up_to_the_same_time_have_rows_in_common(window: str) -> None:
    rows = sums(offer, basket, window, amount=["sum", "mean"])
    model = estimator("action", [f"amount_mean_{window}", "kind"])
    longer = aggregates(
        "longer", of=basket, to=offer, measures={"amount": ["sum"]}, windows=["60d"]
    )
    assert judged(rows, longer, model, label="amount_sum_60d").code == "TARGET_PATH"


def test_past_sums_do_not_predict_the_total_of_all_times() -> None:
    """The past is part of it, and nothing tells the part that is to be predicted."""
    past = sums(offer, basket, "30d", amount=["sum"])
    total = sums(household, basket, amount=["sum"])
    model = estimator("action", ["amount_sum_30d"])
    assert judged(past, total, model, label="amount_sum").code == "TARGET_PATH"
    assert judged(past, total, model, label="amount_sum", outcome="amount").code == "TARGET_PATH"


def test_past_sums_predict_a_label_that_is_no_sum() -> None:
    past = sums(offer, basket, "30d", amount=["sum"], won=["mean"])
    model = estimator("action", ["amount_sum_30d", "won_mean_30d"], label="redeemed")
    assert is_clean(judged(past, model, label="redeemed", outcome="won"))

    @aggregate(of=basket, to=household)
    def spent_later(won: Any) -> Any:
        """Of the days that the loader says come after: a label that looks forward."""
        return F.sum(won)

    later = estimator("action", ["amount_sum_30d"])
    assert is_clean(judged(past, spent_later, later, label="spent_later", outcome="won"))


def test_a_label_that_is_only_partly_a_sum() -> None:
    both = sums(household, amount=["sum", "mean"])
    label = transformer("per_head", ["amount_sum", "size"])
    model = estimator("action", ["amount_mean"])
    assert judged(both, label, model, label="per_head").code == "TARGET_PATH"
    known = estimator("action", ["size"])
    assert is_clean(judged(both, label, known, label="per_head", outcome="amount"))
    doubtful = judged(both, label, known, label="per_head").refusals[0]
    assert "is a part of what the label `per_head` is made from" in doubtful.text
    assert "which of `size`, `amount` is the outcome" in doubtful.why
    assert "labels=[...]" in doubtful.fix


def test_a_row_does_not_predict_the_sum_that_it_is_part_of() -> None:
    @feature(entity=basket)
    def doubled(amount: Any) -> Any:
        return amount * 2

    total = sums(household, amount=["sum"])
    model = estimator("action", ["doubled"])
    leaky = judged(total, doubled, model, label="amount_sum", entity=basket)
    assert (leaky.code, path(leaky)) == ("TARGET_PATH", ["baskets", "doubled", "action"])


def test_items_are_not_predicted_from_the_baskets_that_they_are_in() -> None:
    baskets, items = sums(household, amount=["sum"]), sums(household, item, price=["sum"])
    leaky = judged(baskets, items, estimator("action", ["amount_sum"]), label="price_sum")
    assert (leaky.code, path(leaky)) == ("TARGET_PATH", ["basket_of_household", "action"])
    assert "rows of `basket`, as the label `price_sum` does with rows of `item`" in (
        leaky.refusals[0].text
    )
    row = estimator("action", ["amount"])
    whole = judged(items, row, label="price_sum", entity=basket)
    assert (whole.code, path(whole)) == ("TARGET_PATH", ["baskets", "action"])
    known = estimator("action", ["size"])
    assert is_clean(judged(items, known, label="price_sum", entity=basket))


@pytest.mark.parametrize(("feature", "of"), [("amount", basket), ("won", basket), ("price", item)])
def test_nor_do_rows_predict_the_sum_of_some_of_them(feature: str, of: Entity) -> None:
    """A label by kinds is made from two features, of which one alone tells it already."""
    wins = aggregates(
        "wins", of=basket, to=household, measures={"amount": ["sum"]}, pivot={"won": ["1"]}
    )
    model = estimator("action", [feature])
    leaky = judged(wins, model, label="amount_sum_1", entity=of)
    assert (leaky.code, path(leaky)[-1]) == ("TARGET_PATH", "action")
    assert judged(wins, estimator("action", ["amount_sum"]), label="amount_sum_1").code
    other = judged(wins, estimator("action", ["discount"]), label="amount_sum_1", entity=basket)
    assert other.code == "TARGET_PATH"


def test_rows_may_predict_an_outcome_that_their_source_declares() -> None:
    wins = sums(household, won=["max"])
    told = {"label": "won_max", "outcome": "won", "entity": basket}
    assert is_clean(judged(wins, estimator("action", ["discount"]), **told))
    assert judged(wins, estimator("action", ["won"]), **told).code == "TARGET_PATH"


# What was before one row, and is read by another

panel = replace(household, time="as_of")  # of a day of its own
deal = Entity("deal", key="deal_id", parent=panel, foreign_key="household_id", time="at")
call = replace(deal, name="call", key="call_id")
line = Entity("line", key="line_id", parent=deal, foreign_key="deal_id", time="at")


def of_deals(
    *stages: Stage, reads: str, label: str = "won", labels: tuple[str, ...] = (), **given: Any
) -> Verdict:
    """The verdict on a prediction about deals."""
    sources = (
        source(panel, "size"),
        replace(source(deal, "won", "n", labels=labels), label_horizon=given.get("horizon", "0d")),
        source(call, "length"),
        source(line, "price"),
    )
    target = Target("t", outputs=["action"], label=label, task="regression")
    model = estimator("action", [reads, "n" if label == "won" else "size"], label=label)
    split = given.get("split", HashSplit())
    (only,) = check(infer(Project(sources, (*stages, model), (target,), split=split)))
    return only


def test_the_past_of_one_row_may_be_the_future_of_another() -> None:
    rate = aggregates("rate", of=deal, to=panel, measures={"won": ["sum"]}, windows=["365d"])
    leaky = of_deals(rate, reads="won_sum_365d", labels=("won",))
    assert (leaky.code, path(leaky)) == ("TARGET_PATH", ["deals", "rate", "action"])
    assert "of=deal, to=deal" in leaky.refusals[0].fix
    lag = aggregates("lag", of=deal, to=deal, measures={"won": ["sum"]}, windows=["365d"])
    assert is_clean(of_deals(lag, reads="won_sum_365d", labels=("won",)))
    assert of_deals(lag, reads="won_sum_365d", labels=("won",), horizon="9d").code == "TARGET_PATH"
    late = aggregates("late", of=deal, to=deal, measures={"won": ["sum"]}, gap="9d")
    assert is_clean(of_deals(late, reads="won_sum", labels=("won",), horizon="9d"))


def test_by_time_past_labels_are_read_when_they_are_known() -> None:
    def judged(gap: str) -> Verdict:
        lag = aggregates("lag", of=deal, to=deal, measures={"won": ["sum"]}, gap=gap)
        split = TimeSplit("2017-05-01", embargo="9d")
        return of_deals(lag, reads="won_sum", labels=("won",), horizon="9d", split=split)

    assert is_clean(judged("9d"))
    assert judged("8d").code == "TARGET_PATH"


@pytest.mark.parametrize("labels", [("won",), ()])
def test_a_label_behind_two_aggregates(labels: tuple[str, ...]) -> None:
    rate = aggregates("rate", of=deal, to=panel, measures={"won": ["mean"]})

    @aggregate(of=call, to=deal)
    def weighted(length: Any, won_mean: Any) -> Any:
        return F.max(length + won_mean)

    leaky = of_deals(rate, weighted, reads="weighted", labels=labels)
    assert (leaky.code, path(leaky)) == ("TARGET_PATH", ["deals", "rate", "weighted", "action"])


@pytest.mark.parametrize(
    ("parts", "labels"), [(["won"], ()), (["won", "n"], ()), (["won"], ("won",))]
)
def test_a_made_label_comes_back_through_the_rows_that_belong_to_it(
    parts: list[str], labels: tuple[str, ...]
) -> None:
    big = transformer("big", parts)

    @aggregate(of=line, to=deal)
    def own(price: Any, big: Any) -> Any:
        return F.max(price + big)

    assert of_deals(big, own, reads="own", label="big", labels=labels).code == "TARGET_PATH"
    itself = aggregate(of=line, to=deal)

    @itself
    def told(price: Any, won: Any) -> Any:
        return F.max(price + won)

    assert of_deals(told, reads="told", labels=labels).code == "TARGET_PATH"


def test_rows_without_a_time_end_what_is_past() -> None:
    """A deal's lines are of any time, so what they carry of earlier calls may be later ones."""
    timeless = replace(line, name="entry", key="entry_id", time=None)

    @aggregate(of=deal, to=call)
    def at_call(won: Any) -> Any:
        return F.max(won)

    @aggregate(of=call, to=timeless)
    def at_entry(at_call: Any) -> Any:
        return F.max(at_call)

    @aggregate(of=timeless, to=deal)
    def back(worth: Any, at_entry: Any) -> Any:
        return F.max(worth + at_entry)

    sources = (
        source(deal, "won", "n", labels=("won",)),
        source(call, "length"),
        source(timeless, "worth"),
    )
    model = estimator("action", ["back", "n"], label="won")
    target = Target("t", outputs=["action"], label="won", task="regression")
    (found,) = check(infer(Project(sources, (at_call, at_entry, back, model), (target,))))
    assert found.code == "TARGET_PATH"


def test_an_aggregate_reads_something_of_the_rows_that_it_sums_up() -> None:
    @aggregate(of=call, to=deal)
    def sized(size: Any) -> Any:
        return F.max(size)

    with pytest.raises(DefinitionError, match="reads no feature of `call`") as caught:
        of_deals(sized, reads="sized")
    assert len(caught.value.where) == 2


# Outcomes beside the label


def test_another_outcome_of_the_same_rows_is_no_input() -> None:
    other = of_deals(reads="n", labels=("won", "n"))
    assert (other.code, path(other)) == ("OUTCOME_AS_INPUT", ["deals", "action"])
    assert "labels=[...]" in other.refusals[0].fix
    both = aggregates("both", of=deal, to=panel, measures={"won": ["sum"], "n": ["sum"]})
    summed = of_deals(both, reads="n_sum", label="won_sum", labels=("won", "n"))
    assert summed.code == "OUTCOME_AS_INPUT"


order = Entity("order", key="order_id", time="at")
part = Entity("part", key="part_id", parent=order, foreign_key="order_id", time="at")


@pytest.mark.parametrize(
    ("stages", "reads", "label"),
    [
        ([], "refunded", "returned"),
        (
            [aggregates("back", of=part, to=order, measures={"returned": ["max"]})],
            "returned_max",
            "refunded",
        ),
        (
            [aggregates("back", of=part, to=order, measures={"returned": ["max"]})],
            "refunded",
            "returned_max",
        ),
    ],
)
def test_outcomes_of_parts_and_wholes_are_no_inputs(
    stages: list[Stage], reads: str, label: str
) -> None:
    """An order is refunded because a part of it came back."""
    late = {"label_horizon": "30d"}
    sources = (
        replace(source(order, "n", "refunded", labels=("refunded",)), **late),
        replace(source(part, "price", "returned", labels=("returned",)), **late),
    )
    model = estimator("action", [reads, "n"], label=label)
    target = Target("t", outputs=["action"], label=label, task="regression")
    (refused,) = check(infer(Project(sources, (*stages, model), (target,))))
    assert refused.code == "OUTCOME_AS_INPUT"


def mixed_label(reads: str, **given: Any) -> list[Verdict]:
    """The verdicts where the label is made of two outcomes, of which one is known late."""
    won = source(offer, "kind", "size", "redeemed", labels=("redeemed",))
    late = replace(source(offer, "returned", labels=("returned",)), name="later")
    late = replace(late, label_horizon="30d")
    stages = [transformer("y", ["redeemed", "returned"])]
    stages += [
        estimator(name, inputs, "action", label="y")
        for name, inputs in (("one", [reads]), ("two", ["kind", reads]))
    ]
    target = Target(
        "t", outputs=["action"], label="y", task="regression", select_on=given.pop("on", None)
    )
    return check(infer(Project((won, late), tuple(stages), (target,), **given)))


def test_an_outcome_of_two_sources_is_known_when_the_later_is() -> None:
    """Neither is an input, and a choice by the metric waits for both."""
    assert {each.code for each in mixed_label("returned")} == {"TARGET_PATH"}
    split = TimeSplit("2017-05-01", validation="31d")
    found = mixed_label("size", split=split, on="validation")
    assert {each.code for each in found} == {"EMBARGO_TOO_SHORT"}


@pytest.mark.parametrize(("gap", "code"), [("8d", "OUTCOME_AS_INPUT"), ("9d", "")])
def test_by_time_no_outcome_is_an_input_that_is_not_known_yet(gap: str, code: str) -> None:
    told = replace(source(deal, "won", labels=("won",)), label_horizon="9d")
    sources = (told, source(call, "length", "answered", labels=("answered",)))
    wins = aggregates("wins", of=deal, to=call, measures={"won": ["sum"]}, gap=gap)
    model = estimator("action", ["won_sum", "length"], label="answered")
    target = Target("t", outputs=["action"], label="answered", task="regression")
    project = Project(sources, (wins, model), (target,), split=TimeSplit("2017-05-01"))
    assert check(infer(project))[0].code == code


# Outputs beside the prediction


def test_every_output_is_judged() -> None:
    hint = transformer("hint", ["bought", "age"])
    leaky = verdict(label_free, action, hint, outputs=["action", "hint"])
    assert (leaky.code, path(leaky)) == ("TARGET_PATH", ["people", "hint"])
    assert leaky.refusals[0].text.startswith("the output `hint` is made from `bought`")
    itself = verdict(label_free, action, outputs=["action", "bought"])
    assert itself.code == "TARGET_PATH"
    assert "keep" in itself.refusals[0].fix
    assert is_clean(verdict(label_free, action, outputs=["action", "segments"]))


def test_an_output_that_was_fitted_on_test_is_refused_wherever_it_stands() -> None:
    other = estimator("other", ["age"], label="churned").fit_on("train", "test")
    found = verdict(label_free, action, other, outputs=["action", "other"])
    assert (found.code, path(found)) == ("FIT_OVERLAP", ["other"])
    assert "is itself the output `other`" in found.refusals[0].text
    assert "the output `other` of t on test" in found.refusals[0].why
    assert [model.name for model in found.models] == ["segments", "action"]


def test_what_taints_several_outputs_is_found_once() -> None:
    (found,) = verdicts(supervised.fit_on("train", "test"), action, outputs=["action", "segments"])
    assert [finding.code for finding in found.refusals] == ["FIT_OVERLAP"]
    assert path(found) == ["segments", "action"]
