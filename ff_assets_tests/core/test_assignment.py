"""Arms by hash: the same everywhere and for ever, of the right size, independent of the split."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from ff_assets.core.assignment import CONTROL, POSITIONS, TREATMENT, treated_positions
from ff_assets.core.split import bucket
from ff_assets_tests.arms import arm, position

KEYS = [f"customer-{number}" for number in range(40_000)]
POSITION = np.array([position(key, "staging") for key in KEYS])

# Published: whoever assigns elsewhere compares with these, and they never change.
VECTORS: list[tuple[str, str | int, int]] = [
    ("staging", "", 921714),
    ("staging", "a", 685195),
    ("staging", "customer-1", 164534),
    ("staging", "Größe", 813587),
    ("staging", "日本語", 736882),
    ("staging", "7", 821550),
    ("staging", 7, 821550),
    ("staging", -1, 651399),
    ("staging", 2**63 - 1, 725800),
    ("other", "a", 558170),
    ("other", 7, 231477),
]


@pytest.mark.parametrize(("test", "key", "expected"), VECTORS)
def test_vectors(test, key, expected):
    assert position(key, test) == expected
    digest = hashlib.sha256(b"ab\x1f" + test.encode() + b"\x1f" + str(key).encode()).digest()
    assert int.from_bytes(digest[:8], "big") // 16 % 1_000_000 == expected  # in other words


def test_positions_are_uniform():
    assert POSITION.min() >= 0
    assert POSITION.max() < POSITIONS
    assert stats.kstest((POSITION + 0.5) / POSITIONS, "uniform").pvalue > 0.001
    last_digits = np.bincount(POSITION % 1000, minlength=1000)
    assert stats.chisquare(last_digits).pvalue > 0.001


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5])
def test_the_treatment_has_its_share(share):
    treated = sum(arm(key, "staging", share) == TREATMENT for key in KEYS)
    assert stats.binomtest(treated, len(KEYS), share).pvalue > 0.001


def test_arms_are_independent_of_the_splits_buckets():
    """Also where a split's salt is the test's name."""
    for salt in ("ff_assets", "staging"):
        buckets = np.array([bucket(key, salt) for key in KEYS])
        table = np.histogram2d(buckets, POSITION, bins=[20, 20])[0]
        assert stats.chi2_contingency(table).pvalue > 0.001
        treated = treated_positions(0.1) > POSITION
        in_test = [np.sum(buckets[side] >= 800) / side.sum() for side in (treated, ~treated)]
        assert in_test == pytest.approx([0.2, 0.2], abs=0.03)


def test_two_tests_are_independent_of_each_other():
    other = np.array([position(key, "other") for key in KEYS])
    table = np.histogram2d(other, POSITION, bins=[20, 20])[0]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_a_growing_share_moves_entities_one_way_only():
    arms = [[arm(key, "t", share) for key in KEYS[:2000]] for share in (0.01, 0.1, 0.3, 0.9)]
    for before, after in pairwise(arms):
        moves = set(zip(before, after, strict=True))
        assert moves == {(CONTROL, CONTROL), (CONTROL, TREATMENT), (TREATMENT, TREATMENT)}


def test_a_number_and_its_text_are_one_key():
    assert position(7, "t") == position("7", "t")


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, 1e-7, 0.12345678, float("nan")])
def test_what_is_no_share(share):
    with pytest.raises(ValueError, match="share"):
        treated_positions(share)


@pytest.mark.parametrize(("share", "positions"), [(0.1, 100_000), (0.07, 70_000), (1e-6, 1)])
def test_shares_are_exact(share, positions):
    assert treated_positions(share) == positions
