"""The champion among the registered versions of a target, as the leaderboard of them has it."""

from dataclasses import dataclass

from ff_assets.core.fingerprint import leaderboard_fingerprint
from ff_assets.core.flow import Flow
from ff_assets.core.steps import Kind
from ff_assets.engine.store import Store
from ff_assets.engine.versions import comparing_version
from ff_assets.registry import RegistryError
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.versions import newest_of_each


class NoChampion(RegistryError):
    """A target chooses a champion among its variants, and it is not known which one that is."""


@dataclass(frozen=True)
class Champion:
    """The variant that was chosen.

    Attributes:
        variant: its name.
        how: on which part, by which metric.
    """

    variant: str
    how: str


def chooses(flow: Flow, target: str) -> bool:
    """Whether a target chooses one of several variants."""
    return flow.project.target(target).select_on is not None and len(flow.variants_of(target)) > 1


def champion(flow: Flow, target: str, runs: MlflowRuns, store: Store) -> Champion:
    """Who was chosen among the newest versions of a target's variants.

    A leaderboard is found by the evaluations that it compares, and a version's certificate names
    its evaluation. So no source has to be read to know it, and it is of these versions or of none.

    Args:
        target: one that chooses.
        store: where leaderboards are kept.

    Raises:
        NoChampion: no leaderboard compares these versions; says why.
        NoVersion: nothing is registered of the target.
        MlflowUnavailable: MLflow does not answer.
    """
    newest = newest_of_each(runs, target)
    names = [variant.name for variant in flow.variants_of(target)]
    lacking = [f"`{name}`" for name in names if name not in newest]
    if lacking:
        raise _unknown(target, f"no version is registered of {', '.join(lacking)}.")
    fingerprint = leaderboard_fingerprint(
        [newest[name].evaluation for name in names],
        flow.project.target(target).select_on,
        comparing_version(),
    )
    record = store.note(Kind.LEADERBOARD, fingerprint)
    if record is None:
        versions = ", ".join(f"{newest[name].number} ({name})" for name in names)
        raise _unknown(
            target, f"no leaderboard in the store compares the newest versions, {versions}."
        )
    chosen = record.details["champion"]
    how = f"chosen on {chosen['part']} ({chosen['metric']} {chosen['value']:.4f})"
    return Champion(chosen["variant"], how)


def _unknown(target: str, why: str) -> NoChampion:
    return NoChampion(
        f"the champion of `{target}` is not known.",
        why=why,
        fix=f"`ff run {target}` compares all variants; or say which one is meant: --variant, or "
        "--version.",
    )
