"""Predictions of registered models: scored, checked, and published as one whole.

There is one result for each model version, data version and day. It is written to staging and
renamed with its record, so a run that is killed leaves nothing that looks finished. In an A/B test
two versions make one result, each of it the rows of its arm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff_assets.core.ab_test import AB_TEST
from ff_assets.core.errors import brief
from ff_assets.core.fingerprint import digest
from ff_assets.core.flow import Flow
from ff_assets.core.instance import Instance
from ff_assets.core.steps import rows_of
from ff_assets.engine.arms import Division
from ff_assets.engine.drift import Watch
from ff_assets.engine.execute import Event
from ff_assets.engine.journal import append
from ff_assets.engine.made_from import DETAIL, MadeFrom
from ff_assets.engine.parts import Part
from ff_assets.engine.reference import References
from ff_assets.engine.score import Scored, plan_of, score
from ff_assets.engine.source_checks import StagedSource
from ff_assets.engine.store import RECORD, Record, Staging, Store, size_of
from ff_assets.engine.versions import code_version, fingerprint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Predicted:
    """Predictions that are whole.

    Attributes:
        path: their folder.
        record: `rows`, `columns`, `size`, and as fingerprint what they come from.
        reused: whether they were there before.
    """

    path: Path
    record: Record
    reused: bool


class Prediction:
    """One prediction of a target.

    Args:
        parts: the model that scores all rows; for an A/B test that of the control, then that of
            the treatment.
        division: how rows are divided among several parts.
        at: the time of the run, UTC; one for all rows.
        spark: gives the run's session; called only if something has to be read or computed.
        tell: is told what is computed on the way.
    """

    def __init__(
        self,
        flow: Flow,
        parts: Sequence[Part],
        division: Division | None,
        at: datetime,
        store: Store,
        staging: Staging,
        spark: "Callable[[], SparkSession]",
        tell: Callable[[Event], None],
    ) -> None:
        self._flow = flow
        self._parts = tuple(parts)
        self._division = division
        self._at = at
        self._store = store
        self._staging = staging
        self._spark = spark
        self._tell = tell

    def run(self) -> Predicted:
        """Score what waits for a prediction, unless it was scored today with the same models.

        Raises:
            DataError: the rows are not what their declaration says.
            StageError: they cannot be scored, or a model loses some.
            DefinitionError: a column to keep cannot be had.
        """
        read = dict.fromkeys(instance for part in self._parts for instance in part.scoring.read)
        steps = [rows_of(instance) for instance in read]
        self._fingerprints, staged = fingerprint(self._flow, steps, self._spark, self._staging)
        found = self._reused() or self._made(staged)
        self._note(found)
        return found

    def _made(self, staged: Mapping[Instance, StagedSource]) -> Predicted:
        watch, failed = self._watch()
        plan = plan_of(self._flow, self._parts, self._fingerprints, self._store)
        scored = score(
            *(plan, self._parts, self._division, self._at, self._store, self._staging),
            *(self._spark, staged, self._tell, watch),
        )
        if watch is not None:
            return self._published(scored, watch.describe(scored.directory, scored.rows))
        return self._published(scored, failed)

    def _note(self, found: Predicted) -> None:
        """Note that these are the predictions now, also if they were made before others.

        After a rollback, or with data as they were, it is not the latest ones that count.
        """
        served = self._parts[0].served
        alias = served.alias if self._division is None else AB_TEST
        journal = self._store.published(self._parts[0].scoring.variant.target.name, alias)
        folder = str(found.path.relative_to(self._store.root))
        append(journal, {"at": self._at.isoformat(), "folder": folder})

    @property
    def data_versions(self) -> Mapping[str, str]:
        """Source -> the version of its data that was read by `run`."""
        return self._fingerprints.data_versions

    def _place(self, contents: Sequence[str]) -> tuple[Path, str]:
        """The folder of what is made of these data, and the digest of what it comes from.

        Args:
            contents: of the rows of loaders, for each part.
        """
        versions = [
            part.scoring.version(self._fingerprints, part.served.identity, content)
            for part, content in zip(self._parts, contents, strict=True)
        ]
        version = versions[0]
        if self._division is not None:
            code = code_version(("core/assignment", "engine/arms"))
            version = digest([versions, self._division.salt, self._division.describe(), code])
        return self._folder / f"data={version[:16]}" / f"day={self._at:%Y-%m-%d}", version

    @property
    def _folder(self) -> Path:
        served = self._parts[0].served
        target = self._parts[0].scoring.variant.target.name
        if self._division is None:
            return self._store.predictions_path(target, served.alias, served.version)
        versions = "-".join(str(part.served.version) for part in self._parts)
        test = self._division.test.name
        return self._store.ab_test_path(target, test) / f"versions={versions}"

    def _reused(self) -> Predicted | None:
        """What this day has already. Rows of a loader are read for it only if it has anything."""
        contents = [""] * len(self._parts)
        if any(part.scoring.has_loader for part in self._parts):
            if not any(self._folder.glob(f"data=*/day={self._at:%Y-%m-%d}/{RECORD}")):
                return None
            contents = [
                " ".join(rows.content() for rows in part.scoring.loaders(self._spark()))
                for part in self._parts
            ]
        path, _ = self._place(contents)
        record = self._store.predictions(path)
        return None if record is None else Predicted(path, record, reused=True)

    def _watch(self) -> tuple[Watch | None, dict[str, str]]:
        """What counts the rows, and why nothing does. An A/B test compares its arms instead."""
        if self._division is not None:
            return None, {}
        references = References(
            *(self._flow, self._parts[0], self._store, self._staging, self._spark, self._tell)
        )
        try:
            return Watch(references.get(), self._parts[0].scoring.variant.entity), {}
        except Exception as error:  # whoever waits for a prediction shall not wait for this
            return None, {"failed": brief(error)}

    def _published(self, scored: Scored, drift: Mapping[str, Any]) -> Predicted:
        path, version = self._place(scored.contents)
        described = [
            part.describe()
            | {DETAIL: MadeFrom.of(self._flow, part, self._fingerprints, content).as_dict()}
            for part, content in zip(self._parts, scored.contents, strict=True)
        ]
        details = described[0]
        if self._division is not None:
            arms = {
                each.part.arm: {**of_arm, "rows": each.rows}
                for each, of_arm in zip(scored.passes, described, strict=True)
            }
            details = {**self._division.describe(), "arms": arms}
        record = Record(
            fingerprint=version,
            seconds=scored.seconds,
            rows=scored.rows,
            size=size_of(scored.directory),
            columns=scored.columns,
            details={**details, "drift": drift, "predicted_at": self._at.isoformat()},
        )
        stored = self._staging.add_predictions(scored.directory, path, record)
        return Predicted(path, stored, reused=stored is not record)
