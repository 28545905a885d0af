"""Loading the project for the commands."""

import traceback
from pathlib import Path

from ff_assets.core.errors import DefinitionError, FeatureFlowError, Location, brief, nearest
from ff_assets.core.flow import Flow, infer
from ff_assets.core.instance import Variant
from ff_assets.core.project import Project

FLOWS = "ff_assets.flows"


def load_flow() -> Flow:
    """Import the flow modules and infer what they declare.

    Raises:
        DefinitionError: a declaration is wrong, or a module cannot be imported.
    """
    return infer(load_project())


def variants_named(flow: Flow, name: str) -> tuple[Variant, ...]:
    """The variants of a target, or the one of this name; none if it is the name of a feature.

    Raises:
        DefinitionError: nothing has the name.
    """
    variants = tuple(v for v in flow.variants if name in (v.target.name, v.name, v.slug))
    if not variants and name not in flow.project.feature_names():
        known = {*flow.project.feature_names(), *(v.name for v in flow.variants)}
        known.update(target.name for target in flow.project.targets)
        raise DefinitionError(
            f"there is no feature, target or variant `{name}`.",
            why=nearest(name, known),
            fix="`ff check` lists the targets and their variants.",
        )
    return variants


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


def declared_targets() -> tuple[str, ...] | None:
    """The names of all targets, to tell what a wrong name may have meant.

    `None` if a declaration is wrong: who asks for what was recorded needs none of them.
    """
    try:
        return tuple(target.name for target in load_project().targets)
    except DefinitionError:
        return None


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
