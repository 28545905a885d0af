"""The example notebook, cell by cell, on a part of the example's data."""

import json
import re
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import ff_assets
from ff_assets import notebook
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.steps import steps_of
from ff_assets.flows import reviews
from ff_assets_tests.running import Home
from ff_assets_tests.test_example_flows import a_part

pytestmark = pytest.mark.xdist_group("audit")

NOTEBOOK = Path(ff_assets.__file__).parent.parent / "docs" / "notebooks" / "features.ipynb"
READ = {"snippets", "word2vec"}  # what it reads that has to be made first


@pytest.fixture
def made(home: Home, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part of the data, in a store of the test's own."""
    project = Project.collect([reviews])
    project = replace(project, sources=tuple(a_part(s, 20) for s in project.sources))
    steps = [step for step in steps_of(infer(project)) if step.subject.name in READ]
    ran = home.run(project, only=["/".join(step.path) for step in steps])
    assert ran.success, ran.failure
    features = notebook.Features(project, home.store, lambda: spark)
    monkeypatch.setattr(notebook, "_features", lambda: features)


def cells() -> list[dict[str, Any]]:
    """The cells with code."""
    every = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in every if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any]) -> str:
    return "".join(line for output in cell["outputs"] for line in output["text"])


def test_it_says_what_it_shows(made: None) -> None:
    """All but numbers, which are those of all data."""
    names: dict[str, Any] = {}
    for cell in cells():
        printed = StringIO()
        with redirect_stdout(printed):
            exec("".join(cell["source"]), names)
        assert without_numbers(printed.getvalue()) == without_numbers(shown(cell))
    score = names["matrix"](names["test"]) @ names["weights"]
    assert names["auc"](score, names["test"]["is_positive"]) > 0.55


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d,.]*", "#", text)
