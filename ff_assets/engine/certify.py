"""The certificates of a new evaluation: what the run knows beyond the declarations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ff_assets.core.buckets import bitmap
from ff_assets.core.cells import TEST
from ff_assets.core.certificate import Claim, Facts, certificate
from ff_assets.core.certificate_words import plural
from ff_assets.core.entities import Entity
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.split import TimeSplit
from ff_assets.core.steps import CELLS
from ff_assets.engine.store import Store
from ff_assets.engine.wear import Wear


def certify(
    claims: Sequence[Claim],
    cells: Mapping[str, Any],
    wear: Wear,
    evaluation: str,
    prints: Mapping[Instance, str],
    store: Store,
) -> dict[str, dict[str, Any]]:
    """Certificates of what was measured, for the parts of the data that claims are made about.

    Args:
        cells: part of the data -> rows and metrics, as `evaluate_variant` gives them.
        wear: of the rows of test, this evaluation included.
        evaluation: the fingerprint of the evaluation.
        prints: the fingerprint of every instance of the variant.

    Returns:
        Part of the data -> certificate.
    """
    made = {}
    for claim in claims:
        observed = _observed(claim.verdict.variant, prints, store)
        cell, measured = claim.verdict.cell, cells[claim.verdict.cell]
        facts = Facts(
            evaluation=evaluation,
            rows=measured["rows"],
            unlabelled=measured["unlabelled"],
            groups=measured["groups"],
            metrics=measured["metrics"],
            fingerprints=prints,
            reads=asdict(wear) if cell == TEST else None,
            checks=tuple(_checks(claim.verdict.variant, prints, store, observed)),
            observed=observed,
        )
        made[cell] = certificate(claim, facts)
    return made


def _checks(
    variant: Variant,
    prints: Mapping[Instance, str],
    store: Store,
    observed: Mapping[Instance, Mapping[str, Any]],
) -> Iterator[str]:
    """The checks that stand behind what is stored, and those that can be made of its records."""
    # `engine.source_checks.checked` stores no source without these.
    yield "No key, foreign key or time of a source is null, and its keys are unique."
    yield "No two keys of a source differ only by white space around them or by a trailing `.0`."
    by = "day" if isinstance(variant.split, TimeSplit) else "key"
    yield f"Every row of a source is stored in the bucket and cell that its {by} says."
    # `engine.make` stores no table without it.
    yield "Every stored table has as many rows as its source."
    for child, parent in _joined(variant):
        found = f"Every {plural(child.name, 1)} has found its {plural(parent.name, 1)}"
        yield f"{found}{f', and both name the same {names}' if (names := _above(parent)) else ''}."
    for of, to, over in _summed(variant):
        named = f"names the same {_above(over)} as the {plural(to.name, 1)} that it counts for"
        yield f"Every {plural(of.name, 1)} {named}."
    if names := _agreeing_sources(variant, prints, store):
        yield f"The sources {names} hold the same keys, foreign keys and times."
    models = [instance for instance in variant.instances if instance.is_estimator]
    if models and all(_as_declared(model, observed.get(model, {})) for model in models):
        yield "The rows that each fit was given were counted, and all were in buckets it declares."


def _observed(
    variant: Variant, prints: Mapping[Instance, str], store: Store
) -> dict[Instance, Mapping[str, Any]]:
    """What the fits of a variant's estimators were given, by their records."""
    models = [instance for instance in variant.instances if instance.is_estimator]
    records = {model: store.model(prints[model]) for model in models}
    return {model: record.details["observed"] for model, record in records.items() if record}


def _as_declared(model: Instance, observed: Mapping[str, Any]) -> bool:
    """Whether each fit of an estimator has a count, of rows in buckets that it declares."""
    given = {
        name: bitmap(bucket for a, b in found["buckets"] for bucket in range(a, b + 1))
        for name, found in observed.items()
    }
    declared = {fit.name: fit.region for fit in model.fits}
    return given.keys() == declared.keys() and not any(given[n] & ~declared[n] for n in given)


def _joined(variant: Variant) -> list[tuple[Entity, Entity]]:
    """The pairs of entities of which the coarser one's rows were joined to those of the finer."""
    pairs: dict[tuple[Entity, Entity], None] = {}
    for instance in variant.instances:
        if not instance.is_source and not instance.is_aggregate:
            entity = instance.fit_entity
            coarser = {p.entity: None for p in instance.parents if p.entity != entity}
            pairs |= {(entity, other): None for other in coarser}
    return list(pairs)


def _summed(variant: Variant) -> list[tuple[Entity, Entity, Entity]]:
    """What aggregates bring together by a key that is not that of the split: of, to and over."""
    operations = (i.stage.operation for i in variant.instances if i.is_aggregate)
    kinds = [(o.of, o.to, o.over) for o in operations if isinstance(o, AggregateOperation)]
    return [kind for kind in dict.fromkeys(kinds) if kind[2].parent is not None]


def _above(entity: Entity) -> str:
    """The coarser entities that a row of one belongs to, in words; empty if there are none."""
    return " and ".join(plural(each.name, 1) for each in entity.chain[1:])


def _agreeing_sources(variant: Variant, prints: Mapping[Instance, str], store: Store) -> str:
    """The names of sources that share an entity, if all that do have the same rows."""
    by_entity: dict[Entity, list[Instance]] = {}
    for instance in variant.instances:
        if instance.is_source:
            by_entity.setdefault(instance.entity, []).append(instance)
    several = [sources for sources in by_entity.values() if len(sources) > 1]
    for sources in several:
        for cell in CELLS:
            records = [store.table(prints[source], cell) for source in sources]
            held = {(r.rows, r.details["keys"]) if r else None for r in records}
            if len(held) > 1 or None in held:
                return ""
    return ", ".join(source.name for sources in several for source in sources)
