"""What is said where a model was asked for that is not there, or that serves no more."""

from collections.abc import Mapping

from ff_assets.engine.published import Published, latest, published
from ff_assets.engine.store import Store
from ff_assets.registry import RegistryError
from ff_assets.registry.move_log import MoveLog
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.serving import Behind
from ff_assets.registry.versions import get_version


class LostRegistry(RegistryError):
    """MLflow does not know of a model that has predicted."""


def without_model(runs: MlflowRuns, store: Store, target: str, alias: str) -> str:
    """What to say where no model is behind an alias.

    Raises:
        LostRegistry: models behind it have predicted before, and this registry knows nothing of it.
        MlflowUnavailable: MLflow does not answer.
    """
    promote = f'ff promote {target} --to {alias} --reason "..."'
    last = latest(published(store, target, alias), None)
    if last is None:
        return f"no model is {alias} for `{target}` yet; promote one with: {promote}"
    model = next(each for each in last.models.values() if each["alias"] == alias)
    version, book = model["version"], MoveLog(runs, target).read()
    told = f"version {version} ({model['variant']})"
    if book.registered:
        moves = book.histories[alias].effective
        if moves and moves[-1].after is None:
            since = f"{moves[-1].latest:%Y-%m-%d %H:%M:%S} UTC"
            return (
                f"no model is {alias} for `{target}` any more: version {moves[-1].before} was "
                f"taken away by {since}, outside ff. `ff ledger {target}` tells more; promote one "
                f"with: {promote}"
            )
        if _has(runs, target, version, last):
            return (
                f"no model is {alias} for `{target}` any more; {told} is registered still, and was "
                f"taken away outside ff. Promote one with: {promote}"
            )
    lacks = f"has another `{target}`" if book.registered else f"has no model `{target}`"
    raise LostRegistry(
        f"the registry does not know what was {alias} for `{target}`.",
        why=f"MLflow at {runs.tracking_uri} {lacks}, but {told} was {alias} and published its last "
        f"predictions at {last.time:%Y-%m-%d %H:%M:%S} UTC: {last.path}",
        fix="see that MLFLOW_TRACKING_URI names the registry in which it was promoted (`ff doctor` "
        "shows the address), or bring its database back. If it is lost for good, "
        f"`ff run {target}` registers the variants again; then: {promote}",
    )


def _has(runs: MlflowRuns, target: str, version: int, predictions: Published) -> bool:
    """Whether the registry has the very version that predicted, and not one of the same number."""
    found = get_version(runs, target, version)
    known = {each.model for each in predictions.made_from}
    return found is not None and (not known or Behind(found, "", "").identity in known)


def moved(
    before: Mapping[str, Behind | None],
    now: Mapping[str, Behind | None],
    aliases: Mapping[str, str],
) -> str:
    """What has moved between two looks; empty if nothing has.

    Args:
        before, now: arm -> what was behind its alias.
        aliases: arm -> alias.
    """
    return " and ".join(
        f"{alias} moved from {_named(before[arm])} to {_named(now[arm])}"
        for arm, alias in aliases.items()
        if _identity(before[arm]) != _identity(now[arm])
    )


def _identity(found: Behind | None) -> str:
    return "" if found is None else found.identity


def _named(found: Behind | None) -> str:
    return "no version" if found is None else f"version {found.version.number}"
