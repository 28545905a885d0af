"""The order of a run's steps: what waits for what, and what comes first."""

from collections.abc import Collection, Iterable, Mapping

from ff_assets.core.steps import Step


def reads_within(order: Iterable[Step], inside: Collection[Step]) -> dict[Step, set[Step]]:
    """Step -> the steps it reads, seen through steps that are not themselves part of a run."""
    reads: dict[Step, set[Step]] = {}
    for step in order:
        reads[step] = set()
        for parent in step.parents():
            reads[step] |= {parent} if parent in inside else reads[parent]
    return {step: parents for step, parents in reads.items() if step in inside}


def heights(reads: dict[Step, set[Step]]) -> dict[Step, int]:
    """Step -> length of the longest chain that waits for it; `reads` is in topological order.

    The highest first keeps all threads busy to the end: Hu, Operations Research 9 (1961).
    """
    height = dict.fromkeys(reads, 0)
    for step in reversed(reads):
        for parent in reads[step]:
            height[parent] = max(height[parent], height[step] + 1)
    return height


def dependents(step: Step, reads: Mapping[Step, set[Step]], todo: Collection[Step]) -> set[Step]:
    """Every step of `todo` that depends on a step; `reads` is in topological order."""
    found = {step}
    for other, parents in reads.items():
        if other in todo and not found.isdisjoint(parents):
            found.add(other)
    return found - {step}
