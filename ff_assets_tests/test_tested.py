"""The rows that two versions share, kept by one evaluation each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ff_assets import Entity, Source, Target
from ff_assets.core.flow import infer
from ff_assets.core.instance import Variant
from ff_assets.core.project import Project
from ff_assets.engine.scored import Part
from ff_assets.engine.store import Store
from ff_assets.engine.tested import NotTogether, OnCommonRows, keep, on_common_rows
from ff_assets.stats.metrics import evaluate
from ff_assets.stats.paired import Predictions, compare

ROWS = 4000
RANDOM = np.random.default_rng(7)
TRUTH = RANDOM.integers(0, 2, ROWS).astype(float)
SIGNAL = TRUTH + RANDOM.normal(0, 1.2, ROWS)
WORSE = SIGNAL + RANDOM.normal(0, 0.6, ROWS)
GROUPS = np.arange(ROWS) // 2


def variant(label: str = "y") -> Variant:
    features = {"x": "double", "y": "double", "z": "double"}
    review = Entity("review", key="review_id")
    source = Source(
        "seen", entity=review, load=len, features=features, labels=["y", "z"], version="1"
    )
    target = Target("t", outputs=["x"], label=label, task="binary")
    (made,) = infer(Project((source,), (), (target,))).variants
    return made


def probabilities(signal: Any) -> Any:
    p = 1 / (1 + np.exp(-signal))
    return np.column_stack([1 - p, p])


@dataclass
class Kept:
    """Evaluations in a store."""

    store: Store

    def add(
        self, name: str, rows: Sequence[int] | Any, signal: Any, label: Any = TRUTH, **more: Any
    ) -> None:
        """Keep some of the rows as those of an evaluation."""
        rows = np.asarray(rows)
        part = Part(
            keys=more.get("keys", rows),
            label=label[rows],
            prediction=(signal[rows] > 0.5).astype(float),
            scores=more.get("scores", {"probability": probabilities(signal[rows])}),
            groups=GROUPS[rows],
            unlabelled=0,
        )
        with self.store.staging() as staging:
            keep(more.get("variant", variant()), part, name, staging)

    def compared(self) -> OnCommonRows:
        return on_common_rows(self.store, "binary", "auc", ("version 2", "new"), ("1", "old"))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(Store(tmp_path))


def test_a_little_worse_is_found_on_common_rows_where_intervals_overlap(kept: Kept) -> None:
    old, new = np.arange(3600), RANDOM.permutation(np.arange(400, ROWS))
    by_now = np.where(np.arange(ROWS) % 20 == 0, 1 - TRUTH, TRUTH)
    kept.add("old", old, SIGNAL, scores={"score": SIGNAL[old]})  # ranks as its probability does
    kept.add("new", new, WORSE, by_now)
    found = kept.compared()

    common = [row for row in range(400, 3600) if row % 20]
    assert (found.rows, found.relabelled, found.of) == (len(common), 160, (3600, 3600))
    expected = compare(
        "binary",
        "auc",
        TRUTH[common],
        {
            name: Predictions((signal[common] > 0.5).astype(float), probabilities(signal[common]))
            for name, signal in (("new", WORSE), ("old", SIGNAL))
        },
        groups=GROUPS[common],
    ).difference("new", "old")
    assert found.difference.value == pytest.approx(expected.value, abs=1e-12)
    assert found.difference.low == pytest.approx(expected.low, abs=1e-12)
    assert -0.03 < found.difference.value < 0
    assert found.difference.distinguishable
    high, low = (
        evaluate(
            "binary",
            TRUTH[old],
            (signal[old] > 0.5).astype(float),
            probabilities(signal[old]),
            interval=["auc"],
        )["auc"]
        for signal in (WORSE, SIGNAL)
    )
    assert high.high is not None
    assert low.low is not None
    assert high.high > low.low  # which is all that was recorded of them


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ({"rows": range(2000, 3000)}, "no row of test is common to both"),
        (
            {"rows": range(50), "keys": np.array([str(n) for n in range(50)], dtype=object)},
            "no row of test is common to both",
        ),
        (
            {"rows": range(50), "label": 1 - TRUTH},
            "all rows of test that are common to both are labelled differently",
        ),
        (
            {"rows": np.flatnonzero(TRUTH[:1000])},
            "rows of test that both have with the same label, ",
        ),
        (
            {"rows": range(50), "variant": variant("z")},
            "one is measured by `z` of each review, and one by `y` of each review",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(kept: Kept, new: dict[str, Any], why: str) -> None:
    kept.add("old", range(1000), SIGNAL)
    with pytest.raises(NotTogether, match="version 2 was measured on are gone from the store"):
        kept.compared()
    kept.add("new", signal=SIGNAL, **new)
    with pytest.raises(NotTogether) as caught:
        kept.compared()
    assert why in str(caught.value)
