"""What Dagster shows of sensitive data and of whom to ask; denied data keep it from loading."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from ff_assets import Governance
from ff_assets.assets.build import build_definitions
from ff_assets.core.errors import PolicyViolation
from ff_assets.settings import Settings
from ff_assets_tests.projects import reviews, sentiment_stage, sentiment_target, small_project

PII = {"text": ["pii"], "review_id": ["pseudonym"]}


def test_assets_can_be_searched_by_their_tags(reviews_file: Path) -> None:
    ended = sentiment_stage().declassified("pii", because="one score for each review")
    project = small_project(reviews(reviews_file, sensitivity=PII), replaced={"sentiment": ended})

    graph = build_definitions(project, Settings.load()).resolve_asset_graph()

    def tags(*key: str) -> set[str]:
        found = graph.get(dg.AssetKey(key)).tags
        return {name for name in found if name.startswith("sensitivity/")}

    assert tags("sources", "reviews") == {"sensitivity/pii", "sensitivity/pseudonym"}
    assert tags("features", "tokens") == {"sensitivity/pii", "sensitivity/pseudonym"}
    assert tags("features", "sentiment") == {"sensitivity/pseudonym"}
    assert tags("models", "sentiment_model") == {"sensitivity/pii"}
    # Predictions keep the text.
    assert "sensitivity/pii" in tags("predictions", "sentiment", "staging")

    def columns(*key: str) -> dict[str, str]:
        schema = graph.get(dg.AssetKey(key)).metadata["dagster/column_schema"]
        return {column.name: column.description for column in schema.columns}

    assert "sensitive: pii" in columns("features", "tokens")["tokens"]
    assert "sensitive: pseudonym" in columns("features", "tokens")["review_id"]
    shown = columns("features", "sentiment")
    assert shown["sentiment"].endswith("not pii: one score for each review")
    assert shown["_probability"].endswith("not pii: one score for each review")


def test_a_stage_without_an_owner_has_those_of_its_targets(reviews_file: Path) -> None:
    target = replace(sentiment_target(), owner="team:moods")
    project = small_project(reviews(reviews_file, owner="team:data"), target=target)

    graph = build_definitions(project, Settings.load()).resolve_asset_graph()

    def owners(*key: str) -> list[str]:
        return graph.get(dg.AssetKey(key)).owners

    assert owners("features", "tokens") == ["team:moods"]
    assert owners("models", "sentiment_model") == ["team:moods"]
    assert owners("features", "marks") == ["team:tests"]  # its own
    assert owners("sources", "reviews") == ["team:data"]


def test_nothing_loads_that_would_deliver_what_is_denied(reviews_file: Path) -> None:
    project = small_project(reviews(reviews_file, sensitivity=PII))
    policy = Governance(deny={"pii": ["predictions/*"]})

    with pytest.raises(PolicyViolation):
        build_definitions(replace(project, governance=policy), Settings.load())
