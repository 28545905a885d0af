"""What is behind an alias, made ready to score the rows of the present flow."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.refusals import describe
from ff_assets.engine.arms import Division
from ff_assets.engine.execute import Event
from ff_assets.engine.parts import Part, Served
from ff_assets.engine.score import Scorer
from ff_assets.engine.scoring import Scoring, columns_given
from ff_assets.engine.store import Staging, Store
from ff_assets.registry import RegistryError
from ff_assets.registry.gates import compatible
from ff_assets.registry.serving import Behind, load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class NotGiven(RegistryError):
    """A registered model reads what the project does not give any more."""


def scorer(
    flow: Flow,
    target: str,
    models: Mapping[str, Behind],
    division: Division | None,
    store: Store,
    staging: Staging,
    spark: "Callable[[], SparkSession]",
    tell: Callable[[Event], None],
) -> Scorer:
    """What scores the rows of a target by registered versions.

    Args:
        models: arm of an A/B test -> its version, that of the control first; without a test the
            one that scores all rows, of no arm.
        division, store, staging, spark, tell: as `Scorer` has them.

    Raises:
        NotGiven: no variant gives a version what it reads.
    """
    variants = flow.variants_of(target)
    parts = [
        Part(_scoring(variants, found), _served(variants, found, staging.path), arm)
        for arm, found in models.items()
    ]
    return Scorer(flow, parts, division, store, staging, spark, tell)


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
