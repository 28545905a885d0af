"""`ff policy` and `ff check` about sensitive data: in a fork, without Spark and without data."""

import textwrap
from pathlib import Path

import pytest

from ff_assets_tests.test_cli import Fork, make_fork

pytestmark = pytest.mark.xdist_group("cli")

FLOW = textwrap.dedent(
    """
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import HashingTF, RegexTokenizer

    from ff_assets import Entity, Governance, Source, Target, stage

    governance = Governance(deny={"pii": ["predictions/*", "notebooks/*"]})
    review = Entity("review", key="review_id")
    reviews = Source(
        "reviews",
        entity=review,
        load=len,
        features={"text": "string", "is_positive": "double"},
        labels=["is_positive"],
        version="1",
        sensitivity={"text": ["pii"]},
        owner="team:nlp",
    )
    tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens")
    vector = stage(HashingTF, inputCol="tokens", outputCol="vector")ENDS
    sentiment = stage(
        LogisticRegression,
        featuresCol="vector",
        labelCol="is_positive",
        predictionCol="sentiment",
    )
    target = Target(
        "mood", outputs=["sentiment"], label="is_positive", task="binary", owner="team:nlp"
    )
    """
)
ENDS = '.declassified("pii", because="words are hashed to 32 numbers")'


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Fork:
    return make_fork(tmp_path_factory.mktemp("fork"))


@pytest.fixture
def denied(fork: Fork) -> Fork:
    fork.write_flow(FLOW.replace("ENDS", ""))
    return fork


@pytest.fixture
def permitted(fork: Fork) -> Fork:
    fork.write_flow(FLOW.replace("ENDS", ENDS))
    return fork


def test_loading_refuses_what_is_denied_and_policy_explains_it(denied: Fork) -> None:
    checked = denied.ff("check")
    assert checked.code == 1
    assert "PolicyViolation: `pii` would reach predictions/mood/production" in checked.err
    assert "path: reviews.text -> tokens -> vector -> sentiment -> predictions/" in checked.err

    shown = denied.ff("policy")
    assert shown.code == 1
    assert "path: reviews.text -> tokens -> vector -> sentiment -> predictions/" in shown.out
    told = denied.ff("policy", "--json")
    assert told.code == 1
    assert told.json["deny"] == {"pii": ["predictions/*", "notebooks/*"]}
    assert [each["asset"] for each in told.json["denied"]] == [
        "predictions/mood/production",
        "predictions/mood/staging",
    ]

    of_target = denied.ff("policy", "mood")
    assert of_target.code == 1
    assert "pii, denied: reviews.text -> tokens -> vector -> sentiment" in of_target.out


def test_a_tag_that_ends_is_shown_with_its_reason(permitted: Fork) -> None:
    checked = permitted.ff("check", **permitted.without_java())
    assert checked.code == 0, checked.err
    assert "1 sensitivity tag (pii) in 2 of 10 assets, none where the policy" in checked.out
    assert permitted.ff("check", "--json").json["sensitivity"] == {"pii": 2}

    for name in (), ("mood",), ("sentiment",):
        shown = permitted.ff("policy", *name)
        assert shown.code == 0
        assert "`pii` ends at vector (ff_assets/flows/reviews.py:" in shown.out
        assert "words are hashed to 32 numbers" in shown.out
    (told,) = permitted.ff("policy", "vector", "--json").json["reached"]
    assert told["paths"] == {}
    assert [end["because"] for end in told["ended"]] == ["words are hashed to 32 numbers"]
    (told,) = permitted.ff("policy", "tokens", "--json").json["reached"]
    assert told["paths"] == {"pii": ["reviews.text", "tokens"]}
    assert (told["denied"], told["kept_out"]) == ([], ["pii"])
    assert "kept out of notebooks for pii: reviews.text, tokens" in permitted.ff("policy").out
    assert not permitted.java_was_started


def test_what_protects_nothing_is_a_warning(fork: Fork) -> None:
    fork.write_flow(FLOW.replace("ENDS", ENDS).replace('deny={"pii"', 'deny={"pi"'))
    for command in "check", "policy":
        shown = fork.ff(command)
        assert shown.code == 0
        assert "the tag `pi`, which no source declares (nearest existing names: pii)" in shown.out
    assert "`pi`" in "".join(fork.ff("check", "--json").json["warnings"])


def test_nobody_to_ask(fork: Fork) -> None:
    fork.write_flow(FLOW.replace("ENDS", ENDS).replace(', owner="team:nlp"\n', "\n"))
    checked = fork.ff("check")
    assert checked.code == 1
    assert "target `mood` has no owner. [OWNER_REQUIRED]" in checked.err
    assert str(Path("ff_assets") / "flows" / "reviews.py") in checked.err


def test_an_unknown_name(permitted: Fork) -> None:
    asked = permitted.ff("policy", "vectr")
    assert asked.code == 1
    assert "nearest existing names: vector" in asked.err
