"""What the variants of a target are measured by: one truth for all of them, of the same rows."""

from collections.abc import Sequence

from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError
from ff_assets.core.instance import Variant
from ff_assets.core.split import TimeSplit


def check_truth(siblings: Sequence[Variant]) -> None:
    """See that the variants of a target can be measured, and compared with each other.

    Raises:
        DefinitionError: they have labels of their own; or, under a split by time, labels of other
            rows than those predicted about.
    """
    for variant in siblings:
        _check_times(variant)
        _check_same(siblings[0], variant)


def _check_same(one: Variant, other: Variant) -> None:
    """A metric by another truth is another metric, and no leaderboard says which is better."""
    target = one.target
    assert target.label is not None
    truths = one.features[target.label], other.features[target.label]
    if truths[0] is truths[1]:
        return
    mine, theirs = ({(target.label, t.provider.name), *t.choices} for t in truths)
    differs = dict(theirs - mine)
    feature, provider = min((f, p) for f, p in mine - theirs if f in differs)
    also, names = "", (provider, differs[feature])
    if feature != target.label:
        also = f" They differ by `{feature}`, which `{provider}` and `{differs[feature]}` provide."
        names = (truths[0].name, truths[1].name)
    raise DefinitionError(
        f"the variants of target `{target.name}` are measured by different labels: `{target.label}`"
        f" is made by `{names[0]}` for {one.name}, and by `{names[1]}` for {other.name}.",
        where=[describe(target), *dict.fromkeys(describe(t.provider) for t in truths)],
        why="variants are compared on the same rows by the same truth; metrics by two truths do "
        f"not tell which variant is better.{also}",
        fix=f"choose one for the target: choose={{{feature!r}: [{provider!r}]}}; or declare a "
        "target for each.",
    )


def _check_times(variant: Variant) -> None:
    """By time, rows of two entities are in parts of their own, so they cannot be compared."""
    target, split = variant.target, variant.split
    assert target.label is not None
    truth, predicted = variant.features[target.label].entity, variant.prediction.entity
    if isinstance(split, TimeSplit) and truth != predicted:
        raise DefinitionError(
            f"target `{target.name}` compares predictions about `{predicted.name}` with labels of "
            f"`{truth.name}` under a split by time.",
            where=[describe(target), ("TimeSplit(...)", split.location)],
            why="a row of the one may be of another time than the row of the other that "
            "belongs to it, so a prediction for train would be measured in test.",
            fix=f"predict for each row of `{truth.name}`, or split by key.",
        )
