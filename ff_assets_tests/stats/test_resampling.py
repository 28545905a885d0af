"""Metrics of draws against scikit-learn's of the rows repeated as often as they were drawn."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from ff_assets.stats import intervals, resampling
from ff_assets.stats.paired import Predictions, compare
from ff_assets.stats.resampling import Weights
from ff_assets.stats.spread import Arrays, _statistic
from ff_assets_tests.stats.metric_cells import binary_cell, multiclass_cell, regression_cell


def probability_of(y, p):
    return np.column_stack([1 - p, p]) if p.ndim == 1 else p


def log_loss(y, _, p):
    return sk.log_loss(y, probability_of(y, p), labels=range(2 if p.ndim == 1 else p.shape[1]))


def brier(y, _, p):
    actual = y[:, None] == np.arange(probability_of(y, p).shape[1])
    return ((probability_of(y, p) - actual) ** 2).sum(axis=1).mean() / (2 if p.ndim == 1 else 1)


METRICS = {
    ("binary", "accuracy"): lambda y, y_hat, p: sk.accuracy_score(y, y_hat),
    ("binary", "f1"): lambda y, y_hat, p: sk.f1_score(y, y_hat),
    ("binary", "auc_pr"): lambda y, y_hat, p: sk.average_precision_score(y, p),
    ("binary", "log_loss"): log_loss,
    ("binary", "brier"): brier,
    ("multiclass", "accuracy"): lambda y, y_hat, p: sk.accuracy_score(y, y_hat),
    ("multiclass", "f1"): lambda y, y_hat, p: sk.f1_score(y, y_hat, average="macro"),
    ("multiclass", "log_loss"): log_loss,
    ("multiclass", "brier"): brier,
    ("regression", "rmse"): lambda y, y_hat, p: sk.root_mean_squared_error(y, y_hat),
    ("regression", "mae"): lambda y, y_hat, p: sk.mean_absolute_error(y, y_hat),
    ("regression", "r2"): lambda y, y_hat, p: sk.r2_score(y, y_hat),
}
CELLS = {"binary": binary_cell, "multiclass": multiclass_cell, "regression": regression_cell}


@pytest.mark.parametrize(("task", "metric"), METRICS)
@pytest.mark.parametrize("decimals", [15, 1])  # without ties, and with many
def test_a_drawn_group_counts_as_its_rows_repeated(task, metric, decimals):
    y, y_hat, *p = CELLS[task](50, seed=3)
    if p and task == "binary":
        p = [p[0].round(decimals)]
    random = np.random.default_rng(1)
    group = np.append(random.integers(0, 20, 30), np.arange(20))
    counts = random.multinomial(20, np.full(20, 0.05), 6).T.astype(np.int32)
    probability = p[0] if p else None
    statistic = _statistic(task, metric, y, Arrays(y_hat, probability, probability), group)
    for drawn, value in zip(counts.T, statistic(Weights(counts)), strict=True):
        rows = np.repeat(np.arange(50), drawn[group])
        expected = METRICS[task, metric](
            y[rows], y_hat[rows], probability if p == [] else p[0][rows]
        )
        assert value == pytest.approx(expected)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=12
    )
)
def test_ties_are_one_step_of_the_precision_recall_curve(rows):
    y, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    assume(y.any())
    statistic = resampling.average_precision(y, score.astype(float), np.arange(len(y)))
    with np.errstate(invalid="ignore"):
        value = statistic(Weights(weight[:, None].astype(np.int32)))[0]
    if (y * weight).sum() == 0:  # such a draw has no positive row
        assert np.isnan(value)
    else:
        assert value == pytest.approx(sk.average_precision_score(y, score, sample_weight=weight))


def test_a_draw_is_of_as_many_groups_as_there_are():
    drawn = resampling.resample(
        [lambda weights: weights.counts.sum(axis=0), lambda weights: weights.counts[0]], 37
    )
    assert (drawn[:, 0] == 37).all()
    assert drawn.shape == (resampling.DRAWS, 2)
    # each group is drawn once on average, with the variance of a binomial count
    assert drawn[:, 1].mean() == pytest.approx(1, abs=4 / resampling.DRAWS**0.5)
    assert drawn[:, 1].var() == pytest.approx(36 / 37, rel=0.15)


def test_chunks_do_not_show(monkeypatch):
    whole = resampling.resample([lambda weights: weights.counts[3]], 60)
    monkeypatch.setattr(intervals, "_CHUNK", 60 * 7)
    assert (resampling.resample([lambda weights: weights.counts[3]], 60) == whole).all()


def test_the_error_of_a_difference_is_that_of_a_plain_loop_over_groups():
    y, first_hat, first = binary_cell(300, seed=5)
    random = np.random.default_rng(8)
    second = np.clip(first + random.normal(0, 0.15, 300), 0.01, 0.99)
    second_hat = (second > 0.5).astype(float)
    group = np.sort(random.integers(0, 80, 300))
    members = [np.flatnonzero(group == one) for one in np.unique(group)]
    statistic, draws = METRICS["binary", "auc_pr"], []
    for _ in range(600):
        chosen = random.integers(0, len(members), len(members))
        rows = np.concatenate([members[one] for one in chosen])
        draws.append(
            statistic(y[rows], first_hat[rows], first[rows])
            - statistic(y[rows], second_hat[rows], second[rows])
        )
    variants = {"a": Predictions(first_hat, first), "b": Predictions(second_hat, second)}
    difference = compare("binary", "auc_pr", y, variants, group).difference("a", "b")
    # two sets of draws differ by some 4% in their spread
    assert (difference.high - difference.low) / 3.92 == pytest.approx(np.std(draws), rel=0.12)
