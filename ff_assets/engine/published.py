"""What was published when: the predictions that counted at some time, of an alias or a test."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ff_assets.core.ab_test import AB_TEST
from ff_assets.core.durations import meant
from ff_assets.engine.arms import by_arm
from ff_assets.engine.journal import entries
from ff_assets.engine.made_from import MadeFrom
from ff_assets.engine.store import Record, Store


@dataclass(frozen=True)
class Published:
    """One day's predictions of the model behind an alias, or of both in an A/B test.

    Attributes:
        path: their folder.
        record: what is known of them.
        time: when they were published, or used again.
    """

    path: Path
    record: Record
    time: datetime

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """Arm -> alias, version and variant of its model; of no arm without a test."""
        return by_arm(self.record.details)

    @property
    def made_from(self) -> tuple[MadeFrom, ...]:
        """What each model's rows come from; empty for predictions from before it was recorded."""
        found = map(MadeFrom.recorded, self.models.values())
        return tuple(each for each in found if each is not None)


def uses(store: Store, target: str, served_as: str) -> Iterator[Published]:
    """All predictions of an alias or of the A/B tests, as often as they were published or reused.

    The last one is what counts. Lines are in the order in which they began to count, which decides
    also where a clock was put back: no time is before that of an earlier line.

    Args:
        served_as: an alias, or `AB_TEST`.
    """
    time = datetime.min.replace(tzinfo=UTC)
    for line in entries(store.lines(store.published(target, served_as))):
        folder = store.kept / line["folder"]
        time = max(time, datetime.fromisoformat(line["at"]))
        record = store.predictions(folder)
        if record is not None:
            yield Published(folder, record, time)


def published(
    store: Store, target: str, alias: str, version: int | None = None
) -> tuple[Published, ...]:
    """All predictions by models behind an alias in the order of their times, also in A/B tests.

    The same ones are there again for each time that they were used again.

    Args:
        version: only those of this version of the model.
    """
    found = [
        made
        for served_as in (alias, AB_TEST)
        for made in uses(store, target, served_as)
        if any(
            m["alias"] == alias and version in (None, m["version"]) for m in made.models.values()
        )
    ]
    return tuple(sorted(found, key=lambda each: each.time))


def latest(predictions: Iterable[Published], at: datetime | None) -> Published | None:
    """The last ones at or before a time; of all without it.

    Args:
        predictions: in the order of their times, as from `published`.
    """
    found = [each for each in predictions if at is None or each.time <= meant(at)]
    return found[-1] if found else None
