"""The hypotheses of targets and the verdicts on them, kept in MLflow's model registry.

The store may be deleted at any time, so the record of `sentiment` is a log in the registry, the
registered model `sentiment.hypotheses`, see `log`. Nothing in it is changed: an edit of a
hypothesis is another one, and new data or code bring a further verdict. The latest is on what was
there in the latest run. Of two processes that say the same, whoever came first has said it. Nor is
anything answered that is not on record as a question before: what its interval may miss in goes by
that entry's place, so two processes that ask at once do not spend the same part of the error twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ff_assets.core.conclusion import Effect, Verdict
from ff_assets.core.fingerprint import digest
from ff_assets.core.hypothesis import Stated
from ff_assets.core.questions import Allowance, Question, allowances
from ff_assets.registry.log import Line, Log, sealed, unsealed
from ff_assets.registry.publish import FINGERPRINT_TAG
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.versions import pages

HYPOTHESES = ".hypotheses"
_ENTRY_TAG = "ff.hypothesis"
_KIND_TAG = "ff.kind"
_VERDICT_TAG = "ff.verdict"
_ABOUT = (
    "What was expected of `{target}`, and the verdicts: each version is an entry, and is never "
    "changed. Read it with `ff hypotheses {target}`. Please do not delete its versions or edit "
    "their tags: the record would show it."
)


@dataclass(frozen=True)
class Statement:
    """A hypothesis, as somebody stated it.

    Attributes:
        key: a digest of its content, which names it.
        content: see `core/hypothesis.py`.
        baseline, claim: names of the variants that it meant then.
        who: stated it.
        at: when, as ISO 8601 with time zone.
        known: how it could be known by then whether it holds, as a clause; empty if it could not.
    """

    key: str
    content: Mapping[str, Any]
    baseline: str
    claim: str
    who: str
    at: str
    known: str

    @classmethod
    def of(cls, stated: Stated, who: str, at: datetime, known: str) -> "Statement":
        return cls(
            key=digest(stated.content),
            content=stated.content,
            baseline=stated.baseline.name,
            claim=stated.claim.name,
            who=who,
            at=at.isoformat(timespec="seconds"),
            known=known,
        )

    @property
    def text(self) -> str:
        """What is expected, in words."""
        return str(self.content["statement"])


@dataclass(frozen=True)
class Asked:
    """Questions that are going to be answered: put on record before anything is computed.

    Attributes:
        questions: what was asked together.
    """

    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Judgement:
    """A verdict on a hypothesis, on the data and by the code of one time.

    Attributes:
        question: which hypothesis it is on, and of what.
        fingerprint: of what was compared.
        verdict: what became of the hypothesis.
        says: what the interval says on its own; the same, unless the hypothesis was stated
            afterwards.
        effect: what was found.
        sentence: the same in words.
        versions: name of a variant -> its registered version, if there is one.
        at: when, as ISO 8601 with time zone.
    """

    question: Question
    fingerprint: str
    verdict: Verdict
    says: Verdict
    effect: Effect
    sentence: str
    versions: Mapping[str, int | None]
    at: str


Entry = Statement | Asked | Judgement


def judged(
    statement: Statement,
    stated: Stated,
    effect: Effect,
    question: Question,
    asked: int,
    fingerprint: str,
    versions: Mapping[str, int | None],
    at: datetime,
) -> Judgement:
    """The verdict on a hypothesis. It confirms nothing that was known when it was stated.

    Args:
        asked: how many predictions it was asked of on the same data, these counted in.
    """
    least = float(stated.hypothesis.min_effect)
    says = effect.verdict(least)
    verdict = Verdict.EXPLORATORY if statement.known else says
    told = f"“{statement.text}” is {verdict}"
    if statement.known:
        told += f", as {statement.known} when it was first stated"
    told += f": {effect.sentence(stated.claim.label, stated.baseline.label, least)}"
    if statement.known and says != Verdict.UNDECIDED:
        told += f". Stated before, it would have been {says}"
    if asked > 1:
        told += f". It is the {_ordinal(asked)} verdict on these rows, each on other predictions"
    return Judgement(
        question=question,
        fingerprint=fingerprint,
        verdict=verdict,
        says=says,
        effect=effect,
        sentence=f"{told}.",
        versions=versions,
        at=at.isoformat(timespec="seconds"),
    )


@dataclass(frozen=True)
class Told:
    """All that is known of one hypothesis.

    Attributes:
        statement: as it was first stated.
        judgements: oldest first.
        replaced_by: key of what its statement stands for now; empty if it is still this.
    """

    statement: Statement
    judgements: tuple[Judgement, ...] = ()
    replaced_by: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """The latest; `None` as long as there is none."""
        return self.judgements[-1].verdict if self.judgements else None

    def stands(self, fingerprint: str) -> Judgement | None:
        """The latest verdict, if it is on what has this fingerprint."""
        latest = self.judgements[-1] if self.judgements else None
        return latest if latest and latest.fingerprint == fingerprint else None

    def asked(self, now: Question) -> int:
        """Of how many predictions it was asked on the same data, this question counted in."""
        every = {each.question for each in self.judgements}
        return len({each for each in every if each.data == now.data} | {now})

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict and self.verdict.value,
            **asdict(self.statement),
            "replaced_by": self.replaced_by or None,
            "judgements": [asdict(each) for each in self.judgements],
        }


@dataclass(frozen=True)
class Book:
    """The record of one target.

    Attributes:
        told: its hypotheses, in the order in which they were first stated.
        damaged: numbers of entries that were deleted or edited in MLflow.
        allowances: what each question that was ever asked may spend.
    """

    target: str
    told: tuple[Told, ...]
    damaged: tuple[int, ...] = ()
    allowances: Mapping[Question, Allowance] = field(default_factory=dict)

    @classmethod
    def of(cls, target: str, lines: Sequence[Line[Entry]], damaged: tuple[int, ...]) -> "Book":
        """What a log tells.

        Args:
            lines: its entries by number.
            damaged: numbers of those that are missing.
        """
        spent: dict[Question, Allowance] = {}
        asked: list[tuple[int, tuple[Question, ...]]] = []
        for line in lines:
            if isinstance(line.entry, Asked):
                asked.append((line.number, line.entry.questions))
            elif isinstance(line.entry, Judgement):
                question, effect = line.entry.question, line.entry.effect
                spent.setdefault(question, Allowance(effect.questions, effect.share))
                asked.append((line.number, (question,)))  # if its own entry was deleted
        told = fold(line.entry for line in lines)
        return cls(target, told, damaged, allowances(asked, spent, damaged))

    def find(self, key: str) -> Told | None:
        """The hypothesis of this key."""
        return next((each for each in self.told if each.statement.key == key), None)


def fold(entries: Iterable[Entry]) -> tuple[Told, ...]:
    """What entries, in their order, tell of each hypothesis."""
    found: dict[str, Told] = {}
    stands_for: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, Statement):
            found.setdefault(entry.key, Told(entry))
            stands_for[entry.text] = entry.key
        elif isinstance(entry, Asked):
            continue
        elif (told := found.get(entry.question.hypothesis)) and not _is_said(entry, told):
            found[told.statement.key] = replace(told, judgements=(*told.judgements, entry))
    return tuple(
        told if (now := stands_for[told.statement.text]) == key else replace(told, replaced_by=now)
        for key, told in found.items()
    )


def _is_said(judgement: Judgement, told: Told) -> bool:
    return told.stands(judgement.fingerprint) is not None


class HypothesisLog:
    """The record of one target.

    Every method raises `MlflowUnavailable` if MLflow does not answer.
    """

    def __init__(self, runs: MlflowRuns, target: str) -> None:
        self._runs = runs
        self.target = target
        self._log = Log(f"{target}{HYPOTHESES}", _ABOUT.format(target=target), _ENTRY_TAG, _entry)

    def read(self) -> Book:
        """All hypotheses of the target."""
        with self._runs.asking() as client:
            lines, damaged = self._log.lines(self._log.versions(client))
        return Book.of(self.target, lines, damaged)

    def state(self, statement: Statement) -> bool:
        """Put a statement on record; False if it stands there already."""
        told = self.read().find(statement.key)
        if told is not None and not told.replaced_by:
            return False
        choices = "\n".join(
            f"- {side}: `{getattr(statement, side)}`" for side in ("claim", "baseline")
        )
        content = statement.content
        wanted = f"at least {content['min_effect']:+g} in {content['kpi']}"
        afterwards = f"\n\nStated afterwards: {statement.known}." if statement.known else ""
        self._add(
            statement,
            f"**{statement.text}**: {wanted}, stated by {statement.who}.\n\n{choices}{afterwards}",
            f"hypothesis:/{statement.key}",
            {},
        )
        return True

    def ask(self, questions: Sequence[Question]) -> Mapping[Question, Allowance]:
        """Put questions on record, and learn what each may spend; before they are answered.

        What was asked before, by whomever, keeps what it had.
        """
        known = self.read().allowances
        new = tuple(each for each in dict.fromkeys(questions) if each not in known)
        if new:
            count = "a question" if len(new) == 1 else f"{len(new)} questions"
            about = f"hypothesis:/{new[0].hypothesis}"
            self._add(Asked(new), f"**{count}** to the rows of test, to be answered.", about, {})
            known = self.read().allowances
        return {each: known[each] for each in questions}

    def judge(self, judgement: Judgement) -> None:
        """Put a verdict on record, unless the latest is on the same."""
        key = judgement.question.hypothesis
        told = self.read().find(key)
        if told is not None and _is_said(judgement, told):
            return
        newest = max(filter(None, judgement.versions.values()), default=None)
        about = f"hypothesis:/{key}"
        source = f"models:/{self.target}/{newest}" if newest is not None else about
        self._add(judgement, judgement.sentence, source, {_VERDICT_TAG: judgement.verdict.value})

    def _add(
        self,
        entry: Entry,
        description: str,
        source: str,
        tags: Mapping[str, str],
    ) -> None:
        kind = type(entry).__name__.lower()
        with self._runs.asking() as client:
            self._log.create(client)
            self._log.add(
                client,
                sealed({"kind": kind, **asdict(entry)}),
                source=source,
                tags={_KIND_TAG: kind, **tags},
                description=description,
            )


def registered(runs: MlflowRuns, target: str, fingerprint: str) -> dict[int, datetime]:
    """The versions of a target with a fingerprint, and when they were registered.

    Raises:
        MlflowUnavailable: MLflow does not answer.
    """
    query = f"name = '{target}' AND tags.`{FINGERPRINT_TAG}` = '{fingerprint}'"
    with runs.asking() as client:
        found = pages(client.search_model_versions, query)
    return {int(v.version): datetime.fromtimestamp(v.creation_timestamp / 1000, UTC) for v in found}


def targets_on_record(runs: MlflowRuns) -> list[str]:
    """The targets of which a hypothesis is on record, declared or not.

    Raises:
        MlflowUnavailable: MLflow does not answer.
    """
    with runs.asking() as client:
        found = pages(client.search_registered_models, f"name LIKE '%{HYPOTHESES}'")
    return sorted(model.name.removesuffix(HYPOTHESES) for model in found)


def _ordinal(number: int) -> str:
    tens, ones = divmod(number, 10)
    return f"{number}{'th' if tens % 10 == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(ones, 'th')}"


def _entry(text: str) -> Entry:
    plain = unsealed(text)
    try:
        kind = plain.pop("kind")
        if kind == "statement":
            return Statement(**plain)
        if kind == "asked":
            return Asked(tuple(Question(**each) for each in plain["questions"]))
        effect = Effect(**plain.pop("effect"))
        question = Question(**plain.pop("question"))
        verdict, says = Verdict(plain.pop("verdict")), Verdict(plain.pop("says"))
        return Judgement(**plain, question=question, effect=effect, verdict=verdict, says=says)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an entry: {error}") from error
