"""Questions to rows of test, and what each may spend of the error that is allowed on their data.

The n-th question to the same data may miss in 1 / n(n + 1) of all that is allowed, and those that
are asked together divide theirs evenly. All shares there can ever be come to 1, so whoever asks
without end errs no more often than is allowed, and nobody has to say beforehand how often (alpha
spending: Lan & DeMets, Biometrika 70, 1983; of hypotheses one after the other: Foster & Stine, JRSS
B 70, 2008). Dividing by the number of questions so far would not do: 1 + 1/2 + 1/3 + ... has no
bound.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Question:
    """What rows of test are asked: whether a hypothesis holds of some predictions.

    Attributes:
        hypothesis: key of its statement.
        predictions: a digest of those of both variants. Who tunes a stage and runs again asks anew.
        data: a digest of the data that the labels come from. By how they are split makes no
            difference: another split of the same data is no new data.
    """

    hypothesis: str
    predictions: str
    data: str


class Allowance(NamedTuple):
    """What a question may spend.

    Attributes:
        questions: how many the same rows were asked by then, it and those with it included.
        share: of all the error that is allowed to whatever they are ever asked.
    """

    questions: int
    share: float


def share_of_error(before: int, together: int) -> float:
    """What share of all the error that is allowed each of some new questions may spend.

    Args:
        before: how many questions the same rows were asked before.
        together: how many they are asked now.
    """
    return 1 / ((before + 1) * (before + together + 1))


def allowances(
    asked: Iterable[tuple[int, Collection[Question]]],
    spent: Mapping[Question, Allowance],
    missing: Collection[int],
) -> dict[Question, Allowance]:
    """What each question may spend, by its place in a log.

    It follows from what stands before it alone, so whoever reads the log finds the same, and of two
    that asked at once the later one has what is left. Nothing that was asked is ever left out: not
    for hypotheses that are declared no more, nor of predictions that are gone, nor in entries that
    somebody deleted.

    Args:
        asked: the place of an entry, counted from 1, with what was asked together there; in order.
        spent: what questions with a verdict have spent, which is what they keep.
        missing: the places of entries that were deleted, of which each counts as a question.
    """
    found: dict[Question, Allowance] = {}
    for number, together in asked:
        deleted = sum(place < number for place in missing)
        new = [each for each in dict.fromkeys(together) if each not in found]
        for data in {each.data for each in new}:
            alike = [each for each in new if each.data == data]
            before = deleted + sum(each.data == data for each in found)
            total = before + len(alike)
            given = Allowance(total, share_of_error(before, len(alike)))
            found |= {each: spent.get(each, given) for each in alike}
    return found
