"""What a version has to pass before an alias moves to it, as far as the registry can tell.

A gate is the outcome of one look; what looks is a *check*. Checks that need more than the registry,
such as a comparison with the present holder on the same rows, are written elsewhere and handed to
`promote`.

Whoever has a reason may override a failed gate, and the reason is kept. Not so for the certificate
and the model's files. Where a certificate is missing, edited, another version's, or says itself
that the metric is not honest, the number is unknown that the reason would have to be weighed
against: what is kept would look like a decision and be none. The remedy is cheap, as the version is
registered anew from results that exist. Whoever has to serve it all the same can set the alias in
MLflow, and the ledger shows that as what it is, a move outside the rules.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ff_assets.core.certificate import CertificateError, verify
from ff_assets.registry.publish import schema
from ff_assets.registry.versions import Version, types_in


@dataclass(frozen=True)
class Gate:
    """How one look at a version came out.

    Attributes:
        name: what was looked at.
        passed: whether it is as it should be.
        detail: what was found, as a sentence.
        overridable: whether a reason can stand in for it.
    """

    name: str
    passed: bool
    detail: str
    overridable: bool = True


Check = Callable[[Version, Version | None], Gate]
"""Looks at a version that is to get an alias, and at the one that has it now, if any."""


def certified(candidate: Version) -> Gate:
    """Its certificate is there, unedited, its own and honest, and of the metrics in its run.

    A version of which nothing was ever measured claims nothing. It needs no certificate.
    """
    found = candidate.certificate
    if found is None:
        if not candidate.digest and not candidate.metrics:
            return _certificate(True, "nothing is measured of it, so nothing is claimed.")
        return _certificate(False, f"{candidate.name} has metrics and no certificate of them.")
    try:
        verify(found)
    except CertificateError as error:
        return _certificate(False, f"{error.what} {error.why}")
    for part, is_, should in (
        ("digest", found["digest"], candidate.digest),
        ("target", found["target"], candidate.target),
        ("variant", found["variant"], candidate.variant),
    ):
        if is_ != should:
            return _certificate(
                False,
                f"the certificate in its run is of another version: its {part} is {is_!r}, and "
                f"{should!r} was registered.",
            )
    if found["verdict"] != "honest":
        return _certificate(False, found["sentence"])
    for name, metric in found["metrics"].items():
        logged = candidate.metrics.get(f"{name}_{found['cell']}")
        if logged != metric["value"]:
            return _certificate(
                False,
                f"{name}_{found['cell']} is {logged} in its run, and {metric['value']} was "
                "certified: the run was changed.",
            )
    return _certificate(True, found["sentence"])


def _certificate(passed: bool, detail: str) -> Gate:
    return Gate("certificate", passed, detail, overridable=False)


def complete(candidate: Version) -> Gate:
    """The files of the model are still there."""
    if candidate.has_files:
        return Gate("model", True, f"its files are at {candidate.source}.", overridable=False)
    return Gate("model", False, f"its files are gone from {candidate.source}.", overridable=False)


def within(metric: str, *, at_least: float = -math.inf, at_most: float = math.inf) -> Check:
    """A check of a metric of the run against a bound.

    Args:
        metric: its name in MLflow, `auc_test`.
        at_least: for what is better the higher it is.
        at_most: for errors.
    """

    def check(candidate: Version, _holder: Version | None) -> Gate:
        name, value = f"{metric} in bounds", candidate.metrics.get(metric)
        bounds = " and ".join(
            f"at {word} {bound:g}"
            for word, bound in (("least", at_least), ("most", at_most))
            if math.isfinite(bound)
        )
        if value is None:
            known = ", ".join(sorted(candidate.metrics)) or "none"
            return Gate(name, False, f"there is no {metric}; its metrics: {known}.")
        passed = at_least <= value <= at_most  # false for a value that is no number
        return Gate(name, passed, f"{metric} is {value:g}, wanted {bounds}.")

    return check


def compatible(given: Mapping[str, str | None] | None = None) -> Check:
    """A check that a version can take the place of the present one.

    Whatever reads the predictions must find the columns that it knows, of the same types, and
    scoring must be able to give what the version reads.

    Args:
        given: the columns that scoring gives -> their Spark SQL types, `None` for a type that is
            not known before a run. If left out, those that the present version reads.
    """

    def check(candidate: Version, holder: Version | None) -> Gate:
        new, old = candidate.signature, holder.signature if holder is not None else None
        if new is None:
            return Gate("signature", False, f"the files of {candidate.name} have no signature.")
        wrong: list[str] = []
        if given is not None:
            wrong += _inputs(new.inputs, _types(given), "scoring")
        elif old is not None and holder is not None:
            wrong += _inputs(new.inputs, old.inputs, holder.name)
        if old is not None and holder is not None:
            for name, kind in old.outputs.items():
                if name not in new.outputs:
                    wrong.append(f"it lacks the output {name!r} of {holder.name}")
                elif new.outputs[name] != kind:
                    wrong.append(
                        f"its output {name!r} is {new.outputs[name]}, and {kind} in {holder.name}"
                    )
        found = f"it reads {', '.join(new.inputs)} and adds {', '.join(new.outputs)}"
        return Gate("signature", not wrong, f"{'; '.join(wrong) or found}.")

    return check


def _inputs(read: Mapping[str, str], given: Mapping[str, str | None], giver: str) -> Iterator[str]:
    for name, kind in read.items():
        if name not in given:
            yield f"it reads {name!r}, which {giver} does not give"
        elif given[name] not in (None, kind):
            yield f"it reads {name!r} as {kind}, and {giver} gives {given[name]}"


def _types(given: Mapping[str, str | None]) -> dict[str, str | None]:
    known = {name: kind for name, kind in given.items() if kind is not None}
    return dict.fromkeys(given) | types_in(schema(known))
