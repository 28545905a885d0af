"""A driver in this process gets a Java, whatever master it works with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ff_assets_tests.running import QUICK_JAVA

START = """
import json, os, shutil, sys
from ff_assets.assets.resources import SparkError, SparkResource

assert shutil.which("java") is None
try:
    session = SparkResource(spark_config=json.loads(sys.argv[1])).session()
    exec(sys.argv[2])
except SparkError as error:
    said = error.why
print(json.dumps([said, "JAVA_HOME" in os.environ, "PYSPARK_PYTHON" in os.environ]))
"""
COLUMN_FUNCTION = """
from pyspark.ml import PipelineModel
from pyspark.ml.feature import Tokenizer
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote
from ff_assets.engine.column_function import ColumnFunction

texts = session.createDataFrame([("hello wow!!",), ("a b!",)], ["text"])
stage = ColumnFunction(
    function=lambda text: F.length(text) - F.length(F.translate(text, "!", "")),
    inputCols=["text"],
    outputCol="n",
)
saved = os.environ["FF_HOME"] + "/model"
PipelineModel([stage, Tokenizer(inputCol="text", outputCol="tokens")]).save(saved)
model = PipelineModel.load(saved)
said = [is_remote(), *(row["n"] for row in model.transform(texts).collect())]
"""


def start(config: dict[str, str], folder: Path, then: str = "") -> tuple[Any, bool, bool]:
    """Start a session on a machine that has no Java but the wheel's.

    Args:
        then: what is done with the `session`; what it has to say is `said`.

    Returns:
        what was said, or why there is no session, and whether a Java and a Python were chosen for
        Spark.
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
        [sys.executable, "-c", START, json.dumps(config), then],
        env={
            **environment,
            "PATH": str(tools),
            "FF_HOME": str(folder / "home"),
            "JDK_JAVA_OPTIONS": QUICK_JAVA,
        },
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
    """And a column function works on it after it was saved."""
    pytest.importorskip("grpc_status", reason="Spark Connect is not installed")
    said, java, python = start({"spark.remote": "local[2]"}, tmp_path, then=COLUMN_FUNCTION)

    assert said == [True, 2, 1]
    assert (java, python) == (True, True)


def test_spark_connect_elsewhere_needs_no_java(tmp_path: Path) -> None:
    """The address is wrong, as one where nobody answers is waited for."""
    pytest.importorskip("grpc_status", reason="Spark Connect is not installed")
    said, java, python = start({"spark.remote": "sc://cluster:port"}, tmp_path)

    assert "Port could not be cast" in said
    assert (java, python) == (False, False)
