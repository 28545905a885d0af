"""In which frames a plan's instances are computed.

A *frame* is one wide DataFrame that holds an instance's columns beside those it was made from.
The frame of a computed instance grows out of the frame of one of the instances it reads (its
base), so no join is needed; what the base does not hold is added: a stored table by a join on
the key, a view by computing it again. Frames that are read more than once are persisted, with
no more columns than their readers need.

What a nested estimator learns from differs from fit to fit. Its frame ends where that begins: it
holds what no set of left out folds changes, once for all fits, and each fit adds the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ff_assets.core.entities import finest
from ff_assets.core.instance import Instance
from ff_assets.core.nesting import lessons

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
        remade: what each of its fits adds to that in its own context, in order.
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
    remade: tuple[Instance, ...] = ()
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


_CANDIDATES = 8


class FramePlanner:
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

    def run(self, readings: Iterable[Sequence[Column]] = ()) -> tuple[Recipe, ...]:
        """Complete the work on every instance.

        Args:
            readings: columns that somebody else reads together, once.

        Returns:
            How to get the columns of each reading together.
        """
        for instance, own in self._work.items():
            self._added[instance], self._held[instance] = frozenset([instance]), 1
            if instance.is_aggregate and own.cells and not own.stored:
                own.events = self._recipe(_reads(instance))
            elif own.cells and not own.stored:
                own.recipe = self._recipe(_reads(instance))
                self._added[instance] |= frozenset(own.recipe.extend)
                self._held[instance] = self._held[own.recipe.base] + len(self._added[instance])
            if own.fit:
                given, own.remade = lessons(instance)
                own.fit_recipe = self._recipe(given)
        recipes = tuple(self._recipe(columns) for columns in readings)
        for recipe in recipes:
            self._read(recipe, 1)
        for instance in reversed(list(self._work)):
            self._pass_on_reads(instance, self._work[instance])
        return recipes

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

    def _recipe(self, reads: Sequence[Column]) -> Recipe:
        """The cheapest way to get columns together: the fewest joins, then the fewest additions."""
        # Frames that hold more are likelier to hold the rest; stages of many inputs stay quick.
        entity = finest(instance.entity for instance, _ in reads)
        inputs = sorted(
            {instance for instance, _ in reads if instance.entity == entity},
            key=lambda i: (-self._held[i], -self._position[i]),
        )
        best: Recipe | None = None
        for base in inputs[:_CANDIDATES]:
            best = self._based_on(base, reads, best) or best
        assert best is not None
        return best

    def _based_on(
        self, base: Instance, reads: Sequence[Column], other: Recipe | None
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
        agenda = list(reads)
        while agenda:
            instance, feature = agenda.pop()
            if self._holds(base, instance):
                carried.add((instance, feature))
            elif instance not in extend:
                extend.add(instance)
                if self._work[instance].table:
                    joins += 1
                else:
                    agenda += _reads(instance)
            if limit is not None and (joins, len(extend)) >= limit:
                return None
        order = tuple(sorted(extend, key=self._position.__getitem__))
        return Recipe(base, order, frozenset(carried))


def _reads(instance: Instance) -> list[Column]:
    """The columns that an instance is applied to."""
    return [(parent, feature) for feature, parent in instance.inputs.items()]
