"""When values were known, by what is declared of the rows behind them."""

from typing import Any

import pytest

from ff_assets import Entity, Source, Stage, Target, aggregates
from ff_assets.core.entities import Entity as AnyEntity
from ff_assets.core.flow import infer
from ff_assets.core.influence import accounts_of
from ff_assets.core.known import Known, known
from ff_assets.core.project import Project
from ff_assets_tests.core.stubs import load, transformer

region = Entity("region", key="region_id", time="drawn_on")
shop = Entity("shop", key="shop_id", parent=region, foreign_key="region_id", time="opened_at")
sale = Entity("sale", key="sale_id", parent=shop, foreign_key="shop_id", time="sold_at")
line = Entity("line", key="line_id", parent=sale, foreign_key="sale_id")


def source(entity: AnyEntity, *features: str, **more: Any) -> Source:
    types = dict.fromkeys(features, "double")
    return Source(f"{entity.name}s", entity=entity, load=load, features=types, **more)


def found(feature: str, *stages: Stage, of: AnyEntity = sale) -> Known:
    """What has to be known of a feature for rows of an entity."""
    sources = (
        source(region, "tax"),
        source(shop, "rent", "closed", labels=["closed"], label_horizon="40d"),
        source(sale, "amount", "returned", labels=["returned"], label_horizon="10d"),
        source(line, "price"),
    )
    wanted = Target("wanted", outputs=[feature])
    flow = infer(Project(sources, stages, (wanted,)))
    instance = flow.variants[0].features[feature]
    return known(accounts_of(flow), (instance, feature), of)


def since(feature: str, *stages: Stage, of: AnyEntity = sale) -> dict[str, int]:
    told = found(feature, *stages, of=of)
    assert told.timeless == ()
    return {entity.name: days for entity, days in told.since.items()}


def test_what_rows_belong_to_counts_from_its_own_time_on() -> None:
    assert since("rent") == {"shop": 0}
    assert since("amount") == {"sale": 0}
    assert since("both", transformer("both", ["amount", "rent", "tax"])) == {
        "sale": 0,
        "shop": 0,
        "region": 0,
    }


def test_labels_are_known_later_but_of_the_rows_themselves() -> None:
    assert since("closed") == {"shop": 40}
    assert since("shut", transformer("shut", ["closed"])) == {"shop": 40}
    assert since("returned") == {"sale": 0}
    assert since("closed", of=shop) == {"shop": 0}


def test_an_aggregate_is_as_of_the_row_that_it_is_made_for() -> None:
    takings = aggregates("takings", of=sale, to=shop, measures={"amount": ["sum"]})
    assert since("amount_sum", takings) == {"shop": 0}
    # Other rows' labels were known by then, thanks to the gap; what they read of a region too.
    past = aggregates("past", of=sale, to=shop, measures={"returned": ["sum"]}, gap="10d")
    assert since("returned_sum", past) == {"shop": 0}
    net = transformer("net", ["amount", "tax"])
    taxed = aggregates("taxed", of=sale, to=shop, measures={"net": ["sum"]})
    assert since("net_sum", net, taxed) == {"shop": 0, "region": 0}


@pytest.mark.parametrize("of", ["sale", "line"])
def test_sums_over_all_times_know_later_rows(of: str) -> None:
    """Of rows that have a time, or belong to rows that have one."""
    town = Entity("town", key="town_id")
    store = Entity("store", key="store_id", parent=town, foreign_key="town_id", time="opened_at")
    sold = Entity("sale", key="sale_id", parent=store, foreign_key="store_id", time="sold_at")
    item = Entity("line", key="line_id", parent=sold, foreign_key="sale_id")
    summed = {"sale": sold, "line": item}[of]
    total = aggregates("total", of=summed, to=town, measures={"amount": ["sum"]})
    given = (source(town, "size"), source(store, "rent"), source(sold, "x"), source(item, "y"))
    sources = [each for each in given if each.entity != summed]
    stages = (total, transformer("share", ["amount_sum", "rent"]))
    wanted = Target("wanted", outputs=["share"])
    flow = infer(Project((*sources, source(summed, "amount")), stages, (wanted,)))
    told = known(accounts_of(flow), (flow.variants[0].features["share"], "share"), store)
    assert [instance.name for instance in told.timeless] == ["total", "share"]


def test_what_has_no_time_at_all_is_the_same_at_all_times() -> None:
    page = Entity("page", key="page_id", parent=region, foreign_key="region_id")
    stages = [aggregates("words", of=page, to=region, measures={"length": ["sum"]})]
    wanted = Target("wanted", outputs=["length_sum"])
    given = (source(region, "tax"), source(page, "length"))
    flow = infer(Project(given, tuple(stages), (wanted,)))
    told = known(accounts_of(flow), (flow.variants[0].features["length_sum"], "length_sum"), region)
    assert (told.timeless, {e.name for e in told.since}) == ((), {"region"})
