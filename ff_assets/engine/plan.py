"""The plan of a run: what is reused, what is computed, and in which frames.

A *frame* is one wide DataFrame that holds an instance's columns beside those it was made from.
The frame of a computed instance grows out of the frame of one of the instances it reads (its
base), so no join is needed; what the base does not hold is added: a stored table by a join on
the key, a view by computing it again. Frames that are read more than once are persisted, with
no more columns than their readers need.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ff_assets.core.certificate import Claim, claims, digest
from ff_assets.core.declare import Source
from ff_assets.core.entities import finest
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.split import TimeSplit
from ff_assets.core.steps import CELLS, Kind, Step, steps_of
from ff_assets.engine.store import Record, Store

Column = tuple[Instance, str]  # one feature as provided by one instance


@dataclass(frozen=True)
class Recipe:
    """How to get columns together in one DataFrame.

    Attributes:
        base: the instance whose frame to start from.
        extend: instances to add, in order.
        carried: columns that are taken from the base's frame.
    """

    base: Instance
    extend: tuple[Instance, ...]
    carried: frozenset[Column]


@dataclass
class Work:
    """What a run does with one instance.

    Attributes:
        table: whether its rows are stored; those of a view are only recorded.
        fit: whether its model is fitted.
        write: cells of its rows that are stored or recorded.
        cells: cells for which its frame is built; none if its frame is not needed.
        stored: whether the frame is read from the store.
        recipe: what its frame is computed from, unless it is stored.
        events: what an aggregate sums up, instead of a recipe.
        fit_recipe: what its model is fitted on, if it is fitted.
        kept: columns of its frame that are read downstream of it, beside its own.
        readers: how many computations read its frame.
        repeated: whether one of them reads it several times, as cross-fitted models do.
    """

    table: bool
    fit: bool = False
    write: tuple[str, ...] = ()
    cells: set[str] = field(default_factory=set)
    stored: bool = False
    recipe: Recipe | None = None
    events: Recipe | None = None
    fit_recipe: Recipe | None = None
    kept: set[Column] = field(default_factory=set)
    readers: int = 0
    repeated: bool = False

    @property
    def persist(self) -> bool:
        """A frame that is computed and read more than once is worth its memory."""
        return not self.stored and self.readers > (0 if self.repeated else 1)

    @property
    def bases(self) -> list[Instance]:
        """The instances whose frames its own frame is computed from."""
        return [recipe.base for recipe in (self.recipe, self.events) if recipe is not None]


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
    """

    flow: Flow
    fingerprints: Fingerprints
    wanted: Mapping[Step, tuple[str, ...]]
    reused: Mapping[Step, Mapping[str, Record]]
    todo: tuple[Step, ...]
    work: Mapping[Instance, Work]
    tables: frozenset[Instance]

    @property
    def fits(self) -> int:
        """Number of models that are fitted; a cross-fitted stage has several."""
        return sum(len(instance.fits) for instance, work in self.work.items() if work.fit)

    @property
    def needs_spark(self) -> bool:
        """Whether anything is left that only Spark can do."""
        return any(step.kind is not Kind.EVALUATION for step in self.todo)


def table_instances(flow: Flow) -> frozenset[Instance]:
    """Instances whose rows are stored.

    They are sources, stages with the policy `table`, and the outputs and labels of targets,
    which evaluations read.
    """
    tables = {
        instance
        for instance in flow.instances
        if isinstance(instance.provider, Source) or instance.provider.materialization == "table"
    }
    for variant in flow.variants:
        names = [*variant.target.outputs, *filter(None, [variant.target.label])]
        tables.update(variant.features[name] for name in names)
    return frozenset(tables)


def fit_cells(instance: Instance) -> tuple[str, ...]:
    """The cells whose rows the fits of an estimator read."""
    return instance.stage.fitting.cells


def history_cells(instance: Instance, cells: Collection[str]) -> Collection[str]:
    """The cells that an instance's rows in some cells are made from.

    By a split of keys, what belongs to a row is in the row's own cell. By time, the events before
    a row of test are in train.
    """
    return CELLS if instance.is_aggregate and isinstance(instance.split, TimeSplit) else cells


class Inventory:
    """What exists of a flow's results, for given fingerprints."""

    def __init__(self, flow: Flow, fingerprints: Fingerprints, store: Store) -> None:
        self.tables = table_instances(flow)
        self._flow = flow
        self._fingerprints = fingerprints
        self._store = store

    @cached_property
    def claims(self) -> Mapping[Variant, tuple[Claim, ...]]:
        """What certificates of each variant's metrics claim."""
        return claims(self._flow)

    def fingerprint(self, step: Step) -> str:
        """The fingerprint under which a step's result is kept."""
        if step.has_cells or step.kind is Kind.MODEL:
            return self._fingerprints[step.instance]
        claimed = digest([claim.digest for claim in self.claims[step.variant]])
        if step.kind is Kind.EVALUATION:
            return self._fingerprints.of_evaluation(step.variant, claimed)
        return self._fingerprints.of_registration(step.variant, claimed)

    def find(self, step: Step, cells: Collection[str] = CELLS) -> dict[str, Record]:
        """The records of a step's results that exist, by cell ("" for the whole)."""
        fingerprint = self.fingerprint(step)
        found: dict[str, Record | None]
        if step.kind is Kind.MODEL:
            found = {"": self._store.model(fingerprint)}
        elif not step.has_cells:
            found = {"": self._store.note(step.kind, fingerprint)}
        elif step.instance in self.tables:
            found = {cell: self._store.table(fingerprint, cell) for cell in cells}
        else:
            found = {cell: self._store.note(f"views/{cell}", fingerprint) for cell in cells}
        return {cell: record for cell, record in found.items() if record is not None}


def make_plan(
    flow: Flow,
    wanted: Mapping[Step, Collection[str]],
    fingerprints: Fingerprints,
    store: Store,
    untrue: Collection[Step] = (),
) -> Plan:
    """Work backwards from the steps that are wanted to what has to be done.

    Args:
        flow: what the steps belong to.
        wanted: step -> cells (of no meaning for steps without cells).
        fingerprints: of every instance that the wanted steps are made from.
        store: where results are found.
        untrue: steps whose records speak of something that is gone, such as a deleted model
            version; they are done again.
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
    for step in reversed(order):
        decisions.decide(step, [c for c in cells_of.get(step, ()) if c not in reused[step]])
    work = {i: decisions.work[i] for i in flow.instances if i in decisions.work}
    _FramePlanner(work).run()
    return Plan(
        flow=flow,
        fingerprints=fingerprints,
        wanted=cells_of,
        reused=reused,
        todo=tuple(step for step in order if step in decisions.todo),
        work=work,
        tables=inventory.tables,
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
        if step.kind is Kind.REGISTRATION or step.kind is Kind.EVALUATION:
            read = step in self._read_evaluations and not self._inventory.find(step)
            if missing or read:
                self.todo.add(step)
                self._read(step.parents(), CELLS if step.kind is Kind.EVALUATION else ())
        elif step.kind is Kind.MODEL:
            if (missing or step in self._read_models) and not self._inventory.find(step):
                self.todo.add(step)
                self._work(step.instance).fit = True
                self._read(step.parents(), fit_cells(step.instance))
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
            self._read(step.parents(), history_cells(step.instance, own.cells))

    def _read(self, parents: Iterable[Step], cells: Collection[str]) -> None:
        for parent in parents:
            if parent.kind is Kind.MODEL:
                self._read_models.add(parent)
            elif parent.kind is Kind.EVALUATION:
                self._read_evaluations.add(parent)
            elif cells:
                self._work(parent.instance).cells.update(cells)

    def _work(self, instance: Instance) -> Work:
        return self.work.setdefault(instance, Work(table=instance in self._inventory.tables))


_CANDIDATES = 8


class _FramePlanner:
    """Chooses the base of every frame, then what each keeps and how often it is read.

    Args:
        work: what is done with each instance, inputs before readers.
    """

    def __init__(self, work: Mapping[Instance, Work]) -> None:
        self._work = work
        self._position = {instance: index for index, instance in enumerate(work)}
        self._added: dict[Instance, frozenset[Instance]] = {}  # what a frame adds to its base
        self._held: dict[Instance, int] = {}  # how many instances a frame has columns of
        self._holding: dict[Instance, dict[Instance, bool]] = {}  # instance -> frame -> is it in it

    def run(self) -> None:
        """Complete the work on every instance."""
        for instance, own in self._work.items():
            self._added[instance], self._held[instance] = frozenset([instance]), 1
            if instance.is_aggregate and own.cells and not own.stored:
                own.events = self._recipe(instance.inputs)
            elif own.cells and not own.stored:
                own.recipe = self._recipe(instance.inputs)
                self._added[instance] |= frozenset(own.recipe.extend)
                self._held[instance] = self._held[own.recipe.base] + len(self._added[instance])
            if own.fit:
                own.fit_recipe = self._recipe({**instance.inputs, **instance.fit_inputs})
        for instance in reversed(list(self._work)):
            self._pass_on_reads(instance, self._work[instance])

    def _pass_on_reads(self, instance: Instance, own: Work) -> None:
        """Tell the base of a frame, all of whose readers are known, what is read of it."""
        if own.table and own.write and not own.stored:
            own.readers += 1
        reads = 1 if own.persist else own.readers
        if own.events is not None:
            self._read(own.events, reads)
            assert instance.spine is not None
            self._work[instance.spine].readers += reads
        if own.recipe is not None:
            base = self._work[own.recipe.base]
            # What readers of this frame need of its base has to come through this frame.
            base.kept |= {column for column in own.kept if self._holds(own.recipe.base, column[0])}
            self._read(own.recipe, reads)
            base.repeated |= len(instance.fits) > 1
        if own.fit_recipe is not None:
            self._read(own.fit_recipe, 1)

    def _read(self, recipe: Recipe, times: int) -> None:
        base = self._work[recipe.base]
        base.kept |= recipe.carried
        base.readers += times

    def _holds(self, frame: Instance, instance: Instance) -> bool:
        """Whether the frame of an instance has the columns of another one.

        It has its own, those added to it, and those of its base. Answers are kept for the frames
        that were passed; a set of all columns for each frame would make long chains quadratic.
        """
        known = self._holding.setdefault(instance, {})
        passed = []
        while frame not in known:
            passed.append(frame)
            recipe = self._work[frame].recipe
            if instance in self._added[frame]:
                known[frame] = True
            elif recipe is None or self._position[frame] < self._position[instance]:
                known[frame] = False
            else:
                frame = recipe.base
        held = known[frame]
        known.update(dict.fromkeys(passed, held))
        return held

    def _recipe(self, reads: Mapping[str, Instance]) -> Recipe:
        """The cheapest way to get columns together: the fewest joins, then the fewest additions."""
        # Frames that hold more are likelier to hold the rest; stages of many inputs stay quick.
        entity = finest(instance.entity for instance in reads.values())
        inputs = sorted(
            {instance for instance in reads.values() if instance.entity == entity},
            key=lambda i: (-self._held[i], -self._position[i]),
        )
        best: Recipe | None = None
        for base in inputs[:_CANDIDATES]:
            best = self._based_on(base, reads, best) or best
        assert best is not None
        return best

    def _based_on(
        self, base: Instance, reads: Mapping[str, Instance], other: Recipe | None
    ) -> Recipe | None:
        """Add to a base's frame what is read and not in it, views with what they read in turn.

        What costs as much as another recipe is given up, before it has gone through all upstream.
        """
        limit: tuple[int, int] | None = None
        if other is not None:
            limit = sum(self._work[i].table for i in other.extend), len(other.extend)
        carried: set[Column] = set()
        extend: set[Instance] = set()
        joins = 0
        agenda = list(reads.items())
        while agenda:
            feature, instance = agenda.pop()
            if self._holds(base, instance):
                carried.add((instance, feature))
            elif instance not in extend:
                extend.add(instance)
                if self._work[instance].table:
                    joins += 1
                else:
                    agenda.extend(instance.inputs.items())
            if limit is not None and (joins, len(extend)) >= limit:
                return None
        order = tuple(sorted(extend, key=self._position.__getitem__))
        return Recipe(base, order, frozenset(carried))
