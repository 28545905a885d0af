"""Hypotheses in a run: stated before what they are about is computed, judged at the end."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ff_assets.core.fingerprint import digest
from ff_assets.core.flow import Flow
from ff_assets.core.hypothesis import Stated
from ff_assets.core.instance import Contest, Variant
from ff_assets.core.steps import Kind, Step, rows_of
from ff_assets.engine.hypotheses import are_predicted, effects
from ff_assets.engine.plan import Inventory
from ff_assets.engine.store import STATED, Record
from ff_assets.registry import MlflowUnavailable, told
from ff_assets.registry.hypotheses import (
    HypothesisLog,
    Statement,
    Told,
    judged,
    registered,
)
from ff_assets.registry.log import user
from ff_assets.registry.runs import MlflowRuns


@dataclass(frozen=True)
class Hypotheses:
    """States and judges the hypotheses of one run.

    Attributes:
        inventory: what exists of the run's results.
        runs: where the record is.
    """

    inventory: Inventory
    runs: MlflowRuns

    def gone(self, wanted: Collection[Step]) -> set[Step]:
        """The steps whose verdicts the store has, and the registry has not, or may not have."""
        found = set()
        for step in wanted:
            if step.kind is Kind.HYPOTHESES and self.inventory.find(step):
                try:
                    if not self._are_on_record(step.contest):
                        found.add(step)
                except MlflowUnavailable:
                    found.add(step)  # judging says what is wrong, and other steps are still done
        return found

    def _are_on_record(self, contest: Contest) -> bool:
        book = HypothesisLog(self.runs, contest.name).read()
        for each in contest.stated:
            found = book.find(digest(each.content))
            if found is None or found.replaced_by:
                return False
            if not found.stands(self.inventory.fingerprints.of_verdict(each)):
                return False
        return True

    def state(self, flow: Flow, todo: Collection[Step]) -> Iterator[str]:
        """Put on record what is stated about what is going to be computed; says what it was.

        What the registry is not there for waits in the store until the verdict.
        """
        for contest in _concerned(flow, todo):
            try:
                for statement, is_new in self._state(contest):
                    when = f"afterwards, as {statement.known}" if statement.known else "beforehand"
                    if is_new:
                        yield f"“{statement.text}” of `{contest.name}` is on record, stated {when}"
            except MlflowUnavailable as error:
                yield (
                    f"the hypotheses of `{contest.name}` are noted in the store only, as "
                    f"{error.what.rstrip('.')}"
                )

    def _state(self, contest: Contest) -> list[tuple[Statement, bool]]:
        """The statements about a target, each with whether it is put on record only now."""
        every = contest.stated
        notes = [self._noted(each) for each in every]  # all of them before MLflow is asked
        log = HypothesisLog(self.runs, contest.name)
        found = []
        for each, note in zip(every, notes, strict=True):
            statement = note if note.known else replace(note, known=self._registered(each, note))
            found.append((statement, log.state(statement)))
        return found

    def _noted(self, stated: Stated) -> Statement:
        """The statement, noted in the store before anything that it is about is computed."""
        store, name = self.inventory.store, digest(stated.content)
        if (found := store.note(STATED, name)) is not None:
            return Statement(**found.details)
        is_known = are_predicted(stated, self.inventory.fingerprints, store)
        known = "what it compares had been predicted" if is_known else ""
        statement = Statement.of(stated, user(), datetime.now(UTC), known)
        store.add_note(STATED, Record(name, seconds=0.0, details=asdict(statement)))
        return statement

    def _registered(self, stated: Stated, statement: Statement) -> str:
        """Whether both variants had been registered by then, as a clause; the store may be new."""
        then = datetime.fromisoformat(statement.at)
        for variant in stated.variants:
            if not any(when < then for when in self._versions(variant).values()):
                return ""
        return "both variants had been registered"

    def _versions(self, variant: Variant) -> dict[int, datetime]:
        fingerprint = self.inventory.fingerprint(Step(Kind.REGISTRATION, variant))
        return registered(self.runs, variant.target.name, fingerprint)

    def __call__(self, contest: Contest) -> dict[str, Any]:
        """Judge the hypotheses of a target.

        Returns:
            "hypotheses": for each its statement, and its verdict as `judgement`.

        Raises:
            DataError: variants have predictions of different rows.
            MlflowUnavailable: the registry does not answer.
            NoMetric: one of them lacks what the kpi reads.
        """
        name, fingerprints = contest.name, self.inventory.fingerprints
        with told(
            f"the hypotheses of `{name}` are not judged: their record cannot be reached.",
            f"when MLflow answers again: ff run {name}. What was stated keeps its time.",
        ):
            statements = [statement for statement, _ in self._state(contest)]
            log = HypothesisLog(self.runs, name)
            allowed = log.ask([fingerprints.question(each) for each in contest.stated])
            book, found = log.read(), []
            of = effects(contest, allowed, fingerprints, self.inventory.store)
            for each, own in zip(contest.stated, statements, strict=True):
                known = book.find(own.key) or Told(own)
                fingerprint, question = fingerprints.of_verdict(each), fingerprints.question(each)
                judgement = known.stands(fingerprint)
                if judgement is None:
                    judgement = judged(
                        known.statement,
                        each,
                        of[each.hypothesis.statement],
                        question,
                        known.asked(question),
                        fingerprint,
                        {v.name: max(self._versions(v), default=None) for v in each.variants},
                        datetime.now(UTC),
                    )
                    log.judge(judgement)
                found.append({**asdict(known.statement), "judgement": asdict(judgement)})
        return {"hypotheses": found}


def _concerned(flow: Flow, todo: Collection[Step]) -> Iterator[Contest]:
    """The targets with hypotheses about something that is going to be predicted or measured."""
    for target in flow.project.targets:
        contest = Contest(target, flow.variants_of(target.name))
        about = {Step(Kind.HYPOTHESES, contest)}
        for each in contest.stated:
            for variant in each.variants:
                about |= {rows_of(variant.prediction), Step(Kind.EVALUATION, variant)}
        if target.hypotheses and about.intersection(todo):
            yield contest
