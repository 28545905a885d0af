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
from ff_assets.core.accounts import pretrained
from ff_assets.core.buckets import BUCKETS
from ff_assets.core.cells import TEST
from ff_assets.core.flow import Flow
from ff_assets.core.influence import Readers, accounts_of, node_of, path_to, upstream
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding, Judged
from ff_assets.core.leakage import on
from ff_assets.core.leaks import Leaks, Learned, Read
from ff_assets.core.operations import AggregateOperation, ColumnOperation, SparkOperation
from ff_assets.core.requested import Part, nearest_estimator, part_of
from ff_assets.core.rowwise import mixing
from ff_assets.core.selection import Selection
from ff_assets.core.split import HashSplit
from ff_assets.core.target_path import target_paths
from ff_assets.core.training import training_edges
from ff_assets.core.truth import check_truth
from ff_assets.core.verdict import HonestPart, Verdict


def check(flow: Flow) -> list[Verdict]:
    """The verdict on every metric that somebody is to believe, in order of declaration.

    Those are what targets certify, and the metrics on test, by which variants are shown and
    compared whatever is certified.

    Raises:
        DefinitionError: a target asks for a part of the data that there is not, or its variants
            have labels that they cannot be measured and compared by.
    """
    leaks = Leaks(accounts_of(flow), flow.project.policy)
    verdicts: list[Verdict] = []
    for target in flow.project.targets:
        if target.label is not None:
            siblings = flow.variants_of(target.name)
            check_truth(siblings)
            selection = Selection(leaks, siblings)
            for variant in siblings:
                case = _Case(leaks, variant, selection)
                verdicts += map(case.verdict, dict.fromkeys([*target.certify, TEST]))
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
        self._accounts = leaks.accounts
        self._variant = variant
        self._selection = selection
        self._prediction = variant.prediction
        nodes: dict[object, Judged] = {}
        for name in variant.target.outputs:
            nodes.setdefault(node_of(variant.features[name], name), Judged(variant, name))
        self._outputs = [_Output(each, upstream(each.instance)) for each in nodes.values()]
        self._behind = self._outputs[0].behind

    @cached_property
    def _models(self) -> tuple[Instance, ...]:
        return tuple(
            i
            for i in self._variant.instances
            if i in self._behind and (i.is_estimator or pretrained(i))
        )

    def verdict(self, cell: str) -> Verdict:
        part = part_of(self._variant, cell)
        evaluated = part.rows & self._prediction.available
        refusals, warnings = list(self._static), list[Finding]()
        for finding in self._edges:
            refused = self._leaks.policy.strict and finding.code == "OOF_REQUIRED"
            (refusals if refused else warnings).append(finding)
        if not evaluated:
            refusals.append(self._missing(cell))
        for finding in self._every_leak(part):
            (warnings if finding.code in found.DOUBTS else refusals).append(finding)
        return Verdict(
            self._variant,
            cell,
            cell in self._variant.target.certify,
            evaluated,
            self._models,
            on(self._accounts[self._prediction].pieces, evaluated),
            tuple(refusals),
            tuple(warnings),
            self._honest_part(part, refusals),
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
        model = nearest_estimator(self._variant)
        return found.no_prediction(
            self._variant,
            cell,
            "no stage that the prediction is made by has a fit that leaves these rows out",
            f"certify test, or cross-fit `{model.name}`, .cross_fit(5)."
            if model
            else "certify test.",
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
            yield from target_paths(output.judged)

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
            code = operation.cls
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
            for finding in training_edges(self._accounts, instance)
        )

    # What depends on the part

    def _every_leak(self, part: Part) -> Iterator[Finding]:
        """What is found about any output; of one that is to blame for several, the first time."""
        seen: set[tuple[str, tuple[Instance, ...]]] = set()
        for finding in self._of_part(part):
            blamed = finding.code, finding.path[:1]
            if blamed not in seen:
                seen.add(blamed)
                yield finding

    def _of_part(self, part: Part) -> Iterator[Finding]:
        for output in self._outputs:
            yield from self._leaks.of(output.judged, _made_of(output, part), part)
        yield from self._selection.reported(part)
        yield from self._selection.refused(self._variant)

    def _honest_part(self, part: Part, refusals: Sequence[Finding]) -> HonestPart | None:
        mendable = {"FIT_OVERLAP", "FIT_OVERLAP_X", "TRANSITIVE_TAINT", "POLICY_MISMATCH"}
        if not refusals or any(finding.code not in mendable for finding in refusals):
            return None
        if not isinstance(self._variant.split, HashSplit):
            return None  # what is left would be days before some of the fits
        learned = self._leaks.provenance(self._selection.learned)
        for output in self._outputs:
            learned |= self._leaks.provenance(_made_of(output, part))
        seen, evaluated = learned.everywhere, part.rows & self._prediction.available
        left = evaluated & ~seen.within(part.space, evaluated)
        share = Fraction(left.bit_count(), BUCKETS)
        outside = {space: rows for space, rows in seen.buckets.items() if space != part.space}
        for rows in outside.values():
            share *= 1 - Fraction(rows.bit_count(), BUCKETS)
        return HonestPart(left, outside, share) if share else None


def _made_of(output: _Output, part: Part) -> Learned:
    return Learned((Read(output.judged.instance, part.rows),))
