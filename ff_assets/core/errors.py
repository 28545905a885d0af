"""Errors that teach: what is wrong, where it was declared, why it is wrong, and what to do."""

import difflib
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CORE = str(Path(__file__).parent) + os.sep


@dataclass(frozen=True)
class Location:
    """The file and line of a declaration."""

    file: str
    line: int

    def __str__(self) -> str:
        path = Path(self.file)
        with suppress(ValueError):  # outside the working directory the absolute path is readable
            path = path.relative_to(Path.cwd())
        return f"{path}:{self.line}"


def caller_location() -> Location:
    """The innermost frame outside `ff_assets.core`: where a person wrote the declaration."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_CORE) or frame.f_code.co_filename == "<string>"
    ):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


class FeatureFlowError(Exception):
    """Base of every error that the project raises on purpose.

    Args:
        what: one sentence that names the thing that is wrong.
        where: declarations that are involved, each as (what it is, where it stands).
        why: the reason, with the evidence that was found.
        fix: what to do about it.
        code: names the kind of leak that the error is about, such as `FIT_OVERLAP`; empty for other
            errors. Without it, that of the class.
    """

    code = ""

    def __init__(
        self,
        what: str,
        *,
        where: Iterable[tuple[str, Location]] = (),
        why: str = "",
        fix: str = "",
        code: str = "",
    ) -> None:
        self.code = code or self.code
        self.what = what
        self.where = tuple(where)
        self.why = why
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{self.what} [{self.code}]" if self.code else self.what]
        lines += [f"  where: {location} ({thing})" for thing, location in self.where]
        if self.why:
            lines.append("  why:   " + self.why.replace("\n", "\n         "))
        if self.fix:
            lines.append("  fix:   " + self.fix.replace("\n", "\n         "))
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for `--json`."""
        return {
            "error": type(self).__name__,
            "code": self.code,
            "what": self.what,
            "where": [
                {"declaration": thing, "file": location.file, "line": location.line}
                for thing, location in self.where
            ],
            "why": self.why,
            "fix": self.fix,
        }


class DefinitionError(FeatureFlowError):
    """A declaration is wrong; found when definitions load, before anything runs."""


class UnknownParameter(DefinitionError):
    """A stage was given a parameter that its Spark class does not have."""


class WrongParameterType(DefinitionError):
    """A stage was given a parameter of a type that Spark refuses."""


class InPlaceOverwrite(DefinitionError):
    """A stage writes a feature that it also reads."""


class DuplicateName(DefinitionError):
    """Two declarations share a name that has to be unique."""


class UnreachableOutput(DefinitionError):
    """A target wants a feature that cannot be derived from any source."""


class CyclicFlow(DefinitionError):
    """A feature can only be derived from itself."""


class MixedEntities(DefinitionError):
    """A stage reads features of two entities that no relation connects."""

    code = "SPLIT_KEY_INCOMPARABLE"


class VariantExplosion(DefinitionError):
    """A target has more variants than it allows."""


class PolicyViolation(DefinitionError):
    """Sensitive data would go where the project's policy does not let them."""

    code = "POLICY_DENIED"


class LeakError(DefinitionError):
    """A metric cannot be shown to be honest."""


class DataError(FeatureFlowError):
    """Data does not hold what its declaration says; found while a run reads it."""


class StageError(FeatureFlowError):
    """A stage failed while it was fitted or applied."""


def brief(error: BaseException, limit: int = 500) -> str:
    """A foreign error's type and the line of its message that says what happened."""
    lines = [line.strip(" :") for line in str(error).splitlines() if line.strip(" :")]
    if len(lines) > 1 and lines[0].startswith("An error occurred while calling"):
        del lines[0]  # py4j's introduction to the error of the JVM
    return f"{type(error).__name__}: {lines[0][:limit]}" if lines else type(error).__name__


def shortened(names: Iterable[str]) -> list[str]:
    """Names in order, without the middle where there are many."""
    every = list(names)
    if len(every) > 12:
        return [*every[:6], f"({len(every) - 12} more)", *every[-6:]]
    return every


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A phrase that lists the known names most like `name`."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    if close:
        return "nearest existing names: " + ", ".join(close)
    if not names:
        return "no names exist yet"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return "existing names: " + shown
