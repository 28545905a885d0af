"""Hypotheses: what somebody expects of a variant, said before anybody can know."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ff_assets.core.errors import DefinitionError, Location, caller_location, nearest
from ff_assets.core.metrics import METRICS

if TYPE_CHECKING:
    from ff_assets.core.instance import Variant
    from ff_assets.core.target import Target

Choice = Mapping[str, str | Sequence[str]]

_MOST = 20  # the interval of each is made wider for all the others


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One variant of a target is better than another, by at least so much.

    It is on record before its target is fitted, and the verdict on it is kept for good.
    Whoever edits it has made a new one.

    Args:
        statement: what is expected, in the words of those who want to know: one line.
        kpi: a metric of the target's task. Of errors and losses less is better, so there the
            effect is how much less it is.
        baseline: feature -> provider or providers, as in `Target.choose`: the variant that is to
            be beaten, and no other.
        min_effect: how much better it has to be to be worth having, in units of the kpi; at 0 any
            gain will do. Below 0 it is how much worse it may be.
        claim: in which choices the variant that is to be better differs from the baseline. Needed
            only if the target has more than two variants.

    Raises:
        DefinitionError: there is no statement, no kpi, no choice, or no finite number.
    """

    statement: str
    kpi: str = field(kw_only=True)
    baseline: Choice = field(kw_only=True)
    min_effect: float = field(kw_only=True)
    claim: Choice = field(default_factory=dict, kw_only=True)
    location: Location = field(default_factory=caller_location, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        here = [(f"hypothesis {self.statement!r}", self.location)]
        if not isinstance(self.statement, str) or len(self.statement.strip().splitlines()) != 1:
            raise DefinitionError(
                f"a hypothesis states {self.statement!r}, which is not one line of text.",
                where=here,
                why="by its statement it is found again in years.",
                fix='for example Hypothesis("segments lift redemption", ...).',
            )
        if not isinstance(self.kpi, str):
            raise DefinitionError(
                f"hypothesis `{self.statement}` has the kpi {self.kpi!r}, which names no metric.",
                where=here,
                why="a verdict is about one metric, named beforehand.",
                fix='for example kpi="auc".',
            )
        number = isinstance(self.min_effect, int | float) and not isinstance(self.min_effect, bool)
        if not number or not math.isfinite(self.min_effect):
            raise DefinitionError(
                f"hypothesis `{self.statement}` wants an effect of {self.min_effect!r}, which is "
                "no number.",
                where=here,
                why="an effect that is not worth having is none: say from where on it is.",
                fix="for example min_effect=0.01; 0 if any effect will do.",
            )
        for name, choice in (("baseline", self.baseline), ("claim", self.claim)):
            self._check_choice(name, choice, here)

    def _check_choice(
        self, name: str, choice: object, here: Sequence[tuple[str, Location]]
    ) -> None:
        if (
            isinstance(choice, Mapping)
            and (choice or name == "claim")
            and all(_names(providers) for providers in choice.values())
        ):
            return
        raise DefinitionError(
            f"the {name} of hypothesis `{self.statement}` chooses no providers: {choice!r}.",
            where=here,
            why="variants are told apart by who provides a feature.",
            fix=f'for example {name}={{"text_vector": "tfidf"}}.',
        )


@dataclass(frozen=True)
class Stated:
    """A hypothesis with the two variants that it is about.

    Attributes:
        hypothesis: of a target.
        baseline: the variant that is to be beaten.
        claim: the one that is to be better.
    """

    hypothesis: Hypothesis
    baseline: "Variant"
    claim: "Variant"

    @property
    def variants(self) -> tuple["Variant", "Variant"]:
        """The claim and the baseline."""
        return self.claim, self.baseline

    @cached_property
    def content(self) -> dict[str, Any]:
        """What it says, as plain values: another content is another hypothesis.

        Variants stand there by the choices in which they differ, or that are declared, so a third
        provider of something changes no hypothesis about the two that were there before.
        """
        one, other = self.baseline.choices, self.claim.choices
        told = {name for name in one.keys() & other.keys() if one[name] != other[name]}
        told |= self.hypothesis.baseline.keys() | self.hypothesis.claim.keys()
        return {
            "target": self.claim.target.name,
            "statement": self.hypothesis.statement.strip(),
            "kpi": self.hypothesis.kpi,
            "min_effect": float(self.hypothesis.min_effect),
            "baseline": _providers(self.baseline, told),
            "claim": _providers(self.claim, told),
        }


def stated(target: "Target", variants: Sequence["Variant"]) -> tuple[Stated, ...]:
    """The hypotheses of a target, each with the variants that it means.

    Args:
        variants: all of the target.

    Raises:
        DefinitionError: a choice means no variant or several, or both are the same.
    """
    return tuple(_stated(target, each, variants) for each in target.hypotheses)


def check_hypotheses(target: "Target") -> None:
    """See that a target can have its hypotheses.

    Raises:
        DefinitionError: it has no label, one of them is none or states what another one does, a
            kpi is no metric of the task, or there are too many.
    """
    here = (f"target {target.name!r}", target.location)
    seen: dict[str, Hypothesis] = {}
    if not isinstance(target.hypotheses, Sequence) or not all(
        isinstance(each, Hypothesis) for each in target.hypotheses
    ):
        raise DefinitionError(
            f"the hypotheses of target `{target.name}` are no list of them.",
            where=[here],
            why=f"it was given {target.hypotheses!r}.",
            fix='for example hypotheses=[Hypothesis("segments lift redemption", kpi="auc", '
            'baseline={"profile": "plain"}, min_effect=0.01)].',
        )
    if len(target.hypotheses) > _MOST:
        raise DefinitionError(
            f"target `{target.name}` has {len(target.hypotheses)} hypotheses; {_MOST} is the most.",
            where=[here],
            why="the interval of each is wider the more are asked of the same rows of test, so "
            "that none holds by luck.",
            fix="keep those that something depends on.",
        )
    for hypothesis in target.hypotheses:
        there = _where(hypothesis)
        if target.task is None:
            raise DefinitionError(
                f"target `{target.name}` has the hypothesis `{hypothesis.statement}`, but has no "
                "label.",
                where=[there, here],
                why="a verdict compares a metric, and there is none without the truth.",
                fix="declare label and task, or leave `hypotheses` out.",
            )
        if hypothesis.kpi not in METRICS[target.task]:
            raise DefinitionError(
                f"hypothesis `{hypothesis.statement}` has the kpi {hypothesis.kpi!r}, which is no "
                f"metric of a {target.task} target.",
                where=[there, here],
                why=nearest(hypothesis.kpi, METRICS[target.task]),
                fix=f"name one of {', '.join(METRICS[target.task])}.",
            )
        other = seen.setdefault(hypothesis.statement.strip(), hypothesis)
        if other is not hypothesis:
            raise DefinitionError(
                f"target `{target.name}` states `{hypothesis.statement}` twice.",
                where=[_where(other), there, here],
                why="the later one would be taken for an edit of the other.",
                fix="say in their statements what tells them apart.",
            )


def _stated(target: "Target", given: Hypothesis, variants: Sequence["Variant"]) -> Stated:
    where = [_where(given), (f"target {target.name!r}", target.location)]
    chosen = [variant for variant in variants if _has(variant, given.baseline)]
    if len(chosen) != 1:
        raise DefinitionError(
            f"the baseline of hypothesis `{given.statement}` means "
            + (f"{len(chosen)} variants: {_listed(chosen)}." if chosen else "no variant."),
            where=where,
            why=_choices_in(chosen or variants, given.baseline),
            fix="choose so that one is left, " + _example("baseline", (chosen or variants)[0]),
        )
    (baseline,) = chosen
    if given.claim:
        wanted = {**given.baseline, **given.claim}
        claims = [variant for variant in variants if _has(variant, wanted)]
    else:
        claims = [variant for variant in variants if variant is not baseline]
    if claims == [baseline]:
        raise DefinitionError(
            f"the claim of hypothesis `{given.statement}` means its baseline, `{baseline.name}`.",
            where=where,
            why="a variant is not better than itself.",
            fix="name in `claim` the provider that is to make the difference.",
        )
    if len(claims) != 1:
        raise DefinitionError(
            f"hypothesis `{given.statement}` does not say which variant is to be better than "
            f"`{baseline.name}`: "
            + (f"{len(claims)} could be, {_listed(claims)}." if claims else "there is no such."),
            where=where,
            why=_choices_in(claims or variants, given.claim or given.baseline),
            fix="declare a second provider of something first."
            if len(variants) == 1
            else "say in what it differs from the baseline, "
            + _example("claim", next(v for v in claims or variants if v is not baseline), baseline),
        )
    return Stated(given, baseline, claims[0])


def _where(hypothesis: Hypothesis) -> tuple[str, Location]:
    return f"hypothesis {hypothesis.statement!r}", hypothesis.location


def _names(providers: object) -> bool:
    if isinstance(providers, str):
        return True
    return (
        isinstance(providers, Sequence)
        and bool(providers)
        and all(isinstance(name, str) for name in providers)
    )


def _has(variant: "Variant", choice: Choice) -> bool:
    """Whether a variant has one of the chosen providers for every feature."""
    for name, providers in choice.items():
        instance = variant.features.get(name)
        allowed = [providers] if isinstance(providers, str) else providers
        if instance is None or instance.provider.name not in allowed:
            return False
    return True


def _providers(variant: "Variant", features: set[str]) -> dict[str, str]:
    return {name: variant.features[name].provider.name for name in sorted(features)}


def _listed(variants: Sequence["Variant"]) -> str:
    return ", ".join(f"`{variant.name}`" for variant in variants)


def _choices_in(variants: Sequence["Variant"], given: Choice) -> str:
    """What can be chosen between variants, or which of the given choices nobody has."""
    for name in given:
        if not any(name in variant.features for variant in variants):
            return f"no variant uses `{name}`; " + nearest(name, variants[0].choices)
    features = dict.fromkeys(name for variant in variants for name in variant.choices)
    told = []
    for name in features:
        providers = dict.fromkeys(v.choices[name] for v in variants if name in v.choices)
        told.append(f"`{name}` is provided by {' or '.join(f'`{each}`' for each in providers)}")
    return "; ".join(told) or "nothing has several providers, so there is one variant"


def _example(argument: str, variant: "Variant", beside: "Variant | None" = None) -> str:
    choices = {
        name: provider
        for name, provider in variant.choices.items()
        if beside is None or beside.choices.get(name) != provider
    }
    return f"for example {argument}={choices!r}."
