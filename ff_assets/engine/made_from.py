"""What predictions were made from, recorded with them so that they can be made again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ff_assets.core.fingerprint import Fingerprints, declaration_digest
from ff_assets.core.flow import Flow
from ff_assets.core.steps import CELLS, rows_of
from ff_assets.engine.parts import Part
from ff_assets.engine.store import Store
from ff_assets.engine.versions import engine_version, upstream

DETAIL = "made_from"  # where it stands in a record


@dataclass(frozen=True)
class MadeFrom:
    """What the predictions of one model were made from.

    Attributes:
        model: its identity, as in `Served`.
        sources: name -> fingerprint, under which the store has the rows that were read.
        data: source -> the version of its data.
        read: name of what else was read, such as an aggregate -> fingerprint.
        computed: name of what was computed while scoring -> digest of its declaration.
        rows: content of the rows of `scoring` loaders, which are not stored; empty without one.
        engine: version of Spark and of the code that computes values.
    """

    model: str
    sources: Mapping[str, str]
    data: Mapping[str, str]
    read: Mapping[str, str]
    computed: Mapping[str, str]
    rows: str
    engine: str

    @classmethod
    def of(cls, flow: Flow, part: Part, fingerprints: Fingerprints, rows: str) -> "MadeFrom":
        """What a model's predictions come from.

        Args:
            fingerprints: of what the part reads, and of all behind it.
            rows: content of the rows of loaders.
        """
        scoring = part.scoring
        behind = upstream(flow, map(rows_of, scoring.read))
        sources = [i for i in behind if i.is_source]
        return cls(
            model=part.served.identity,
            sources={i.name: fingerprints[i] for i in sources},
            data={i.name: fingerprints.data_versions[i.source.name] for i in sources},
            read={i.name: fingerprints[i] for i in scoring.read if not i.is_source},
            computed={i.name: declaration_digest(i.provider, i.split) for i in scoring.computed},
            rows=rows,
            engine=engine_version(),
        )

    @classmethod
    def recorded(cls, details: Mapping[str, Any]) -> "MadeFrom | None":
        """What a record's details say; `None` for predictions from before it was recorded."""
        return cls(**details[DETAIL]) if DETAIL in details else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def recorded_as(self) -> Mapping[str, str]:
        """Name -> fingerprint of all that was read."""
        return {**self.sources, **self.read}

    def gone(self, store: Store) -> list[str]:
        """The sources whose rows of that time are not in the store any more."""
        return [
            name
            for name, fingerprint in self.sources.items()
            if any(store.table(fingerprint, cell) is None for cell in CELLS)
        ]
