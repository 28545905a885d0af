"""Memory is that of the container where there is one."""

import os
from pathlib import Path

import pytest

from ff_assets.assets.build import spark_config
from ff_assets.engine import memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("file", "text", "usable"),
    [
        ("memory.max", "2147483648\n", 2**31),
        ("memory.max", "max\n", MACHINE),
        ("memory/memory.limit_in_bytes", "2147483648\n", 2**31),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", MACHINE),
        ("other", "", MACHINE),
    ],
)
def test_a_containers_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, usable: int
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / file).write_text(text)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)

    assert memory.usable_memory() == usable
    gigabytes = min(8, max(1, usable // 3 // 2**30))
    assert spark_config()["spark.driver.memory"] == f"{gigabytes}g"
