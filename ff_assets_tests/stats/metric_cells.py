"""Made-up cells for the tests of metrics and of their intervals."""

import numpy as np
from hypothesis import strategies as st

from ff_assets.stats.metrics import Metric


def binary_cell(n: int, seed: int, prevalence: float = 0.4, signal: float = 1.5):
    """Labels, classes and calibrated probabilities; `signal` is the distance of the classes."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < prevalence).astype(float)
    y[:2] = 0, 1
    raw = random.normal(y * signal)
    log_odds = signal * raw - signal**2 / 2 + np.log(prevalence / (1 - prevalence))
    p = 1 / (1 + np.exp(-log_odds))
    return y, (p > 0.5).astype(float), p


def multiclass_cell(n: int, seed: int, classes: int = 4):
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, n).astype(float)
    y[:classes] = np.arange(classes)
    power = np.exp(random.normal(size=(n, classes)) + 2 * (y[:, None] == np.arange(classes)))
    p = power / power.sum(axis=1, keepdims=True)
    return y, p.argmax(axis=1).astype(float), p


def regression_cell(n: int, seed: int):
    random = np.random.default_rng(seed)
    prediction = 3 * random.normal(size=n) + 100
    return prediction + random.normal(size=n), prediction


def values(metrics: dict[str, Metric]) -> dict[str, float]:
    return {name: metric.value for name, metric in metrics.items()}


# Coarse probabilities make ties, and 0 and 1 are where log loss is clipped.
small_binary_cells = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40
).filter(lambda rows: len({label for label, _ in rows}) == 2)


def arrays_of(rows: list[tuple[bool, int]]):
    y = np.array([label for label, _ in rows], dtype=float)
    p = np.array([sixth for _, sixth in rows]) / 6
    return y, (p > 0.5).astype(float), p
