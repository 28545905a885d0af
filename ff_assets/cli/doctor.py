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

from ff_assets.core.errors import FeatureFlowError, brief
from ff_assets.engine.java import find_java
from ff_assets.engine.memory import usable_memory
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
    looks: dict[str, Callable[[str], Finding]] = {
        "Python": _python,
        "packages": _packages,
        "Java": _java,
        "memory": _memory,
        "disk": lambda name: _disk(name, settings.home),
        "store": lambda name: _writable(name, settings.store, "FF_HOME"),
        "kept": lambda name: _writable(name, settings.kept, "FF_HOME"),
        "Dagster instance": lambda name: _writable(name, settings.dagster_home, "DAGSTER_HOME"),
        "MLflow": lambda name: _mlflow(name, settings),
    }
    return Diagnosis(tuple(_look(name, look) for name, look in looks.items()))


def _look(name: str, look: Callable[[str], Finding]) -> Finding:
    try:
        return look(name)
    except FeatureFlowError as error:
        return Finding(name, False, f"{error.what} {error.why}".replace("\n", "; "), error.fix)
    except Exception as error:
        fix = "install the project again: pip install -c constraints.txt -e ."
        return Finding(name, False, f"cannot be looked at: {brief(error)}", fix)


def _python(name: str) -> Finding:
    low, high = _PYTHONS
    return Finding(
        name,
        low <= sys.version_info[:2] < high,
        f"{sys.version.split()[0]} at {sys.executable}",
        "use Python 3.11, 3.12 or 3.13: make demo PYTHON=python3.12",
    )


def _packages(name: str) -> Finding:
    constraints = PROJECT_ROOT / "constraints.txt"  # a fork may do without
    lines = constraints.read_text().splitlines() if constraints.is_file() else []
    pins = dict(
        line.split(";")[0].strip().split("==")
        for line in lines
        if "==" in line and not line.startswith("#")
    )
    found, wrong = [], []
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{package} is not installed")
            continue
        found.append(f"{package} {version}")
        if pins.get(package, version) != version:
            wrong.append(f"{package} {version} (pinned: {pins[package]})")
    fix = "pip install -c constraints.txt -e ." if pins else "pip install -e ."
    return Finding(name, not wrong, ", ".join(wrong or found), fix)


def _java(name: str) -> Finding:
    remote = os.environ.get("SPARK_REMOTE", "")
    if remote.startswith("sc://"):
        return Finding(name, True, f"not needed: Spark runs at {remote}")
    java = find_java()
    passed_over = f" ({'; '.join(java.notes)})" if java.notes else ""
    return Finding(name, True, f"{java.version} from {java.origin}, {java.home}{passed_over}")


def _memory(name: str) -> Finding:
    total = usable_memory()
    return Finding(
        name,
        total >= _LEAST_MEMORY,
        f"{total / 2**30:.1f} GiB",
        f"a local Spark and the example need {_LEAST_MEMORY // 2**30} GiB; use a larger machine "
        "or a Spark cluster.",
    )


def _disk(name: str, home: Path) -> Finding:
    place = next(p for p in (home, *home.parents) if p.exists())
    free = shutil.disk_usage(place).free
    return Finding(
        name,
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


def _mlflow(name: str, settings: Settings) -> Finding:
    MlflowRuns(settings.mlflow_tracking_uri, settings.mlflow_artifacts, "ff_assets").client()
    return Finding(name, True, settings.mlflow_tracking_uri)
