"""Wear of a test set: every look at it for a metric is counted.

Each metric that is read from the same rows makes the best of them look better than it is, although
none of them leaks. The count says how much was asked of the rows so far.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ff_assets.core.cells import TEST
from ff_assets.core.fingerprint import digest
from ff_assets.core.instance import Variant
from ff_assets.engine.store import Store


@dataclass(frozen=True)
class Wear:
    """How often the rows of test have been read for a metric of one label.

    Attributes:
        reads: evaluations that have read them, this one included.
        variants: different variants among them.
    """

    reads: int
    variants: int


def note_read(store: Store, variant: Variant, evaluation: str) -> Wear:
    """Count that an evaluation of a variant reads the rows of test; safe for several processes.

    Reads are counted for each label and rows of test: other rows, or another truth, wear for
    themselves, and dividing the rest otherwise makes no fresh test of a worn one.

    Args:
        evaluation: the fingerprint of the evaluation.
    """
    split = variant.split
    rows = [*split.space(variant.entity), split.bits(TEST), variant.entity.name]
    ledger = digest([rows, variant.target.label])
    entry = {"at": time.time(), "variant": variant.name, "evaluation": evaluation}
    with store.ledger(f"reads/{ledger}").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        file.seek(0)
        text = file.read()
        torn = text and not text.endswith("\n")  # whoever wrote it was killed
        line = json.dumps(entry)
        file.write(f"\n{line}\n" if torn else f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
    lines = [*filter(None, text.splitlines()), line]
    return Wear(reads=len(lines), variants=len(set(_variants(lines))))


def _variants(lines: list[str]) -> Iterator[str]:
    for line in lines:
        with suppress(ValueError):  # a torn line is a read of nobody knows what
            yield json.loads(line)["variant"]
