"""What a version has to pass before an alias moves to it, as far as the registry can tell.

A gate is the outcome of one look; what looks is a *check*. Checks that need more than the registry,
such as a comparison with the present holder on the same rows, are written elsewhere and handed to
`promote`.

A gate passes or fails. Some looks are for a person only, such as a metric by segments: they are
*shown* and judge nothing.

Whoever has a reason may override a failed gate, and the reason is kept. Not so for the certificate
and the model's files. Where a certificate is missing, edited, another version's, or says itself
that the metric is not honest, the number is unknown that the reason would have to be weighed
against: what is kept would look like a decision and be none. The remedy is cheap, as the version is
registered anew from results that exist. Whoever has to serve it all the same can set the alias in
MLflow, and the ledger shows that as what it is, a move outside the rules.
"""

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
        passed: whether it is as it should be; `None` for what is shown and not judged.
        detail: what was found, as a sentence.
        overridable: whether a reason can stand in for it.
    """

    name: str
    passed: bool | None
    detail: str
    overridable: bool = True

    @classmethod
    def shown(cls, name: str, detail: str) -> "Gate":
        """What a person should see, and nothing is judged by."""
        return cls(name, None, detail)

    @property
    def failed(self) -> bool:
        return self.passed is False

    @property
    def outcome(self) -> str:
        """In a word: passed, failed or shown."""
        return "shown" if self.passed is None else "passed" if self.passed else "failed"


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


def floor(metric: str, worst: float, *, is_loss: bool, required: bool = True) -> Check:
    """A check of a metric on test against the worst value that may be promoted.

    It is held against the end of the metric's 95% interval and not against its value. A floor is a
    promise about rows to come; a version that is worth exactly the floor has a value above it on
    every second test, and one worse than chance by a little on almost as many. Where the run has no
    interval, there are too few rows, or groups of them, to promise anything.

    Args:
        metric: its name, `auc`.
        worst: the least that it may be, of a loss the most.
        is_loss: whether less is better.
        required: whether a version without the metric fails.
    """
    name, logged = f"floor of {metric}", f"{metric}_test"
    end = f"{logged}_{'high' if is_loss else 'low'}"
    wanted = f"at {'most' if is_loss else 'least'} {worst:g}"

    def check(candidate: Version, _holder: Version | None) -> Gate:
        value = candidate.metrics.get(logged)
        if value is None:
            known = ", ".join(sorted(candidate.metrics)) or "none"
            lacking = f"there is no {logged}; its metrics: {known}."
            return Gate(name, False, lacking) if required else Gate.shown(name, lacking)
        bound = candidate.metrics.get(end)
        found = f"{metric} is {value:.4f} on test"
        if bound is None:
            return Gate(name, False, f"{found}, too few rows or groups for an interval.")
        passed = bound <= worst if is_loss else bound >= worst  # false for what is no number
        side = "upper" if is_loss else "lower"
        return Gate(
            name,
            passed,
            f"{found}, the {side} end of its 95% interval {bound:.4f}; wanted {wanted} there.",
        )

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
