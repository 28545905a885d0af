"""A driver in this process gets a Java, whatever master it works with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import json, os, shutil, sys
from ff_assets.assets.resources import SparkError, SparkResource

assert shutil.which("java") is None
try:
    session = SparkResource(spark_config=json.loads(sys.argv[1])).session()
    said = str(session.range(3).count()) if sys.argv[2] == "count" else ""
except SparkError as error:
    said = error.why
print(json.dumps([said, "JAVA_HOME" in os.environ, "PYSPARK_PYTHON" in os.environ]))
"""


def start(config: dict[str, str], folder: Path, *, count: bool = False) -> tuple[str, bool, bool]:
    """Start a session on a machine that has no Java but the wheel's.

    Returns:
        what came of it, and whether a Java and a Python were chosen for Spark.
    """
    gone = ("JAVA_HOME", "PYSPARK_PYTHON", "SPARK_REMOTE")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    tools = folder / "tools"
    tools.mkdir()
    for place in ("/usr/bin", "/bin"):
        for tool in Path(place).iterdir():
            if tool.name != "java" and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    ended = subprocess.run(
        [sys.executable, "-c", START, json.dumps(config), "count" if count else ""],
        env={**environment, "PATH": str(tools), "FF_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ended.returncode == 0, ended.stderr
    said, java, python = json.loads(ended.stdout.splitlines()[-1])
    return said, java, python


def test_a_cluster_has_its_driver_here(tmp_path: Path) -> None:
    """Its JVM is started before it looks at the address; workers have a Python of their own."""
    said, java, python = start({"spark.master": "spark://cluster"}, tmp_path)

    assert "Invalid master URL: spark://cluster" in said
    assert (java, python) == (True, False)


def test_spark_connect_may_have_its_server_here(tmp_path: Path) -> None:
    pytest.importorskip("grpc_status", reason="Spark Connect is not installed")
    assert start({"spark.remote": "local[2]"}, tmp_path, count=True) == ("3", True, True)


def test_spark_connect_elsewhere_needs_no_java(tmp_path: Path) -> None:
    """The address is wrong, as one where nobody answers is waited for."""
    pytest.importorskip("grpc_status", reason="Spark Connect is not installed")
    said, java, python = start({"spark.remote": "sc://cluster:port"}, tmp_path)

    assert "Port could not be cast" in said
    assert (java, python) == (False, False)
