"""Code that is edited and imported again."""

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ff_assets_tests.core.stubs import Imported


@pytest.fixture
def imported(tmp_path: Path) -> Iterator[Imported]:
    """Writes a package `team` and imports its module `flow`, each time from a folder of its own.

    It is called with the text of `flow` and, by keyword, that of other modules; `vendor` is one
    outside of the package.
    """
    path = list(sys.path)

    def forget() -> None:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.partition(".")[0] in ("team", "vendor")]:
            del sys.modules[name]

    def write(flow: str, vendor: str = "", **others: str) -> ModuleType:
        forget()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / "team").mkdir(parents=True)
        for name, text in {"__init__": "", **others, "flow": flow}.items():
            (folder / "team" / f"{name}.py").write_text(textwrap.dedent(text))
        (folder / "vendor.py").write_text(textwrap.dedent(vendor))
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        return importlib.import_module("team.flow")

    yield write
    forget()
