"""Certificates: what is claimed of a metric and on what evidence, so that an edit shows.

What a certificate says comes from two places. The *claim* follows from the declarations alone and
is part of the evaluation's fingerprint: where it changes, the metric is evaluated anew. The
*facts* are what the run adds: counts, metrics, fingerprints, and the checks that were made. The
digest of all of it is part of the certificate. It shows an edit; it does not say who wrote it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from ff_assets.core.buckets import ranges
from ff_assets.core.certificate_words import assumptions, not_covered, sentence, unit
from ff_assets.core.declare import describe
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.flow import Flow
from ff_assets.core.honesty import check
from ff_assets.core.influence import origins, upstream
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.leak_refusals import Finding, stale_policy
from ff_assets.core.leakage import FitSet
from ff_assets.core.split import Split
from ff_assets.core.verdict import Verdict
from ff_assets.core.why import Line, why

FORMAT = 2
Certificate = Mapping[str, Any]

_NO_CERTIFICATE = "NO_CERTIFICATE"
_EDITED = "CERTIFICATE_EDITED"
_INCOMPLETE = "CERTIFICATE_INCOMPLETE"
_FOREIGN = "CERTIFICATE_FOREIGN"


class CertificateError(FeatureFlowError):
    """A metric lacks a certificate that holds.

    Args:
        code: `NO_CERTIFICATE`, `CERTIFICATE_EDITED`, `CERTIFICATE_INCOMPLETE`,
            `CERTIFICATE_FOREIGN`, `STALE_POLICY`, or why the metric itself is refused.
    """


@dataclass(frozen=True, eq=False)
class Claim:
    """What is claimed of a metric before anything has run.

    Attributes:
        verdict: on the metric.
        lines: what is behind it, as `why` tells.
    """

    verdict: Verdict
    lines: tuple[Line, ...]

    @cached_property
    def content(self) -> dict[str, Any]:
        """The claim as plain values."""
        verdict, variant = self.verdict, self.verdict.variant
        root = unit(variant)
        told = verdict.as_dict()
        split = variant.split.describe()
        latest = verdict.provenance.latest
        content = {
            "verdict": "honest" if verdict.allowed else "refused",
            **{name: told[name] for name in ("code", "grade", "target", "variant", "cell")},
            "evaluated": {"entity": root.name, "buckets": told["buckets"]},
            "split": {"policy": split, "digest": digest(split)},
            "fit_set": {
                "features": _fit_set(verdict.provenance.features),
                "labels": _fit_set(verdict.provenance.labels),
                "latest_label": None if latest is None else str(date.fromordinal(latest)),
            },
            "chain": list(self._chain()),
            "label": _label_path(variant),
            "selected_on": variant.target.select_on,
            "warnings": told["warnings"],
            "refusals": told["refusals"],
            "assumptions": list(assumptions(verdict, root)),
            "not_covered": list(not_covered(variant.split, root)),
            "format": FORMAT,
        }
        plain: dict[str, Any] = json.loads(json.dumps(content))
        return plain

    @cached_property
    def digest(self) -> str:
        return digest(self.content)

    def _chain(self) -> Iterator[dict[str, Any]]:
        """The stages behind the prediction, sources first."""
        instances = {instance.name: instance for instance in self.verdict.variant.instances}
        for line in self.lines:
            instance = instances[line.name]
            yield {
                "name": line.name,
                "kind": line.kind,
                "title": "" if instance.is_source else instance.stage.operation.title,
                "fits": [
                    {"name": name, "rows": rows, "buckets": ranges(fit.region)}
                    for (name, rows), fit in zip(line.fits, instance.fits, strict=True)
                ],
                "features": line.features,
                "labels": line.labels,
                "disjoint": line.verdict == "clean",
                "verdict": line.verdict,
            }


@dataclass(frozen=True)
class Facts:
    """What a run adds to a claim.

    Attributes:
        evaluation: the fingerprint of the evaluation.
        rows: rows that were measured.
        unlabelled: rows that have no label and were left out.
        groups: keys of the split among the measured rows.
        metrics: metric -> value, interval and method.
        fingerprints: of every instance of the variant.
        reads: how often the rows have been read for a metric, and by how many variants; `None`
            for parts of train.
        checks: the checks that were made, as sentences.
        observed: of every estimator whose model is still there, what each of its fits was given:
            name of the fit -> number of rows, and the buckets that they were in.
    """

    evaluation: str
    rows: int
    unlabelled: int
    groups: int
    metrics: Mapping[str, Any]
    fingerprints: Mapping[Instance, str]
    reads: Mapping[str, int] | None
    checks: tuple[str, ...]
    observed: Mapping[Instance, Mapping[str, Mapping[str, Any]]]


def claims(flow: Flow) -> dict[Variant, tuple[Claim, ...]]:
    """What is claimed of the metrics of each variant, for the parts its target certifies.

    Raises:
        DefinitionError: a target asks for a part of the data that there is not.
    """
    made: dict[Variant, tuple[Claim, ...]] = dict.fromkeys(flow.variants, ())
    for verdict in check(flow):
        if verdict.certified:
            made[verdict.variant] += (Claim(verdict, tuple(why(flow, verdict))),)
    return made


def certificate(claim: Claim, facts: Facts) -> dict[str, Any]:
    """The certificate of a metric, as plain JSON values; the sentence comes first."""
    content, variant = claim.content, claim.verdict.variant
    prints = {instance.name: found for instance, found in facts.fingerprints.items()}
    observed = {instance.name: found for instance, found in facts.observed.items()}
    counted = {"rows": facts.rows, "unlabelled": facts.unlabelled, "groups": facts.groups}
    body = {
        "sentence": sentence(claim.verdict, rows=facts.rows, groups=facts.groups),
        **content,
        "evaluated": content["evaluated"] | counted,
        "chain": [
            line | {"fingerprint": prints[line["name"]], "fits": _given(line, observed)}
            for line in content["chain"]
        ],
        "metrics": facts.metrics,
        "reads": facts.reads,
        "checks": list(facts.checks),
        "data": {i.name: prints[i.name] for i in variant.instances if i.is_source},
        "evaluation": facts.evaluation,
    }
    plain: dict[str, Any] = json.loads(json.dumps(body))
    return plain | {"digest": digest(plain)}


def _given(
    line: Mapping[str, Any], observed: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The fits of a stage as they are declared, each with what it was given if that is known."""
    given = {name or "all": found for name, found in observed.get(line["name"], {}).items()}
    return [fit | {"observed": given.get(fit["name"])} for fit in line["fits"]]


def digest(plain: Any) -> str:
    """SHA-256 of plain values as canonical JSON: no white space, keys in order."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _fit_set(read: FitSet) -> list[dict[str, Any]] | str:
    if read.everything:
        return "unknown"
    return [
        {"root": space.root, "axis": space.axis, "buckets": ranges(rows)}
        for space, rows in read.buckets.items()
    ]


def _label_path(variant: Variant) -> dict[str, Any]:
    label = variant.target.label
    assert label is not None
    truth = variant.features[label]
    behind = upstream(truth, trained=False)
    return {
        "feature": label,
        "providers": [i.name for i in variant.instances if i in behind],
        "made_from": [f"{i.name}.{feature}" for i, feature in origins(truth, label).features],
    }


# Whether a certificate holds


_PARTS = frozenset(
    {
        *("sentence", "verdict", "code", "grade", "target", "variant", "cell", "evaluated"),
        *("split", "fit_set", "chain", "label", "selected_on", "warnings", "refusals"),
        *("assumptions", "not_covered", "format", "metrics", "reads", "checks", "data"),
        *("evaluation", "digest"),
    }
)
_COUNTED = frozenset({"evaluated", "chain"})  # parts of a claim to which facts are added


def verify(certificate: Certificate) -> None:
    """See that a certificate is whole and as it was made.

    Raises:
        CertificateError: it was edited, or lacks something.
    """
    name = f"the certificate of {certificate.get('variant', 'a variant')}"
    fix = "evaluate again; a certificate is made by an evaluation, and never by hand."
    body = {part: value for part, value in certificate.items() if part != "digest"}
    stated, found = certificate.get("digest"), digest(body)
    if stated is not None and stated != found:
        raise CertificateError(
            f"{name} was edited after it had been made.",
            code=_EDITED,
            why=f"its digest is {stated}, that of what it says {found}.",
            fix=fix,
        )
    lacking = sorted(_PARTS - certificate.keys())
    if lacking:
        raise CertificateError(
            f"{name} lacks {', '.join(lacking)}.",
            code=_INCOMPLETE,
            why="what is left does not prove what it claims.",
            fix=fix,
        )
    if certificate["format"] != FORMAT:
        raise CertificateError(
            f"{name} is of format {certificate['format']!r}.",
            code=_INCOMPLETE,
            why=f"this version of the project writes and reads format {FORMAT}.",
            fix=fix,
        )


def stale(certificate: Certificate, split: Split) -> Finding | None:
    """Whether a certificate was made under another split policy than the present one."""
    name = f"the certificate of {certificate['variant']} on {certificate['cell']}"
    return stale_policy(name, certificate["split"]["policy"], split)


def require(
    variant: Variant,
    claims: Sequence[Claim],
    evaluation: str,
    details: Mapping[str, Any],
    place: str,
) -> None:
    """See that everything that is claimed of a variant's metrics has a certificate that holds.

    Args:
        claims: what the declarations come to now.
        evaluation: the fingerprint of its evaluation.
        details: of its record: `certificates`, and `cells` with what was measured.
        place: where the evaluation is kept, for people.

    Raises:
        CertificateError: a certificate is missing or edited, is of another split policy,
            evaluation or claim, or says itself that the metric is refused.
    """
    here = [describe(variant.target)]
    again = f"delete {place} and run again: the metric is evaluated anew."
    if not claims:
        raise CertificateError(
            f"`{variant.name}` has no certificate: its target certifies nothing.",
            code=_NO_CERTIFICATE,
            where=here,
            why="a registered model carries the proof that its metric is honest; without one, its "
            "metric is only shown.",
            fix="name what is to be certified, certify=['test']; a target that only serves needs "
            "no label and no task.",
        )
    for claim in claims:
        cell = claim.verdict.cell
        found = details.get("certificates", {}).get(cell)
        if found is None:
            raise CertificateError(
                f"`{variant.name}` has no certificate for its metric on {cell}.",
                code=_NO_CERTIFICATE,
                where=here,
                why=f"there is none in {place}.",
                fix=again,
            )
        try:
            verify(found)
        except CertificateError as error:
            raise CertificateError(
                error.what, code=error.code, where=here, why=error.why, fix=again
            ) from error
        _agree(claim, evaluation, details["cells"][cell]["metrics"], found, again)


def _agree(
    claim: Claim, evaluation: str, metrics: Mapping[str, Any], found: Certificate, again: str
) -> None:
    """See that a whole certificate is this metric's, and speaks for it."""
    target, of = claim.verdict.variant.target, f"{found['variant']} on {found['cell']}"
    finding = stale(found, claim.verdict.variant.split)
    if finding is not None:
        raise CertificateError(
            finding.text, code=finding.code, where=finding.places, why=finding.why, fix=again
        )
    claimed = {part: holds for part, holds in claim.content.items() if part not in _COUNTED}
    for part, holds in {"evaluation": evaluation, "metrics": metrics, **claimed}.items():
        if found[part] != holds:
            raise CertificateError(
                f"the certificate of {of} is not of this metric: its `{part}` is another.",
                code=_FOREIGN,
                where=[describe(target)],
                why=f"it says {found[part]!r}; here it is {holds!r}.",
                fix=again,
            )
    if found["verdict"] != "honest":
        raise CertificateError(
            f"the metric of {of} is not honest: {found['sentence']}",
            code=found["code"],
            where=[describe(target)],
            why="its certificate says so.",
            fix="`ff check` says what to do about it.",
        )
