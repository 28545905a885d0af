"""A/B tests as they are declared: what is refused, and how outcomes keep out of flows."""

from types import ModuleType
from typing import Any

import pytest

from ff_assets import ABTest, Entity, Governance, Source, Target, aggregates
from ff_assets.core.errors import DefinitionError, PolicyViolation, UnreachableOutput
from ff_assets.core.flow import infer
from ff_assets.core.governance import govern
from ff_assets.core.project import Project
from ff_assets_tests.core.refusal import names, refused
from ff_assets_tests.core.stubs import item, load, source, transformer

part = Entity("part", key="part_id", parent=item, foreign_key="item_id")
sale = Entity("sale", key="sale_id", parent=item, foreign_key="item_id", time="sold_at")
stranger = Entity("stranger", key="stranger_id")


def sales(entity: Entity = sale, **changes: Any) -> Source:
    features = {"amount": "decimal(10, 2)", "returned": "boolean", "note": "string"}
    given = {"entity": entity, "load": load, "features": features} | changes
    return Source("sales", **given)


def declared(*aliases: str, **changes: Any) -> ABTest:
    given = {"share": 0.1, "outcomes": sales(), "measure": "amount", "planned": 1000} | changes
    return ABTest(*(aliases or ("production", "staging")), **given)


def project(test: ABTest, entity: Entity = item, **changes: Any) -> Project:
    given = source("src", "x", entity=entity)
    target = Target("t", outputs=["p"], entity=entity, ab_test=test)
    return Project((given,), (transformer("p", ["x"]),), (target,), **changes)


@pytest.mark.parametrize(
    ("aliases", "changes", "what", "why"),
    [
        (("production", "production"), {}, "compares production with itself", "by one model"),
        (("production", "stagging"), {}, "'stagging', which is no alias", "names: staging"),
        ((), {"share": 0}, "a share of 0 to", "above 0, below 1"),
        ((), {"share": 1.0}, "a share of 1.0 to", "above 0, below 1"),
        ((), {"share": "a tenth"}, "a share of 'a tenth' to", "above 0, below 1"),
        ((), {"measure": "amout"}, "measures 'amout', which `sales` does", "names: amount"),
        ((), {"measure": "note"}, "no number but of type string", "difference between means"),
        ((), {"outcomes": "sales"}, "are no source", "'sales'"),
        ((), {"planned": 0}, "planned for 0 units", "number of units"),
        ((), {"planned": 0.5}, "planned for 0.5 units", "number of units"),
        ((), {"name": "a/b"}, "'a/b' cannot be the name", "asset keys"),
    ],
)
def test_what_is_no_test(aliases: Any, changes: Any, what: str, why: str) -> None:
    error = refused(DefinitionError, lambda: declared(*aliases, **changes))
    assert what in error.what
    assert why in error.why


@pytest.mark.parametrize("measure", ["amount", "returned"])
def test_numbers_and_booleans_can_be_measured(measure: str) -> None:
    assert declared(measure=measure).aliases == {"control": "production", "treatment": "staging"}


def test_a_name_is_made_of_the_aliases_and_no_two_targets_share_arms() -> None:
    test = declared()
    assert test.name == "staging_vs_production"
    assert test.salt("one") != test.salt("other")


def test_outcomes_are_told_of_the_unit_or_what_belongs_to_it() -> None:
    for entity in (item, part, sale):
        infer(project(declared(outcomes=sales(entity)), entity=part))
    error = refused(
        DefinitionError,
        lambda: infer(project(declared(outcomes=sales(stranger)), entity=part)),
    )
    assert "about `stranger`, which does not belong to `item`" in error.what
    assert "by `item_id` of `item`, to which `part` belongs" in error.why
    assert 'parent=item, foreign_key="item_id"' in error.fix
    assert names(error)[-1] == "stranger"


def collected(*declarations: Any) -> Project:
    """As the modules of a project are read."""
    module = ModuleType("flow")
    vars(module).update(declared=declarations, free=Governance(owners=False))
    return Project.collect([module])


@pytest.mark.parametrize("beside", [(), (source("visits", "n", entity=sale),)])
def test_features_are_made_of_what_a_test_measures(beside: Any) -> None:
    """Also where it is its entity's only source."""
    outcomes = sales()
    sums = aggregates("sums", of=sale, to=item, measures={"amount": ["sum"]})
    flow = infer(
        collected(
            outcomes,
            source("src", "x", entity=item),
            *beside,
            sums,
            transformer("p", ["amount_sum", "x"]),
            Target("t", outputs=["p"], entity=item, ab_test=declared(outcomes=outcomes)),
        )
    )
    (variant,) = flow.variants
    assert {i.provider.name for i in variant.instances} == {"sales", "src", "sums", "p"}


def test_the_label_can_be_measured() -> None:
    rows = source("src", "x", "y", entity=item)
    test = declared(outcomes=rows, measure="y")
    flow = infer(collected(rows, transformer("p", ["x"]), Target("t", ["p"], ab_test=test)))
    assert flow.project.outcomes == flow.project.sources == (rows,)


def test_what_only_a_test_measures_provides_nothing() -> None:
    """It may have other rows than its entity's sources, or a feature that one of them has."""
    outcomes = sales(item, features={"x": "double", "amount": "double"})
    given = source("src", "x", entity=item)
    test = declared(outcomes=outcomes)
    target = Target("t", outputs=["p"], entity=item, ab_test=test)
    found = collected(outcomes, given, transformer("p", ["x"]), target)
    assert found.sources == (given,)
    assert found.outcomes == (outcomes,)
    assert [variant.name for variant in infer(found).variants] == ["t"]


def test_an_aggregate_of_an_entity_without_a_source_says_so() -> None:
    error = refused(
        UnreachableOutput,
        lambda: infer(
            collected(
                source("src", "x", entity=item),
                aggregates("sums", of=sale, to=item, measures={"amount": ["sum"]}),
                Target("t", outputs=["amount_sum"], entity=item),
            )
        ),
    )
    assert "nothing provides for entity `sale`" in error.what


def test_outcomes_need_an_owner_and_other_keys_are_refused() -> None:
    module = ModuleType("flow")
    given = source("src", "x", entity=item)
    object.__setattr__(given, "owner", "team:a")
    target = Target("t", ["p"], entity=item, ab_test=declared(), owner="team:a")
    vars(module).update(given=given, p=transformer("p", ["x"]), target=target)
    error = refused(DefinitionError, lambda: Project.collect([module]))
    assert "source `sales` has no owner" in error.what


@pytest.mark.parametrize(
    ("tagged", "pattern", "key"),
    [
        ({"amount": ["money"]}, "experiments/*", "experiments/t/staging_vs_production"),
        ({"item_id": ["money"]}, "predictions/*/ab_test", "predictions/t/ab_test"),
    ],
)
def test_what_is_sensitive_travels_with_a_test(tagged: Any, pattern: str, key: str) -> None:
    test = declared(outcomes=sales(sensitivity=tagged))
    policy = Governance(deny={"money": [pattern]})
    error = refused(PolicyViolation, lambda: govern(infer(project(test, governance=policy))))
    assert f"`money` would reach {key}" in error.what
    # Another measure of the same source has not its tags.
    if "amount" in tagged:
        other = declared(outcomes=sales(sensitivity=tagged), measure="returned")
        govern(infer(project(other, governance=policy)))


def test_a_target_takes_nothing_else_for_a_test() -> None:
    error = refused(DefinitionError, lambda: Target("t", outputs=["p"], ab_test="production"))
    assert "'production'" in error.why


def test_a_target_without_a_test_has_neither_asset() -> None:
    bare = Project(
        (source("src", "x", entity=item),),
        (transformer("p", ["x"]),),
        (Target("t", outputs=["p"], entity=item),),
    )
    keys = [asset.key for asset in govern(infer(bare)).assets]
    assert not [key for key in keys if "ab_test" in key or key.startswith("experiments")]
