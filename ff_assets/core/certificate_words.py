"""What a certificate says in words: its sentence, what it assumes, and what it does not cover."""

from collections.abc import Iterator
from datetime import date

from ff_assets.core.accounts import day_of
from ff_assets.core.entities import Entity, finest
from ff_assets.core.instance import Variant
from ff_assets.core.leak_refusals import DOUBTS, TRANSDUCTIVE
from ff_assets.core.split import Split, TimeSplit
from ff_assets.core.verdict import Verdict


def sentence(verdict: Verdict, *, rows: int, groups: int) -> str:
    """The verdict in one plain sentence, with what was counted.

    A split by key keeps each household on one side, so households are counted; a split by time
    keeps rows apart, and only these.
    """
    if verdict.refusals:
        return verdict.sentence
    split, name = verdict.variant.split, unit(verdict.variant).name
    count = rows if isinstance(split, TimeSplit) else groups
    evaluated = f"{count:,} evaluated {plural(name, count)}"
    models = len(verdict.models)
    if not models:
        return f"Honest: nothing was fitted for this score of {evaluated}."
    codes = {finding.code: finding.text for finding in verdict.warnings}
    none_of = "no label of" if TRANSDUCTIVE in codes else "none of"
    later = ""
    if isinstance(split, TimeSplit) and TRANSDUCTIVE not in codes:
        first = (verdict.evaluated & -verdict.evaluated).bit_length() - 1
        later = f", and nothing of {date.fromordinal(day_of(split, first))} or later,"
    any_of = f"any of the {models} models" if models > 1 else "the model"
    doubts = [codes[code] for code in DOUBTS if code in codes]
    but = f", but {doubts[0].rstrip('.')}." if doubts else "."
    return (
        f"Honest: {none_of} the {evaluated}{later} was used to fit {any_of} behind this score{but}"
    )


def unit(variant: Variant) -> Entity:
    """What the split keeps apart: the root entity's rows, or by time the measured rows."""
    if not isinstance(variant.split, TimeSplit):
        return variant.entity.root
    label = variant.target.label
    assert label is not None
    row = finest([variant.prediction.entity, variant.features[label].entity])
    return row or variant.entity


def plural(name: str, count: int) -> str:
    """An entity's name for so many of it: `household`, `households`, `web entries`."""
    words = name.replace("_", " ")
    if count == 1:
        return words
    if words.endswith("y") and words[-2:-1] not in "aeiou":
        return words[:-1] + "ies"
    return words + ("es" if words.endswith(("s", "x", "z", "ch", "sh")) else "s")


def assumptions(verdict: Verdict, entity: Entity) -> Iterator[str]:
    """What the claim rests on."""
    if not isinstance(verdict.variant.split, TimeSplit):
        yield f"Different {plural(entity.name, 2)} are independent of each other."
    yield "Stages and loaders read only what is declared."
    yield "No input is a function of the row's own label."
    yield "Every choice that was made by looking at a metric is declared."
    if verdict.provenance.attested:
        yield "What is stated of models from elsewhere is true."


def not_covered(split: Split, entity: Entity) -> Iterator[str]:
    """What may make a metric mislead although no row of it was used for a fit."""
    if isinstance(split, TimeSplit):
        yield "That the score is unbiased: shown is that nothing later was used."
    yield "Drift: later data may be other than these."
    yield "Feedback: actions that are taken on predictions change outcomes."
    yield f"Near-duplicates among different {plural(entity.name, 2)}."
    yield "Undeclared reads: `ff audit` looks for them by flipping labels."
    yield "Wear: the best of many metrics on the same rows looks better than it is; see `reads`."
    yield "Who wrote this: the digest shows an edit, not an author."
