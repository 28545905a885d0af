"""Making published predictions again, from the rows that the store has kept, to compare them.

Nothing is published. The sources are read under the fingerprints that the predictions' record
names, whatever their loaders would give today; what is made of them is read as well, or computed
again if the present declarations compute it in the same way.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.core.fingerprint import Fingerprints, declaration_digest
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.steps import CELLS, rows_of
from ff_assets.engine.columns import stored_columns
from ff_assets.engine.execute import Event
from ff_assets.engine.journal import entries
from ff_assets.engine.made_from import MadeFrom
from ff_assets.engine.parts import Part
from ff_assets.engine.same_rows import Difference, difference
from ff_assets.engine.score import plan_of, score
from ff_assets.engine.store import Record, Staging, Store
from ff_assets.engine.versions import code_versions, upstream

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TIME = "predicted_at"  # the one column that another run has to have otherwise


@dataclass(frozen=True)
class Published:
    """One day's predictions of a model behind an alias.

    Attributes:
        path: their folder.
        record: what is known of them.
        time: when they were published, or used again.
    """

    path: Path
    record: Record
    time: datetime

    @property
    def version(self) -> int:
        """Of the model."""
        return int(self.record.details["version"])

    @property
    def made_from(self) -> MadeFrom | None:
        """`None` for predictions from before it was recorded."""
        return MadeFrom.recorded(self.record.details)


def published(
    store: Store, target: str, alias: str, version: int | None = None
) -> tuple[Published, ...]:
    """All predictions behind an alias in the order of their times.

    The same ones are there again for each time that they were used again.

    Args:
        version: only those of this version of the model.
    """
    journal = store.published(target, alias)
    lines = journal.read_text().splitlines() if journal.exists() else []
    found = []
    for line in entries(lines):
        folder = store.root / line["folder"]
        record = store.predictions(folder)
        if record is not None and version in (None, record.details["version"]):
            found.append(Published(folder, record, datetime.fromisoformat(line["at"])))
    return tuple(sorted(found, key=lambda each: each.time))


def latest(predictions: Iterable[Published], at: datetime | None) -> Published | None:
    """The last ones at or before a time, in whole seconds as people write it; of all without it."""
    return max(
        (each for each in predictions if at is None or each.time.replace(microsecond=0) <= at),
        key=lambda each: each.time,
        default=None,
    )


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
        predictions: those that were published.
        made_from: what they were made from.
        part: the version of the model that made them.
        tell: is told what is computed on the way.
    """

    def __init__(
        self,
        flow: Flow,
        predictions: Published,
        made_from: MadeFrom,
        part: Part,
        store: Store,
        staging: Staging,
        spark: "Callable[[], SparkSession]",
        tell: Callable[[Event], None],
    ) -> None:
        self._flow = flow
        self._predictions = predictions
        self._made_from = made_from
        self._part = part
        self._store = store
        self._staging = staging
        self._spark = spark
        self._tell = tell

    def run(self) -> Replayed:
        """Score and compare, if everything is left that they were made from.

        Raises:
            DataError: rows are not what their declaration says.
            StageError: they cannot be scored.
        """
        fingerprints = self._fingerprints()
        if missing := self._missing(fingerprints):
            return Replayed(tuple(missing), None)
        plan = plan_of(self._flow, [self._part], fingerprints, self._store)
        if loaded := [step.instance.name for step in plan.todo if step.instance.is_source]:
            return Replayed(tuple(self._not_stored(name) for name in loaded), None)
        if other := self._other_rows():
            return Replayed((other,), None)
        scored = score(
            *(plan, [self._part], None, self._predictions.time, self._store, self._staging),
            *(self._spark, {}, self._tell),
        )
        were = {n: kind for n, kind in self._predictions.record.columns.items() if n != TIME}
        otherwise = [
            f"column `{name}`: it was a {kind}, and is now "
            + (f"a {scored.columns[name]}." if name in scored.columns else "not made.")
            for name, kind in were.items()
            if scored.columns.get(name) != kind
        ]
        if otherwise:
            return Replayed(tuple(otherwise), None)
        key = self._part.scoring.variant.entity.key
        compared = [name for name in were if name != key]
        before, again = self._predictions.path, scored.directory
        return Replayed((), difference(self._spark(), before, again, key, compared))

    def _fingerprints(self) -> Fingerprints:
        """The recorded ones of all that is stored; of the rest, as it would be computed today."""
        was = self._made_from
        behind = upstream(self._flow, map(rows_of, self._part.scoring.read))
        kept = {
            instance: fingerprint
            for instance in behind
            if (fingerprint := (was.sources if instance.is_source else was.read).get(instance.name))
            and (instance.is_source or self._is_stored(fingerprint))
        }
        sources = {i.source.name: was.data.get(i.name, "") for i in behind if i.is_source}
        fingerprints = Fingerprints(sources, **code_versions())
        fingerprints.add(behind, kept)
        return fingerprints

    def _is_stored(self, fingerprint: str) -> bool:
        return all(self._store.table(fingerprint, cell) is not None for cell in CELLS)

    def _missing(self, fingerprints: Fingerprints) -> list[str]:
        """What is read or computed today in another way than it was."""
        was, scoring = self._made_from, self._part.scoring
        if was.model != self._part.served.identity:
            return [
                f"model: version {self._predictions.version} in this registry is not the one that "
                "predicted."
            ]
        missing = []
        recorded = {**was.sources, **was.read}
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
        record = self._store.table(fingerprint, CELLS[0])
        if record is None:  # the plan says whether that matters
            return []
        needed = (*source.entity.columns, *stored_columns(source))
        lacking = [name for name in needed if name not in record.columns]
        if not lacking:
            return []
        names = ", ".join(f"`{name}`" for name in lacking)
        return [f"{source.name}: its rows of that time have no {names}, which it declares now."]

    def _not_stored(self, source: str) -> str:
        version = self._made_from.data.get(source)
        of = f" (version {version} of its data)" if version else ""
        return f"{source}: its rows of that time{of} are not in the store any more."

    def _other_rows(self) -> str:
        """Rows of `scoring` loaders are not stored, so they have to be the same today."""
        if not self._part.scoring.has_loader:
            return ""
        loaders = self._part.scoring.loaders(self._spark())
        if " ".join(rows.content() for rows in loaders) == self._made_from.rows:
            return ""
        names = ", ".join(rows.source.name for rows in loaders)
        return f"{names}: the `scoring` loader gives other rows than then, and none are stored."
