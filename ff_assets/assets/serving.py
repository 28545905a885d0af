"""What is behind an alias, made ready to score the rows of the present flow."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ff_assets.core.instance import Instance, Variant
from ff_assets.core.refusals import describe
from ff_assets.engine.parts import Part, Served
from ff_assets.engine.scoring import Scoring, columns_given
from ff_assets.registry import RegistryError
from ff_assets.registry.gates import compatible
from ff_assets.registry.serving import Behind, load


class NotGiven(RegistryError):
    """A registered model reads what the project does not give any more."""


def part(variants: Sequence[Variant], found: Behind, scratch: Path, arm: str = "") -> Part:
    """What a registered version scores.

    Args:
        variants: of its target, in the present flow.
        scratch: a folder that driver and executors share, to load the model into.
        arm: of an A/B test whose rows it scores; all rows without it.

    Raises:
        NotGiven: no variant gives the version what it reads.
    """
    return Part(_scoring(variants, found), _served(variants, found, scratch), arm)


def _scoring(variants: Sequence[Variant], found: Behind) -> Scoring:
    """How the present flow serves a model: by the variant of its name, else by another."""
    version, target = found.version, variants[0].target
    refusals = []
    for variant in sorted(variants, key=lambda v: v.name != version.variant):
        offered = columns_given(variant)
        given = {name: _declared_type(i, name) for name, i in offered.items()}
        gate = compatible(given)(version, None)
        if gate.passed and version.signature is not None:
            return Scoring.of(variant, version.signature.inputs)
        refusals.append(f"{variant.name}: {gate.detail}")
    raise NotGiven(
        f"nothing gives {version.name} what it reads.",
        where=[describe(target)],
        why="\n".join(refusals),
        fix="bring the column back, or promote a version that was registered since: "
        f'ff promote {target.name} --to ALIAS --reason "..."; '
        f"`ff run {target.name}` registers one.",
    )


def _served(variants: Sequence[Variant], found: Behind, scratch: Path) -> Served:
    version, target = found.version, variants[0].target

    def check(types: Mapping[str, str]) -> None:
        gate = compatible(types)(version, None)
        if not gate.passed:
            raise NotGiven(
                f"{version.name} cannot be given what it reads.",
                where=[describe(target)],
                why=gate.detail,
                fix="give the column its former type, or promote another version: "
                f'ff promote {target.name} --to {found.alias} --reason "..."',
            )

    return Served(
        alias=found.alias,
        version=version.number,
        identity=found.identity,
        certificate=version.digest,
        load=cache(lambda: load(version, scratch)),
        check=check,
    )


def _declared_type(instance: Instance, name: str) -> str | None:
    """A feature's type, where it is known before a run: a source declares it."""
    return instance.source.features[name] if instance.is_source else None
