"""Hypotheses of real runs: stated before, judged after, and kept whatever else is deleted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from ff_assets import Hypothesis, Source, Target, stage
from ff_assets.cli import main
from ff_assets.core.conclusion import Effect, Verdict
from ff_assets.core.project import Project
from ff_assets.core.questions import Allowance, Question, share_of_error
from ff_assets.registry.hypotheses import (
    Asked,
    Book,
    Entry,
    HypothesisLog,
    Judgement,
    Statement,
    Told,
    fold,
)
from ff_assets.registry.log import Line
from ff_assets.registry.runs import MlflowRuns
from ff_assets_tests.projects import review
from ff_assets_tests.running import Home, Ran

pytestmark = pytest.mark.xdist_group("whole")

NOWHERE = "http://127.0.0.1:9"
ASSET = "hypotheses/wealthy_hypotheses"
NAMES = ("income", "size", "noise")


def load(spark: Any) -> Any:
    """Who is wealthy is told by the income, somewhat by the size, and not at all by the noise."""
    rows = spark.range(2000).select(F.col("id").cast("string").alias("review_id"))
    drawn = [F.rand(seed) for seed in (1, 2, 3, 4)]
    return rows.select(
        "review_id",
        drawn[0].alias("income"),
        (drawn[0] + drawn[1]).alias("size"),
        drawn[2].alias("noise"),
        (drawn[0] + drawn[3] > 1).cast("double").alias("is_wealthy"),
    )


def better(statement: str, claim: str, baseline: str, min_effect: float) -> Hypothesis:
    return Hypothesis(
        statement,
        kpi="auc",
        baseline={"vector": f"by_{baseline}"},
        claim={"vector": f"by_{claim}"},
        min_effect=min_effect,
    )


INCOME = better("income tells who is wealthy", "income", "noise", 0.1)
SIZE = better("size tells more than income", "size", "income", 0.05)


def project(*hypotheses: Hypothesis, iterations: int = 3) -> Project:
    source = Source(
        "people",
        entity=review,
        load=load,
        features=dict.fromkeys([*NAMES, "is_wealthy"], "double"),
        labels=["is_wealthy"],
        version="1",
    )
    vectors = [
        stage(VectorAssembler, inputCols=[name], outputCol="vector").named(f"by_{name}")
        for name in NAMES
    ]
    model = stage(
        LogisticRegression,
        featuresCol="vector",
        labelCol="is_wealthy",
        predictionCol="wealthy",
        maxIter=iterations,
    )
    wanted = Target(
        "wealthy", outputs=["wealthy"], label="is_wealthy", task="binary", hypotheses=hypotheses
    )
    return Project((source,), (*vectors, model), (wanted,))


@dataclass(frozen=True)
class Place:
    """Where a project was run, and what is on record of it."""

    home: Home
    ran: Ran

    @property
    def book(self) -> Book:
        return HypothesisLog(
            MlflowRuns(self.home.tracking_uri, None, "ff_assets"), "wealthy"
        ).read()

    def told(self, statement: str) -> list[Told]:
        return [each for each in self.book.told if each.statement.text == statement]


@pytest.fixture(scope="module")
def place(new_home: Callable[[], Home]) -> Place:
    """A run whose registry did not answer, and one whose did."""
    home = new_home()
    down = home.run(project(INCOME, SIZE), tracking_uri=NOWHERE)
    assert not down.success
    said = {error["what"] for error in down.errors}
    assert any(what.startswith("the hypotheses of `wealthy` are not judged") for what in said)
    assert "leaderboards/wealthy_leaderboard" in down.assets
    assert ASSET not in down.assets
    return Place(home, home.run(project(INCOME, SIZE)))


def test_what_was_stated_while_the_registry_was_down_was_stated_before(place: Place) -> None:
    assert place.ran.success, place.ran.failure
    assert not any(name.startswith(("models/", "features/")) for name in place.ran.computed)
    assert [each.statement.known for each in place.book.told] == ["", ""]
    assert place.book.damaged == ()


def test_a_verdict_has_the_numbers_and_the_versions_and_fails_no_run(place: Place) -> None:
    (income,), (size,) = place.told(INCOME.statement), place.told(SIZE.statement)
    assert (income.verdict, size.verdict) == (Verdict.VALIDATED, Verdict.INVALIDATED)

    shown = place.ran.assets[ASSET][""]
    assert (shown["validated"], shown["invalidated"], shown["undecided"]) == (1, 1, 0)
    assert (
        "“size tells more than income” is invalidated: the gain in auc of by_size against "
        in (shown["in_words"])
    )
    assert "the interval may miss in 1.7%, so that all" in shown["in_words"]

    (judgement,) = size.judgements
    evaluation = place.ran.assets["evaluations/wealthy__by_size_evaluation"][""]
    assert judgement.effect.claim == evaluation["auc_test"]
    registered = place.ran.assets["registry/wealthy__by_size_registered"][""]["version"]
    assert judgement.versions["wealthy[by_size]"] == registered
    leaderboard = place.ran.assets["leaderboards/wealthy_leaderboard"][""]["comparison"]
    row = next(r for r in leaderboard["variants"] if r["variant"] == "wealthy[by_size]")
    assert judgement.effect.value == pytest.approx(row["difference"]["value"])
    assert judgement.effect.low < judgement.effect.value < judgement.effect.high


def test_the_same_again_adds_nothing(place: Place) -> None:
    before = place.book
    again = place.home.run(project(INCOME, SIZE))
    assert again.success, again.failure
    assert ASSET not in again.computed
    assert place.book == before


def test_an_edit_after_the_run_is_another_hypothesis_and_confirms_nothing(place: Place) -> None:
    edited = better(SIZE.statement, "size", "income", -0.5)
    ran = place.home.run(project(INCOME, edited))
    assert ran.success, ran.failure
    old, new = place.told(SIZE.statement)
    assert old.replaced_by == new.statement.key
    assert old.verdict == Verdict.INVALIDATED
    assert new.statement.known == "what it compares had been predicted"
    assert new.verdict == Verdict.EXPLORATORY
    assert new.judgements[0].says == Verdict.VALIDATED
    assert new.judgements[0].sentence.endswith("Stated before, it would have been validated.")

    # And back: it is the one that it was, with its verdict, whatever was asked since.
    back = place.home.run(project(INCOME, SIZE))
    assert back.success, back.failure
    old, new = place.told(SIZE.statement)
    assert (old.replaced_by, new.replaced_by) == ("", old.statement.key)
    assert [each.effect.questions for each in old.judgements] == [2]
    assert new.judgements[0].effect.share == share_of_error(2, 1)


def test_who_tunes_and_runs_again_has_asked_once_more(place: Place) -> None:
    """With fewer hypotheses declared, too: the interval is wider, and the sentence says why."""
    ran = place.home.run(project(INCOME, iterations=4))
    assert ran.success, ran.failure
    (income,) = place.told(INCOME.statement)
    first, second = (each.effect for each in income.judgements)
    assert (first.questions, second.questions) == (2, 4)
    assert (first.share, second.share) == (share_of_error(0, 2), share_of_error(3, 1))
    assert "4 so far, misses in at most 5%" in income.judgements[-1].sentence
    told = "It is the 2nd verdict on these rows, each on other predictions."
    assert income.judgements[-1].sentence.endswith(told)
    assert ran.assets[ASSET][""]["in_words"] == income.judgements[-1].sentence

    # What the record shows first is about the models that are there, not about those that were.
    back = place.home.run(project(INCOME))
    assert back.success, back.failure
    (income,) = place.told(INCOME.statement)
    assert income.judgements[-1].question == income.judgements[0].question
    assert income.judgements[-1].effect == first
    assert back.assets[ASSET][""]["in_words"] == income.judgements[-1].sentence


def test_the_record_outlives_the_store(place: Place, new_home: Callable[[], Home]) -> None:
    """With nothing in the store, what is registered tells that a comparison was known."""
    late = better("noise is as good as income", "noise", "income", -0.05)
    ran = new_home().run(project(INCOME, SIZE, late))
    assert ran.success, ran.failure
    (income,), (noise,) = place.told(INCOME.statement), place.told(late.statement)
    assert income.statement.known == ""
    assert {each.verdict for each in income.judgements} == {Verdict.VALIDATED}
    assert income.judgements[-1].effect == income.judgements[0].effect
    assert noise.judgements[0].effect.questions == 5
    assert noise.statement.known == "both variants had been registered"
    assert noise.verdict == Verdict.EXPLORATORY
    assert noise.judgements[0].says == Verdict.INVALIDATED


def ff(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ff", "hypotheses", *arguments])
        with pytest.raises(SystemExit):
            main()
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def test_it_is_searched_without_the_declarations(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "ff_assets.cli.hypotheses.registry",
        lambda: MlflowRuns(place.home.tracking_uri, None, "ff_assets"),
    )
    everything = ff(capsys, "wealthy")
    assert f"“{INCOME.statement}” is validated" in everything
    assert "(replaced by an edit)" in everything
    assert f"“{SIZE.statement}” is invalidated" in everything

    found = ff(capsys, "--verdict", "invalidated", "--text", "SIZE")
    assert f"“{SIZE.statement}” is invalidated" in found
    assert INCOME.statement not in found
    assert "no hypothesis on record is like that" in ff(capsys, "--text", "poverty")
    assert "nearest existing names: wealthy" in ff(capsys, "wealthi")

    # An entry that somebody deletes in MLflow is missed, and what was asked remains asked.
    before = place.book.allowances
    client = place.home.client
    client.delete_model_version("wealthy.hypotheses", "1")
    assert place.book.damaged == (1,)
    assert place.book.allowances == before, "what was answered keeps its share"
    assert "deleted or edited in MLflow: entry 1 of wealthy.hypotheses" in ff(capsys)


# What entries tell


CONTENT = {"statement": "a helps", "kpi": "auc", "min_effect": 0.01}
STATEMENT = Statement("one", CONTENT, "t[b]", "t[a]", "ann", "2026-07-01", "")


def judgement(fingerprint: str, verdict: Verdict, key: str = "one") -> Judgement:
    """A verdict on predictions, and by code, that have this fingerprint; on the same data."""
    effect = Effect("auc", 0.8, 0.7, 0.1, 0.0, 0.2, 0.95, 0.5, 1, 100, 100, None, "DeLong")
    asked = Question(key, fingerprint, "data")
    return Judgement(asked, fingerprint, verdict, verdict, effect, "it is so.", {}, "2026-07-02")


def test_who_came_first_has_said_it() -> None:
    later = replace(STATEMENT, who="bob", known="both variants had been registered")
    first = judgement("1", Verdict.UNDECIDED)
    (told,) = fold([STATEMENT, later, first, judgement("1", Verdict.VALIDATED)])
    assert told.statement.who == "ann"
    assert told.judgements == (first,)
    (told,) = fold([later, STATEMENT])
    assert told.statement.known


def test_a_statement_stands_for_what_was_said_last() -> None:
    edited = replace(STATEMENT, key="two")
    second = judgement("2", Verdict.VALIDATED, "two")
    one, two = fold([STATEMENT, edited, second])
    assert (one.replaced_by, one.verdict) == ("two", None)
    assert (two.replaced_by, two.verdict) == ("", Verdict.VALIDATED)
    one, two = fold([STATEMENT, edited, second, STATEMENT])
    assert (one.replaced_by, two.replaced_by) == ("", "one")
    assert fold([second]) == ()  # its statement was deleted


def test_what_was_ever_asked_of_the_data_is_counted() -> None:
    """Declaring a hypothesis no more, tuning a stage, and deleting an entry do not make fewer."""
    gone = replace(STATEMENT, key="gone", content={**CONTENT, "statement": "b helps"})
    tried = [judgement(predictions, Verdict.UNDECIDED) for predictions in ("1", "2")]
    tried.append(judgement("3", Verdict.UNDECIDED, "gone"))
    same, other, third = (Question("one", predictions, "data") for predictions in ("2", "4", "5"))
    assert shares(STATEMENT, gone, *tried, Asked((same, other, third)), deleted=(2,)) == {
        **dict.fromkeys([each.question for each in tried], (1, 0.5)),  # what they had
        **dict.fromkeys([other, third], (6, share_of_error(4, 2))),
    }
    # Nor does deleting the statement, or not waiting for an answer.
    orphan, old = Question("deleted", "1", "data"), Question("deleted", "2", "old data")
    found = shares(Asked((orphan, old)), Asked((old, other)), Asked((third,)))
    assert found == {
        **dict.fromkeys([orphan, old], (1, 0.5)),
        other: (2, share_of_error(1, 1)),
        third: (3, share_of_error(2, 1)),
    }
    told = Told(STATEMENT, tuple(tried[:2]))
    assert [told.asked(each) for each in (same, other)] == [2, 3]
    assert told.asked(replace(other, data="new data")) == 1


def shares(*entries: Entry, deleted: tuple[int, ...] = ()) -> dict[Question, Allowance]:
    """What questions may spend by a log.

    Args:
        deleted: numbers of entries that are not there, besides those that are.
    """
    numbers = [n for n in range(1, len(entries) + len(deleted) + 1) if n not in deleted]
    lines = [
        Line(entry, number, datetime(2026, 7, 1, tzinfo=UTC), {})
        for number, entry in zip(numbers, entries, strict=True)
    ]
    return dict(Book.of("t", lines, deleted).allowances)


def test_who_asks_at_the_same_time_does_not_spend_the_same_twice(place: Place) -> None:
    def ask(name: str) -> list[Allowance]:
        log = HypothesisLog(MlflowRuns(place.home.tracking_uri, None, "ff_assets"), "raced")
        asked = [Question("one", f"{name}{n}", "data") for n in range(3)]
        found = [log.ask([each])[each] for each in asked]
        assert [log.ask([each])[each] for each in asked] == found  # whatever was asked since
        return found

    with ThreadPoolExecutor(2) as both:
        found = [each for asked in both.map(ask, ["ann", "bob"]) for each in asked]
    assert sorted(found) == [(n + 1, share_of_error(n, 1)) for n in range(6)]


def test_the_latest_verdict_is_on_what_was_there_in_the_latest_run() -> None:
    first, second = judgement("1", Verdict.UNDECIDED), judgement("2", Verdict.VALIDATED)
    (told,) = fold([STATEMENT, first, second, second, first])
    assert told.judgements == (first, second, first)
    assert told.verdict == Verdict.UNDECIDED
    assert told.stands("1") == first
    assert told.stands("2") is None
