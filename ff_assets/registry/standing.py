"""What was behind an alias at some time, and whether its predictions may be made again."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ff_assets.registry.gates import Gate, certified, complete
from ff_assets.registry.move_log import Book
from ff_assets.registry.moves import Standing, standing
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.versions import Version, get_version


@dataclass(frozen=True)
class Reproducible:
    """Whether a version's predictions may be made again.

    Attributes:
        number: of the version.
        version: `None` if it was deleted in MLflow.
        gates: what is needed: the version, its files, its certificate, its exact requirements.
    """

    number: int
    version: Version | None
    gates: tuple[Gate, ...]

    @property
    def is_so(self) -> bool:
        return not any(gate.failed for gate in self.gates)


def at(book: Book, alias: str, time: datetime) -> Standing:
    """Which version was behind an alias.

    Args:
        book: from `MoveLog.read`.
        time: with time zone, not after the book was read.

    Raises:
        ValueError: the time is in the future.
    """
    if time > book.time:
        raise ValueError(f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC is in the future.")
    return standing(book.histories[alias], time)


def reproducible(runs: MlflowRuns, target: str, number: int) -> Reproducible:
    """See whether all is there that predictions of a version are made from, but the data.

    Raises:
        MlflowUnavailable: MLflow or its files cannot be reached; then nothing is known.
    """
    version = get_version(runs, target, number)
    if version is None:
        gone = Gate("version", False, f"version {number} of {target} was deleted in MLflow.")
        return Reproducible(number, None, (gone,))
    packages = version.requirements
    pinned = Gate(
        "requirements",
        bool(packages),
        f"{len(packages)} packages with exact versions." if packages else "none are recorded.",
    )
    there = Gate("version", True, f"{version.name}, of {version.variant}.")
    return Reproducible(number, version, (there, complete(version), certified(version), pinned))
