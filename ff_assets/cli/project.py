"""Loading the project for the commands."""

import traceback
from pathlib import Path

from ff_assets.core.errors import DefinitionError, FeatureFlowError, Location, brief
from ff_assets.core.flow import Flow, infer
from ff_assets.core.project import Project

FLOWS = "ff_assets.flows"


def load_flow() -> Flow:
    """Import the flow modules and infer what they declare.

    Raises:
        DefinitionError: a declaration is wrong, or a module cannot be imported.
    """
    return infer(load_project())


def load_project() -> Project:
    """Import the flow modules.

    Raises:
        DefinitionError: a declaration is wrong, or a module cannot be imported.
    """
    try:
        return Project.from_package(FLOWS)
    except FeatureFlowError:
        raise
    except Exception as error:
        raise _not_importable(error) from error


def _not_importable(error: Exception) -> DefinitionError:
    if isinstance(error, SyntaxError):
        where = [("syntax error", Location(error.filename or "?", error.lineno or 0))]
    else:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [f for f in frames if Path(f.filename).parent.name == FLOWS.rpartition(".")[2]]
        frame = (inside or frames)[-1]
        where = [("raised here", Location(frame.filename, frame.lineno or 0))]
    return DefinitionError(
        "a flow module cannot be imported.",
        where=where,
        why=brief(error),
        fix="mend the module; nothing can be checked before all of them load.",
    )
