"""The gates of a target: those that it declares, and those that need more than the registry."""

from collections.abc import Mapping, Sequence
from typing import Any

from ff_assets.core.flow import Flow
from ff_assets.core.instance import Contest, Variant
from ff_assets.core.metrics import LOSSES, PRIMARY
from ff_assets.core.steps import CELLS, Kind, Step
from ff_assets.engine.leaderboard import on_the_same_rows
from ff_assets.engine.plan import Inventory
from ff_assets.registry.gates import Check, Gate, floor
from ff_assets.registry.versions import Version
from ff_assets.stats.paired import Difference

NAME = "not worse"


def gates_of(flow: Flow, target: str, inventory: Inventory | None) -> list[Check | Gate]:
    """What a version of a target has to pass beside what every version has to, and what is shown.

    The floors of `Target.floors`; not worse than the present one; and, to be seen and not to be
    judged, whether it is the champion, how it is calibrated, and its metric on each slice.

    Args:
        inventory: what exists of the flow; `None` if it cannot be known without reading sources.
    """
    declared = flow.project.target(target)
    floors: list[Check | Gate] = [
        floor(metric, worst, is_loss=metric in LOSSES, required=metric in declared.floor)
        for metric, worst in declared.floors.items()
    ]
    shown: list[Check | Gate] = []
    if declared.select_on is not None and len(flow.variants_of(target)) > 1:
        shown.append(_is_champion(champion(flow, target, inventory)))
    if declared.label is not None:
        shown.append(_calibrated)
    shown += [_sliced(feature) for feature in declared.slices]
    return [*floors, not_worse(flow, target, inventory), *shown]


def champion(flow: Flow, target: str, inventory: Inventory | None) -> Mapping[str, Any] | None:
    """The variant that was chosen on the part that a target selects on, as its leaderboard has it.

    Args:
        inventory: as for `gates_of`.

    Returns:
        "variant", "part", "metric" and "value"; `None` if the target makes no choice, or none is
        stored of what is declared now.
    """
    declared = flow.project.target(target)
    if inventory is None or declared.label is None:
        return None
    found = inventory.find(Step(Kind.LEADERBOARD, Contest(declared, flow.variants_of(target))))
    return found[""].details["champion"] if found else None


def _is_champion(chosen: Mapping[str, Any] | None) -> Check:
    def check(candidate: Version, _holder: Version | None) -> Gate:
        if chosen is None:
            return Gate.shown(
                "champion", "not known: no leaderboard of what is declared is stored."
            )
        which = f"chosen on {chosen['part']} ({chosen['metric']} {chosen['value']:.4f})"
        if candidate.variant == chosen["variant"]:
            return Gate.shown("champion", f"{candidate.variant} is it, {which}.")
        other = f"{candidate.variant} is not it: that is {chosen['variant']}, {which}."
        return Gate.shown("champion", other)

    return check


def _calibrated(candidate: Version, _holder: Version | None) -> Gate:
    return Gate.shown("calibration", _calibration_in_words(candidate.shown.get("calibration")))


def _calibration_in_words(found: Mapping[str, Any] | None) -> str:
    """What was recorded, as a sentence."""
    if not found:
        return "nothing is recorded of it: its prediction has no probability, or is older."
    if "bias" in found:
        return f"predictions are too high by {_told(found['bias'])} on average."
    parts = [f"probabilities are off by {found['error']:.4f} on average"]
    for name, right in (("slope", 1), ("intercept", 0)):
        if found.get(name):
            parts.append(f"{name} {_told(found[name])}, {right} if they are right")
    return f"{'; '.join(parts)}."


def _sliced(feature: str) -> Check:
    def check(candidate: Version, _holder: Version | None) -> Gate:
        found = [each for each in candidate.shown.get("slices", ()) if each["feature"] == feature]
        return Gate.shown(f"slices by {feature}", f"{_slices_in_words(found)}.")

    return check


def _slices_in_words(found: Sequence[Mapping[str, Any]]) -> str:
    """Slices with their metric; then those without one, by the reason."""
    told, without = [], dict[str, list[str]]()
    for each in found:
        if each["metric"] is None:
            without.setdefault(each["why"], []).append(each["value"])
        else:
            estimate = f"{each['metric']} {_told(each['estimate'])}"
            told.append(f"{each['value']}: {estimate} on {each['rows']:,} rows")
    told += [f"{why}: {', '.join(values)}" for why, values in without.items()]
    return "; ".join(told) or "nothing is recorded of them"


def _told(estimate: Mapping[str, Any]) -> str:
    low, high = estimate["low"], estimate["high"]
    return f"{estimate['value']:.4f}" + ("" if low is None else f" [{low:.4f}, {high:.4f}]")


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
