"""Carrying out a plan by its letter: with sets of columns for frames, and records for results."""

from collections import Counter
from collections.abc import Collection, Iterable

from ff_assets.core.cells import TRAIN
from ff_assets.core.instance import Instance
from ff_assets.core.steps import CELLS, Kind, Step
from ff_assets.engine.columns import stored_columns
from ff_assets.engine.frame_plan import Recipe
from ff_assets.engine.plan import Inventory, Plan
from ff_assets.engine.store import Record, Staging, Store

Column = tuple[Instance, str]


def put(
    store: Store, staging: Staging, inventory: Inventory, step: Step, cells: Iterable[str]
) -> None:
    """Let a step's result exist, for some cells where it has them."""
    record = Record(inventory.fingerprint(step), seconds=0.0, rows=1)
    directory = staging.directory()
    if step.kind is Kind.MODEL:
        (directory / "spark").mkdir(parents=True)
        staging.add_model(directory, record)
    elif not step.has_cells:
        store.add_note(step.kind, record)
    elif step.instance in inventory.tables:
        for cell in cells:
            (directory / f"cell={cell}").mkdir(parents=True)
        staging.add_table(directory, dict.fromkeys(cells, record))
    else:
        for cell in cells:
            store.add_note(f"views/{cell}", record)


class Simulation:
    """Does every step of a plan, and asserts that what it reads is there.

    Attributes:
        reads: how often the frame of an instance was read.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan = plan
        self.reads: Counter[Instance] = Counter()
        self._store = store
        self._inventory = Inventory(plan.flow, plan.fingerprints, store)
        self._persisted: dict[Instance, set[Column]] = {}
        self._released: set[Instance] = set()

    def run(self) -> None:
        with self._store.staging() as staging:
            for step in self.plan.todo:
                cells = self._do(step)
                put(self._store, staging, self._inventory, step, cells)
        assert not self._persisted  # everything that took memory was given back
        assert self.reads == Counter({i: w.readers for i, w in self.plan.work.items()})

    def _do(self, step: Step) -> Collection[str]:
        if step.kind is Kind.MODEL:
            self._fit(step.instance)
        elif step.kind is Kind.FEATURE:
            work = self.plan.work[step.instance]
            assert work.cells >= set(work.write)
            frame = self._read(step.instance) if work.table else self._look(step.instance)
            assert frame >= own(step.instance)
            return work.write
        elif step.kind is Kind.SOURCE:
            return CELLS
        elif step.kind is Kind.EVALUATION:
            for parent in step.parents():
                self._assert_stored(parent.instance, CELLS)
        else:
            for parent in step.parents():
                if not parent.has_cells:
                    assert self._inventory.find(parent)
        return ()

    def _fit(self, instance: Instance) -> None:
        recipe = self.plan.work[instance].fit_recipe
        assert recipe is not None
        frame = self._together(recipe, {TRAIN}, self._read(recipe.base))
        for remade in self.plan.work[instance].remade:
            frame = self._applied(remade, frame)
        assert frame >= set(reads(instance)) | {(i, f) for f, i in instance.fit_inputs.items()}

    def _read(self, instance: Instance) -> set[Column]:
        """The columns of a frame, for one computation that reads it."""
        work = self.plan.work[instance]
        self.reads[instance] += 1
        assert self.reads[instance] <= work.readers
        if not work.persist:
            return self._build(instance, read=True)
        if instance not in self._persisted:
            assert instance not in self._released  # or it would be computed a second time
            self._persisted[instance] = self._pruned(instance, self._build(instance, read=True))
        frame = self._persisted[instance]
        if self.reads[instance] == work.readers:
            del self._persisted[instance]
            self._released.add(instance)
        return frame

    def _look(self, instance: Instance) -> set[Column]:
        """The columns of a frame that nothing is computed of."""
        if not self.plan.work[instance].persist:
            return self._build(instance, read=False)
        return self._pruned(instance, self._build(instance, read=False))

    def _pruned(self, instance: Instance, frame: set[Column]) -> set[Column]:
        work = self.plan.work[instance]
        assert frame >= work.kept
        return work.kept | (own(instance) if work.write else set())

    def _build(self, instance: Instance, *, read: bool) -> set[Column]:
        work = self.plan.work[instance]
        if work.recipe is None:
            assert work.stored
            self._assert_stored(instance, work.cells)
            return own(instance)
        base = work.recipe.base
        frame = self._read(base) if read else self._look(base)
        return self._applied(instance, self._together(work.recipe, work.cells, frame))

    def _together(self, recipe: Recipe, cells: Collection[str], frame: set[Column]) -> set[Column]:
        assert self.plan.work[recipe.base].cells.issuperset(cells)
        assert frame >= recipe.carried
        for instance in recipe.extend:
            assert self.plan.work[instance].cells.issuperset(cells)
            if self.plan.work[instance].table:
                self._assert_stored(instance, self.plan.work[instance].cells)
                assert frame.isdisjoint(own(instance))
                frame = frame | own(instance)
            else:
                frame = self._applied(instance, frame)
        return frame

    def _applied(self, instance: Instance, frame: set[Column]) -> set[Column]:
        assert frame >= set(reads(instance))
        assert frame.isdisjoint(own(instance))
        if instance.is_estimator:
            assert self._inventory.find(Step(Kind.MODEL, instance))
        return frame | own(instance)

    def _assert_stored(self, instance: Instance, cells: Collection[str]) -> None:
        for cell in cells:
            assert self._store.table(self.plan.fingerprints[instance], cell), (instance, cell)


def own(instance: Instance) -> set[Column]:
    return {(instance, name) for name in stored_columns(instance)}


def reads(instance: Instance) -> list[Column]:
    return [(parent, feature) for feature, parent in instance.inputs.items()]
