"""The transfer rules of `core/leakage.py`, applied to the instances of a flow; and paths in it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from ff_assets.core.buckets import ALL, BUCKETS, bitmap
from ff_assets.core.fitting import WHOLE, Fit
from ff_assets.core.instance import Instance
from ff_assets.core.leakage import (
    NONE,
    UNKNOWN,
    FitSet,
    Piece,
    Pieces,
    Provenance,
    before_and_in,
    on,
    overlay,
    united,
    until,
)
from ff_assets.core.operations import AggregateOperation, PretrainedOperation, SparkOperation
from ff_assets.core.split import Space, TimeSplit

Label = tuple[Instance, str]  # an instance and the feature of it that is a label


@dataclass(frozen=True, slots=True)
class Account:
    """What the algebra knows of an instance.

    Attributes:
        pieces: the provenance of its values.
        delays: feature -> how many days after a row's time the labels are known that the feature
            is made from by applications alone; `None` where it is made from no label.
        horizon: how many days after a row's time all is known that the values are made from by
            applications alone, were it all labels.
        memorised: the buckets whose values come from a fit that has read the same rows' labels.
        history: whether a row's values may be made from earlier buckets as well.
    """

    pieces: Pieces
    delays: Mapping[str, int | None]
    horizon: int
    memorised: int
    history: bool


class Accounts:
    """The accounts of instances, in every context that they are read in.

    Args:
        instances: in topological order.
        labels: features that are labels besides those that sources declare.
        salt: of the project's split, in which attested buckets are counted unless they say
            another, whatever split a target has.
    """

    def __init__(self, instances: Iterable[Instance], labels: Iterable[Label], salt: str) -> None:
        self._labels = frozenset(labels)
        self._salt = salt
        self._accounts: dict[tuple[Instance, int], Account] = {}
        self._origins: dict[tuple[Instance, str], Provenance] = {}
        self._learned: dict[tuple[Instance, str], Provenance] = {}
        self._shared: dict[tuple[object, ...], Provenance] = {}
        for instance in instances:
            for context in (0, *instance.contexts):
                self._accounts[instance, context] = self._account(instance, context)

    def __getitem__(self, instance: Instance) -> Account:
        return self._accounts[instance, 0]

    def at(self, instance: Instance, context: int) -> Account:
        """The account of an instance in a context that it is read in."""
        return self._accounts[_state(instance, context)]

    def _account(self, instance: Instance, context: int) -> Account:
        inputs = [self.at(parent, context) for parent in dict.fromkeys(instance.inputs.values())]
        pieces = overlay((account.pieces for account in inputs), instance.available)
        history = any(account.history for account in inputs)
        if reads_history(instance):
            history = True
            pieces = until(overlay((a.pieces for a in inputs), ALL), instance.available)
        memorised = 0
        for account in inputs:
            memorised |= account.memorised
        if instance.fits:
            made: list[Piece] = []
            delay = self.label_delay(instance)
            for fit, served in instance.serving(context):
                if (instance, fit.name) not in self._learned:
                    self._fit(instance, fit, delay, history=history)
                learned = self._learned[instance, fit.name]
                for rows, provenance in pieces:
                    if rows & served:
                        made.append(Piece(rows & served, learned | provenance))
                memorised |= 0 if delay is None else fit.region & served
            pieces = united(made)
        elif attestable := pretrained(instance):
            own = self._origins[instance, WHOLE] = self._attested(instance, attestable)
            pieces = tuple(Piece(rows, own | provenance) for rows, provenance in pieces)
        delays = self[instance].delays if context else self._delays(instance)
        horizons = (account.horizon for account in inputs)
        horizon = instance.source.label_delay if instance.is_source else max(horizons, default=0)
        return Account(pieces, delays, horizon, memorised & instance.available, history)

    def _fit(self, instance: Instance, fit: Fit, delay: int | None, *, history: bool) -> None:
        """Account for what a fit has learned."""
        learned = self._own(instance, fit, delay, history=history)
        self._origins[instance, fit.name] = learned
        for parent in instance.parents:
            learned |= on(self.at(parent, fit.context).pieces, fit.region)
        self._learned[instance, fit.name] = learned

    def _own(self, instance: Instance, fit: Fit, delay: int | None, *, history: bool) -> Provenance:
        """What a fit adds by the rows that it reads itself."""
        rows = before_and_in(fit.region) if history else fit.region
        space = instance.split.space(instance.entity)
        # Equal values are one object, so that long chains share it.
        if (space, rows, delay) not in self._shared:
            read = FitSet({space: rows}) if rows else NONE
            known = None if delay is None or not rows else _known(instance, rows, delay)
            own = Provenance(read, NONE if delay is None else read, known)
            self._shared[space, rows, delay] = own
        return self._shared[space, rows, delay]

    def label_delay(self, instance: Instance) -> int | None:
        """How late the labels are known that a fit reads; `None` if it reads none."""
        reads = {**instance.inputs, **instance.fit_inputs}
        delays = [self[parent].delays[feature] for feature, parent in reads.items()]
        # An outcome is a label here, although nobody may have declared it as one.
        delays += (self[reads[feature]].horizon for feature in outcomes(instance))
        return max((delay for delay in delays if delay is not None), default=None)

    def _delays(self, instance: Instance) -> dict[str, int | None]:
        if instance.is_source:
            delay = instance.source.label_delay
            return {
                feature: delay
                if feature in instance.source.labels or (instance, feature) in self._labels
                else None
                for feature in instance.source.features
            }
        made: dict[str, int | None] = {}
        shared: dict[tuple[str, ...], int | None] = {}
        aggregate = _aggregate(instance)
        waited = 0 if aggregate is None else aggregate.gap.days
        for feature in instance.stage.outputs:
            names = made_from(instance, feature)
            if names not in shared:
                delays = (self[instance.inputs[name]].delays[name] for name in names)
                latest = max((d for d in delays if d is not None), default=None)
                shared[names] = None if latest is None else max(0, latest - waited)
            is_label = (instance, feature) in self._labels
            made[feature] = shared[names] or 0 if is_label else shared[names]
        return made

    def _attested(self, instance: Instance, operation: PretrainedOperation) -> Provenance:
        attested = operation.attested
        if attested is None:
            return UNKNOWN
        latest = None if attested.until is None else attested.until.toordinal()
        if latest and not attested.buckets and not _is_timed(instance):
            return UNKNOWN  # a day says nothing of keys
        read = NONE
        # A day is all that a time split needs; buckets of keys say nothing of time.
        if attested.buckets and not (latest and _is_timed(instance)):
            rows = bitmap(attested.buckets)
            root = attested.root or instance.entity.root.name
            read = FitSet({Space(root, attested.salt or self._salt): rows})
        return Provenance(read, read, latest, attested=True)

    def _added(self, instance: Instance, context: int, rows: int) -> Iterator[Provenance]:
        """What an instance itself adds to the provenance of its values on some rows."""
        for fit, served in instance.serving(context):
            if served & rows:
                yield self._origins[instance, fit.name]
        if pretrained(instance):
            yield self._origins[instance, WHOLE]

    def trace(
        self,
        instance: Instance,
        rows: int,
        is_bad: Callable[[Provenance], object],
        *,
        context: int = 0,
        trained: bool = True,
    ) -> tuple[Instance, ...]:
        """The shortest path from what is to blame for a bad provenance to the values it taints.

        Args:
            rows: the rows whose values are looked at.
            is_bad: monotone: what is bad stays so when more is joined to it.
            context: the folds that are left out where the values are read.
            trained: whether the path may lead through what a fit was trained on, or through
                applications only.

        Returns:
            The instances on the way, the one to blame first; nothing if there is none.
        """
        start = _state(instance, context)
        reader: dict[_State, _State | None] = {start: None}
        looked: dict[_State, int] = {}
        agenda = deque([(start, rows)])
        while agenda:
            current, wanted = agenda.popleft()
            wanted &= ~looked.get(current, 0)
            looked[current] = looked.get(current, 0) | wanted
            if any(is_bad(own) for own in self._added(*current, wanted)):
                path = [current]
                while (following := reader[path[-1]]) is not None:
                    path.append(following)
                return tuple(each for each, _ in path)
            for parent, needed in _needed(*current, wanted, trained=trained):
                new = needed & ~looked.get(parent, 0)
                if new and is_bad(on(self._accounts[parent].pieces, new)):
                    reader.setdefault(parent, current)
                    agenda.append((parent, new))
        return ()


_State = tuple[Instance, int]  # an instance in a context


def _state(instance: Instance, context: int) -> _State:
    """An instance in a context; what is not made by nested fits is the same in all of them."""
    return instance, context if instance.contexts else 0


def _needed(
    instance: Instance, context: int, rows: int, *, trained: bool
) -> Iterator[tuple[_State, int]]:
    """The rows of other instances that values on some rows are made from."""
    applied = before_and_in(rows) if reads_history(instance) else rows
    for parent in dict.fromkeys(instance.inputs.values()):
        yield _state(parent, context), applied
    if trained:
        regions: dict[int, int] = {}
        for fit, served in instance.serving(context):
            if served & rows:
                regions[fit.context] = regions.get(fit.context, 0) | fit.region
        for learned, region in regions.items():
            yield from ((_state(parent, learned), region) for parent in instance.parents)


def _is_timed(instance: Instance) -> bool:
    return isinstance(instance.split, TimeSplit)


def _aggregate(instance: Instance) -> AggregateOperation | None:
    if instance.is_source or not isinstance(instance.stage.operation, AggregateOperation):
        return None
    return instance.stage.operation


def pretrained(instance: Instance) -> PretrainedOperation | None:
    """The model from elsewhere that an instance applies, if it does."""
    if instance.is_source or not isinstance(instance.stage.operation, PretrainedOperation):
        return None
    return instance.stage.operation


def reads_history(instance: Instance) -> bool:
    """Whether values are made from rows of other days: by time, those of aggregates."""
    return instance.is_aggregate and _is_timed(instance)


def outcomes(instance: Instance) -> tuple[str, ...]:
    """The features that tell the fit of an instance something of the outcome."""
    operation = None if instance.is_source else instance.stage.operation
    return operation.outcomes if isinstance(operation, SparkOperation) else ()


def made_from(instance: Instance, feature: str) -> tuple[str, ...]:
    """The inputs that an output of a stage is made from, when the stage is applied."""
    aggregate = _aggregate(instance)
    if aggregate is None:
        return instance.stage.inputs
    return aggregate.inputs_of[feature]


def day_of(split: TimeSplit, bucket: int) -> int:
    """The last day of a bucket, as an ordinal of `date`; the last bucket has no last day."""
    return (date.max if bucket == BUCKETS - 1 else split.day(bucket)).toordinal()


def _known(instance: Instance, rows: int, delay: int) -> int | None:
    """The day by which the labels of some rows are known; `None` where rows have no time."""
    if not isinstance(instance.split, TimeSplit):
        return None
    return min(day_of(instance.split, rows.bit_length() - 1) + delay, date.max.toordinal())
