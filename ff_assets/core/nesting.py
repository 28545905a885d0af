"""Nested cross-fitting: how many folds the fits of a chain have to leave out at once.

The value of an instance in a *context*, a set of folds, for a row of fold f is that of its fit
without the context and f, applied to its inputs in the same context; the fit without a set of
folds is trained on the rows of the others, with inputs in the context of this set. Rows outside
of the folds get the fit without the context. What everybody else sees is the empty context. So
the last nested estimator of a chain needs its fits without none and without any one fold, and
reads the one before it in the contexts of single folds; that one needs fits without any two folds
as well, and so on: 6 + 16 = 22 fits for two stages and five folds, 48 for three. Other stages keep
the fits that they have, and pass contexts on to what they are applied to.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from itertools import takewhile
from typing import NamedTuple

from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError
from ff_assets.core.fitting import deepened, fits_of
from ff_assets.core.instance import Instance

MAX_FITS = 1000  # of one estimator
Division = tuple[frozenset[str], int]  # the cells that are divided, and into how many folds
_Behind = dict[Division, Instance]  # the divisions behind a value, each with one that has it


def nest(instances: Sequence[Instance]) -> None:
    """Give nested estimators all their fits, and every instance the contexts it is read in.

    Args:
        instances: all of a flow, in topological order.

    Raises:
        DefinitionError: a chain of nested estimators has as many stages as folds, would be fitted
            too often, or divides rows in two ways, or an aggregate is part of it.
    """
    if not any(instance.is_nested for instance in instances):
        return
    behind = _contextual(instances)
    left_out, readers = _left_out(instances, behind)
    for instance in instances:
        if instance.is_nested:
            folds, most = instance.stage.fitting.count, left_out.get(instance, 0) + 1
            if most >= folds:
                raise _too_deep(instance, readers)
            if fits_of(folds, most) > MAX_FITS:
                raise _too_often(instance, readers)
    for instance, most in left_out.items():
        (nested,) = behind[instance].values()
        contexts = (fit.context for fit in deepened(nested.fits, most))
        instance.contexts = tuple(context for context in contexts if context)
    for instance in instances:
        if instance.is_nested:
            instance.fits = deepened(instance.fits, left_out.get(instance, 0) + 1)


class Lessons(NamedTuple):
    """What the fits of an estimator learn from.

    Attributes:
        given: what is the same for all fits, each as an instance and a feature of it.
        remade: what each fit makes of that in its own context, in topological order.
    """

    given: tuple[tuple[Instance, str], ...]
    remade: tuple[Instance, ...]


def lessons(instance: Instance) -> Lessons:
    """What the fits of an estimator learn from: nothing is remade unless it is nested."""
    given: dict[tuple[Instance, str], None] = {}
    remade: dict[Instance, list[Instance]] = {}
    agenda = [*instance.inputs.items(), *instance.fit_inputs.items()]
    for feature, parent in agenda:  # grows while it is walked
        if not (instance.is_nested and parent.contexts):
            given[parent, feature] = None
        elif parent not in remade:
            remade[parent] = [each for each in parent.inputs.values() if each.contexts]
            agenda += parent.inputs.items()
    return Lessons(tuple(given), tuple(TopologicalSorter(remade).static_order()))


def _read(instance: Instance) -> Iterable[Instance]:
    """What an instance reads in the context that it is read in itself."""
    return instance.parents if instance.is_nested else instance.inputs.values()


def _contextual(instances: Sequence[Instance]) -> Mapping[Instance, _Behind]:
    """The instances whose values depend on the context."""
    behind: dict[Instance, _Behind] = {}
    summed: dict[Instance, Instance] = {}  # what is made from an aggregate among them
    for instance in instances:
        read = [parent for parent in dict.fromkeys(_read(instance)) if parent in behind]
        found = behind[read[0]] if read else {}
        for parent in read[1:]:
            if behind[parent] is not found:
                found = behind[parent] | found
        through = next((summed[parent] for parent in read if parent in summed), None)
        if instance.is_nested:
            fitting = instance.stage.fitting
            own = frozenset(fitting.cells), fitting.count
            for division, other in found.items():
                if division != own:
                    raise _divided_otherwise(instance, other)
            if through is not None:
                raise _aggregated(instance, through, next(iter(found.values())))
            found = {own: instance}
        if found:
            behind[instance] = found
            if through is not None or instance.is_aggregate:
                summed[instance] = through or instance
    return behind


def _left_out(
    instances: Sequence[Instance], behind: Collection[Instance]
) -> tuple[Mapping[Instance, int], Mapping[Instance, Instance]]:
    """How many folds are left out where an instance is read, and the nested one that does it."""
    most: dict[Instance, int] = {}
    readers: dict[Instance, Instance] = {}
    for instance in reversed(instances):
        count = most.get(instance, 0) + instance.is_nested
        for parent in _read(instance) if count else ():
            if parent in behind and count > most.get(parent, 0):
                most[parent] = count
                readers[parent] = instance if instance.is_nested else readers[instance]
    return most, readers


_SHOWN = 8  # a chain may be long


def _chain(first: Instance, readers: Mapping[Instance, Instance]) -> list[Instance]:
    chain = [first]
    while (reader := readers.get(chain[-1])) is not None:
        chain.append(reader)
    return chain


def _too_often(first: Instance, readers: Mapping[Instance, Instance]) -> DefinitionError:
    chain, folds = _chain(first, readers), first.stage.fitting.count
    counts = [fits_of(folds, depth) for depth in range(1, len(chain) + 1)]
    more = range(len(chain) + 1, folds)
    possible = list(takewhile(lambda k: fits_of(k, len(chain)) <= MAX_FITS, more))
    return DefinitionError(
        f"`{first.provider.name}` would be fitted {counts[-1]:,} times, which is more than "
        f"{MAX_FITS:,}.",
        where=[describe(instance.provider) for instance in chain[:_SHOWN]],
        why=f"{len(chain)} nested stages with {folds} folds are chained, and each is fitted for "
        f"every set of up to so many folds as there are stages from it on: {sum(counts):,} fits in "
        "all.",
        fix=f"use fewer folds in all of them, at most .cross_fit({possible[-1]}, nested=True), or "
        "nest fewer stages."
        if possible
        else "nest fewer stages, or fit each one on a slice of train: .slices(1, of=2).",
    )


def _too_deep(first: Instance, readers: Mapping[Instance, Instance]) -> DefinitionError:
    chain, folds = _chain(first, readers), first.stage.fitting.count
    return DefinitionError(
        f"{len(chain)} nested stages are chained, but have only {folds} folds.",
        where=[describe(instance.provider) for instance in chain[:_SHOWN]],
        why=f"`{first.provider.name}` is read without up to {len(chain) - 1} folds, and its rows "
        "get what a fit without one more of them says; that would leave it none to learn from.",
        fix=f"give all of them more folds, at least .cross_fit({len(chain) + 1}, nested=True), or "
        "nest fewer stages.",
    )


def _divided_otherwise(reader: Instance, nested: Instance) -> DefinitionError:
    ways = [
        f"`{each.provider.name}` divides {' and '.join(each.stage.fitting.cells)} into "
        f"{each.stage.fitting.count} folds"
        for each in (nested, reader)
    ]
    return DefinitionError(
        f"`{reader.provider.name}` cannot be nested with `{nested.provider.name}`, whose folds are "
        "others.",
        where=[describe(nested.provider), describe(reader.provider)],
        why=f"{ways[0]}, but {ways[1]}; a fold that one fit leaves out has to be left out by all "
        "fits behind it.",
        fix="use the same cells and the same number of folds in all nested stages of a chain.",
    )


def _aggregated(reader: Instance, through: Instance, nested: Instance) -> DefinitionError:
    return DefinitionError(
        f"`{reader.provider.name}` reads `{nested.provider.name}` through the aggregate "
        f"`{through.provider.name}`, and both are nested.",
        where=[describe(each.provider) for each in (nested, through, reader)],
        why="what the aggregate sums up would be another value for every set of folds that is "
        "left out, and aggregates are computed once.",
        fix="fit both on .slices(...) of train; or let only one be nested=True, and certify test.",
    )
