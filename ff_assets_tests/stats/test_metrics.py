"""Point values of metrics against scikit-learn, and cells that have none."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from ff_assets.core.errors import DataError
from ff_assets.core.metrics import METRICS
from ff_assets.stats.metrics import NoMetric, evaluate
from ff_assets_tests.stats.metric_cells import (
    arrays_of,
    binary_cell,
    multiclass_cell,
    regression_cell,
    small_binary_cells,
    values,
)

# --- point values --------------------------------------------------------------------------------


@settings(deadline=None)
@given(small_binary_cells)
def test_binary_values_are_those_of_scikit_learn(rows):
    y, y_hat, p = arrays_of(rows)
    assert values(evaluate("binary", y, y_hat, p, interval=False)) == pytest.approx(
        {
            "auc": sk.roc_auc_score(y, p),
            "auc_pr": sk.average_precision_score(y, p),
            "f1": sk.f1_score(y, y_hat, zero_division=0.0),
            "accuracy": sk.accuracy_score(y, y_hat),
            "log_loss": sk.log_loss(y, p),
            "brier": sk.brier_score_loss(y, p),
        }
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_multiclass_values_are_those_of_scikit_learn(classes):
    y, y_hat, p = multiclass_cell(300, seed=classes, classes=classes)
    one_vs_rest = [sk.roc_auc_score(y == k, p[:, k]) for k in range(classes)]
    assert values(evaluate("multiclass", y, y_hat, p, interval=False)) == pytest.approx(
        {
            "f1": sk.f1_score(y, y_hat, average="macro"),
            "accuracy": sk.accuracy_score(y, y_hat),
            "log_loss": sk.log_loss(y, p),
            "brier": ((p - np.eye(classes)[y.astype(int)]) ** 2).sum(axis=1).mean(),
            "auc": np.mean(one_vs_rest),
        }
    )


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=30).filter(
        lambda rows: np.ptp([y for y, _ in rows]) > 1e-3
    )
)
def test_regression_values_are_those_of_scikit_learn(rows):
    y, y_hat = np.array(rows).T
    assert values(evaluate("regression", y, y_hat, interval=False)) == pytest.approx(
        {
            "rmse": sk.root_mean_squared_error(y, y_hat),
            "mae": sk.mean_absolute_error(y, y_hat),
            "r2": sk.r2_score(y, y_hat),
        },
        rel=1e-6,
        abs=1e-9,
    )


def test_a_certain_mistake_costs_a_large_but_finite_log_loss():
    loss = evaluate("binary", [1, 0], [0, 0], [0.0, 0.0], interval=False)["log_loss"].value
    assert loss == pytest.approx(-np.log(np.finfo(float).eps) / 2)


def test_both_shapes_of_a_binary_probability_give_the_same():
    y, y_hat, p = binary_cell(50, seed=1)
    both = np.column_stack([1 - p, p])
    assert evaluate("binary", y, y_hat, p, interval=True) == evaluate(
        "binary", y, y_hat, both, interval=True
    )


def test_a_score_in_place_of_a_probability_gives_the_ranking_metrics():
    y, y_hat, p = binary_cell(80, seed=2)
    full = evaluate("binary", y, y_hat, p, interval=True)
    raw = np.log(p / (1 - p))
    for score in (raw, np.column_stack([-raw, raw])):
        ranked = evaluate("binary", y, y_hat, score=score, interval=True)
        assert ranked == {name: full[name] for name in ("auc", "auc_pr", "f1", "accuracy")}


def test_an_infinite_score_ranks_first():
    y, score = np.array([1.0, 1, 0, 1, 0]), np.array([np.inf, np.inf, 2, 1, -np.inf])
    metrics = evaluate("binary", y, y, score=score, interval=False)
    finite = evaluate("binary", y, y, score=np.clip(score, -9, 9), interval=False)
    assert values(metrics) == values(finite)


def test_a_stage_that_gives_only_classes_gets_the_metrics_of_classes():
    y, y_hat, _ = binary_cell(30, seed=3)
    assert set(evaluate("binary", y, y_hat, interval=True)) == {"f1", "accuracy"}
    assert set(evaluate("multiclass", y, y_hat, interval=True)) == {"f1", "accuracy"}


def test_macro_f1_counts_classes_that_occur_whatever_their_numbers():
    y, y_hat = np.array([5.0, 5, 9, 9]), np.array([5.0, 2, 9, 9])
    metrics = evaluate("multiclass", y, y_hat, interval=False)
    assert metrics["f1"].value == pytest.approx(sk.f1_score(y, y_hat, average="macro"))


def test_a_class_without_a_labelled_row_leaves_out_the_auc_only():
    y, y_hat, p = multiclass_cell(60, seed=4, classes=3)
    seen = y < 2
    metrics = evaluate("multiclass", y[seen], y_hat[seen], p[seen], interval=True)
    assert set(metrics) == {"f1", "accuracy", "log_loss", "brier"}


def test_an_input_that_the_task_has_no_use_for_changes_nothing():
    y, y_hat, p = multiclass_cell(30, seed=17, classes=3)
    for task, unused in [
        ("multiclass", {"score": np.log(p)}),
        ("regression", {"probability": p}),
        ("regression", {"score": p}),
    ]:
        plain = evaluate(task, y, y_hat, interval=False)
        assert evaluate(task, y, y_hat, interval=False, **unused) == plain


def test_metrics_have_the_names_and_the_order_that_targets_know():
    cells = {
        "binary": binary_cell(20, seed=5),
        "multiclass": multiclass_cell(40, seed=5),
        "regression": regression_cell(20, seed=5),
    }
    assert cells.keys() == METRICS.keys()
    for task, cell in cells.items():
        assert tuple(evaluate(task, *cell, interval=False)) == METRICS[task]


# --- cells that have no metrics ------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_cell_of_one_label_is_an_error_that_names_it(task, label):
    y = np.full(37, label)
    with pytest.raises(NoMetric, match=f"37 rows of this cell all have the label {label:g}") as e:
        evaluate(task, y, np.arange(37) % 2, interval=False)
    assert isinstance(e.value, DataError)
    assert isinstance(e.value, ValueError)
    assert e.value.why
    assert e.value.fix


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_empty_cell_is_an_error(task):
    with pytest.raises(NoMetric, match="no row with a label"):
        evaluate(task, [], [], interval=False)
    if task != "regression":
        with pytest.raises(NoMetric, match="no row with a label"):
            evaluate(task, [], [], np.empty((0, 2)), interval=True)


NAN = float("nan")


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        (
            "binary",
            {"label": [0, 1, NAN]},
            "label is unusable in 1 of 3 rows, first nan at pos.* 2",
        ),
        (
            "binary",
            {"label": [0, 2, 3]},
            "label is unusable in 2 of 3 rows, first 2.0 at position 1",
        ),
        ("binary", {"label": [0, -1, 1]}, "label is unusable in 1 of 3 rows, first -1.0"),
        ("binary", {"prediction": [0.2, 0, 1]}, "prediction is unusable in 1 of 3 rows, first 0.2"),
        (
            "binary",
            {"probability": [0.2, NAN, 1]},
            "probability is unusable in 1 of 3 .* first nan",
        ),
        ("binary", {"probability": [0.2, 1.1, -1]}, "probability is unusable in 2 of 3 rows"),
        ("binary", {"probability": [[0.2, 0.9]] * 3}, "probability is unusable in 3 of 3 rows"),
        ("binary", {"score": [NAN, 1, 2]}, "score is unusable in 1 of 3 rows"),
        ("multiclass", {"label": [0, 1, 1.5]}, "label is unusable in 1 of 3 rows, first 1.5"),
        ("multiclass", {"label": [0, 1, np.inf]}, "label is unusable in 1 of 3 rows, first inf"),
        (
            "multiclass",
            {"label": [0, 1, 2], "probability": [[0.5, 0.5]] * 3},
            "label is unusable in 1 of 3 rows, first 2.0",
        ),
        ("regression", {"prediction": [1, 2, NAN]}, "prediction is unusable in 1 of 3 rows"),
        ("regression", {"prediction": [1, 2, np.inf]}, "rmse of 3 rows is inf"),
        ("regression", {"label": [1, 1e200, 2]}, "rmse of 3 rows is inf"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_wrong_value_is_an_error_that_says_what_and_where(task, arguments, message):
    with pytest.raises(NoMetric, match=message) as e:
        evaluate(task, **({"label": [0, 1, 1], "prediction": [0, 1, 1]} | arguments), interval=True)
    assert e.value.why
    assert e.value.fix


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("ranking", {}, "unknown task 'ranking'; use one of: binary, multiclass, regression"),
        ("binary", {"prediction": [0, 1]}, r"prediction has shape \(2,\); expected \(3,\)"),
        ("binary", {"label": [[0], [1], [1]]}, r"label has shape \(3, 1\); expected \(any,\)"),
        ("binary", {"probability": np.ones((3, 3))}, r"expected \(3,\) or \(3, 2\)"),
        ("multiclass", {"probability": [0, 1, 1]}, r"expected \(3, any\)"),
        ("binary", {"probability": [0, 1, 1], "score": [0, 1, 1]}, "pass one of the two"),
    ],
)
def test_a_wrong_call_is_a_value_error(task, arguments, message):
    with pytest.raises(ValueError, match=message) as e:
        evaluate(task, **({"label": [0, 1, 1], "prediction": [0, 1, 1]} | arguments), interval=True)
    assert not isinstance(e.value, NoMetric)


def test_the_module_imports_without_numpy():
    code = (
        "import sys, ff_assets.stats.metrics;"
        "heavy = {'numpy', 'scipy', 'sklearn', 'pandas'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
