"""Errors about rows show examples, but no value that somebody tagged as sensitive."""

from dataclasses import replace

from ff_assets import Entity, Source, Target
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.engine import refused_rows
from ff_assets.engine.keys import disagreeing, orphaned
from ff_assets_tests.core.stubs import load, transformer

household = Entity("household", key="household_id")
offer = Entity("offer", key="offer_id", parent=household, foreign_key="household_id")
households = Source("households", entity=household, load=load, features={"size": "double"})
offers = Source("offers", entity=offer, load=load, features={"amount": "double"})
SECRET = {"household_id": ["pseudonym", "pii"]}


def test_a_sensitive_key_is_not_shown_where_it_is_wrong() -> None:
    given = replace(households, sensitivity=SECRET)
    for error in (
        refused_rows.duplicate(given, 1, [("h-4711", 2, ["train"])]),
        refused_rows.alike(given, "household_id", [["h-4711", "h-4711 "]]),
    ):
        assert "4711" not in str(error)
        assert "(masked: pii, pseudonym)" in error.why
    assert "'h-4711' (2 times)" in refused_rows.duplicate(households, 1, [("h-4711", 2, [])]).why


def test_nor_where_another_source_says_that_it_is_sensitive() -> None:
    """Of the keys in an error about two sources, those that are not sensitive are shown."""
    both = transformer("both", ["size", "amount"])
    flow = infer(
        Project(
            (replace(households, sensitivity=SECRET), offers),
            (both,),
            (Target("wanted", outputs=["both"]),),
        )
    )
    mine, theirs = (flow.variants[0].features["both"].inputs[name] for name in ("amount", "size"))
    orphan = orphaned(mine, theirs, ["h-4711"], 1)
    apart = disagreeing(mine, theirs, household, household, 1, (17, "h-1", "h-4711", "h-4712"))
    for error in (orphan, apart):
        assert "h-" not in str(error)
        assert "(masked: pii, pseudonym)" in error.why
    assert "offer_id 17 with household_id (masked: pii, pseudonym)" in apart.why
