"""How much memory there is."""

import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_memory() -> int:
    """Bytes of memory of this machine, or of the container that this process is in if it has less.

    A container sees the machine's memory, and is killed when it takes more than its limit.
    """
    amounts = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # of cgroup v2 and v1
        with suppress(OSError, ValueError):  # there is none, or it says `max`
            amounts.append(int((CGROUP / file).read_text()))
    return min(amounts)
