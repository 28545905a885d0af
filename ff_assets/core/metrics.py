"""The names of metrics: what a target may ask for by its task, before anything is measured.

`stats/metrics.py` computes them.
"""

from collections.abc import Mapping

METRICS: Mapping[str, tuple[str, ...]] = {
    "binary": ("auc", "auc_pr", "f1", "accuracy", "log_loss", "brier"),
    "multiclass": ("f1", "accuracy", "log_loss", "brier", "auc"),
    "regression": ("rmse", "mae", "r2"),
}
"""Task -> its metrics, in the order of `evaluate`."""

PRIMARY: Mapping[str, str] = {task: names[0] for task, names in METRICS.items()}
"""Task -> the metric that a table shows first. For `multiclass` it is macro F1: accuracy hides a
rare class that is always missed, and the other metrics need a probability."""

LOSSES = frozenset({"brier", "log_loss", "mae", "rmse"})
"""Metrics of which less is better."""

CHANCE: Mapping[str, tuple[str, float]] = {
    "binary": ("auc", 0.5),
    "multiclass": ("auc", 0.5),
    "regression": ("r2", 0.0),
}
"""Task -> a metric, and what it is worth for a prediction that knows nothing of the row.

Only these have such a value in all data: F1, accuracy and the losses of a guess depend on how often
each class occurs, or on the label's unit.
"""
