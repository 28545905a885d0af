"""Verdicts on metrics, as they are shown to people and written into certificates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ff_assets.core import leak_refusals as found
from ff_assets.core.buckets import describe as shown
from ff_assets.core.buckets import ranges
from ff_assets.core.declare import describe
from ff_assets.core.errors import LeakError
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.leakage import Provenance
from ff_assets.core.split import Space


@dataclass(frozen=True)
class HonestPart:
    """The rows of a requested part on which a metric would be honest as things are.

    Attributes:
        buckets: those of the part that no fit has read, as a bitmap.
        outside: other space -> buckets of it that rows must not be in.
        share: of all rows, from 0 to 1.
    """

    buckets: int
    outside: Mapping[Space, int]
    share: Fraction

    def __str__(self) -> str:
        also = "".join(
            f", outside of buckets {shown(rows)} of `{space.root}` by {space.axis!r}"
            for space, rows in self.outside.items()
        )
        return f"buckets {shown(self.buckets)}{also}: {float(self.share):.1%} of all rows"


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether the metric of a variant on a part of the data is honest.

    Attributes:
        variant: whose metric it is.
        cell: the part, as `Target.certify` names it.
        certified: whether the target certifies it. Metrics on test are shown, and so are judged,
            whatever is certified.
        evaluated: its buckets for which there is a prediction, as a bitmap.
        models: the estimators and pre-trained models behind the prediction, in topological order.
        provenance: of the predictions on it.
        refusals: why the metric is refused; nothing if it is allowed.
        warnings: what is to be known about it all the same.
        honest_part: where it would be honest, if it is refused and there is such a part.
    """

    variant: Variant
    cell: str
    certified: bool
    evaluated: int
    models: tuple[Instance, ...]
    provenance: Provenance
    refusals: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    honest_part: HonestPart | None

    @property
    def allowed(self) -> bool:
        return not self.refusals

    @property
    def code(self) -> str:
        """The first reason to refuse it; empty if it is allowed."""
        return self.refusals[0].code if self.refusals else ""

    @property
    def grade(self) -> str:
        """`A`, or `B` with a warning; empty if it is refused."""
        return "" if self.refusals else "B" if self.warnings else "A"

    @property
    def sentence(self) -> str:
        """The verdict in one plain sentence."""
        if self.refusals:
            return f"Refused ({self.code}): {self.refusals[0].text}"
        codes = {warning.code for warning in self.warnings}
        of = "label" if found.TRANSDUCTIVE in codes else "row"
        count = len(self.models)
        any_of = f"any of the {count} models" if count > 1 else "the model" if count else "anything"
        rest = [finding for finding in self.warnings if finding.code in found.DOUBTS]
        but = f", but {rest[0].text}" if rest else "."
        return f"Honest: no {of} of {self.cell} was used to fit {any_of} behind this score{but}"

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for `--json` and certificates."""
        return {
            "target": self.variant.target.name,
            "variant": self.variant.name,
            "cell": self.cell,
            "certified": self.certified,
            "buckets": ranges(self.evaluated),
            "allowed": self.allowed,
            "code": self.code,
            "grade": self.grade,
            "sentence": self.sentence,
            "refusals": [finding.as_dict() for finding in self.refusals],
            "warnings": [finding.as_dict() for finding in self.warnings],
            "honest_part": self.honest_part and str(self.honest_part),
        }


def refuse(verdicts: Sequence[Verdict]) -> None:
    """Raise one error for all metrics that are refused, with the details of the first.

    Raises:
        LeakError: there is one.
    """
    refused = [verdict for verdict in verdicts if not verdict.allowed]
    if not refused:
        return
    first, finding = refused[0], refused[0].refusals[0]
    others = [f"{v.variant.name} on {v.cell} ({v.code}): {v.refusals[0].text}" for v in refused[1:]]
    also = [f"also {other.code}: {other.text}" for other in first.refusals[1:]]
    if not first.certified:
        also.insert(0, f"variants are shown and compared by {first.cell} whatever is certified")
    part = f"\nor report on {first.honest_part}." if first.honest_part else ""
    raise LeakError(
        f"the metric of {first.variant.name} on {first.cell} is not honest: {finding.text}",
        code=finding.code,
        where=list(dict.fromkeys([*finding.places, describe(first.variant.target)])),
        why="\n".join([finding.why, *also, *(f"refused as well: {text}" for text in others)]),
        fix=finding.fix + part + ("" if first.certified else _UNMEASURED),
    )


_UNMEASURED = "\nA target that only serves has no metric: leave its label and task out."
