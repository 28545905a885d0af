"""What earlier rows had: of themselves, of what belongs to them, and what they carry."""

from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import functions as F

from ff_assets import Entity, HashSplit, Source, Stage, Target, TimeSplit, aggregate, aggregates
from ff_assets.core.flow import infer
from ff_assets.core.honesty import check
from ff_assets.core.project import Project
from ff_assets.core.split import Split
from ff_assets.core.verdict import Verdict
from ff_assets_tests.core.founding import is_clean, path
from ff_assets_tests.core.stubs import estimator, load, transformer

household = Entity("household", key="household_id")


def source(of: Entity, *features: str, labels: tuple[str, ...] = (), horizon: str = "0d") -> Source:
    types = dict.fromkeys(features, "double")
    given = {"labels": labels, "label_horizon": horizon, "version": "1"}
    return Source(of.name + "s", entity=of, load=load, features=types, **given)


# Weeks, their sales, and bits of these

week = Entity("week", key="week_id", parent=household, foreign_key="household_id", time="ends")
sale = Entity("sale", key="sale_id", parent=week, foreign_key="week_id", time="at")
bit = Entity("bit", key="bit_id", parent=sale, foreign_key="sale_id", time="at")


def of_weeks(
    *stages: Stage, reads: str, label: str, sales: Entity = sale, bits: Entity = bit, **given: Any
) -> Verdict:
    """The verdict on a prediction about weeks, of which each has sales, and these have bits."""
    sources = (
        source(household, "size"),
        source(week, "n", "spent", labels=("spent",)),
        source(sales, "amount", **given),
        source(bits, "weight"),
    )
    target = Target("t", outputs=["action"], label=label, task="regression")
    model = estimator("action", ["n", reads], label=label)
    (only,) = check(infer(Project(sources, (*stages, model), (target,))))
    return only


def lag(of: str, gap: str = "0d") -> Stage:
    return aggregates("lag", of=week, to=week, measures={of: ["mean"]}, gap=gap)


@pytest.mark.parametrize("time", ["at", None])
def test_totals_of_earlier_weeks_predict_that_of_this_one(time: str | None) -> None:
    sales = replace(sale, time=time)
    total = aggregates("total", of=sales, to=week, measures={"amount": ["sum", "max"]})
    told = {"label": "amount_sum", "sales": sales, "bits": replace(bit, parent=sales)}
    for each in ("amount_sum", "amount_max"):
        assert is_clean(of_weeks(total, lag(each), reads=f"{each}_mean", **told))
    assert of_weeks(total, reads="amount_max", **told).code == "TARGET_PATH"
    change = transformer("change", ["amount_sum", "amount_sum_mean"])
    assert is_clean(
        of_weeks(
            total, lag("amount_sum"), change, reads="amount_sum_mean", **told | {"label": "change"}
        )
    )


def test_but_only_of_those_that_were_known() -> None:
    total = aggregates("total", of=sale, to=week, measures={"amount": ["sum"]})
    told = {"reads": "amount_sum_mean", "label": "amount_sum", "labels": ("amount",)}
    assert of_weeks(total, lag("amount_sum", "8d"), horizon="9d", **told).code == "TARGET_PATH"
    assert is_clean(of_weeks(total, lag("amount_sum", "9d"), horizon="9d", **told))


def test_nor_of_what_earlier_weeks_have_from_all_of_them() -> None:
    total = aggregates("total", of=sale, to=week, measures={"amount": ["sum"]})
    ever = aggregates("ever", of=sale, to=household, measures={"amount": ["mean"]})
    share = transformer("share", ["amount_mean", "n"])
    leaky = of_weeks(
        total, ever, share, lag("share"), reads="share_mean", label="amount_sum", sales=sale
    )
    assert (leaky.code, path(leaky)[:2]) == ("TARGET_PATH", ["sales", "ever"])


def test_nor_of_their_parts_at_later_times() -> None:
    """A bit of last week's sale may be of next week, where nothing says when the sale was."""
    sales = replace(sale, time=None)
    bits = replace(bit, parent=sales)
    total = aggregates("total", of=bits, to=week, measures={"weight": ["sum"]})
    told = {"label": "weight_sum", "sales": sales, "bits": bits}
    assert is_clean(of_weeks(total, lag("weight_sum"), reads="weight_sum_mean", **told))
    in_sale = aggregates("in_sale", of=bits, to=sales, measures={"weight": ["max"]})
    heavy = aggregates("heavy", of=sales, to=week, measures={"weight_max": ["max"]})
    assert of_weeks(
        total, in_sale, heavy, lag("weight_max_max"), reads="weight_max_max_mean", **told
    ).code
    untimed = replace(bit, time=None)
    worth = aggregate(of=untimed, to=week)

    @worth
    def carried(weight: Any, amount: Any) -> Any:
        return F.max(weight + amount)

    total = aggregates("total", of=sale, to=week, measures={"amount": ["sum"]})
    told = {"label": "amount_sum", "bits": untimed}
    assert of_weeks(total, carried, lag("carried"), reads="carried_mean", **told).code


def test_a_change_against_earlier_rows_may_be_predicted_from_these() -> None:
    before = aggregates("before", of=week, to=week, measures={"spent": ["mean"]}, windows=["28d"])
    change = transformer("change", ["spent", "spent_mean_28d"])
    assert is_clean(of_weeks(before, change, reads="spent_mean_28d", label="change"))
    assert of_weeks(before, change, reads="spent", label="change").code == "TARGET_PATH"
    other = aggregates("other", of=week, to=week, measures={"n": ["mean"]})
    against = transformer("against", ["spent", "n_mean"])
    assert is_clean(of_weeks(other, against, reads="n_mean", label="against"))
    doubtful = transformer("doubtful", ["n", "spent_mean_28d"])  # no outcome is told by `n`
    assert of_weeks(before, doubtful, reads="spent_mean_28d", label="doubtful").code


def test_visits_of_all_weeks_are_not_predicted_from_those_of_earlier_ones() -> None:
    """They are not the own week's alone, so those of earlier weeks are part of the label."""
    visit = replace(week, name="visit", key="visit_id", time="at")
    total = aggregates("total", of=visit, to=week, measures={"length": ["sum"]})
    sources = (source(household, "size"), source(week, "n"), source(visit, "length"))
    model = estimator("action", ["n", "length_sum_mean"], label="length_sum")
    target = Target("t", outputs=["action"], label="length_sum", task="regression")
    (only,) = check(infer(Project(sources, (total, lag("length_sum"), model), (target,))))
    assert only.code == "TARGET_PATH"


# Deals, whose outcome is known late, their lines, and visits to the same household

deal = Entity("deal", key="deal_id", parent=household, foreign_key="household_id", time="at")
line = Entity("line", key="line_id", parent=deal, foreign_key="deal_id", time="at")
visit = replace(deal, name="visit", key="visit_id")


def of_deals(
    *stages: Stage, label: str = "won", split: Split | None = None, lines: Entity = line
) -> Verdict:
    """The verdict on the output `made` of the last stage."""
    sources = (
        source(household, "size", "churned", labels=("churned",)),
        source(deal, "n", "won", labels=("won",), horizon="9d"),
        source(lines, "price", "back", labels=("back",), horizon="9d"),
        source(visit, "length", "seen", labels=("seen",)),
    )
    target = Target("t", outputs=["made"], label=label, task="regression")
    split = split or HashSplit()
    (only,) = check(infer(Project(sources, stages, (target,), split=split)))
    return only


def summing(name: str, of: Entity, to: Entity, *reads: str, gap: str = "0d") -> Stage:
    scope: dict[str, Any] = {"__name__": __name__}
    exec(f"def {name}({', '.join(reads)}): return {reads[0]}", scope)
    return aggregate(of=of, to=to, gap=gap)(scope[name])


@pytest.mark.parametrize(("gap", "code"), [("0d", "TARGET_PATH"), ("9d", "")])
def test_lines_that_are_old_do_not_make_old_what_they_carry(gap: str, code: str) -> None:
    earlier = summing("earlier", deal, deal, "won", gap=gap)
    assert of_deals(earlier, summing("made", line, deal, "price", "earlier", gap="9d")).code == code
    carried = summing("carried", line, deal, "price", "won", gap="9d")
    assert of_deals(carried, summing("made", deal, deal, "carried", gap=gap)).code == code


def test_nor_where_the_label_is_a_sum() -> None:
    total = summing("total", line, deal, "back")
    earlier = summing("earlier", deal, deal, "total")
    carrying = summing("made", line, deal, "price", "earlier", gap="9d")
    assert of_deals(total, earlier, carrying, label="total").code == "TARGET_PATH"


def test_earlier_rows_may_come_through_others() -> None:
    at_visit = summing("at_visit", deal, visit, "won", gap="9d")
    assert is_clean(of_deals(at_visit, summing("made", visit, deal, "at_visit")))


@pytest.mark.parametrize("of", [visit, deal])
def test_earlier_rows_carry_the_outcome_of_what_they_belong_to(of: Entity) -> None:
    own = {"visit": "length", "deal": "n"}[of.name]
    leaky = of_deals(summing("made", of, deal, own, "churned"))
    assert (leaky.code, path(leaky)) == ("OUTCOME_AS_INPUT", ["households", "made"])


@pytest.mark.parametrize("split", [HashSplit(), TimeSplit("2017-05-01")])
def test_an_outcome_of_the_row_is_no_input_whatever_the_label_sums_up(split: Split) -> None:
    later = summing("later", visit, deal, "seen")
    model = estimator("made", ["n", "won"], label="later")
    assert of_deals(later, model, label="later", split=split).code == "OUTCOME_AS_INPUT"
    returned = summing("returned", replace(line, time=None), deal, "back")
    model = estimator("made", ["n", "returned"], label="later")
    if isinstance(split, HashSplit):
        found = of_deals(later, returned, model, label="later", lines=replace(line, time=None))
        assert found.code == "OUTCOME_AS_INPUT"


def test_what_was_known_may_be_compared_with_the_outcome() -> None:
    past = summing("past", visit, deal, "length")
    rel = transformer("rel", ["won", "past"])
    assert is_clean(of_deals(past, rel, estimator("made", ["past"], label="rel"), label="rel"))


def test_what_is_advised_is_not_what_is_there() -> None:
    earlier = summing("earlier", deal, deal, "won", gap="9d")
    refused = of_deals(earlier, transformer("made", ["earlier"]), label="price")
    assert refused.code == "OUTCOME_AS_INPUT"  # a line may have been before its deal
    assert "of=deal, to=deal" not in refused.refusals[0].fix
