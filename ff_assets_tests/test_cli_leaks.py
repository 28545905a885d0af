"""`ff check`, `ff why` and `ff plan` about leaks: in a fork, without Spark and without any data."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from ff_assets_tests.test_cli import Fork, make_fork

pytestmark = pytest.mark.xdist_group("cli")

FLOW = textwrap.dedent(
    """
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import HashingTF, RegexTokenizer, VectorAssembler

    from ff_assets import Entity, Source, Target, TimeSplit, stage

    review = Entity("review", key="review_id", time="written_at")
    reviews = Source(
        "reviews",
        entity=review,
        load=len,
        features={"text": "string", "language": "string", "is_positive": "double"},
        labels=["is_positive"],
        label_horizon="7d",
        version="1",
        owner="team:nlp",
    )
    tokens = stage(RegexTokenizer, inputCol="text", outputCol="tokens")
    vector = stage(HashingTF, inputCol="tokens", outputCol="vector")
    mood = stage(
        LogisticRegression,
        featuresCol="vector",
        labelCol="is_positive",
        probabilityCol="mood",
    )FITTING
    signals = stage(VectorAssembler, inputCols=["vector", "mood"], outputCol="signals")
    bare = stage(VectorAssembler, inputCols=["vector"], outputCol="signals").named("bare")
    sentiment = stage(
        LogisticRegression,
        featuresCol="signals",
        labelCol="is_positive",
        predictionCol="sentiment",
    )
    judgement = Target(
        "judgement", outputs=["sentiment"], label="is_positive", task="binary", owner="team:nlp"
    )
    """
)
LATER = textwrap.dedent(
    """
    later = Target(
        "later",
        outputs=["sentiment"],
        label="is_positive",
        task="binary",
        choose={"signals": ["bare"]},
        split=TimeSplit("2024-03-01", embargo="10d", start="2024-01-01"),
        owner="team:nlp",
    )
    """
)
REFIT = '.fit_on("train", "test")'
FOLDS = ".cross_fit(5)"


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Fork:
    return make_fork(tmp_path_factory.mktemp("fork"))


@pytest.fixture
def leaky(fork: Fork) -> Fork:
    """One of two variants takes a feature that was fitted on the labels of test."""
    fork.write_flow(FLOW.replace("FITTING", REFIT))
    return fork


@pytest.fixture
def folded(fork: Fork) -> Fork:
    fork.write_flow(FLOW.replace("FITTING", FOLDS) + LATER)
    return fork


def row(printed: str, instance: str) -> list[str]:
    """The cells of a printed table's row."""
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{instance}  ")]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


# A refused project


def test_check_refuses_a_leak_like_a_wrong_declaration(leaky: Fork) -> None:
    for_people, for_scripts = leaky.ff("check"), leaky.ff("check", "--json")

    assert for_people.code == for_scripts.code == 1
    assert "[FIT_OVERLAP]" in for_people.err
    assert "ff_assets/flows/reviews.py:" in for_people.err
    assert "path: mood -> signals -> sentiment[signals] -> the metric" in for_people.err
    error = for_scripts.json
    assert (error["error"], error["code"]) == ("LeakError", "FIT_OVERLAP")
    assert error["what"] in for_people.err


def test_why_explains_what_is_refused(leaky: Fork) -> None:
    explained = leaky.ff("why", "judgement", **leaky.without_java())

    assert explained.code == 1
    assert "judgement[bare] on test: grade A" in explained.out
    assert "judgement[signals] on test: refused" in explained.out
    assert explained.out.count("[FIT_OVERLAP]") == 1
    assert "path: mood -> signals -> sentiment[signals] -> the metric" in explained.out
    assert "fix:   fit `mood` on train only" in explained.out
    read = ["0-999", "0-999", "0-999", "has read test (800-999) of test"]
    assert row(explained.out, "mood") == ["mood", "estimator", *read]
    assert row(explained.out, "sentiment[bare]")[2:] == [*["train (0-799)"] * 3, "clean"]
    assert not leaky.java_was_started


@pytest.mark.parametrize("name", ["judgement[signals]", "judgement__signals"])
def test_why_tells_scripts_of_one_variant(leaky: Fork, name: str) -> None:
    explained = leaky.ff("why", name, "--json")

    assert explained.code == 1
    assert explained.json["ok"] is False
    (metric,) = explained.json["metrics"]
    assert (metric["variant"], metric["cell"]) == ("judgement[signals]", "test")
    assert (metric["code"], metric["allowed"]) == ("FIT_OVERLAP", False)
    assert metric["refusals"][0]["path"] == ["mood", "signals", "sentiment[signals]"]
    behind = {line["name"]: line for line in metric["behind"]}
    assert behind["mood"]["fits"] == {"all": "0-999"}
    assert behind["mood"]["labels"] == "0-999"
    assert behind["tokens"]["verdict"] == "clean"
    assert "sentiment[bare]" not in behind


# Features


def test_why_tells_who_uses_a_feature_and_what_it_was_fitted_on(folded: Fork) -> None:
    explained = folded.ff("why", "mood", "--json")

    assert explained.code == 0
    assert explained.json["metrics"] == []
    (provider,) = explained.json["providers"]
    assert provider["used_by"] == ["judgement[signals]"]
    assert provider["fits"]["fold_1"] == "0-159, 320-799"
    assert provider["fits"]["all"] == "train (0-799)"
    assert provider["features"] == provider["labels"] == "train (0-799)"


def test_why_lists_every_provider_of_a_feature(folded: Fork) -> None:
    """That of each split; and those that no variant uses, with the reason."""
    unused = """
    plain = stage(HashingTF, inputCol="wordz", outputCol="signals").named("plain")
    words = stage(RegexTokenizer, inputCol="text", outputCol="words")
    """
    folded.write_flow(FLOW.replace("FITTING", FOLDS) + LATER + textwrap.dedent(unused))

    signals, words = folded.ff("why", "signals"), folded.ff("why", "words")

    assert signals.code == words.code == 0
    assert row(signals.out, "signals")[-1] == "judgement[signals]"
    assert row(signals.out, "bare")[-1] == "judgement[bare]"
    assert row(signals.out, "bare[until_20240301]")[-1] == "later"
    assert "`plain`" in signals.out
    assert "it reads `wordz`, which cannot be derived" in signals.out
    assert "no target reaches it" in words.out


def test_a_name_of_a_target_and_a_feature_is_both(folded: Fork) -> None:
    folded.write_flow(FLOW.replace("FITTING", FOLDS).replace('"judgement"', '"sentiment"'))

    explained = folded.ff("why", "sentiment", "--json")

    assert [metric["grade"] for metric in explained.json["metrics"]] == ["A", "A"]
    names = [provider["name"] for provider in explained.json["providers"]]
    assert names == ["sentiment[signals]", "sentiment[bare]"]


def test_a_target_without_label_has_no_metric(folded: Fork) -> None:
    scores = 'scores = Target("scores", outputs=["mood"], owner="team:nlp")\n'
    folded.write_flow(FLOW.replace("FITTING", FOLDS) + scores)

    explained, checked = folded.ff("why", "scores"), folded.ff("check")

    assert explained.code == checked.code == 0
    assert "It has no label" in explained.out
    assert row(checked.out, "scores")[1:] == ["-", "-", "-"]


# Grades, warnings, plans


def test_check_shows_grades_and_what_keeps_them_from_an_a(fork: Fork) -> None:
    fork.write_flow(FLOW.replace("FITTING", ""))

    for_people, for_scripts = fork.ff("check"), fork.ff("check", "--json")

    assert for_people.code == for_scripts.code == 0
    assert row(for_people.out, "judgement[signals]")[-2:] == ["B on test", "OOF_REQUIRED"]
    assert row(for_people.out, "judgement[bare]")[-1] == "A on test"
    assert "let `mood` be .cross_fit(5)" in for_people.out
    grades = {m["variant"]: m["grade"] for m in for_scripts.json["metrics"]}
    assert grades == {"judgement[signals]": "B", "judgement[bare]": "A"}
    (warning,) = for_scripts.json["warnings"]
    assert warning.startswith("OOF_REQUIRED: `sentiment[signals]` is trained on `mood`")


def test_a_plan_begins_with_the_number_of_fits(folded: Fork) -> None:
    planned = folded.ff("plan", **folded.without_java())

    assert planned.code == 0
    assert planned.out.splitlines()[0] == (
        "4 models, 9 fits: mood 6 (5 folds and all of train), every other 1; all to do"
    )
    (fold,) = [line.split() for line in planned.out.splitlines() if "fold_0" in line]
    assert fold == ["mood", "fold_0", "160-799", "0-159"]
    assert "train 80% (buckets 0-799), test 20% (buckets 800-999)" in planned.out
    assert not folded.java_was_started


def test_a_plan_describes_a_split_by_time(folded: Fork) -> None:
    planned = folded.ff("plan", "later", "--json")

    assert planned.json["splits"]["later"].startswith(
        "by day: train from 2024-01-01 until 2024-02-19, test from 2024-03-01 on, "
        "nothing of the 10 days between"
    )
    (model,) = planned.json["models"].values()
    assert [fit["reads"] for fit in model] == ["train (440-489)"]


def test_a_plan_counts_slices_and_blocks(fork: Fork) -> None:
    fork.write_flow(
        FLOW.replace("FITTING", ".cross_fit(4, ordered=True)").replace(
            'predictionCol="sentiment",\n)', 'predictionCol="sentiment",\n).slices(2, of=2)'
        )
    )

    planned = fork.ff("plan")

    assert planned.out.startswith("3 models, 6 fits: mood 4 (3 ordered blocks and all of train)")
    lines = [line.split() for line in planned.out.splitlines()]
    assert ["mood", "block_1", "0-199", "200-399"] in lines
    assert ["sentiment[bare]", "all", "400-799", "0-999"] in lines


# Assets that a team has beside the flow


@pytest.fixture
def with_asset(folded: Fork) -> Iterator[Path]:
    path = folded.root / "ff_assets" / "definitions.py"
    shipped = path.read_text()
    asset = """
    import dagster as dg

    @dg.asset(kinds={"model"}, deps=[dg.AssetKey(["features", "vector"])])
    def ranking() -> None: ...

    """
    changed = shipped.replace("Settings.load())", "Settings.load(), [ranking])")
    path.write_text(changed.replace("defs =", textwrap.dedent(asset) + "defs ="))
    yield path
    path.write_text(shipped)


def test_check_sees_the_models_that_a_team_has_beside_the_flow(
    folded: Fork, with_asset: Path
) -> None:
    folded.write_flow(FLOW.replace("FITTING", FOLDS))

    refused = folded.ff("check", "--json")

    assert refused.code == 1
    assert refused.json["code"] == "MODEL_READS_TEST"
    assert refused.json["where"][0]["file"] == str(with_asset)
