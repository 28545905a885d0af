"""Making published predictions again, from the rows that the store has kept, to compare them.

Nothing is published. The sources are read under the fingerprints that the predictions' record
names, whatever their loaders would give today; what is made of them is read as well, or computed
again if the present declarations compute it in the same way.
"""

from dataclasses import dataclass
from functools import partial

from ff_assets.core.fingerprint import Fingerprints, declaration_digest
from ff_assets.core.governance import tags_in_predictions
from ff_assets.core.instance import Instance
from ff_assets.core.steps import CELLS, rows_of
from ff_assets.engine.columns import stored_columns
from ff_assets.engine.made_from import MadeFrom
from ff_assets.engine.parts import Part
from ff_assets.engine.published import Published
from ff_assets.engine.same_rows import Difference, difference
from ff_assets.engine.score import Scorer
from ff_assets.engine.versions import code_versions, upstream

TIME = "predicted_at"  # the one column that another run has to have otherwise


@dataclass(frozen=True)
class Replayed:
    """What came of a replay.

    Attributes:
        missing: why they cannot be made again; empty if they were.
        difference: to what was published; `None` if they were not made again.
    """

    missing: tuple[str, ...]
    difference: Difference | None

    @property
    def identical(self) -> bool:
        return self.difference is not None and self.difference.is_none


class Replay:
    """Scores published predictions again.

    Args:
        scorer: of the versions that made them, in the order of `predictions.models`.
        predictions: those that were published, with a record of what they were made from.
    """

    def __init__(self, scorer: Scorer, predictions: Published) -> None:
        self._scorer = scorer
        self._predictions = predictions
        self._parts = tuple(zip(scorer.parts, predictions.made_from, strict=True))

    def run(self) -> Replayed:
        """Score and compare, if everything is left that they were made from.

        Raises:
            DataError: rows are not what their declaration says.
            StageError: they cannot be scored.
        """
        scorer, fingerprints = self._scorer, self._fingerprints()
        missing = [m for part, was in self._parts for m in self._missing(part, was, fingerprints)]
        if missing:
            return Replayed(tuple(dict.fromkeys(missing)), None)
        plan = scorer.plan(fingerprints)
        if loaded := [step.instance.name for step in plan.todo if step.instance.is_source]:
            return Replayed(tuple(self._not_stored(name) for name in loaded), None)
        if other := list(filter(None, (self._other_rows(*each) for each in self._parts))):
            return Replayed(tuple(dict.fromkeys(other)), None)
        scored = scorer.score(plan, self._predictions.time)
        were = {n: kind for n, kind in self._predictions.record.columns.items() if n != TIME}
        otherwise = [
            f"column `{name}`: it was a {kind}, and is now "
            + (f"a {scored.columns[name]}." if name in scored.columns else "not made.")
            for name, kind in were.items()
            if scored.columns.get(name) != kind
        ]
        if otherwise:
            return Replayed(tuple(otherwise), None)
        variant = scorer.parts[0].scoring.variant
        key, tags = variant.entity.key, partial(tags_in_predictions, scorer.flow, variant.target)
        compared = [name for name in were if name != key]
        before, again = self._predictions.path, scored.directory
        return Replayed((), difference(scorer.spark(), before, again, key, compared, tags))

    def _fingerprints(self) -> Fingerprints:
        """The recorded ones of all that is stored; of the rest, as it would be computed today."""
        behind = upstream(self._scorer.flow, map(rows_of, self._scorer.read))
        recorded = {name: f for _, was in self._parts for name, f in was.recorded_as.items()}
        kept = {
            instance: fingerprint
            for instance in behind
            if (fingerprint := recorded.get(instance.name))
            and (instance.is_source or self._is_stored(fingerprint))
        }
        data = {name: version for _, was in self._parts for name, version in was.data.items()}
        sources = {i.source.name: data.get(i.name, "") for i in behind if i.is_source}
        fingerprints = Fingerprints(sources, **code_versions())
        fingerprints.add(behind, kept)
        return fingerprints

    def _is_stored(self, fingerprint: str) -> bool:
        store = self._scorer.store
        return all(store.table(fingerprint, cell) is not None for cell in CELLS)

    def _missing(self, part: Part, was: MadeFrom, fingerprints: Fingerprints) -> list[str]:
        """What is read or computed today in another way than it was."""
        scoring, served = part.scoring, part.served
        if was.model != served.identity:
            return [
                f"model: version {served.version} in this registry is not the one that predicted."
            ]
        missing = []
        recorded = was.recorded_as
        for instance in scoring.read:
            if instance.name not in recorded:
                missing.append(f"{instance.name}: it is read now, and was not read then.")
            elif fingerprints[instance] != recorded[instance.name]:
                missing.append(
                    f"{instance.name}: what was read is not in the store, and the present "
                    "declarations, code or Spark would compute it in another way."
                )
            elif instance.is_source:
                missing += self._lacking(instance, fingerprints[instance])
        missing += [
            f"{instance.name}: it is declared in another way than it was."
            for instance in scoring.computed
            if was.computed.get(instance.name)
            != declaration_digest(instance.provider, instance.split)
        ]
        if bool(was.rows) != scoring.has_loader:
            missing.append(
                "rows: they came from a `scoring` loader then, and do not now."
                if was.rows
                else "rows: they were those without a label, and now come from a `scoring` loader."
            )
        return missing

    def _lacking(self, source: Instance, fingerprint: str) -> list[str]:
        """What its rows of that time have not, though it is declared today."""
        record = self._scorer.store.table(fingerprint, CELLS[0])
        if record is None:  # the plan says whether that matters
            return []
        needed = (*source.entity.columns, *stored_columns(source))
        lacking = [name for name in needed if name not in record.columns]
        if not lacking:
            return []
        names = ", ".join(f"`{name}`" for name in lacking)
        return [f"{source.name}: its rows of that time have no {names}, which it declares now."]

    def _not_stored(self, source: str) -> str:
        version = next((was.data[source] for _, was in self._parts if source in was.data), None)
        of = f" (version {version} of its data)" if version else ""
        return f"{source}: its rows of that time{of} are not in the store any more."

    def _other_rows(self, part: Part, was: MadeFrom) -> str:
        """Rows of `scoring` loaders are not stored, so they have to be the same today."""
        if not part.scoring.has_loader:
            return ""
        loaders = part.scoring.loaders(self._scorer.spark())
        if " ".join(rows.content() for rows in loaders) == was.rows:
            return ""
        names = ", ".join(rows.source.name for rows in loaders)
        return f"{names}: the `scoring` loader gives other rows than then, and none are stored."
