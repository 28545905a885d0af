"""The gate that needs more than the registry: is a version worse than the one that it replaces?"""

from ff_assets.core.flow import Flow
from ff_assets.core.instance import Contest, Variant
from ff_assets.core.steps import CELLS, Kind, Step
from ff_assets.engine.leaderboard import on_the_same_rows
from ff_assets.engine.plan import Inventory
from ff_assets.registry.gates import Check, Gate
from ff_assets.registry.versions import Version
from ff_assets.stats.metrics import LOSSES, PRIMARY
from ff_assets.stats.paired import Difference

NAME = "not worse"


def not_worse(flow: Flow, target: str, inventory: Inventory | None) -> Check:
    """A check that a version is not worse than the present one, by the first metric of its task.

    Where the declarations and data are still those that both were made from, their stored
    predictions are compared on the same rows of test; it fails if the interval of the difference
    excludes 0. Otherwise it fails if the intervals that were recorded of both do not overlap.

    Args:
        inventory: what exists of the flow; `None` if it cannot be known without reading sources.
    """
    task = flow.project.target(target).task
    metric = PRIMARY.get(task or "", "")
    known = {} if inventory is None else _registered(flow, target, inventory)

    def check(candidate: Version, holder: Version | None) -> Gate:
        if holder is None or task is None:
            why = "nothing is measured." if task is None else "no version is in place yet."
            return Gate(NAME, True, why)
        if candidate.fingerprint == holder.fingerprint:
            return Gate(NAME, True, f"{holder.name} was made from the same.")
        new, old = known.get(candidate.fingerprint), known.get(holder.fingerprint)
        if new is None or old is None or inventory is None:
            return _recorded(metric, candidate, holder)
        found = on_the_same_rows(
            Contest(new.target, (new, old)), metric, inventory.fingerprints, inventory.store
        )
        return _paired(metric, found.difference(new.label, old.label), found.rows, holder)

    return check


def _registered(flow: Flow, target: str, inventory: Inventory) -> dict[str, Variant]:
    """Registration's fingerprint -> variant, of those whose predictions are stored."""
    found = {}
    for variant in flow.variants_of(target):
        evaluation = Step(Kind.EVALUATION, variant)
        rows = [step for step in evaluation.parents() if variant.target.label is not None]
        if all(len(inventory.find(step)) == len(CELLS) for step in rows):
            found[inventory.fingerprint(Step(Kind.REGISTRATION, variant))] = variant
    return found


def _paired(metric: str, difference: Difference, rows: int, holder: Version) -> Gate:
    better = difference if metric not in LOSSES else difference.reversed()
    worse = better.distinguishable and better.value < 0
    ends = f" [{difference.low:.4f}, {difference.high:.4f}]" if difference.low is not None else ""
    found = f"{metric} differs from that of {holder.name} by {difference.value:+.4f}{ends} on the "
    return Gate(NAME, not worse, f"{found}same {rows:,} rows of test.")


def _recorded(metric: str, candidate: Version, holder: Version) -> Gate:
    """By what was recorded when they were registered, on rows that may be others."""
    name = f"{metric}_test"
    new, old = candidate.metrics.get(name), holder.metrics.get(name)
    if new is None or old is None:
        lacking = candidate.name if new is None else holder.name
        return Gate(NAME, False, f"{lacking} has no {name} to compare.")
    if metric in LOSSES:
        worse = _end(candidate, name, "low") > _end(holder, name, "high")
    else:
        worse = _end(candidate, name, "high") < _end(holder, name, "low")
    return Gate(
        NAME,
        not worse,
        f"{name} is {new:.4f}, and {old:.4f} of {holder.name}; declarations or data have changed "
        "since, so this is not on the same rows, and only intervals that do not overlap count.",
    )


def _end(version: Version, metric: str, end: str) -> float:
    return version.metrics.get(f"{metric}_{end}", version.metrics[metric])
