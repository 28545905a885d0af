"""Carrying out a plan: every step as soon as its inputs are whole, independent ones side by side.

What is whole stays, whatever happens to other steps: a failure skips only what depends on it.
"""

import graphlib
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ff_assets.core.steps import Kind, Step, rows_of, steps_of
from ff_assets.engine.fitting import SIDE_BY_SIDE
from ff_assets.engine.make import Maker, Records
from ff_assets.engine.measurable import label_source
from ff_assets.engine.plan import Plan
from ff_assets.engine.schedule import dependents, heights, reads_within

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Started:
    """A step has begun."""

    step: Step


@dataclass(frozen=True)
class Finished:
    """A step's result is whole.

    Attributes:
        records: cell -> record ("" for the whole).
        reused: cells (or "") whose result existed before this run.
    """

    step: Step
    records: Records
    reused: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Failed:
    """A step has failed; what depends on it is skipped."""

    step: Step
    error: Exception
    skipped: tuple[Step, ...]


Event = Started | Finished | Failed


class Execution:
    """One run of a plan.

    Args:
        maker: makes the results of its steps.
    """

    def __init__(self, plan: Plan, maker: Maker) -> None:
        self._plan = plan
        self._maker = maker

    def run(self) -> Iterator[Event]:
        """Do every step and say so, each step after those it reads.

        Steps that were asked for and exist already are reported as reused.
        """
        todo = set(self._plan.todo)
        reads = reads_within(steps_of(self._plan.flow), todo.union(self._plan.wanted))
        everything = list(reads)
        sorter = graphlib.TopologicalSorter(self._waits(reads))
        sorter.prepare()
        position = {step: index for index, step in enumerate(everything)}
        height = heights(reads)
        ready: list[Step] = []
        running: dict[Future[Records], Step] = {}
        dropped: set[Step] = set()
        pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="ff")
        try:
            while sorter.is_active():
                ready += sorter.get_ready()
                settled = [step for step in ready if step not in todo or step in dropped]
                for step in settled:
                    ready.remove(step)
                    if step in dropped:
                        self._maker.release(step)
                    else:
                        found = self._plan.reused[step]
                        yield Finished(step, dict(found), frozenset(found))
                    sorter.done(step)
                if settled:
                    continue  # others may be ready now
                ready.sort(key=lambda step: (-height[step], position[step]))
                while ready and len(running) < SIDE_BY_SIDE:
                    step = ready.pop(0)
                    yield Started(step)
                    running[pool.submit(self._maker.make, step)] = step
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda f: position[running[f]]):
                    step = running.pop(future)
                    error = future.exception()
                    if error is None:
                        yield self._finished(step, future.result())
                    elif isinstance(error, Exception):
                        below = dependents(step, reads, todo) - dropped
                        dropped |= below
                        skipped = tuple(s for s in everything if s in below)
                        yield Failed(step, error, skipped)
                    else:
                        raise error
                    sorter.done(step)
        except (Exception, GeneratorExit):
            self._close(pool)
            raise
        except BaseException:  # an interrupt
            self._maker.interrupt()
            pool.shutdown(cancel_futures=True)
            raise
        self._close(pool)

    def _waits(self, reads: Mapping[Step, set[Step]]) -> dict[Step, set[Step]]:
        """Step -> what it waits for: what it reads, a fit's labels, the versions of a verdict."""
        waits = {step: set(parents) for step, parents in reads.items()}
        for variant in self._plan.flow.variants:
            labels = label_source(variant)
            if labels is not None and rows_of(labels) in waits:
                fits = {Step(Kind.MODEL, i) for i in variant.instances if i.is_estimator}
                for step in fits & waits.keys():
                    waits[step].add(rows_of(labels))
        for step in reads:
            if step.kind is Kind.HYPOTHESES:
                versions = {Step(Kind.REGISTRATION, v) for v in step.contest.variants}
                waits[step] |= versions & reads.keys()
        return waits

    def _close(self, pool: ThreadPoolExecutor) -> None:
        pool.shutdown(cancel_futures=True)
        self._maker.close()

    def _finished(self, step: Step, records: Records) -> Finished:
        before = self._plan.reused.get(step, {})
        wanted = self._plan.wanted.get(step, tuple(records))
        both = {**before, **records}
        return Finished(step, {c: both[c] for c in wanted if c in both}, frozenset(before))
