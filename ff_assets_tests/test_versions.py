"""The lists of modules whose code is part of fingerprints are complete."""

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ff_assets
from ff_assets.engine import versions

PACKAGE = Path(ff_assets.__file__).parent
LISTS = {
    "computing": versions._COMPUTING,
    "reading": versions._READING,
    "measuring": versions._MEASURING,
    "comparing": versions._COMPARING,
}
BEHIND = {"comparing": "measuring"}  # what is compared is metrics, whose fingerprints count

# What a list imports that decides none of its values, and why.
ELSEWHERE = {
    "computing": {
        "engine/keys": "refuses rows that do not fit together",
        "engine/measurable": "refuses fits that serve no metric",
        "engine/observed": "counts and refuses the rows of fits",
        "engine/store": "keeps what it is given",
    },
    "reading": {
        "engine/refused_rows": "says in words which rows are refused",
        "engine/store": "keeps what it is given",
    },
    "measuring": {
        "engine/keys": "refuses rows that do not fit together",
        "engine/store": "keeps what it is given",
        "engine/wear": "counts looks at test in a ledger of its own",
    },
    "comparing": {"engine/store": "keeps what it is given"},
}


def imported(module: str) -> Iterator[str]:
    """The modules of the engine and of the statistics that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            path = name.replace(".", "/").removeprefix("ff_assets/")
            if path.startswith(("engine/", "stats/")) and (PACKAGE / f"{path}.py").exists():
                yield path


@pytest.mark.parametrize("name", LISTS)
def test_what_a_list_imports_counts_as_well(name: str) -> None:
    counted = {*LISTS[name], *LISTS.get(BEHIND.get(name, ""), ())}
    left_out = {
        used: module for module in LISTS[name] for used in imported(module) if used not in counted
    }
    # What is not in the list in engine/versions.py has its reason above, and no reason is idle.
    assert set(left_out) == set(ELSEWHERE[name]), left_out
    assert len(set(LISTS[name])) == len(LISTS[name])


@pytest.mark.parametrize(
    ("module", "lists"),
    [
        ("core/fitting", ["computing"]),  # which fit serves a row
        ("engine/plan", ["computing"]),  # the cells that aggregates sum up
        ("engine/regions", ["computing", "reading", "measuring"]),
        ("engine/certify", ["measuring"]),  # its sentences are stored
    ],
)
def test_modules_that_decide_values_count(module: str, lists: list[str]) -> None:
    assert [name for name, modules in LISTS.items() if module in modules] == lists


def test_versions_are_found_quickly() -> None:
    """Once in a process, in CPU time."""
    spent = []
    for _ in range(3):
        for cached in (
            versions._digest,
            versions.engine_version,
            versions.reading_version,
            versions.metrics_version,
            versions.comparing_version,
        ):
            cached.cache_clear()
        began = time.process_time()
        versions.code_versions()
        spent.append(time.process_time() - began)
    assert min(spent) < 0.06  # about 0.03
