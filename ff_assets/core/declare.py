"""Declarations: what a data scientist writes. Nothing here computes or connects anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ff_assets.core.durations import duration
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, Location, caller_location, nearest
from ff_assets.core.names import check_name, check_names, check_owner
from ff_assets.core.stage import Stage
from ff_assets.core.target import Target


@dataclass(frozen=True, eq=False)
class Source:
    """A dataset that provides features of an entity.

    Args:
        name: unique among sources and stages.
        entity: what its rows are about.
        load: `load(spark) -> DataFrame`, with the entity's columns (key, foreign keys, time) and
            every declared feature.
        features: feature name -> Spark SQL type (`"string"`, `"double"`, `"array<string>"`).
        labels: the features that are outcomes. Rows may lack a label (null).
        label_horizon: how long after a row's time its labels are known for good, such as `"30d"`;
            a time split has to keep at least that distance between train and test.
        version: what states the data's version without reading it (a string, or a function
            that returns one, such as a file's hash). Without it the data is read and hashed.
        scoring: `scoring(spark) -> DataFrame` of the rows that predictions are wanted for, as
            `load` gives them; labels may be left out. Without it they are the rows whose label
            is null.
        sensitivity: feature, or column of the entity (key, foreign key, time) -> tags that say
            what is sensitive about it, such as `{"text": ["pii"]}`. All that is made from it
            carries them too; a column's are those of all rows that have it (core/sensitivity.py).
        owner: `team:nlp` or an e-mail address.
        description: Markdown.

    Raises:
        DefinitionError: a name, the owner or a tag cannot be one, a label is not among the
            features, the key is, something is tagged that the source does not have, or there is
            a horizon without labels.
    """

    name: str
    entity: Entity
    load: Callable[[Any], Any]
    features: Mapping[str, str]
    labels: Sequence[str] = ()
    label_horizon: timedelta | str = "0d"
    version: str | Callable[[], str] | None = None
    scoring: Callable[[Any], Any] | None = None
    sensitivity: Mapping[str, Sequence[str]] = field(default_factory=dict)
    owner: str | None = None
    description: str | None = None
    location: Location = field(default_factory=caller_location, repr=False)

    kind = "source"

    def __post_init__(self) -> None:
        here = [(f"source {self.name!r}", self.location)]
        check_name("source", self.name, self.location)
        check_owner(self.owner, here)
        if not isinstance(self.features, Mapping):
            raise DefinitionError(
                f"source `{self.name}` needs a type for each of its features.",
                where=here,
                why=f"it was given {self.features!r}.",
                fix='for example features={"text": "string"}.',
            )
        for name in self.features:
            check_name("feature", name, self.location)
        check_names(f"`labels` of source `{self.name}`", self.labels, here)
        for name in self.labels:
            if name not in self.features:
                raise DefinitionError(
                    f"source `{self.name}` names the label `{name}`, which is not its feature.",
                    where=here,
                    why=nearest(name, self.features),
                    fix="list the label under `features` with its type as well.",
                )
        self._check_columns(here)
        self._check_sensitivity(here)
        if duration(self.label_horizon, here) and not self.labels:
            raise DefinitionError(
                f"source `{self.name}` says when its labels are known, but not what they are.",
                where=here,
                why=f"label_horizon={self.label_horizon!r} holds for outcomes, and what is known "
                "with the row is told from them by labels=[...].",
                fix="list the outcomes in labels=[...], or leave `label_horizon` out.",
            )

    def _check_columns(self, here: list[tuple[str, Location]]) -> None:
        spelled = {name.lower() for name in self.features}
        for column in self.entity.columns:
            if column.lower() in spelled:
                what = "key" if column == self.entity.key else "column"
                raise DefinitionError(
                    f"source `{self.name}` declares its {what} `{column}` as a feature.",
                    where=here,
                    why="the key identifies rows; a model that reads it memorises them."
                    if column == self.entity.key
                    else f"it says where a row of `{self.entity.name}` belongs.",
                    fix="leave it out of `features`, or load a copy under another name.",
                )

    def _check_sensitivity(self, here: list[tuple[str, Location]]) -> None:
        if not isinstance(self.sensitivity, Mapping):
            raise DefinitionError(
                f"`sensitivity` of source `{self.name}` must name what is sensitive.",
                where=here,
                why=f"it was given {self.sensitivity!r}.",
                fix='for example sensitivity={"text": ["pii"]}.',
            )
        known = (*self.features, *self.entity.columns)
        for name, tags in self.sensitivity.items():
            if name not in known:
                raise DefinitionError(
                    f"source `{self.name}` tags `{name}`, which it does not have.",
                    where=here,
                    why=nearest(str(name), known),
                    fix="tag its features, or the columns of its entity.",
                )
            check_names(f"`sensitivity` of source `{self.name}` for `{name}`", tags, here)
            for tag in tags:
                check_name("tag", tag, self.location)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.features)

    @property
    def label_delay(self) -> int:
        """The days after a row's time until its labels are known; parts of a day count whole."""
        horizon = duration(self.label_horizon, [describe(self)])
        return -(-horizon // timedelta(days=1))

    inputs = fit_inputs = reads = ()


Provider = Source | Stage
Declaration = Source | Stage | Target


def describe(declaration: Declaration) -> tuple[str, Location]:
    """A declaration and its place, as an error shows them."""
    return f"{type(declaration).__name__.lower()} {declaration.name!r}", declaration.location
