"""Verdicts: is a metric honest, by what was declared alone, and if not, through which path?

A metric on the rows P is *jointly honest* if no fit behind the prediction has read features or
labels of P; under a time split also nothing that was known only when P began. Single-level folds
are the usual exception: a fold's own model has not read it, but was trained with values from
models that have.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from fractions import Fraction
from functools import cached_property, partial

from ff_assets.core import leak_refusals as found
from ff_assets.core.buckets import ALL, BUCKETS, parts
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError, nearest
from ff_assets.core.flow import Flow
from ff_assets.core.influence import ledger_of, origins, path_to, upstream
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.leakage import Provenance, on
from ff_assets.core.ledger import Ledger, day_of, pretrained
from ff_assets.core.operations import AggregateOperation, ColumnOperation, SparkOperation
from ff_assets.core.policy import LeakPolicy
from ff_assets.core.rowwise import mixing
from ff_assets.core.split import HashSplit, Space, TimeSplit
from ff_assets.core.training import training_edges
from ff_assets.core.verdict import HonestPart, Verdict


def check(flow: Flow) -> list[Verdict]:
    """The verdict on every metric that is asked for, in order of declaration.

    Raises:
        DefinitionError: a target asks for a part of the data that there is not.
    """
    ledger = ledger_of(flow)
    policy = flow.project.policy
    verdicts: list[Verdict] = []
    for variant in flow.variants:
        if variant.target.label is not None:
            case = _Case(ledger, policy, variant, len(flow.variants_of(variant.target.name)))
            verdicts += (case.verdict(cell) for cell in variant.target.certify)
    return verdicts


class _Case:
    """What is to be judged about the metrics of one variant."""

    def __init__(self, ledger: Ledger, policy: LeakPolicy, variant: Variant, siblings: int) -> None:
        self._ledger = ledger
        self._policy = policy
        self._variant = variant
        self._siblings = siblings
        self._prediction = variant.prediction
        self._space = variant.split.space(variant.entity)
        self._behind = upstream(self._prediction)  # reader on a shortest path, by instance

    def _path(self, instance: Instance) -> tuple[Instance, ...]:
        return path_to(self._behind, instance)

    @cached_property
    def _models(self) -> tuple[Instance, ...]:
        return tuple(
            i
            for i in self._variant.instances
            if i in self._behind and (i.is_estimator or pretrained(i))
        )

    def verdict(self, cell: str) -> Verdict:
        rows = self._rows(cell)
        evaluated = rows & self._prediction.available
        provenance = on(self._ledger[self._prediction].pieces, evaluated)
        refusals, warnings = list(self._static), list[Finding]()
        for finding in self._edges:
            refused = self._policy.strict and finding.code == "OOF_REQUIRED"
            (refusals if refused else warnings).append(finding)
        refusals += self._selected(cell, rows)
        if not evaluated:
            refusals.append(self._missing(cell))
        else:
            for finding in self._leaks(cell, rows, provenance):
                doubt = finding.code in ("TRANSDUCTIVE", "ATTESTED")
                (warnings if doubt else refusals).append(finding)
        return Verdict(
            self._variant,
            cell,
            evaluated,
            self._models,
            provenance,
            tuple(refusals),
            tuple(warnings),
            self._honest_part(evaluated, provenance, refusals),
        )

    # What is requested

    def _rows(self, cell: str) -> int:
        """The buckets of a cell of the split, or of a fold or block of the prediction's train."""
        split = self._variant.split
        if cell in split.cells:
            return split.bits(cell)
        kind, _, number = cell.partition("_")
        divided = self._division(f"{kind}s") if kind in ("fold", "block") else []
        known = [*split.cells, *(f"{kind}_{k}" for k in range(len(divided or ())))]
        if divided is None and number.isdecimal():
            return 0
        if cell not in known:
            raise DefinitionError(
                f"target `{self._variant.target.name}` asks for a metric on {cell!r}, which is no "
                "part of its data.",
                where=[describe(self._variant.target)],
                why=nearest(cell, known),
                fix="name test, or a fold or block of the prediction's cross-fitting.",
            )
        assert divided is not None
        return divided[int(number)]

    def _division(self, scheme: str) -> list[int] | None:
        """The parts of train for which the nearest cross-fitted estimator has fits of their own."""
        for instance in upstream(self._prediction, trained=False):
            if instance.is_estimator and instance.stage.fitting.scheme == scheme:
                fitting = instance.stage.fitting
                region = 0
                for cell in fitting.cells:
                    region |= self._variant.split.bits(cell)
                return parts(region, fitting.count)
        return None

    def _missing(self, cell: str) -> Finding:
        if cell.startswith("block"):
            return found.no_prediction(
                self._variant,
                cell,
                "an ordered block is predicted by fits on the blocks before it, and every stage of "
                "a chain needs one more of these",
                "certify later blocks, or test.",
            )
        return found.no_prediction(
            self._variant,
            cell,
            "no stage that the prediction is made by has a fit that leaves these rows out",
            f"certify test, or cross-fit `{self._prediction.name}`.",
        )

    # What does not depend on the part

    @cached_property
    def _static(self) -> tuple[Finding, ...]:
        return tuple(self._statics())

    def _statics(self) -> Iterator[Finding]:
        for instance in self._behind:
            if instance.is_source:
                continue
            stage = instance.stage
            if instance.is_estimator and stage.fitting.serve_only:
                yield found.serve_only(self._variant, self._path(instance))
            operation = stage.operation
            code = None
            if isinstance(operation, ColumnOperation):
                code = operation.function
            elif isinstance(operation, SparkOperation):
                folded = instance.is_estimator and stage.fitting.scheme in ("folds", "blocks")
                if folded and not operation.is_aligned:
                    yield found.unaligned(self._variant, self._path(instance))
                code = None if instance.is_estimator else operation.cls
            if code is not None and (mixed := mixing(code)):
                yield found.row_mixing(self._variant, self._path(instance), mixed)
            if isinstance(operation, AggregateOperation):
                for measure in operation.measures:
                    own = None if isinstance(measure.function, str) else measure.function
                    if own is not None and (mixed := mixing(own, grouped=True)):
                        yield found.row_mixing(self._variant, self._path(instance), mixed)
        label = self._variant.target.label
        assert label is not None
        truth = origins(self._variant.features[label], label).features
        used = origins(self._prediction, self._variant.target.outputs[0], self._ledger)
        shared = [node for node in truth if node in set(used.features)]
        told = [(i, name) for i, name in shared if i.is_source and name in i.source.labels]
        if told or len(shared) == len(truth):
            names = [feature for _, feature in told or truth]
            yield found.target_path(self._variant, used.path((told or truth)[0]), names)

    @cached_property
    def _edges(self) -> tuple[Finding, ...]:
        """Training edges over which an estimator learns from what has seen its rows' labels."""
        return tuple(
            finding
            for instance in self._behind
            if instance.is_estimator
            for finding in training_edges(self._ledger, instance)
        )

    def _selected(self, cell: str, rows: int) -> Iterator[Finding]:
        """A choice made by looking at a metric is a fit on its rows."""
        chosen = self._variant.target.select_on
        if chosen is None:
            return
        if chosen == "folds":
            divided = self._division("folds") or self._division("blocks")
            if divided is None:
                raise DefinitionError(
                    f"target `{self._variant.target.name}` selects on folds that there are not.",
                    where=[describe(self._variant.target)],
                    why=f"nothing that `{self._prediction.name}` is made by is cross-fitted.",
                    fix="cross-fit the prediction: .cross_fit(5).",
                )
            seen = sum(divided)
        else:
            seen = self._rows(chosen)
        if seen & rows and self._siblings > 1:
            yield found.selection(self._variant, cell, seen & rows)

    # What the algebra says of the part

    def _trace(
        self, rows: int, is_bad: Callable[[Provenance], object], *, trained: bool = True
    ) -> tuple[Instance, ...]:
        predicted = rows & self._prediction.available
        return self._ledger.trace(self._prediction, predicted, is_bad, trained=trained)

    def _leaks(self, cell: str, rows: int, provenance: Provenance) -> Iterator[Finding]:
        variant, space = self._variant, self._space
        if provenance.is_unknown:
            yield found.unknown(variant, cell, self._trace(rows, lambda p: p.is_unknown))
            return
        if provenance.attested:
            for instance in self._models:
                operation = pretrained(instance)
                if operation and operation.attested:
                    path, statement = self._path(instance), operation.attested.statement
                    yield found.attested(variant, cell, path, statement)
        roots = {entity.name for entity in variant.entity.chain}
        for other in provenance.everywhere.buckets:
            if other != space:
                path = self._trace(rows, partial(_reads_space, other))
                related = other.root in roots
                yield found.incomparable(variant, cell, path, other, related=related)
        labels = provenance.labels.within(space, rows)
        features = provenance.features.within(space, rows)
        if labels:
            yield self._overlap(cell, rows, labels, labels=True)
        elif features:
            yield self._overlap(cell, rows, features, labels=False)
        elif isinstance(variant.split, TimeSplit):
            yield from self._anticipated(cell, rows, provenance.latest, variant.split)

    def _overlap(self, cell: str, rows: int, seen: int, *, labels: bool) -> Finding:
        def reads(provenance: Provenance) -> int:
            channel = provenance.labels if labels else provenance.features
            return channel.within(self._space, rows)

        path = self._trace(rows, reads, trained=False)
        is_part = cell not in self._variant.split.cells
        own = bool(path) or not is_part
        path = path or self._trace(rows, reads)
        if not labels and self._policy.transductive == "warn":
            return found.transductive(self._variant, cell, path, seen)
        return found.overlap(self._variant, cell, path, seen, labels=labels, own=own)

    def _anticipated(
        self, cell: str, rows: int, latest: int | None, split: TimeSplit
    ) -> Iterator[Finding]:
        """Fits on what came after the part began, and labels that were known only then."""
        first = (rows & -rows).bit_length() - 1
        begin = day_of(split, first)
        first_day = date.fromordinal(begin)
        earlier = (1 << first) - 1

        def later(p: Provenance) -> bool:
            seen = p.everywhere.within(self._space, ALL & ~earlier)
            return bool(seen) or (p.attested and late(p))

        def late(p: Provenance) -> bool:
            return p.latest is not None and p.latest >= begin

        if path := self._trace(rows, later):
            yield found.future(self._variant, cell, path, first_day)
        elif latest is not None and (path := self._trace(rows, late)):
            delay = self._ledger.label_delay(path[0]) or 0
            known = date.fromordinal(latest)
            yield found.embargo(self._variant, cell, path, delay, known, first_day)

    def _honest_part(
        self, evaluated: int, provenance: Provenance, refusals: Sequence[Finding]
    ) -> HonestPart | None:
        mendable = {"FIT_OVERLAP", "FIT_OVERLAP_X", "TRANSITIVE_TAINT", "POLICY_MISMATCH"}
        if not refusals or any(finding.code not in mendable for finding in refusals):
            return None
        if not isinstance(self._variant.split, HashSplit):
            return None  # what is left would be days before some of the fits
        seen = provenance.everywhere
        left = evaluated & ~seen.within(self._space, evaluated)
        share = Fraction(left.bit_count(), BUCKETS)
        outside = {space: rows for space, rows in seen.buckets.items() if space != self._space}
        for rows in outside.values():
            share *= 1 - Fraction(rows.bit_count(), BUCKETS)
        return HonestPart(left, outside, share) if share else None


def _reads_space(space: Space, provenance: Provenance) -> bool:
    return space in provenance.everywhere.buckets
