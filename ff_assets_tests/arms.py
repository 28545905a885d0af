"""Arms of A/B tests in plain Python, which those of Spark are held against."""

import hashlib
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ff_assets.core.assignment import CONTROL, POSITIONS, TREATMENT, prefix, treated_positions
from ff_assets.core.split import HEX_DIGITS, canonical
from ff_assets.stats.sequential import Arm


def position(key: str | int, test: str) -> int:
    """The position of a key in a test, from 0 to 999,999."""
    digest = hashlib.sha256((prefix(test) + canonical(key)).encode()).hexdigest()
    return int(digest[:HEX_DIGITS], 16) % POSITIONS


def arm(key: str | int, test: str, share: float) -> str:
    """`TREATMENT` for a share of all keys, `CONTROL` for the others."""
    return TREATMENT if position(key, test) < treated_positions(share) else CONTROL


def arm_of(units: Iterable[Any], outcomes: Iterable[float]) -> Arm:
    """What rows come to; a unit without any outcome needs a row with the outcome 0."""
    totals = pd.Series(list(outcomes)).groupby(list(units)).sum()
    return Arm(len(totals), float(totals.mean()), float(totals.var()))
