"""Predictions of registered models: scored, checked, and published as one whole.

There is one result for each model version, data version and day. It is written to staging and
renamed with its record, so a run that is killed leaves nothing that looks finished. In an A/B test
two versions make one result, each of it the rows of its arm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ff_assets.core.ab_test import AB_TEST
from ff_assets.core.errors import brief
from ff_assets.core.fingerprint import digest
from ff_assets.core.instance import Instance
from ff_assets.core.steps import rows_of
from ff_assets.engine.drift import Watch
from ff_assets.engine.journal import locked
from ff_assets.engine.made_from import DETAIL, MadeFrom
from ff_assets.engine.parts import Part
from ff_assets.engine.reference import References
from ff_assets.engine.score import Scored, Scorer
from ff_assets.engine.source_checks import StagedSource
from ff_assets.engine.store import RECORD, Record, size_of
from ff_assets.engine.versions import code_version, fingerprint


@dataclass(frozen=True)
class Predicted:
    """Predictions that are whole.

    Attributes:
        path: their folder.
        record: `rows`, `columns`, `size`, and as fingerprint what they come from.
        reused: whether they were there before.
        overtaken: what moved while they were made, so that they do not count; empty if they do.
    """

    path: Path
    record: Record
    reused: bool
    overtaken: str = ""


def _now() -> datetime:
    return datetime.now(UTC)


class Prediction:
    """One prediction of a target.

    Args:
        at: the time of the run, UTC; one for all rows.
        overtaken: what has moved since the models were looked up, as a sentence without a full
            stop; empty if they still serve.
        clock: the time of publication, UTC.
    """

    def __init__(
        self,
        scorer: Scorer,
        at: datetime,
        overtaken: Callable[[], str],
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._scorer = scorer
        self._at = at
        self._overtaken = overtaken
        self._clock = clock

    def run(self) -> Predicted:
        """Score what waits for a prediction, unless it was scored today with the same models.

        What `overtaken` raises is raised after scoring, and nothing is published.

        Raises:
            DataError: the rows are not what their declaration says.
            StageError: they cannot be scored, or a model loses some.
            DefinitionError: a column to keep cannot be had.
        """
        scorer = self._scorer
        steps = [rows_of(instance) for instance in scorer.read]
        self._fingerprints, staged = fingerprint(scorer.flow, steps, scorer.spark, scorer.staging)
        return self._noted(self._reused() or self._made(staged))

    def _made(self, staged: Mapping[Instance, StagedSource]) -> Predicted:
        scorer = self._scorer
        watched = [self._watch(part) for part in scorer.parts]
        watches = [watch for watch, _ in watched]
        scored = scorer.score(scorer.plan(self._fingerprints), self._at, staged, watches)
        drifts = [
            failed if watch is None else watch.describe(each.files, each.rows)
            for (watch, failed), each in zip(watched, scored.passes, strict=True)
        ]
        return self._published(scored, drifts)

    def _noted(self, found: Predicted) -> Predicted:
        """Note that these are the predictions now, unless their models serve no more.

        That is looked up, and the time taken, while nobody else can note anything: a slow run does
        not come after one that has begun later with the version of then, and the order of the
        notes is that of their times.
        """
        scorer, first = self._scorer, self._scorer.parts[0]
        served_as = first.served.alias if scorer.division is None else AB_TEST
        name = scorer.store.published(first.scoring.variant.target.name, served_as)
        folder = str(found.path.relative_to(scorer.store.kept))
        with locked(scorer.store.journal(name)) as journal:
            if overtaken := self._overtaken():
                return replace(found, overtaken=overtaken)
            journal.add({"at": self._clock().isoformat(), "folder": folder})
        return found

    @property
    def data_versions(self) -> Mapping[str, str]:
        """Source -> the version of its data that was read by `run`."""
        return self._fingerprints.data_versions

    def _place(self, contents: Sequence[str]) -> tuple[Path, str]:
        """The folder of what is made of these data, and the digest of what it comes from.

        Args:
            contents: of the rows of loaders, for each part.
        """
        scorer = self._scorer
        versions = [
            part.scoring.version(self._fingerprints, part.served.identity, content)
            for part, content in zip(scorer.parts, contents, strict=True)
        ]
        version = versions[0]
        if scorer.division is not None:
            code = code_version(("core/assignment", "engine/arms"))
            version = digest([versions, scorer.division.describe(), code])
        return self._folder / f"data={version[:16]}" / f"day={self._at:%Y-%m-%d}", version

    @property
    def _folder(self) -> Path:
        scorer, first = self._scorer, self._scorer.parts[0]
        target, served = first.scoring.variant.target.name, first.served
        if scorer.division is None:
            return scorer.store.predictions_path(target, served.alias, served.version)
        versions = "-".join(str(part.served.version) for part in scorer.parts)
        return scorer.store.ab_test_path(target, scorer.division.test) / f"versions={versions}"

    def _reused(self) -> Predicted | None:
        """What this day has already. Rows of a loader are read for it only if it has anything."""
        scorer = self._scorer
        contents = [""] * len(scorer.parts)
        if any(part.scoring.has_loader for part in scorer.parts):
            if not any(self._folder.glob(f"data=*/day={self._at:%Y-%m-%d}/{RECORD}")):
                return None
            contents = [
                " ".join(rows.content() for rows in part.scoring.loaders(scorer.spark()))
                for part in scorer.parts
            ]
        path, _ = self._place(contents)
        record = scorer.store.predictions(path)
        return None if record is None else Predicted(path, record, reused=True)

    def _watch(self, part: Part) -> tuple[Watch | None, dict[str, str]]:
        """What counts the rows of a part, or why nothing does."""
        scorer = self._scorer
        references = References(
            *(scorer.flow, part, scorer.store, scorer.staging, scorer.spark, scorer.tell)
        )
        try:
            return Watch(references.get(), part.scoring.variant.entity), {}
        except Exception as error:  # whoever waits for a prediction shall not wait for this
            return None, {"failed": brief(error)}

    def _published(self, scored: Scored, drifts: Sequence[Mapping[str, Any]]) -> Predicted:
        scorer = self._scorer
        path, version = self._place(scored.contents)
        models = {
            each.part.arm: {
                **each.part.describe(),
                DETAIL: MadeFrom.of(scorer.flow, each.part, self._fingerprints, content).as_dict(),
                "drift": drift,
                "rows": each.rows,
            }
            for each, content, drift in zip(scored.passes, scored.contents, drifts, strict=True)
        }
        details: dict[str, Any] = models.get("", {})
        if scorer.division is not None:
            details = {**scorer.division.describe(), "arms": models}
        record = Record(
            fingerprint=version,
            seconds=scored.seconds,
            rows=scored.rows,
            size=size_of(scored.directory),
            columns=scored.columns,
            details={**details, "predicted_at": self._at.isoformat()},
        )
        stored = scorer.staging.add_predictions(scored.directory, path, record)
        return Predicted(path, stored, reused=stored is not record)
