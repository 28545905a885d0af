"""`ff hypotheses`: what was expected of targets, and what became of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from ff_assets.cli.project import declared_targets
from ff_assets.cli.registry import registry
from ff_assets.core.errors import nearest
from ff_assets.registry import RegistryError, told
from ff_assets.registry.hypotheses import HYPOTHESES, Book, HypothesisLog, Told, targets_on_record

# None of them is an alarm: that something does not hold is a result.
_COLOURS = {
    "validated": "green",
    "invalidated": "magenta",
    "undecided": "yellow",
    "exploratory": "cyan",
}
_OPEN = "none"


@dataclass(frozen=True)
class HypothesesReport:
    """The hypotheses that were asked for.

    Attributes:
        books: the records of targets, with what was asked for only.
        targets: how many have a record.
    """

    books: tuple[Book, ...]
    targets: int

    exit_code = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "hypotheses": [each.as_dict() for book in self.books for each in book.told],
            "damaged": {book.target: list(book.damaged) for book in self.books if book.damaged},
        }

    def print(self, console: Console) -> None:
        for book in self.books:
            if book.told:
                console.print(f"[bold]{escape(book.target)}[/]")
            for each in book.told:
                _print(each, console)
            if book.damaged:
                numbers = ", ".join(map(str, book.damaged))
                console.print(
                    f"[red]deleted or edited in MLflow:[/] entry {numbers} of "
                    f"{book.target}{HYPOTHESES}. What it said is not known.\n"
                )
        count = sum(len(book.told) for book in self.books)
        if not self.targets:
            console.print(
                "no hypothesis is on record. One is declared on its target, "
                "Target(..., hypotheses=[Hypothesis(...)]), and stated by the next run."
            )
        elif not count:
            console.print("no hypothesis on record is like that; ff hypotheses shows all of them.")


def _print(hypothesis: Told, console: Console) -> None:
    statement = hypothesis.statement
    replaced = " [dim](replaced by an edit)[/]" if hypothesis.replaced_by else ""
    stated = f"stated {_day(statement.at)} by {escape(statement.who)}"
    if not hypothesis.judgements:
        console.print(f"  “{escape(statement.text)}” has no verdict yet; {stated}{replaced}")
    else:
        latest = hypothesis.judgements[-1]
        console.print(f"  {coloured(asdict(latest))}", soft_wrap=True)
        versions = [
            f"version {number} ({escape(name)})" if number else f"no version ({escape(name)})"
            for name, number in latest.versions.items()
        ]
        console.print(
            f"    [dim]{stated}, judged {_day(latest.at)}: {' against '.join(versions)}[/]"
            f"{replaced}",
            soft_wrap=True,
        )
        for earlier in reversed(hypothesis.judgements[:-1]):
            console.print(f"    [dim]before, {_day(earlier.at)}: {earlier.verdict}[/]")
    console.print()


def _day(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M} UTC"


def coloured(judgement: Mapping[str, Any]) -> str:
    """The sentence of a verdict for rich, which shows at a glance what it says."""
    verdict = str(judgement["verdict"])
    before, is_so, after = str(judgement["sentence"]).partition(f"” is {verdict}")
    if not is_so:
        return escape(before)
    colour = _COLOURS[verdict]
    return f"{escape(before)}” is [{colour} bold]{verdict}[/]{escape(after)}"


def tell(target: str | None, verdict: str | None, text: str) -> HypothesesReport:
    """Read the record. Loads neither declarations nor Spark.

    Args:
        target: only of this one.
        verdict: only those whose latest verdict is this, `none` for those without.
        text: only those whose statement has this in it, in upper or lower case.

    Raises:
        RegistryError: no hypothesis of the target is on record.
        MlflowUnavailable: MLflow does not answer.
    """
    runs = registry()
    with told("the record of hypotheses cannot be read.", "see that MLflow answers: ff doctor"):
        known = targets_on_record(runs)
        if target is not None and target not in known:
            declared = declared_targets()
            if declared is not None and target not in declared:
                raise RegistryError(
                    f"there is no target `{target}`, and no hypothesis of one is on record.",
                    why=f"in the flow modules and in MLflow at {runs.tracking_uri}, "
                    + nearest(target, {*known, *declared}),
                    fix="the name may be wrong; `ff check` lists the targets.",
                )
            raise RegistryError(
                f"no hypothesis of `{target}` is on record.",
                why=f"in MLflow at {runs.tracking_uri}, " + nearest(target, known),
                fix="one is declared on its target, Target(..., hypotheses=[Hypothesis(...)]), and "
                f"stated by the next run: ff run {target}.",
            )
        books = [HypothesisLog(runs, name).read() for name in known if target in (None, name)]

    def is_asked_for(each: Told) -> bool:
        is_so = verdict in (None, each.verdict or _OPEN)
        return is_so and text.lower() in each.statement.text.lower()

    asked = tuple(
        Book(book.target, tuple(filter(is_asked_for, book.told)), book.damaged) for book in books
    )
    return HypothesesReport(asked, len(known))
