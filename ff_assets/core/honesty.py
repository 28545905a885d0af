"""Verdicts: is a metric honest, by what was declared alone, and if not, through which path?

A metric on the rows P is *jointly honest* if no fit behind the prediction has read features or
labels of P; under a time split also nothing that was known only when P began. Single-level folds
are the usual exception: a fold's own model has not read it, but was trained with values from
models that have.

What is measured is the first output of a target. The others are part of the same model and looked
at on the same rows, so they are held to the same rules.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from ff_assets.core import leak_refusals as found
from ff_assets.core.buckets import BUCKETS
from ff_assets.core.cells import TEST
from ff_assets.core.declare import describe
from ff_assets.core.errors import DefinitionError, LeakError
from ff_assets.core.flow import Flow
from ff_assets.core.influence import Readers, ledger_of, node_of, path_to, upstream
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding, Judged
from ff_assets.core.leakage import Provenance, on
from ff_assets.core.leaks import Leaks, Read
from ff_assets.core.ledger import pretrained
from ff_assets.core.operations import AggregateOperation, ColumnOperation, SparkOperation
from ff_assets.core.requested import in_sample, rows_of_part
from ff_assets.core.rowwise import mixing
from ff_assets.core.selection import Selection
from ff_assets.core.split import HashSplit, TimeSplit
from ff_assets.core.target_path import target_paths
from ff_assets.core.training import training_edges
from ff_assets.core.verdict import HonestPart, Verdict


def check(flow: Flow) -> list[Verdict]:
    """The verdict on every metric that is asked for, in order of declaration.

    Raises:
        DefinitionError: a target asks for a part of the data that there is not, or under a split
            by time for a prediction about other rows than the label.
        LeakError: a target asks for no verdict, and a fit has read the rows that it is shown by.
    """
    leaks = Leaks(ledger_of(flow), flow.project.policy)
    verdicts: list[Verdict] = []
    for target in flow.project.targets:
        if target.label is not None:
            siblings = flow.variants_of(target.name)
            selection = Selection(leaks, siblings)
            for variant in siblings:
                case = _Case(leaks, variant, selection)
                if not target.certify:
                    case.refuse_in_sample()
                verdicts += (case.verdict(cell) for cell in target.certify)
    return verdicts


class _Output(NamedTuple):
    """An output, with the reader on a shortest path to it of every instance upstream."""

    judged: Judged
    behind: Readers

    def path(self, instance: Instance) -> tuple[Instance, ...]:
        return path_to(self.behind, instance)


class _Case:
    """What is to be judged about the metrics of one variant."""

    def __init__(self, leaks: Leaks, variant: Variant, selection: Selection) -> None:
        self._leaks = leaks
        self._ledger = leaks.ledger
        self._variant = variant
        self._selection = selection
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
        rows = rows_of_part(self._variant, cell)
        evaluated = rows & self._prediction.available
        provenance = on(self._ledger[self._prediction].pieces, evaluated)
        refusals, warnings = list(self._static), list[Finding]()
        for finding in self._edges:
            refused = self._leaks.policy.strict and finding.code == "OOF_REQUIRED"
            (refusals if refused else warnings).append(finding)
        if not evaluated:
            refusals.append(self._missing(cell))
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
            self._honest_part(
                evaluated, provenance | self._leaks.learned(self._selection.read), refusals
            ),
        )

    # What is requested

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

    # What depends on the part

    def _every_leak(self, cell: str, rows: int) -> Iterator[Finding]:
        """What is found about any output; of one that is to blame for several, the first time."""
        seen: set[tuple[str, tuple[Instance, ...]]] = set()
        for finding in self._of_part(cell, rows):
            blamed = finding.code, finding.path[:1]
            if blamed not in seen:
                seen.add(blamed)
                yield finding

    def _of_part(self, cell: str, rows: int) -> Iterator[Finding]:
        if rows & self._prediction.available:
            for output in self._outputs:
                judged = output.judged
                yield from self._leaks.of(judged, [Read(judged.instance, rows)], cell, rows)
        yield from self._selection.refused(self._variant)
        yield from self._selection.reported(self._variant, cell, rows)
        yield from self._shown()

    def _shown(self) -> Iterator[Finding]:
        """Variants have a metric on test whatever is certified."""
        if TEST not in self._variant.target.certify:
            rows = self._variant.split.bits(TEST)
            if path := in_sample(self._ledger, self._variant, rows):
                yield found.shown_in_sample(self._outputs[0].judged, path, rows)

    def refuse_in_sample(self) -> None:
        """Refuse a variant by what it is shown, where no verdict is asked for.

        Raises:
            LeakError: its metric on test is in sample.
        """
        for each in self._shown():
            raise LeakError(
                each.text, code=each.code, where=each.places, why=each.why, fix=each.fix
            )

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
        if left == evaluated and not outside:
            return None  # it is not the part's rows that are to blame
        for rows in outside.values():
            share *= 1 - Fraction(rows.bit_count(), BUCKETS)
        return HonestPart(left, outside, share) if share else None
