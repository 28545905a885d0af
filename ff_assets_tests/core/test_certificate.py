"""Certificates: what they say, and that nothing about them can be changed unnoticed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ff_assets import Attested, HashSplit, LeakPolicy, Source, Stage, Target
from ff_assets.core.certificate import (
    CertificateError,
    Claim,
    Facts,
    certificate,
    claims,
    digest,
    require,
    stale,
    verify,
)
from ff_assets.core.certificate_words import plural, sentence
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets_tests.core.founding import (
    MAY,
    action,
    event,
    external,
    label_free,
    order,
    people,
    supervised,
    target,
    verdict,
)
from ff_assets_tests.core.stubs import transformer

METRICS = {"auc": {"value": 0.8, "low": 0.7, "high": 0.9, "method": "delong"}}


def claims_of(
    *stages: Stage, source: Source | None = None, others: tuple[Target, ...] = (), **given: Any
) -> tuple[Claim, ...]:
    policy = given.pop("policy", LeakPolicy())
    split = {"split": given.pop("project_split")} if "project_split" in given else {}
    flow = infer(
        Project((source or people(),), stages, (target(**given), *others), policy=policy, **split)
    )
    return claims(flow)[flow.variants[0]]


def made(claim: Claim, **changes: Any) -> dict[str, Any]:
    facts = Facts(
        evaluation="e1",
        rows=1600,
        unlabelled=3,
        groups=493,
        metrics=METRICS,
        fingerprints={i: f"print of {i.name}" for i in claim.verdict.variant.instances},
        reads={"reads": 2, "variants": 1},
        checks=("Keys are unique.",),
        observed={
            instance: {"": {"rows": 1987, "buckets": [(3, 799)]}}
            for instance in claim.verdict.variant.instances
            if instance.is_estimator
        },
    )
    return certificate(claim, replace(facts, **changes))


@pytest.fixture(scope="module")
def claim() -> Claim:
    (only,) = claims_of(supervised, action)
    return only


# What it says


@pytest.mark.parametrize(
    ("judged", "says"),
    [
        (
            verdict(supervised, action),
            "Honest: none of the 493 evaluated customers was used to fit any of the 2 models "
            "behind this score.",
        ),
        (
            verdict(label_free, action, source=people(order)),
            "Honest: none of the 493 evaluated customers was used to fit any of the 2 models "
            "behind this score.",
        ),
        (
            verdict(transformer("segments", ["age"]), action),
            "Honest: none of the 493 evaluated customers was used to fit the model behind this "
            "score.",
        ),
        (
            verdict(transformer("action", ["age"])),
            "Honest: nothing was fitted for this score of 493 evaluated customers.",
        ),
        (
            verdict(label_free, action, source=people(event), split=MAY),
            "Honest: none of the 1,600 evaluated events, and nothing of 2017-05-01 or later, was "
            "used to fit any of the 2 models behind this score.",
        ),
        (
            verdict(
                label_free.fit_on("train", "test"),
                action,
                policy=LeakPolicy(transductive="warn"),
            ),
            "Honest: no label of the 493 evaluated customers was used to fit any of the 2 models "
            "behind this score, but `segments` was fitted on features, though on no label, of "
            "test.",
        ),
        (
            verdict(external(Attested("only 2016 was used", buckets=range(800))), action),
            "Honest: none of the 493 evaluated customers was used to fit any of the 2 models "
            "behind this score, but that `segments` has not read test rests on a statement: only "
            "2016 was used.",
        ),
    ],
)
def test_one_plain_sentence(judged: Any, says: str):
    assert sentence(judged, rows=1600, groups=493) == says


def test_a_refused_metric_is_not_called_honest():
    (refused,) = claims_of(supervised.fit_on("train", "test"), action)
    told = made(refused)
    assert told["sentence"].startswith("Refused (FIT_OVERLAP): ")
    assert (told["verdict"], told["code"], told["grade"]) == ("refused", "FIT_OVERLAP", "")
    assert [stage["disjoint"] for stage in told["chain"]] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("household", 2, "households"),
        ("household", 1, "household"),
        ("web_entry", 0, "web entries"),
        ("day", 7, "days"),
        ("box", 2, "boxes"),
    ],
)
def test_a_small_rule_of_plurals(name: str, count: int, words: str):
    assert plural(name, count) == words


def test_the_chain_says_which_rows_each_fit_has_read(claim: Claim):
    told = made(claim)
    assert next(iter(told)) == "sentence"
    source, segments, model = told["chain"]
    assert (source["kind"], source["fits"]) == ("source", [])
    given = {"observed": {"rows": 1987, "buckets": [[3, 799]]}}
    declared = {"name": "all", "rows": "train (0-799)", "buckets": [[0, 799]]}
    assert segments["fits"] == [declared | given]
    assert segments["labels"] == "train (0-799)"
    assert model["fingerprint"] == "print of action"
    assert told["data"] == {"people": "print of people"}
    assert told["evaluated"] == {
        "entity": "customer",
        "buckets": [[800, 999]],
        "rows": 1600,
        "unlabelled": 3,
        "groups": 493,
    }
    assert told["label"] == {
        "feature": "bought",
        "providers": ["people"],
        "made_from": ["people.bought"],
    }
    assert [warning["code"] for warning in told["warnings"]] == ["OOF_REQUIRED"]
    assert told["grade"] == "B"


def test_only_what_is_asked_for_is_certified():
    folded = action.cross_fit(5)
    (test,) = claims_of(label_free, folded)
    assert test.verdict.cell == "test"
    plain = transformer("segments", ["age"])
    found = claims_of(plain, folded, certify=["test", "fold_1"])
    told = [made(claim)["evaluated"]["buckets"] for claim in found]
    assert told == [[[800, 999]], [[160, 319]]]


def test_a_claim_changes_with_declarations_that_change_no_value(claim: Claim):
    def digests(**given: Any) -> list[str]:
        return [each.digest for each in claims_of(label_free, action, **given)]

    before = digests()
    assert digests() == before
    # That spend is an outcome makes segments, which read it, one that has seen labels.
    other = target(name="other", outputs=["age"], label="spend", task="regression")
    assert digests(others=(other,)) != before
    assert digests(select_on="train") != before
    assert digests(name="renamed") != before
    dated = [
        digests(source=people(event, horizon), split=MAY, project_split=HashSplit())
        for horizon in ("0d", "1d")
    ]
    assert dated[0] != dated[1]
    doubts = [
        claims_of(external(Attested(words, buckets=range(800))), action)[0].digest
        for words in ("as we know", "as they say")
    ]
    assert doubts[0] != doubts[1]


# That it holds


Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, Mapping | list) and value:
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path


def flipped(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return value + "x" if isinstance(value, str) else [1]


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def code_of(found: Mapping[str, Any]) -> str:
    with pytest.raises(CertificateError) as caught:
        verify(found)
    error = caught.value
    assert all((error.what, error.why, error.fix))
    assert f"[{error.code}]" in str(error)
    return error.code


def test_a_change_of_any_leaf_is_noticed(claim: Claim):
    whole = made(claim)
    verify(whole)
    paths = list(leaves(whole))
    assert len(paths) > 80
    for path in paths:
        edited = json.loads(json.dumps(whole))
        at(edited, path[:-1])[path[-1]] = flipped(at(edited, path))
        assert code_of(edited) == "CERTIFICATE_EDITED", path


def test_what_is_left_out_or_added_is_noticed(claim: Claim):
    whole = made(claim)
    for part in whole:
        less = {name: value for name, value in whole.items() if name != part}
        expected = "CERTIFICATE_INCOMPLETE" if part == "digest" else "CERTIFICATE_EDITED"
        assert code_of(less) == expected
        if part != "digest":
            assert code_of(signed(less)) == "CERTIFICATE_INCOMPLETE", part
    assert code_of(whole | {"note": "fine"}) == "CERTIFICATE_EDITED"
    assert code_of(signed(whole | {"format": 1})) == "CERTIFICATE_INCOMPLETE"


def signed(edited: Mapping[str, Any]) -> dict[str, Any]:
    """With the digest that it would have."""
    body = {part: value for part, value in edited.items() if part != "digest"}
    return body | {"digest": digest(body)}


def test_the_order_of_keys_does_not_count(claim: Claim):
    whole = made(claim)

    def turned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: turned(inner) for key, inner in reversed(value.items())}
        return [turned(inner) for inner in value] if isinstance(value, list) else value

    verify(turned(whole))
    assert list(turned(whole)) != list(whole)


def test_a_certificate_of_another_split_is_stale(claim: Claim):
    whole = made(claim)
    assert stale(whole, HashSplit()) is None
    finding = stale(whole, HashSplit(salt="ours"))
    assert finding is not None
    assert (finding.code, finding.text[:22]) == ("STALE_POLICY", "the certificate of t o")


def refused(claim: Claim, found: Mapping[str, Any], **details: Any) -> CertificateError:
    given = {"certificates": {"test": found}, "cells": {"test": {"metrics": METRICS}}} | details
    with pytest.raises(CertificateError) as caught:
        require(claim.verdict.variant, (claim,), "e1", given, "store/e1.json")
    assert "store/e1.json" in caught.value.fix or caught.value.code == "FIT_OVERLAP"
    return caught.value


def test_what_does_not_hold_is_refused_with_its_code(claim: Claim):
    whole = made(claim)
    measured = {"cells": {"test": {"metrics": METRICS}}, "certificates": {"test": whole}}
    require(claim.verdict.variant, (claim,), "e1", measured, "store/e1.json")

    assert refused(claim, whole, certificates={}).code == "NO_CERTIFICATE"
    assert refused(claim, whole | {"grade": "A"}).code == "CERTIFICATE_EDITED"
    better = {"auc": METRICS["auc"] | {"value": 0.99}}
    cells = {"test": {"metrics": better}}
    assert refused(claim, whole, cells=cells).code == "CERTIFICATE_FOREIGN"
    assert refused(claim, made(claim, evaluation="e2")).code == "CERTIFICATE_FOREIGN"
    error = refused(claim, signed(whole | {"grade": "A"}))
    assert (error.code, "`grade`" in error.what) == ("CERTIFICATE_FOREIGN", True)
    (other,) = claims_of(supervised, action, project_split=HashSplit(salt="ours"))
    assert refused(claim, made(other)).code == "STALE_POLICY"
    (leaky,) = claims_of(supervised.fit_on("train", "test"), action)
    assert refused(leaky, made(leaky)).code == "FIT_OVERLAP"


def test_a_measured_target_that_certifies_nothing_is_refused():
    assert claims_of(label_free, action, certify=[]) == ()
    flow = infer(Project((people(),), (label_free, action), (target(certify=[]),)))
    with pytest.raises(CertificateError, match="NO_CERTIFICATE"):
        require(flow.variants[0], (), "e1", {}, "store/e1.json")
