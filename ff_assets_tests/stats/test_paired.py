"""Comparisons of variants: what must not change them, where they end, how often they are right."""

import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from ff_assets.stats.metrics import NoMetric, evaluate
from ff_assets.stats.paired import Comparison, Predictions, compare
from ff_assets_tests.stats.metric_cells import binary_cell, multiclass_cell, regression_cell
from ff_assets_tests.stats.test_clustered_auc import delong

BINARY = ["auc", "auc_pr", "f1", "accuracy", "log_loss", "brier"]


def binary_variants(n: int, seed: int, *noises: float) -> tuple[np.ndarray, dict[str, Predictions]]:
    """Variants that see the same thing, each blurred on its own."""
    y, _, p = binary_cell(n, seed)
    random = np.random.default_rng(seed + 1)
    variants = {}
    for name, noise in zip("abcdefghijkl", noises, strict=False):
        blurred = np.log(p / (1 - p)) + noise * random.normal(size=n)
        blurred = 1 / (1 + np.exp(-blurred))
        variants[name] = Predictions((blurred > 0.5).astype(float), blurred)
    return y, variants


def ends(comparison: Comparison) -> dict:
    return {
        pair: (one.value, one.low, one.high, one.p_adjusted)
        for pair, one in comparison.differences.items()
    }


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", BINARY)
def test_values_are_those_of_the_evaluation(metric):
    y, variants = binary_variants(80, 3, 0.2, 1, 2)
    comparison = compare("binary", metric, y, variants)
    for name, given_ in variants.items():
        expected = evaluate("binary", y, *given_[:2], interval=False)[metric].value
        value = comparison.values[name]
        assert value.value == expected
        assert value.low < expected < value.high
    a, b = comparison.values["a"].value, comparison.values["b"].value
    assert comparison.difference("a", "b").value == a - b
    assert (comparison.rows, comparison.groups) == (80, 80)


def test_two_aucs_are_compared_by_delong():
    y, variants = binary_variants(60, 4, 0.5, 1.5)
    difference = compare("binary", "auc", y, variants).difference("a", "b")
    covariance = delong(y, *(one.probability for one in variants.values()))
    error = (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
    freedom = min(y.sum(), 60 - y.sum()) - 1
    assert difference.p == pytest.approx(2 * stats.t.sf(abs(difference.value) / error, freedom))
    assert difference.high - difference.value == pytest.approx(stats.t.ppf(0.975, freedom) * error)


@pytest.mark.parametrize("metric", ["log_loss", "brier", "mae"])
def test_a_difference_of_means_is_that_of_a_paired_t_test(metric):
    if metric == "mae":
        y, first = regression_cell(400, 5)
        variants = {"a": Predictions(first), "b": Predictions(first + 0.3)}
        losses = [np.abs(one.prediction - y) for one in variants.values()]
        comparison = compare("regression", metric, y, variants)
    else:
        y, variants = binary_variants(400, 5, 0.3, 0.6)
        p = [one.probability for one in variants.values()]
        losses = [
            (one - y) ** 2 if metric == "brier" else -np.log(np.where(y, one, 1 - one)) for one in p
        ]
        comparison = compare("binary", metric, y, variants)
    expected = stats.ttest_rel(*losses)
    low, high = expected.confidence_interval()
    difference = comparison.difference("a", "b")
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=0.08 * (high - low))
    assert difference.p == pytest.approx(expected.pvalue, abs=0.02)


def test_few_groups_have_students_interval():
    ratios = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        group = np.repeat(np.arange(8), 50)
        y, blur = random.normal(size=400), random.normal(size=8)[group]
        variants = {"a": Predictions(y + 5 + blur), "b": Predictions(y + 5)}
        difference = compare("regression", "mae", y, variants, group).difference("a", "b")
        low, high = stats.ttest_1samp(blur[::50], 0).confidence_interval()
        ratios.append((difference.high - difference.low) / (high - low))
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("metric", ["auc", "brier"])
def test_an_interval_among_ten_is_that_of_a_tenth_of_the_level(metric):
    y, variants = binary_variants(4000, 6, 0.5, 0.8)
    one = compare("binary", metric, y, variants).difference("a", "b")
    among_ten = compare("binary", metric, y, variants, level=0.005).difference("a", "b")
    assert among_ten.value == one.value
    wider = (among_ten.high - among_ten.low) / (one.high - one.low)
    assert wider == pytest.approx(stats.norm.ppf(0.9975) / stats.norm.ppf(0.975), abs=0.08)


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_among_several_variants_a_p_value_is_adjusted_and_fits_its_interval(metric):
    y, variants = binary_variants(300, 15, 0.3, 0.4, 0.8, 3)
    differences = compare("binary", metric, y, variants).differences
    assert list(differences) == [tuple(pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")]
    for one in differences.values():
        assert one.p <= one.p_adjusted < 6.1 * one.p + 0.01
        assert one.distinguishable == (one.p_adjusted < 0.05)
    assert {one.distinguishable for one in differences.values()} == {True, False}
    assert any(one.p_adjusted > 1.5 * one.p for one in differences.values())
    with pytest.raises(KeyError):
        compare("binary", metric, y, variants).difference("a", "e")


@pytest.mark.parametrize("metric", ["auc", "f1", "log_loss"])
def test_several_classes(metric):
    y, y_hat, p = multiclass_cell(300, 6)
    even = np.full_like(p, 0.25)
    blurred = (p + even) / 2
    blurred[::3] = even[::3]
    variants = {"sharp": Predictions(y_hat, p), "blurred": Predictions(blurred.argmax(1), blurred)}
    difference = compare("multiclass", metric, y, variants).difference("sharp", "blurred")
    assert difference.distinguishable
    assert (difference.value > 0) == (metric != "log_loss")


def test_a_score_is_compared_as_a_probability_is():
    y, variants = binary_variants(90, 7, 0.5, 1.5)
    scores = {
        name: Predictions(one.prediction, score=np.log(one.probability / (1 - one.probability)))
        for name, one in variants.items()
    }
    for metric in ("auc", "auc_pr"):
        assert ends(compare("binary", metric, y, scores)) == ends(
            compare("binary", metric, y, variants)
        )


# --- what must not change a comparison ------------------------------------------------------------

small_cells = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 8)),
    min_size=8,
    max_size=25,
).filter(lambda rows: 2 <= sum(row[0] for row in rows) <= len(rows) - 2)


def small(rows: list) -> tuple[np.ndarray, dict[str, Predictions], np.ndarray]:
    y, first, second, group = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    assume(len(np.unique(group)) > 1)
    return y, {"a": Predictions(y, first / 5), "b": Predictions(y, second / 5)}, group


@settings(deadline=None, max_examples=40)
@given(small_cells, st.sampled_from(["auc", "auc_pr"]))
def test_a_rising_function_of_a_score_changes_nothing(rows, metric):
    y, variants, group = small(rows)
    risen = {
        "a": Predictions(y, score=np.exp(9 * variants["a"].probability)),
        "b": Predictions(y, score=3 * variants["b"].probability ** 3 - 7),
    }
    assert compare("binary", metric, y, risen, group) == compare(
        "binary", metric, y, variants, group
    )


@settings(deadline=None, max_examples=25)
@given(small_cells, st.sampled_from(["auc", "log_loss"]), st.randoms())
def test_the_order_of_rows_changes_nothing(rows, metric, random):
    shuffled = random.sample(rows, len(rows))
    y, variants, group = small(rows)
    before = compare("binary", metric, y, variants, group).difference("a", "b")
    y, variants, group = small(shuffled)
    after = compare("binary", metric, y, variants, group).difference("a", "b")
    assert after.value == pytest.approx(before.value, abs=1e-12)
    assert (after.low is None) == (before.low is None)
    if before.low is not None:
        assert (after.low, after.high) == pytest.approx((before.low, before.high), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(small_cells, st.sampled_from(["auc", "auc_pr", "log_loss"]))
def test_swapped_variants_flip_the_sign(rows, metric):
    y, variants, group = small(rows)
    one = compare("binary", metric, y, variants, group)
    other = compare("binary", metric, y, dict(reversed(variants.items())), group)
    assert one.difference("b", "a") == one.difference("a", "b").reversed()
    first, second = one.difference("a", "b"), other.difference("a", "b")
    if first.low is None:
        assert second.low is None
    else:
        ours, theirs = (np.array([d.value, d.low, d.high, d.p]) for d in (first, second))
        assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("metric", BINARY)
def test_names_of_groups_do_not_matter_and_groups_of_one_row_are_none(metric):
    y, variants = binary_variants(60, 8, 0.3, 1)
    alone = compare("binary", metric, y, variants)
    named = compare("binary", metric, y, variants, [f"row {i:02}" for i in range(60)])
    assert named == alone
    assert compare("binary", metric, y, variants, np.arange(60) * 7 - 3) == alone


@pytest.mark.parametrize("metric", BINARY)
def test_rows_that_are_repeated_in_their_group_are_no_more_evidence(metric):
    y, variants = binary_variants(150, 9, 0.3, 1)
    once = compare("binary", metric, y, variants).difference("a", "b")
    repeated = {
        name: Predictions(np.tile(one.prediction, 4), np.tile(one.probability, 4))
        for name, one in variants.items()
    }
    y, group = np.tile(y, 4), np.tile(np.arange(150), 4)
    grouped = compare("binary", metric, y, repeated, group).difference("a", "b")
    width = once.high - once.low
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high), abs=0.02 * width)
    as_if_alone = compare("binary", metric, y, repeated).difference("a", "b")
    assert as_if_alone.high - as_if_alone.low == pytest.approx(width / 2, rel=0.1)


# --- where it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", BINARY)
@pytest.mark.parametrize("groups", [None, [0] * 40])
def test_equal_predictions_differ_by_exactly_0(metric, groups):
    y, variants = binary_variants(40, 10, 1, 1.5)
    variants["copy of a"] = Predictions(*map(np.copy, variants["a"][:2]))
    difference = compare("binary", metric, y, variants, groups).difference("copy of a", "a")
    ends = difference.value, difference.low, difference.high, difference.p, difference.p_adjusted
    assert ends == (0, 0, 0, 1, 1)
    assert not difference.distinguishable


@pytest.mark.parametrize("metric", BINARY)
def test_a_single_group_has_values_and_no_interval(metric):
    y, variants = binary_variants(40, 11, 0.5, 1.5)
    comparison = compare("binary", metric, y, variants, ["customer"] * 40)
    difference = comparison.difference("a", "b")
    assert difference.value != 0
    assert (difference.low, difference.p, difference.distinguishable) == (None, None, False)
    assert comparison.method == "none: all rows belong to one group"
    assert comparison.values["a"].low is None


def test_a_class_in_a_single_group_has_no_interval_of_auc():
    y, variants = binary_variants(40, 12, 0.5, 1.5)
    comparison = compare("binary", "auc", y, variants, np.where(y == 1, 0, np.arange(40) + 1))
    assert comparison.difference("a", "b").low is None
    assert "in a single group" in comparison.method


def test_opposite_extremes_have_no_interval_of_zero_width():
    y = np.repeat([0.0, 1.0], 5)
    variants = {"right": Predictions(y, y), "wrong": Predictions(1 - y, 1 - y)}
    for metric in ("auc", "accuracy", "brier"):
        difference = compare("binary", metric, y, variants).difference("right", "wrong")
        assert abs(difference.value) == 1
        assert (difference.low, difference.high, difference.p) == (None, None, None)


def test_a_constant_difference_has_no_interval_though_sums_round():
    y = np.random.default_rng(1).normal(size=50)
    variants = {"a": Predictions(y + 0.1), "b": Predictions(y + 0.3)}
    difference = compare("regression", "mae", y, variants).difference("a", "b")
    assert difference.value == pytest.approx(-0.2)
    assert difference.low is None
    mirrored = {"a": Predictions(y + 0.1), "b": Predictions(y - 0.1)}
    difference = compare("regression", "mae", y, mirrored).difference("a", "b")
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_perfect_separation_of_grouped_rows_has_no_interval_that_counts_rows():
    y = np.tile([0.0, 1.0], 20)
    alone = compare("binary", "auc", y, {"a": Predictions(y, y)}).values["a"]
    assert alone.low < alone.high == 1
    grouped = compare("binary", "auc", y, {"a": Predictions(y, y)}, np.arange(40) // 10).values["a"]
    assert (grouped.value, grouped.low) == (1, None)


def test_one_variant_has_nothing_to_be_compared_with():
    y, variants = binary_variants(40, 13, 0.5)
    for metric in BINARY:
        comparison = compare("binary", metric, y, variants)
        assert comparison.differences == {}
        assert comparison.values["a"].low < comparison.values["a"].high


def test_one_class_has_no_auc_and_the_error_names_the_variant():
    with pytest.raises(NoMetric, match="variant `a`: the 3 rows of this cell all have the label 1"):
        compare("binary", "auc", [1, 1, 1], {"a": Predictions([1, 0, 1], [0.2, 0.3, 0.4])})


def test_a_variant_without_a_probability_has_no_log_loss():
    y, variants = binary_variants(40, 14, 0.5)
    variants["svm"] = Predictions(y, score=y)
    with pytest.raises(NoMetric, match="variant `svm` has no log_loss"):
        compare("binary", "log_loss", y, variants)


def test_nothing_to_compare_and_wrong_shapes():
    with pytest.raises(ValueError, match="no variant"):
        compare("binary", "auc", [0, 1], {})
    with pytest.raises(ValueError, match="shape"):
        compare("binary", "f1", [0, 1, 1], {"a": Predictions([0, 1])})
    with pytest.raises(ValueError, match=r"groups has shape \(2,\); expected \(3,\)"):
        compare("binary", "f1", [0, 1, 1], {"a": Predictions([0, 1, 1])}, [1, 2])


# --- how often it is right -----------------------------------------------------------------------


def test_the_best_of_five_equal_variants_is_seldom_called_better():
    """Picked first and compared then: without allowing for it, more than a fifth would be."""
    called, alone = 0, 0
    for seed in range(250):
        y, variants = binary_variants(200, 100 + seed, 1, 1, 1, 1, 1)
        differences = compare("binary", "auc", y, variants).differences.values()
        called += any(one.distinguishable for one in differences)
        alone += any(one.p < 0.05 for one in differences)
    assert called <= stats.binom.ppf(0.999, 250, 0.05)
    assert alone > 0.12 * 250


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_differences_among_grouped_rows_are_covered(metric):
    held, as_if_alone, runs = 0, 0, 200
    for seed in range(runs):
        random = np.random.default_rng([seed, 6])
        group = np.repeat(np.arange(40), random.integers(1, 12, 40))
        of_group = random.normal(size=(3, 40))[:, group]
        y = (of_group[0] + random.normal(size=len(group)) > 0).astype(float)
        variants = {}
        for name, shared in zip("ab", of_group[1:], strict=True):
            p = 1 / (1 + np.exp(-(y + shared + 0.5 * random.normal(size=len(y)))))
            variants[name] = Predictions((p > 0.5).astype(float), p)
        held += (
            not compare("binary", metric, y, variants, group).difference("a", "b").distinguishable
        )
        alone = compare("binary", metric, y, variants).difference("a", "b")
        as_if_alone += not alone.distinguishable
    assert held >= stats.binom.ppf(0.001, runs, 0.95)
    assert as_if_alone < 0.85 * runs


def test_pairing_finds_what_two_intervals_hide():
    y, variants = binary_variants(1500, 16, 0, 0.4)
    comparison = compare("binary", "auc", y, variants)
    a, b = comparison.values["a"], comparison.values["b"]
    assert max(a.low, b.low) < min(a.high, b.high)
    assert comparison.difference("a", "b").distinguishable


@pytest.mark.parametrize("metric", ["auc", "auc_pr", "log_loss"])
def test_twelve_variants_on_10_000_rows_take_less_than_5_seconds(metric):
    y, variants = binary_variants(10_000, 17, *np.linspace(0, 1, 12))
    began = time.process_time()
    compare("binary", metric, y, variants)
    taken = time.process_time() - began
    print(f"{metric}: {taken:.2f} s")
    assert taken < 5
