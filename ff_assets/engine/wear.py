"""Wear of a test set: every look at it for a metric is counted.

Each metric that is read from the same rows makes the best of them look better than it is, although
none of them leaks. The count says how much was asked of the rows so far.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ff_assets.core.buckets import bitmap, ranges
from ff_assets.core.cells import TEST
from ff_assets.core.fingerprint import digest
from ff_assets.core.instance import Variant
from ff_assets.engine.journal import append, entries
from ff_assets.engine.store import Store


@dataclass(frozen=True)
class Wear:
    """How often rows of test have been read for a metric of one label.

    Attributes:
        reads: evaluations that have read them, this one included.
        variants: different variants among them.
    """

    reads: int
    variants: int


def note_read(store: Store, variant: Variant, evaluation: str) -> Wear:
    """Count that an evaluation of a variant reads the rows of test; safe for several processes.

    A read counts for every later one of the same label whose rows of test may be among those that
    it read: a test part that is cut a little otherwise is no fresh one. Another truth wears for
    itself.

    Args:
        evaluation: the fingerprint of the evaluation.
    """
    space, bits = variant.split.space(variant.entity), variant.split.bits(TEST)
    about = variant.entity.name, variant.target.label
    entry = {
        "at": time.time(),
        "variant": variant.name,
        "evaluation": evaluation,
        "space": [*space],
        "buckets": ranges(bits),
    }
    lines = append(store.journal(f"reads/{digest(about)}"), entry)
    read = [*entries(lines)]
    met = [each for each in read if _meets(each, variant, bits)]
    torn = len(lines) - len(read)  # a read all the same, of nobody knows what
    return Wear(reads=len(met) + torn, variants=len({each["variant"] for each in met}))


def _meets(read: Mapping[str, Any], variant: Variant, bits: int) -> bool:
    """Whether a read may have had rows of a variant's test part, which are some buckets.

    Rows that other salts or times divide are somewhere in between, so they are taken for the same.
    """
    if read["space"] != [*variant.split.space(variant.entity)]:
        return True
    read_bits = bitmap(n for first, last in read["buckets"] for n in range(first, last + 1))
    return bool(read_bits & bits)
