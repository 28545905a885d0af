"""The gates of a target: those that it declares, and those that need more than the registry."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ff_assets.assets.champion import Champion, NoChampion, chooses
from ff_assets.core.flow import Flow
from ff_assets.core.metrics import LOSSES, PRIMARY
from ff_assets.engine.store import Store
from ff_assets.engine.tested import NotTogether, OnCommonRows, on_common_rows
from ff_assets.registry.gates import Check, Gate, floor
from ff_assets.registry.versions import Version

NAME = "not worse"


def gates_of(
    flow: Flow, target: str, store: Store, champion: Callable[[], Champion]
) -> list[Check | Gate]:
    """What a version of a target has to pass beside what every version has to, and what is shown.

    The floors of `Target.floors`; not worse than the present one; and, to be seen and not to be
    judged, whether it is the champion, how it is calibrated, and its metric on each slice.

    Args:
        store: where the rows lie that versions were measured on.
        champion: tells which variant was chosen; is asked if the target chooses one.
    """
    declared = flow.project.target(target)
    floors: list[Check | Gate] = [
        floor(metric, worst, is_loss=metric in LOSSES, required=metric in declared.floor)
        for metric, worst in declared.floors.items()
    ]
    shown: list[Check | Gate] = []
    if chooses(flow, target):
        shown.append(_is_champion(champion))
    if declared.label is not None:
        shown.append(_calibrated)
    shown += [_sliced(feature) for feature in declared.slices]
    return [*floors, not_worse(declared.task, store), *shown]


def _is_champion(champion: Callable[[], Champion]) -> Check:
    def check(candidate: Version, _holder: Version | None) -> Gate:
        try:
            chosen = champion()
        except NoChampion as error:
            return Gate.shown("champion", f"not known: {error.why}")
        if candidate.variant == chosen.variant:
            return Gate.shown("champion", f"{candidate.variant} is it, {chosen.how}.")
        other = f"{candidate.variant} is not it: that is {chosen.variant}, {chosen.how}."
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


def not_worse(task: str | None, store: Store) -> Check:
    """A check that a version is not worse than the present one, by the first metric of its task.

    Both are compared on the rows that both have in test, with the predictions and the truth that
    they were measured by, whatever has become of the declarations and the data since; it fails if
    the interval of the difference excludes 0. Only where there are no such rows, it fails if the
    intervals that were recorded of both do not overlap.

    Args:
        task: of the target.
        store: where the rows lie that versions were measured on.
    """

    def check(candidate: Version, holder: Version | None) -> Gate:
        if holder is None or task is None:
            why = "nothing is measured." if task is None else "no version is in place yet."
            return Gate(NAME, True, why)
        if candidate.fingerprint == holder.fingerprint:
            return Gate(NAME, True, f"{holder.name} was made from the same.")
        metric = PRIMARY[task]
        new, old = ((version.name, version.evaluation) for version in (candidate, holder))
        try:
            return _paired(metric, on_common_rows(store, task, metric, new, old), holder)
        except NotTogether as why:
            return _recorded(metric, candidate, holder, why)

    return check


def _paired(metric: str, found: OnCommonRows, holder: Version) -> Gate:
    difference = found.difference
    better = difference if metric not in LOSSES else difference.reversed()
    worse = better.distinguishable and better.value < 0
    rows = f"on the same {found.rows:,} rows of test"
    if (found.rows, found.rows) != found.of:
        new, old = found.of
        rows += f", which both have with the same label, of {new:,} and {old:,}"
    if found.relabelled:
        rows += f"; {found.relabelled:,} more that both have are labelled differently"
    found_by = f"{difference.value:+.4f} [{difference.low:.4f}, {difference.high:.4f}]"
    detail = f"{metric} differs from that of {holder.name} by {found_by} {rows}."
    return Gate(NAME, not worse, detail)


def _recorded(metric: str, candidate: Version, holder: Version, why: NotTogether) -> Gate:
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
        f"{name} is {new:.4f}, and {old:.4f} of {holder.name}; this is not on the same rows, as "
        f"{why}, so only intervals that do not overlap count.",
    )


def _end(version: Version, metric: str, end: str) -> float:
    return version.metrics.get(f"{metric}_{end}", version.metrics[metric])
