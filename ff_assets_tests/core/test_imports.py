"""Layers import downwards only, and loading the definitions is quick and starts nothing."""

import ast
import graphlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import ff_assets

PACKAGE = Path(ff_assets.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# Layer -> what it may import of the project, beside itself; and what it must not of others.
LAYERS = {
    "core": (set(), {"dagster", "pyspark", "mlflow"}),
    "stats": ({"core"}, {"dagster", "pyspark", "mlflow"}),
    "engine": ({"core", "settings", "stats"}, {"dagster", "mlflow"}),
    "registry": ({"core", "settings"}, set()),
    "flows": ({"", "core", "settings"}, {"dagster", "mlflow"}),
    "settings": (set(), {"dagster", "pyspark", "mlflow"}),
    "assets": ({"core", "engine", "registry", "settings", "stats"}, set()),
    "notebook": ({"assets", "core", "engine", "settings"}, {"dagster", "mlflow"}),
}


def imports(module: str) -> Iterator[str]:
    """Every module that a module imports, at its top or in a function, but not for types only."""
    for node in runtime_nodes(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from runtime_nodes(child)


def layer(module: str) -> str:
    """The part after the package's name; empty for the package itself."""
    return module.removeprefix("ff_assets").lstrip(".").partition(".")[0]


def test_the_modules_are_found():
    assert {"ff_assets", "ff_assets.core.flow", "ff_assets.definitions"} <= set(MODULES)
    assert "ff_assets.core.derivation" in set(imports("ff_assets.core.flow"))
    assert "ff_assets.core.refusals" in set(imports("ff_assets.core.flow"))


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_nothing_points_up(name: str):
    below, foreign = LAYERS[name]
    members = [module for module in MODULES if layer(module) == name]
    assert members
    for module in members:
        for imported in imports(module):
            package = imported.partition(".")[0]
            if package == "ff_assets":
                assert layer(imported) in {name, *below}, (module, imported)
            else:
                assert package.partition("_")[0] not in foreign, (module, imported)


def test_the_core_is_pure_python():
    for module in (module for module in MODULES if layer(module) == "core"):
        for imported in imports(module):
            package = imported.partition(".")[0]
            assert package == "ff_assets" or package in sys.stdlib_module_names, (module, imported)


def test_no_modules_import_each_other():
    graph = {
        module: {imported for imported in imports(module) if imported in MODULES}
        for module in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the path


# Loading the definitions, in a process of its own


def python(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=PACKAGE.parent,
        env={**os.environ, "FF_HOME": str(home), "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_authoring_api_imports_no_framework(tmp_path: Path):
    done = python(
        """
        import sys
        import ff_assets
        from ff_assets import read, read_many
        print({"dagster", "pyspark", "mlflow", "pandas", "pyarrow"} & set(sys.modules))
        """,
        home=tmp_path,
    )
    assert done.stdout.strip() == "set()"


def test_loading_starts_no_java_and_no_mlflow(tmp_path: Path):
    done = python(
        """
        import json, os, subprocess, sys
        import ff_assets.definitions
        from pathlib import Path
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        def children():
            if Path("/proc/self/stat").exists():
                for stat in Path("/proc").glob("[0-9]*/stat"):
                    try:
                        name, rest = stat.read_text().split("(", 1)[1].rsplit(")", 1)
                    except OSError:
                        continue  # it has ended
                    if int(rest.split()[1]) == os.getpid():
                        yield name
            else:
                listed = subprocess.run(["ps", "-A", "-o", "ppid=,comm="], capture_output=True)
                for line in listed.stdout.decode().splitlines():
                    if line.split()[0] == str(os.getpid()) and not line.endswith("ps"):
                        yield line

        print(json.dumps({
            "children": list(children()),
            "gateway": SparkContext._gateway is not None,
            "session": SparkSession.getActiveSession() is not None,
            "heavy": sorted({"mlflow", "sklearn"} & set(sys.modules)),
            "written": os.listdir(os.environ["FF_HOME"]),
        }))
        """,
        home=tmp_path,
    )
    assert json.loads(done.stdout) == {
        "children": [],
        "gateway": False,
        "session": False,
        "heavy": [],
        "written": [],
    }


def test_loading_is_quick(tmp_path: Path):
    """Most of the time is Dagster's, and Spark's for Python.

    The share of the project itself is what its modules do when others are loaded already. Both are
    CPU times of one process, so that a busy machine slows both alike.
    """
    done = python(
        """
        import json, sys, time

        def load():
            began = time.process_time()
            import ff_assets.definitions
            return time.process_time() - began

        total = load()
        for name in [name for name in sys.modules if name.partition(".")[0] == "ff_assets"]:
            del sys.modules[name]
        print(json.dumps([load(), total]))
        """,
        home=tmp_path,
    )
    own, total = json.loads(done.stdout)
    print(f"own share {own:.2f} s of {total:.2f} s")
    assert 0 < own < 0.4 * total
