"""Leaderboards: order, verdicts and the sentence that a person reads."""

import numpy as np
import pytest

from ff_assets.stats.leaderboard import ALIKE, BEST, OPEN, WORSE, leaderboard
from ff_assets.stats.metrics import Metric
from ff_assets.stats.paired import Comparison, Difference, Predictions, compare
from ff_assets_tests.stats.metric_cells import regression_cell
from ff_assets_tests.stats.test_paired import binary_variants


def made_up(metric: str, values: dict[str, float], halves: dict[tuple[str, str], float | None]):
    """A comparison of these values whose differences have intervals of these half widths."""
    differences = {}
    for (first, second), half in halves.items():
        value = values[first] - values[second]
        low, high = (None, None) if half is None else (value - half, value + half)
        differences[first, second] = Difference(value, low, high, 0.5, 0.5)
    metrics = {
        name: Metric(metric, value, value - 0.01, value + 0.01, "made up")
        for name, value in values.items()
    }
    return Comparison(metrics, differences, 100, 100, "made up")


SCORES = {"tfidf": 0.812, "hashed": 0.8092, "word2vec": 0.7715}
HALVES = {("tfidf", "hashed"): 0.006, ("tfidf", "word2vec"): 0.0115, ("hashed", "word2vec"): 0.01}


def test_the_sentence():
    board = leaderboard(made_up("auc", SCORES, HALVES), greater_is_better=True)
    assert board.sentence == (
        "word2vec is worse than tfidf by 0.041 [0.029, 0.052]; "
        "hashed is not distinguishable from tfidf"
    )
    assert [(row.variant, row.verdict) for row in board.rows] == [
        ("tfidf", BEST),
        ("hashed", ALIKE),
        ("word2vec", WORSE),
    ]
    assert board.metric == "auc"
    assert board.rows[0].difference is None
    assert board.rows[2].difference.value == pytest.approx(-0.0405)
    assert board.rows[2].difference.high == pytest.approx(-0.029)


def test_of_a_loss_the_smallest_is_best():
    board = leaderboard(made_up("rmse", SCORES, HALVES), greater_is_better=False)
    assert [row.variant for row in board.rows] == ["word2vec", "hashed", "tfidf"]
    assert board.rows[2].difference.value == pytest.approx(0.0405)
    assert board.sentence == (
        "hashed is worse than word2vec by 0.038 [0.028, 0.048]; "
        "tfidf is worse than word2vec by 0.041 [0.029, 0.052]"
    )


def test_several_that_are_alike_share_a_clause():
    halves = dict.fromkeys(HALVES, 0.2)
    board = leaderboard(made_up("auc", SCORES, halves), greater_is_better=True)
    assert board.sentence == "hashed and word2vec are not distinguishable from tfidf"


def test_numbers_have_the_decimals_that_their_interval_supports():
    values = {"plain": 104_731.4, "log": 98_204.9}
    board = leaderboard(
        made_up("mae", values, {("plain", "log"): 2_211.7}), greater_is_better=False
    )
    assert board.sentence == "plain is worse than log by 6526 [4315, 8738]"


def test_one_variant_alone():
    y, variants = binary_variants(40, 1, 0.5)
    board = leaderboard(compare("binary", "auc", y, variants), greater_is_better=True)
    assert [row.verdict for row in board.rows] == [BEST]
    assert board.sentence.startswith("a has 0.")
    assert board.sentence.endswith("; there is no other variant to compare with")


def test_ties_stay_in_the_order_given_and_the_first_is_best():
    y, variants = binary_variants(60, 2, 0.5)
    variants = {"z": variants["a"], "a": variants["a"], "m": variants["a"]}
    for better in (True, False):
        board = leaderboard(compare("binary", "auc", y, variants), greater_is_better=better)
        assert [row.variant for row in board.rows] == ["z", "a", "m"]
        assert [row.verdict for row in board.rows] == [BEST, ALIKE, ALIKE]
        assert board.sentence == "a and m are not distinguishable from z"


def test_without_an_interval_nothing_is_said_to_be_worse():
    y, variants = binary_variants(60, 3, 0.1, 2)
    board = leaderboard(compare("binary", "auc", y, variants, ["one"] * 60), greater_is_better=True)
    assert [row.verdict for row in board.rows] == [BEST, OPEN]
    assert board.sentence == "b is not compared with a, as all rows belong to one group"
    right = np.array([0.0, 0, 1, 1])
    extremes = {"right": Predictions(right, right), "wrong": Predictions(right, 1 - right)}
    board = leaderboard(compare("binary", "auc", right, extremes), greater_is_better=True)
    assert board.sentence == "wrong is not compared with right, as no row varies"


def test_a_real_difference_is_found_among_variants_of_noise():
    y, good = regression_cell(2000, 4)
    random = np.random.default_rng(5)
    variants = {
        "first": Predictions(good + 0.01 * random.normal(size=2000)),
        "second": Predictions(good + 0.01 * random.normal(size=2000)),
        "biased": Predictions(good + 0.5),
    }
    board = leaderboard(compare("regression", "rmse", y, variants), greater_is_better=False)
    assert [row.verdict for row in board.rows] == [BEST, ALIKE, WORSE]
    by = board.rows[2].difference
    assert by.low < (1.25**0.5 - 1) < by.high  # errors of variance 1, and a bias of a half
    assert by.p_adjusted < 0.001
