"""Intervals of metrics against slow definitions, and against the truth in simulations."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy import stats
from sklearn import metrics as sk

from ff_assets.stats.metrics import evaluate
from ff_assets.stats.paired import Predictions, compare
from ff_assets_tests.stats.metric_cells import (
    arrays_of,
    binary_cell,
    multiclass_cell,
    regression_cell,
    small_binary_cells,
    values,
)

Z = stats.norm.ppf(0.975)


# --- intervals: formulas -------------------------------------------------------------------------


def delong_by_definition(y: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """AUC and its standard error from all pairs, as in DeLong et al. (1988), equations 2 to 6."""
    positive, negative = score[y == 1], score[y == 0]
    wins = np.array(
        [[1.0 if a > b else 0.5 if a == b else 0.0 for b in negative] for a in positive]
    )
    variance = np.var(wins.mean(axis=1), ddof=1) / len(positive)
    variance += np.var(wins.mean(axis=0), ddof=1) / len(negative)
    return wins.mean(), variance**0.5


@settings(deadline=None, max_examples=60)
@given(small_binary_cells)
def test_auc_interval_is_delongs_on_the_logit_scale(rows):
    y, y_hat, p = arrays_of(rows)
    assume(min(y.sum(), len(y) - y.sum()) > 1)
    auc, error = delong_by_definition(y, p)
    assume(error > 1e-9)
    metric = evaluate("binary", y, y_hat, score=p, interval=True)["auc"]
    half = Z * error / (auc * (1 - auc))
    expected = [1 / (1 + ((1 - auc) / auc) * np.exp(sign * half)) for sign in (1, -1)]
    assert [metric.low, metric.high] == pytest.approx(expected)
    assert "DeLong" in metric.method


def test_macro_auc_interval_of_two_classes_is_the_binary_one():
    y, y_hat, p = binary_cell(70, seed=6)
    binary = evaluate("binary", y, y_hat, p, interval=True)["auc"]
    macro = evaluate("multiclass", y, y_hat, np.column_stack([1 - p, p]), interval=True)["auc"]
    assert (macro.low, macro.high) == pytest.approx((binary.low, binary.high))


def test_macro_auc_interval_is_that_of_the_jackknife():
    y, y_hat, p = multiclass_cell(120, seed=21)

    def macro_auc(rows: np.ndarray) -> float:
        return np.mean([sk.roc_auc_score(y[rows] == k, p[rows, k]) for k in range(4)])

    without = [macro_auc(np.delete(np.arange(120), row)) for row in range(120)]
    error = (119 / 120 * np.sum((without - np.mean(without)) ** 2)) ** 0.5
    metric = evaluate("multiclass", y, y_hat, p, interval=True)["auc"]
    low, high = np.log([metric.low / (1 - metric.low), metric.high / (1 - metric.high)])
    assert (high - low) / (2 * Z) * metric.value * (1 - metric.value) == pytest.approx(error, 0.03)


def test_a_class_of_one_row_has_no_delong_interval():
    y = np.array([1.0, 0, 0, 0, 0, 0])
    score = np.array([3, 1, 2, 4, 0, 0.5])
    binary = evaluate("binary", y, y, score=score, interval=True)["auc"]
    assert "Newcombe" in binary.method
    assert binary.low < 0.8 == binary.value < binary.high
    p = np.column_stack([1 - score / 4, score / 4])
    macro = evaluate("multiclass", y, y, p, interval=True)["auc"]
    assert (macro.value, macro.low, macro.high) == (0.8, None, None)


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 30), (6, 9), (200, 500)])
def test_perfect_separation_keeps_an_interval_by_newcombe(positives, negatives):
    y = np.repeat([1.0, 0.0], [positives, negatives])
    metric = evaluate("binary", y, y, y, interval=True)["auc"]
    assert metric.value == metric.high == 1
    assert "Newcombe" in metric.method
    # the lower end is where AUC 1 is just z standard errors away (Hanley & McNeil's variance)
    low, half = metric.low, (positives + negatives) / 2 - 1
    variance = low * (1 - low) / (positives * negatives)
    variance *= 1 + half * (1 - low) / (2 - low) + half * low / (1 + low)
    assert 0 < low < 1
    assert 1 - low == pytest.approx(Z * variance**0.5)

    worst = evaluate("binary", y, y, 1 - y, interval=True)["auc"]
    assert (worst.value, worst.low) == (0, 0)
    assert worst.high == pytest.approx(1 - low)


@pytest.mark.parametrize("decimals", [15, 1])  # without ties, and with many
def test_auc_pr_interval_is_of_its_sensitivity_to_the_weight_of_each_row(decimals):
    y, y_hat, p = binary_cell(60, seed=10)
    p = p.round(decimals)

    def with_weight(row: int, weight: float) -> float:
        weights = np.where(np.arange(60) == row, weight, 1.0)
        return sk.average_precision_score(y, p, sample_weight=weights)

    step = 1e-6
    slopes = [(with_weight(r, 1 + step) - with_weight(r, 1 - step)) / (2 * step) for r in range(60)]
    error = (60 / 59 * np.sum(np.square(slopes))) ** 0.5
    metric = evaluate("binary", y, y_hat, p, interval=True)["auc_pr"]
    low, high = np.log([metric.low / (1 - metric.low), metric.high / (1 - metric.high)])
    assert (high + low) / 2 == pytest.approx(np.log(metric.value / (1 - metric.value)))
    assert (high - low) / (2 * Z) * metric.value * (1 - metric.value) == pytest.approx(error)


def test_auc_pr_interval_holds_the_true_value_in_95_percent_of_cells():
    draw = np.random.default_rng(5)

    def cell(rows: int) -> tuple[np.ndarray, np.ndarray]:
        y = (draw.random(rows) < 0.3).astype(float)
        return y, 1 / (1 + np.exp(-(1.5 * y + draw.normal(size=rows))))

    truth = sk.average_precision_score(*cell(400_000))
    held = 0
    for _ in range(1000):
        y, p = cell(300)
        metric = evaluate("binary", y, y, p, interval=True)["auc_pr"]
        held += metric.low <= truth <= metric.high
    assert 0.92 < held / 1000 < 0.98


@pytest.mark.parametrize("right", [0, 1, 17, 39, 40])
def test_accuracy_interval_is_wilsons(right):
    y = np.arange(40) % 2
    y_hat = np.where(np.arange(40) < right, y, 1 - y)
    metric = evaluate("binary", y, y_hat, interval=True)["accuracy"]
    expected = stats.binomtest(right, 40).proportion_ci(method="wilson")
    assert (metric.low, metric.high) == pytest.approx(tuple(expected), abs=1e-12)


def test_f1_interval_maps_wilsons_for_the_jaccard_index():
    y, y_hat, _ = binary_cell(90, seed=7)
    metric = evaluate("binary", y, y_hat, interval=True)["f1"]
    hits, touched = int((y * y_hat).sum()), int(np.maximum(y, y_hat).sum())
    ends = stats.binomtest(hits, touched).proportion_ci(method="wilson")
    assert (metric.low, metric.high) == pytest.approx(tuple(2 * j / (1 + j) for j in ends))


def test_intervals_of_means_are_students():
    y, y_hat, p = binary_cell(25, seed=8)
    metrics = evaluate("binary", y, y_hat, p, interval=True)
    for name, losses in {"brier": (p - y) ** 2, "log_loss": -np.log(np.where(y, p, 1 - p))}.items():
        expected = stats.t.interval(0.95, 24, losses.mean(), stats.sem(losses))
        assert (metrics[name].low, metrics[name].high) == pytest.approx(expected)


def test_the_interval_of_a_mean_stays_within_its_range():
    y, p = np.array([1.0, 0, 1]), np.array([0.0, 0.0, 1.0])
    brier = evaluate("binary", y, p, p, interval=True)["brier"]
    assert (brier.low, brier.high) == (0, 1)
    both = np.column_stack([1 - p, p])
    assert evaluate("multiclass", y, p, both, interval=True)["brier"].high == 2


def slow_bootstrap(statistic, *columns: np.ndarray) -> np.ndarray:
    """95% percentile interval, one resample after another, with a seed of its own."""
    random = np.random.default_rng(99)
    draws = []
    for _ in range(800):
        rows = random.integers(0, len(columns[0]), len(columns[0]))
        draws.append(statistic(*(column[rows] for column in columns)))
    return np.percentile(draws, [2.5, 97.5])


def macro_f1(y: np.ndarray, y_hat: np.ndarray) -> float:
    return sk.f1_score(y, y_hat, average="macro")


LABEL, CLASS = 0, 1
RARE_CLASS_CELL = tuple(np.append(column, 4.0) for column in multiclass_cell(250, seed=11)[:2])


@pytest.mark.parametrize(
    ("task", "name", "cell", "statistic", "second"),
    [
        ("multiclass", "f1", RARE_CLASS_CELL, macro_f1, CLASS),
        ("regression", "rmse", regression_cell(250, 12), sk.root_mean_squared_error, CLASS),
        ("regression", "r2", regression_cell(250, 12), sk.r2_score, CLASS),
    ],
)
def test_bootstrap_interval_is_that_of_a_plain_loop(task, name, cell, statistic, second):
    metric = evaluate(task, *cell, interval=True)[name]
    expected = slow_bootstrap(statistic, cell[LABEL], cell[second])
    # two sets of draws differ: by some 3% of the width at an end
    assert np.abs(expected - [metric.low, metric.high]).max() < 0.12 * np.ptp(expected)
    assert metric.method == "percentile bootstrap, 1000 draws"


def test_bootstrap_interval_is_of_95_percent():
    y, y_hat = regression_cell(250, seed=22)
    metric = evaluate("regression", y, y_hat, interval=True)["rmse"]
    drawn = np.random.default_rng(98).integers(0, 250, (20_000, 250))
    rmse = ((y - y_hat) ** 2)[drawn].mean(axis=1) ** 0.5
    # 1,000 draws place each end with a standard error of 0.5%: three of both ends together
    outside = np.mean((rmse < metric.low) | (rmse > metric.high))
    assert outside == pytest.approx(0.05, abs=0.02)


# --- intervals: behaviour ------------------------------------------------------------------------


def test_no_interval_unless_asked_for():
    for metric in evaluate("binary", *binary_cell(30, seed=13), interval=False).values():
        assert (metric.low, metric.high, metric.method) == (None, None, "")


@settings(deadline=None, max_examples=60)
@given(small_binary_cells)
def test_an_interval_holds_the_value_has_a_width_and_stays_within_the_range(rows):
    y, y_hat, p = arrays_of(rows)
    for metric in evaluate("binary", y, y_hat, p, interval=True).values():
        if metric.low is None:
            assert metric.high is None
            assert metric.method.startswith("none: ")
        else:
            assert 0 <= metric.low <= metric.value <= metric.high
            assert metric.low < metric.high
            assert metric.high <= 1 or metric.name == "log_loss"


def test_where_the_bootstrap_has_no_spread_there_is_no_interval_and_the_reason():
    y = np.arange(12) % 3
    perfect = {
        "auc_pr": evaluate("binary", y > 1, y > 1, y / 2, interval=True)["auc_pr"],
        "brier": evaluate("binary", y > 1, y > 1, y > 1, interval=True)["brier"],
        "f1": evaluate("multiclass", y, y, np.eye(3)[y], interval=True)["f1"],
        "auc": evaluate("multiclass", y, y, np.eye(3)[y], interval=True)["auc"],
        "rmse": evaluate("regression", y, y, interval=True)["rmse"],
        "r2": evaluate("regression", y, y, interval=True)["r2"],
    }
    for metric in perfect.values():
        assert (metric.low, metric.high) == (None, None)
        assert metric.method.startswith("none: ")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_two_rows_are_enough(task):
    metrics = evaluate(task, [0, 1], [1, 1], interval=True)
    assert all(np.isfinite(metric.value) for metric in metrics.values())


def test_a_constant_label_in_many_draws_leaves_an_r2_interval_from_the_others():
    y = np.array([0.1, 0.1, 0.1, 0.1, 5.0])
    y_hat = np.array([0.2, -0.1, 0.4, 0.1, 6.0])
    metric = evaluate("regression", y, y_hat, interval=True)["r2"]
    assert -10 < metric.low < metric.value < metric.high < 1
    assert 600 < int(metric.method.split()[2]) < 750  # (4/5)^5 = 33% of draws miss the fifth row


@pytest.mark.parametrize(
    ("task", "make_cell"),
    [("binary", binary_cell), ("multiclass", multiclass_cell), ("regression", regression_cell)],
)
def test_equal_arrays_give_equal_results(task, make_cell):
    first = evaluate(task, *make_cell(300, seed=14), interval=True)
    assert evaluate(task, *make_cell(300, seed=14), interval=True) == first
    assert evaluate(task, *make_cell(300, seed=16), interval=True) != first


@pytest.mark.parametrize(
    ("task", "make_cell", "runs"),
    [
        ("binary", binary_cell, 300),
        ("multiclass", multiclass_cell, 120),
        ("regression", regression_cell, 300),
    ],
)
def test_intervals_hold_the_true_value_about_as_often_as_they_say(task, make_cell, runs):
    truth = values(evaluate(task, *make_cell(400_000, seed=10_000), interval=False))
    held = dict.fromkeys(truth, 0)
    for seed in range(runs):
        for name, metric in evaluate(task, *make_cell(60, seed), interval=True).items():
            held[name] += metric.low <= truth[name] <= metric.high
    for name, count in held.items():
        # 95%, with room for the simulation's own spread and for a bootstrap of 60 rows
        assert 0.87 <= count / runs <= 0.99, name


def test_auc_interval_holds_in_a_small_cell_of_good_scores():
    """Where the plain DeLong interval fails: 15 against 15 rows at AUC 0.96 (it holds 79%)."""
    held = []
    for seed in range(400):
        random = np.random.default_rng(seed)
        y = np.repeat([1.0, 0.0], 15)
        metric = evaluate("binary", y, y, score=random.normal(2.5 * y), interval=True)["auc"]
        held.append(metric.low <= stats.norm.cdf(2.5 / 2**0.5) <= metric.high)
    assert 0.92 <= np.mean(held) <= 0.995


def test_memory_does_not_grow_with_the_number_of_draws():
    cell = binary_cell(20_000, seed=15)
    tracemalloc.start()
    try:
        evaluate("binary", *cell, interval=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32e6  # all draws at once would take 160 MB for their counts alone


# --- rows that belong together -------------------------------------------------------------------


def documents(count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Documents of 1 to 12 rows that are much alike: group, label, probability."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(count), random.integers(1, 13, count))
    rows = len(group)
    usual = (random.random(count) < 0.4)[group]
    y = np.where(random.random(rows) < 0.85, usual, random.random(rows) < 0.4).astype(float)
    odds = 1.2 * y - 0.6 + random.normal(size=count)[group] + 0.6 * random.normal(size=rows)
    return group, y, 1 / (1 + np.exp(-odds))


def test_intervals_by_group_hold_the_truth_where_those_by_row_do_not():
    _, y, p = documents(60_000, seed=1)
    truth = evaluate("binary", y, p > 0.5, p, interval=False)
    draws = 120
    by_group, by_row = dict.fromkeys(truth, 0.0), dict.fromkeys(truth, 0.0)
    for seed in range(draws):
        group, y, p = documents(100, seed + 10)
        for held, groups in ((by_group, group), (by_row, None)):
            for name, m in evaluate("binary", y, p > 0.5, p, groups=groups, interval=True).items():
                held[name] += (m.low <= truth[name].value <= m.high) / draws
    assert all(share > 0.88 for share in by_group.values()), by_group
    assert all(share < 0.8 for share in by_row.values()), by_row


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_groups_change_intervals_and_no_value(task):
    cell = {"binary": binary_cell, "multiclass": multiclass_cell, "regression": regression_cell}
    arrays = cell[task](120, seed=3)
    group = np.repeat(np.arange(30), 4)
    alone = evaluate(task, *arrays, interval=True)
    assert evaluate(task, *arrays, groups=np.arange(120) * 3, interval=True) == alone
    grouped = evaluate(task, *arrays, groups=group, interval=True)
    assert values(grouped) == values(alone)
    for name, metric in grouped.items():
        assert metric.low < metric.value < metric.high
        assert "group" in metric.method
        assert "group" not in alone[name].method


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(25), 4)])
def test_the_interval_of_an_evaluation_is_that_of_a_leaderboard(groups):
    """For every metric, also beside other variants."""
    y, y_hat, p = binary_cell(100, seed=4)
    other = Predictions(1 - y_hat, 1 - p)
    found = evaluate("binary", y, y_hat, p, groups=groups, interval=True)
    for name, metric in found.items():
        compared = compare("binary", name, y, {"a": Predictions(y_hat, p), "b": other}, groups)
        assert compared.values["a"] == metric
    y, y_hat = regression_cell(100, seed=4)
    for name, metric in evaluate("regression", y, y_hat, groups=groups, interval=True).items():
        compared = compare("regression", name, y, {"a": Predictions(y_hat)}, groups)
        assert compared.values["a"] == metric


def test_an_interval_that_groups_cannot_give_says_so():
    y, y_hat, p = binary_cell(40, seed=5)
    for metric in evaluate("binary", y, y_hat, p, groups=np.zeros(40), interval=True).values():
        assert (metric.low, metric.method) == (None, "none: all rows belong to one group")
    group = np.where(y == 1, 0, np.arange(40) // 2 + 1)
    auc = evaluate("binary", y, y_hat, p, groups=group, interval=True)["auc"]
    assert (auc.low, auc.method) == (
        None,
        "none: a class, or the rest beside it, is in a single group",
    )


def test_only_the_metrics_that_are_asked_for_have_intervals():
    y, y_hat, p = binary_cell(40, seed=6)
    for groups in (None, np.arange(40) // 2):
        found = evaluate("binary", y, y_hat, p, groups=groups, interval=["brier"])
        assert [name for name, metric in found.items() if metric.low is not None] == ["brier"]
