"""Calibration against scikit-learn, against the truth in simulations, and where it ends."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from ff_assets.stats.calibration import bias, calibration
from ff_assets.stats.intervals import wilson


def honest(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that are what they say."""
    random = np.random.default_rng(seed)
    p = random.beta(2, 3, rows)
    return (random.random(rows) < p).astype(float), p


def stretched(p: np.ndarray, slope: float, shift: float) -> np.ndarray:
    """Probabilities whose log odds are off."""
    return 1 / (1 + np.exp(-(np.log(p / (1 - p)) * slope + shift)))


def test_bins_are_scikit_learns():
    y, p = honest(730, seed=1)
    found = calibration("binary", y, p > 0.5, p)
    observed, predicted = calibration_curve(y, p, n_bins=10, strategy="quantile")
    assert [each.observed for each in found.bins] == pytest.approx(observed)
    assert [each.predicted for each in found.bins] == pytest.approx(predicted)
    assert {each.rows for each in found.bins} == {73}
    for each in found.bins:
        assert (each.low, each.high) == pytest.approx(wilson(each.rows * each.observed, each.rows))
    distance = np.abs(observed - predicted).mean()
    assert found.error == pytest.approx(distance)


def test_equal_probabilities_are_never_parted():
    y, _ = honest(100, seed=2)
    p = np.repeat([0.1, 0.4, 0.9], [70, 25, 5])
    found = calibration("binary", y, y, np.column_stack([1 - p, p]))
    assert [(each.rows, each.predicted) for each in found.bins] == [
        (70, pytest.approx(0.1)),
        (25, pytest.approx(0.4)),
        (5, pytest.approx(0.9)),
    ]
    expected = sum(
        n / 100 * abs(part.mean() - one)
        for one, n, part in zip([0.1, 0.4, 0.9], [70, 25, 5], np.split(y, [70, 95]), strict=True)
    )
    assert found.error == pytest.approx(expected)


def test_slope_is_that_of_a_logistic_regression():
    y, p = honest(800, seed=3)
    off = stretched(p, 2.5, 0.7)
    odds = np.log(off / (1 - off))[:, None]
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(odds, y)
    found = calibration("binary", y, y, off)
    assert found.slope.value == pytest.approx(expected.coef_[0, 0], rel=1e-4)
    # The score of the intercept alone is 0 where the mean of all probabilities is right.
    shifted = stretched(off, 1, found.intercept.value)
    assert shifted.mean() == pytest.approx(y.mean(), abs=1e-6)


def test_intervals_of_slope_and_intercept_hold_the_truth_and_know_of_groups():
    """Rows four times in their group are no more evidence, and 95% of intervals are right."""
    held = {"slope": 0, "intercept": 0}
    for seed in range(400):
        y, p = honest(300, seed)
        found = calibration("binary", y, y, p)
        held["slope"] += found.slope.low <= 1 <= found.slope.high
        held["intercept"] += found.intercept.low <= 0 <= found.intercept.high
    assert all(0.92 < count / 400 < 0.985 for count in held.values()), held

    fourfold = calibration("binary", np.tile(y, 4), np.tile(y, 4), np.tile(p, 4), [*range(300)] * 4)
    assert fourfold.slope.high == pytest.approx(found.slope.high, rel=0.01)
    for one, four in zip(found.bins, fourfold.bins, strict=True):
        assert (four.low, four.high) == pytest.approx((one.low, one.high), abs=0.02)


def test_the_share_of_a_bin_holds_the_truth_where_rows_belong_together():
    held = np.zeros(2)
    for seed in range(150):
        random = np.random.default_rng(seed)
        group = np.repeat(np.arange(120), 6)
        p = np.repeat(random.uniform(0.1, 0.9, 120), 6)
        y = (np.repeat(random.random(120), 6) < p).astype(float)  # one fate for a whole group
        for k, groups in enumerate((group, None)):
            bins = calibration("binary", y, y, p, groups).bins
            held[k] += np.mean([each.low <= each.predicted <= each.high for each in bins]) / 150
    by_group, by_row = held
    assert 0.92 < by_group < 0.99
    assert by_row < 0.75


def test_predictions_that_are_too_sure_have_a_low_slope_and_a_large_error():
    y, p = honest(3000, seed=5)
    right, wrong = (calibration("binary", y, y, each) for each in (p, stretched(p, 3, 0)))
    assert right.slope.low < 1 < right.slope.high
    assert wrong.slope.high < 0.5
    assert wrong.error > 3 * right.error


def test_several_classes_are_judged_by_the_predicted_one():
    random = np.random.default_rng(6)
    p = random.dirichlet([1, 1, 2], 2000)
    y = np.array([random.choice(3, p=each) for each in p]).astype(float)
    found = calibration("multiclass", y, p.argmax(axis=1), p)
    assert found.of == "the predicted class"
    right = (p.argmax(axis=1) == y).mean()
    assert sum(b.rows * b.observed for b in found.bins) / 2000 == pytest.approx(right)
    assert found.error < 0.05
    assert found.slope.low < 1 < found.slope.high


@pytest.mark.parametrize(
    "p",
    [
        np.full(40, 0.3),  # no spread
        np.repeat([0.2, 0.8], 20),  # a threshold separates the classes
        np.repeat([0.0, 1.0], 20),
    ],
)
def test_there_is_no_slope_that_fits_best(p):
    y = np.repeat([0.0, 1.0], 20)
    found = calibration("binary", y, y, p)
    assert found.slope is None
    assert sum(each.rows for each in found.bins) == 40


def test_bias_of_numbers_is_the_mean_error_with_students_interval():
    random = np.random.default_rng(7)
    y = random.normal(size=50)
    y_hat = y + random.normal(0.3, 1, 50)
    from scipy import stats

    low, high = stats.ttest_1samp(y_hat - y, 0).confidence_interval()
    found = bias(y, y_hat)
    assert found.value == pytest.approx((y_hat - y).mean())
    assert (found.low, found.high) == pytest.approx((low, high))
    repeated = bias(np.tile(y, 3), np.tile(y_hat, 3), [*range(50)] * 3)
    assert (repeated.low, repeated.high) == pytest.approx((low, high))
    assert bias(y, y_hat, np.zeros(50)).low is None
