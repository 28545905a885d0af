"""`ff doctor`: whether this machine has what a run needs, and how to mend what it lacks."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ff_assets.core.errors import FeatureFlowError
from ff_assets.engine.java import find_java
from ff_assets.registry.runs import MlflowRuns
from ff_assets.settings import PROJECT_ROOT, Settings

_PYTHONS = ((3, 11), (3, 14))
_LEAST_MEMORY = 4 * 2**30
_LEAST_DISK = 5 * 2**30
_PACKAGES = ("dagster", "dagster-pyspark", "dagster-mlflow", "pyspark", "mlflow", "pandas")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        ok: whether a run can do with it.
        found: what is there.
        fix: what to do if it is not ok.
    """

    name: str
    ok: bool
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return 0 if all(finding.ok for finding in self.findings) else 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.exit_code == 0,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def print(self, console: Console) -> None:
        table = Table("", "", "", box=None, pad_edge=False, show_header=False)
        for finding in self.findings:
            sign = "[green]ok[/]" if finding.ok else "[red]no[/]"
            fix = "" if finding.ok else f"\n[yellow]fix:[/] {escape(finding.fix)}"
            table.add_row(sign, finding.name, escape(finding.found) + fix)
        console.print(table)


def examine() -> Diagnosis:
    """Look at everything; a look that fails is a finding, not an error."""
    settings = Settings.load()
    looks: tuple[Callable[[], Finding], ...] = (
        _python,
        _packages,
        _java,
        _memory,
        lambda: _disk(settings.home),
        lambda: _writable("store", settings.store, "FF_HOME"),
        lambda: _writable("Dagster instance", settings.dagster_home, "DAGSTER_HOME"),
        lambda: _mlflow(settings),
    )
    return Diagnosis(tuple(look() for look in looks))


def _python() -> Finding:
    low, high = _PYTHONS
    return Finding(
        "Python",
        low <= sys.version_info[:2] < high,
        f"{sys.version.split()[0]} at {sys.executable}",
        "use Python 3.11, 3.12 or 3.13: make demo PYTHON=python3.12",
    )


def _packages() -> Finding:
    pins = dict(
        line.split(";")[0].strip().split("==")
        for line in (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    installed = {name: importlib.metadata.version(name) for name in _PACKAGES}
    other = [
        f"{name} {version} (pinned: {pins[name]})"
        for name, version in installed.items()
        if pins.get(name, version) != version
    ]
    return Finding(
        "packages",
        not other,
        ", ".join(other) or ", ".join(f"{name} {v}" for name, v in installed.items()),
        "pip install -c constraints.txt -e .",
    )


def _java() -> Finding:
    if os.environ.get("SPARK_REMOTE"):
        return Finding("Java", True, f"not needed: Spark runs at {os.environ['SPARK_REMOTE']}")
    try:
        java = find_java()
    except FeatureFlowError as error:
        return Finding("Java", False, error.why.replace("\n", "; "), error.fix)
    passed_over = f" ({'; '.join(java.notes)})" if java.notes else ""
    return Finding("Java", True, f"{java.version} from {java.origin}, {java.home}{passed_over}")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding(
        "memory",
        total >= _LEAST_MEMORY,
        f"{total / 2**30:.1f} GiB",
        f"a local Spark and the example need {_LEAST_MEMORY // 2**30} GiB; use a larger machine "
        "or a Spark cluster.",
    )


def _disk(home: Path) -> Finding:
    place = next(p for p in (home, *home.parents) if p.exists())
    free = shutil.disk_usage(place).free
    return Finding(
        "disk",
        free >= _LEAST_DISK,
        f"{free / 2**30:.1f} GiB free at {place}",
        "free some space, or set FF_HOME to another disk.",
    )


def _writable(name: str, folder: Path, variable: str) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding(name, True, str(folder))
    except OSError as error:
        fix = f"mend its permissions, or set {variable} to a writable place."
        return Finding(name, False, str(error), fix)


def _mlflow(settings: Settings) -> Finding:
    try:
        MlflowRuns(settings.mlflow_tracking_uri, settings.mlflow_artifacts, "ff_assets").client()
    except FeatureFlowError as error:
        return Finding("MLflow", False, f"{error.what} {error.why}", error.fix)
    return Finding("MLflow", True, settings.mlflow_tracking_uri)
