"""The plan of a run: what is reused and what is computed; in which frames, `frame_plan` says."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ff_assets.core.cells import stored_with
from ff_assets.core.certificate import Claim, claims, digest
from ff_assets.core.declare import Source
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.split import TimeSplit
from ff_assets.core.steps import CELLS, Kind, Step, rows_of, steps_of
from ff_assets.engine.frame_plan import Column, FramePlanner, Recipe, Work
from ff_assets.engine.store import Record, Store


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        flow: the flow that is run.
        fingerprints: of every instance.
        wanted: step -> cells that were asked for ("" for the whole).
        reused: step -> the records of what exists already, by cell ("" for the whole).
        todo: the steps that do something, in topological order, wanted or not.
        work: what is done with each instance that is touched.
        tables: the instances whose rows are stored.
        readings: how to get the columns together that somebody else reads.
    """

    flow: Flow
    fingerprints: Fingerprints
    wanted: Mapping[Step, tuple[str, ...]]
    reused: Mapping[Step, Mapping[str, Record]]
    todo: tuple[Step, ...]
    work: Mapping[Instance, Work]
    tables: frozenset[Instance]
    readings: tuple[Recipe, ...] = ()

    @property
    def fits(self) -> int:
        """Number of models that are fitted; a cross-fitted stage has several."""
        return sum(len(instance.fits) for instance, work in self.work.items() if work.fit)

    @property
    def needs_spark(self) -> bool:
        """Whether anything is left that only Spark can do."""
        reading = (Kind.EVALUATION, Kind.LEADERBOARD, Kind.HYPOTHESES)
        return any(step.kind not in reading for step in self.todo)


def table_instances(flow: Flow) -> frozenset[Instance]:
    """Instances whose rows are stored.

    They are sources, stages with the policy `table`, and the outputs, labels and slices of
    targets, which evaluations read.
    """
    tables = {
        instance
        for instance in flow.instances
        if isinstance(instance.provider, Source) or instance.provider.materialization == "table"
    }
    for variant in flow.variants:
        names = [*variant.target.outputs, *variant.target.measured]
        tables.update(variant.features[name] for name in names)
    return frozenset(tables)


def fit_cells(instance: Instance) -> tuple[str, ...]:
    """The stored cells that hold the rows which the fits of an estimator read."""
    return tuple(dict.fromkeys(map(stored_with, instance.stage.fitting.cells)))


def history_cells(instance: Instance, cells: Collection[str]) -> Collection[str]:
    """The cells that an instance's rows in some cells are made from.

    By a split of keys, what belongs to a row is in the row's own cell. By time, the events before
    a row of test are in train.
    """
    return CELLS if instance.is_aggregate and isinstance(instance.split, TimeSplit) else cells


class Inventory:
    """What exists of a flow's results.

    Attributes:
        fingerprints: by which it is looked for.
        store: where.
        tables: the instances whose rows are stored.
    """

    def __init__(self, flow: Flow, fingerprints: Fingerprints, store: Store) -> None:
        self.tables = table_instances(flow)
        self.fingerprints = fingerprints
        self.store = store
        self._flow = flow

    @cached_property
    def claims(self) -> Mapping[Variant, tuple[Claim, ...]]:
        """What certificates of each variant's metrics claim."""
        return claims(self._flow)

    def fingerprint(self, step: Step) -> str:
        """The fingerprint under which a step's result is kept."""
        if step.has_cells or step.kind is Kind.MODEL:
            return self.fingerprints[step.instance]
        if step.kind is Kind.LEADERBOARD:
            evaluations = [self.fingerprint(evaluation) for evaluation in step.parents()]
            return self.fingerprints.of_leaderboard(evaluations, step.contest.target.select_on)
        if step.kind is Kind.HYPOTHESES:
            return digest([self.fingerprints.of_verdict(each) for each in step.contest.stated])
        claimed = digest([claim.digest for claim in self.claims[step.variant]])
        if step.kind is Kind.EVALUATION:
            return self.fingerprints.of_evaluation(step.variant, claimed)
        return self.fingerprints.of_registration(step.variant, claimed)

    def find(self, step: Step, cells: Collection[str] = CELLS) -> dict[str, Record]:
        """The records of a step's results that exist, by cell ("" for the whole)."""
        fingerprint = self.fingerprint(step)
        found: dict[str, Record | None]
        if step.kind is Kind.MODEL:
            found = {"": self.store.model(fingerprint)}
        elif not step.has_cells:
            found = {"": self.store.note(step.kind, fingerprint)}
        elif step.instance in self.tables:
            found = {cell: self.store.table(fingerprint, cell) for cell in cells}
        else:
            found = {cell: self.store.note(f"views/{cell}", fingerprint) for cell in cells}
        return {cell: record for cell, record in found.items() if record is not None}


def make_plan(
    flow: Flow,
    wanted: Mapping[Step, Collection[str]],
    fingerprints: Fingerprints,
    store: Store,
    untrue: Collection[Step] = (),
    readings: Sequence[Sequence[Column]] = (),
) -> Plan:
    """Work backwards from the steps that are wanted to what has to be done.

    Args:
        flow: what the steps belong to.
        wanted: step -> cells (of no meaning for steps without cells).
        fingerprints: of every instance that the wanted steps are made from.
        store: where results are found.
        untrue: steps whose records speak of something that is gone, such as a deleted model
            version; they are done again.
        readings: columns of instances that are read together beside the steps, in all cells.
    """
    order = steps_of(flow)
    cells_of = {
        step: tuple(cell for cell in CELLS if cell in wanted[step]) if step.has_cells else ("",)
        for step in order
        if step in wanted
    }
    inventory = Inventory(flow, fingerprints, store)
    reused = {
        step: {} if step in untrue else inventory.find(step, cells)
        for step, cells in cells_of.items()
    }
    decisions = _Decisions(inventory)
    decisions.read([rows_of(instance) for columns in readings for instance, _ in columns], CELLS)
    for step in reversed(order):
        decisions.decide(step, [c for c in cells_of.get(step, ()) if c not in reused[step]])
    work = {i: decisions.work[i] for i in flow.instances if i in decisions.work}
    recipes = FramePlanner(work).run(readings)
    return Plan(
        flow=flow,
        fingerprints=fingerprints,
        wanted=cells_of,
        reused=reused,
        todo=tuple(step for step in order if step in decisions.todo),
        work=work,
        tables=inventory.tables,
        readings=recipes,
    )


class _Decisions:
    """Decides step by step what to do; every reader of a step is decided before the step."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._read_models: set[Step] = set()
        self._read_evaluations: set[Step] = set()
        self.work: dict[Instance, Work] = {}
        self.todo: set[Step] = set()

    def decide(self, step: Step, missing: Sequence[str]) -> None:
        """Decide a step of which these cells were asked for and do not exist ("" the whole)."""
        if step.kind in (Kind.LEADERBOARD, Kind.HYPOTHESES):
            if missing:
                self.todo.add(step)
                self.read(step.parents(), ())
                for evaluation in step.parents():
                    self.read(evaluation.parents(), CELLS)
        elif step.kind is Kind.REGISTRATION or step.kind is Kind.EVALUATION:
            read = step in self._read_evaluations and not self._inventory.find(step)
            if missing or read:
                self.todo.add(step)
                self.read(step.parents(), CELLS if step.kind is Kind.EVALUATION else ())
        elif step.kind is Kind.MODEL:
            if (missing or step in self._read_models) and not self._inventory.find(step):
                self.todo.add(step)
                self._work(step.instance).fit = True
                self.read(step.parents(), fit_cells(step.instance))
        elif missing or step.instance in self.work:
            self._decide_rows(step, missing)

    def _decide_rows(self, step: Step, missing: Sequence[str]) -> None:
        own = self._work(step.instance)
        own.cells.update(missing)
        if own.table:
            found = self._inventory.find(step, own.cells)
            own.write = tuple(cell for cell in CELLS if cell in own.cells and cell not in found)
        else:
            own.write = tuple(missing)
        if step.kind is Kind.SOURCE:
            # A source is loaded as a whole, and its frame is always read back from the store.
            own.write = CELLS if own.write else ()
        own.stored = step.kind is Kind.SOURCE or (own.table and not own.write)
        if own.write:
            self.todo.add(step)
        if own.cells and not own.stored:
            self.read(step.parents(), history_cells(step.instance, own.cells))

    def read(self, parents: Iterable[Step], cells: Collection[str]) -> None:
        """Decide that the results of steps are read, of these cells."""
        for parent in parents:
            if parent.kind is Kind.MODEL:
                self._read_models.add(parent)
            elif parent.kind is Kind.EVALUATION:
                self._read_evaluations.add(parent)
            elif cells:
                self._work(parent.instance).cells.update(cells)

    def _work(self, instance: Instance) -> Work:
        return self.work.setdefault(instance, Work(table=instance in self._inventory.tables))
