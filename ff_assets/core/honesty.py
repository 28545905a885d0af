"""Verdicts: is a metric honest, by what was declared alone, and if not, through which path?

A metric on the rows P is *jointly honest* if no fit behind the prediction has read features or
labels of P; under a time split also nothing that was known only when P began. Single-level folds
are the usual exception: a fold's own model has not read it, but was trained with values from
models that have.

What is measured is the first output of a target. The others are part of the same model and looked
at on the same rows, so they are held to the same rules.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from fractions import Fraction
from functools import cached_property, partial
from typing import NamedTuple

from ff_assets.core import leak_refusals as found
from ff_assets.core.buckets import ALL, BUCKETS, parts
from ff_assets.core.cells import VALIDATION
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError, nearest
from ff_assets.core.flow import Flow
from ff_assets.core.influence import Readers, ledger_of, node_of, path_to, upstream
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding, Judged
from ff_assets.core.leakage import Provenance, on
from ff_assets.core.ledger import Ledger, day_of, pretrained
from ff_assets.core.operations import AggregateOperation, ColumnOperation, SparkOperation
from ff_assets.core.policy import LeakPolicy
from ff_assets.core.rowwise import mixing
from ff_assets.core.selection import selected
from ff_assets.core.split import HashSplit, Space, TimeSplit
from ff_assets.core.target_path import target_paths
from ff_assets.core.training import training_edges
from ff_assets.core.verdict import HonestPart, Verdict


def check(flow: Flow) -> list[Verdict]:
    """The verdict on every metric that is asked for, in order of declaration.

    Raises:
        DefinitionError: a target asks for a part of the data that there is not, or under a split
            by time for a prediction about other rows than the label.
    """
    ledger = ledger_of(flow)
    policy = flow.project.policy
    verdicts: list[Verdict] = []
    for variant in flow.variants:
        if variant.target.label is not None:
            case = _Case(ledger, policy, variant, len(flow.variants_of(variant.target.name)))
            verdicts += (case.verdict(cell) for cell in variant.target.certify)
    return verdicts


class _Output(NamedTuple):
    """An output, with the reader on a shortest path to it of every instance upstream."""

    judged: Judged
    behind: Readers

    def path(self, instance: Instance) -> tuple[Instance, ...]:
        return path_to(self.behind, instance)


class _Case:
    """What is to be judged about the metrics of one variant."""

    def __init__(self, ledger: Ledger, policy: LeakPolicy, variant: Variant, siblings: int) -> None:
        self._ledger = ledger
        self._policy = policy
        self._variant = variant
        self._siblings = siblings
        self._prediction = variant.prediction
        self._space = variant.split.space(variant.entity)
        nodes: dict[object, Judged] = {}
        for name in variant.target.outputs:
            nodes.setdefault(node_of(variant.features[name], name), Judged(variant, name))
        self._outputs = [_Output(each, upstream(each.instance)) for each in nodes.values()]
        self._behind = self._outputs[0].behind
        self._check_times()

    def _check_times(self) -> None:
        """By time, rows of two entities are in parts of their own, so they cannot be compared."""
        target, split = self._variant.target, self._variant.split
        assert target.label is not None
        truth = self._variant.features[target.label]
        if isinstance(split, TimeSplit) and truth.entity != self._prediction.entity:
            predicted = self._prediction.entity.name
            raise DefinitionError(
                f"target `{target.name}` compares predictions about `{predicted}` with labels of "
                f"`{truth.entity.name}` under a split by time.",
                where=[describe(target), ("TimeSplit(...)", split.location)],
                why="a row of the one may be of another time than the row of the other that "
                "belongs to it, so a prediction for train would be measured in test.",
                fix=f"predict for each row of `{truth.entity.name}`, or split by key.",
            )

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
        if (chosen := self._chosen()) and self._siblings > 1:  # one of one is no choice
            refusals += selected(self._ledger, self._variant, cell, rows, chosen)
        if not evaluated:
            refusals.append(self._missing(cell))
        else:
            for finding in self._every_leak(cell, rows):
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
                fix="give the split a part for it: HashSplit(cells={..., 'validation': range(...)})"
                " or TimeSplit(..., validation='30d')."
                if cell == VALIDATION
                else "name a part of the split, or a fold or block of the prediction's "
                "cross-fitting.",
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
        for output, instance in self._instances():
            if not instance.is_source:
                yield from self._of_stage(output, instance)
        for output in self._outputs:
            yield from target_paths(self._ledger, output.judged)

    def _instances(self) -> Iterator[tuple[_Output, Instance]]:
        """Every instance behind outputs, with the first of them that it is behind."""
        seen: set[Instance] = set()
        for output in self._outputs:
            yield from ((output, each) for each in output.behind if each not in seen)
            seen |= output.behind.keys()

    @staticmethod
    def _of_stage(output: _Output, instance: Instance) -> Iterator[Finding]:
        stage, operation = instance.stage, instance.stage.operation
        judged, path = output.judged, output.path
        if instance.is_estimator and stage.fitting.serve_only:
            yield found.serve_only(judged, path(instance))
        code = None
        if isinstance(operation, ColumnOperation):
            code = operation.function
        elif isinstance(operation, SparkOperation):
            folded = instance.is_estimator and stage.fitting.scheme in ("folds", "blocks")
            if folded and not operation.is_aligned:
                yield found.unaligned(judged, path(instance))
            code = None if instance.is_estimator else operation.cls
        if code is not None and (mixed := mixing(code)):
            yield found.row_mixing(judged, path(instance), mixed)
        if isinstance(operation, AggregateOperation):
            for measure in operation.measures:
                own = None if isinstance(measure.function, str) else measure.function
                if own is not None and (mixed := mixing(own, grouped=True)):
                    yield found.row_mixing(judged, path(instance), mixed)

    @cached_property
    def _edges(self) -> tuple[Finding, ...]:
        """Training edges over which an estimator learns from what has seen its rows' labels."""
        return tuple(
            finding
            for _, instance in self._instances()
            if instance.is_estimator
            for finding in training_edges(self._ledger, instance)
        )

    def _chosen(self) -> int:
        """The buckets whose metric decides which variant is the champion."""
        chosen = self._variant.target.select_on
        if chosen is None:
            return 0
        if chosen != "folds":
            return self._rows(chosen)
        divided = self._division("folds") or self._division("blocks")
        if divided is None:
            raise DefinitionError(
                f"target `{self._variant.target.name}` selects on folds that there are not.",
                where=[describe(self._variant.target)],
                why=f"nothing that `{self._prediction.name}` is made by is cross-fitted.",
                fix="cross-fit the prediction: .cross_fit(5).",
            )
        return sum(divided)

    # What the algebra says of the part

    def _trace(
        self,
        output: _Output,
        rows: int,
        is_bad: Callable[[Provenance], object],
        *,
        trained: bool = True,
    ) -> tuple[Instance, ...]:
        instance = output.judged.instance
        return self._ledger.trace(instance, rows & instance.available, is_bad, trained=trained)

    def _every_leak(self, cell: str, rows: int) -> Iterator[Finding]:
        """What is found about any output; of one that is to blame for several, the first time."""
        seen: set[tuple[str, tuple[Instance, ...]]] = set()
        for output in self._outputs:
            for finding in self._leaks(output, cell, rows):
                blamed = finding.code, finding.path[:1]
                if blamed not in seen:
                    seen.add(blamed)
                    yield finding

    def _leaks(self, output: _Output, cell: str, rows: int) -> Iterator[Finding]:
        variant, space, judged = self._variant, self._space, output.judged
        provenance = on(self._ledger[judged.instance].pieces, rows)
        if provenance.is_unknown:
            path = self._trace(output, rows, lambda p: p.is_unknown)
            yield found.unknown(judged, cell, path)
            return
        if provenance.attested:
            for instance in variant.instances:
                operation = pretrained(instance) if instance in output.behind else None
                if operation and operation.attested:
                    path, statement = output.path(instance), operation.attested.statement
                    yield found.attested(judged, cell, path, statement)
        roots = {entity.name for entity in variant.entity.chain}
        for other in provenance.everywhere.buckets:
            if other != space:
                path = self._trace(output, rows, partial(_reads_space, other))
                related = other.root in roots
                yield found.incomparable(judged, cell, path, other, related=related)
        labels = provenance.labels.within(space, rows)
        features = provenance.features.within(space, rows)
        if labels:
            yield self._overlap(output, cell, rows, labels, labels=True)
        elif features:
            yield self._overlap(output, cell, rows, features, labels=False)
        elif isinstance(variant.split, TimeSplit):
            yield from self._anticipated(output, cell, rows, provenance.latest, variant.split)

    def _overlap(
        self, output: _Output, cell: str, rows: int, seen: int, *, labels: bool
    ) -> Finding:
        def reads(provenance: Provenance) -> int:
            channel = provenance.labels if labels else provenance.features
            return channel.within(self._space, rows)

        path = self._trace(output, rows, reads, trained=False)
        is_part = cell not in self._variant.split.cells
        own = bool(path) or not is_part
        path = path or self._trace(output, rows, reads)
        if not labels and self._policy.transductive == "warn":
            return found.transductive(output.judged, cell, path, seen)
        return found.overlap(output.judged, cell, path, seen, labels=labels, own=own)

    def _anticipated(
        self, output: _Output, cell: str, rows: int, latest: int | None, split: TimeSplit
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

        if path := self._trace(output, rows, later):
            yield found.future(output.judged, cell, path, first_day)
        elif latest is not None and (path := self._trace(output, rows, late)):
            delay = self._ledger.label_delay(path[0]) or 0
            known = date.fromordinal(latest)
            yield found.embargo(output.judged, cell, path, delay, known, first_day)

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
