"""What a stage computes; Spark classes and functions are opaque values here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Literal, get_args

from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, Location, caller_location

# What a fit reads beside the label says nothing of the outcome.
_NO_OUTCOME = ("weightCol", "validationIndicatorCol")
# The order or direction of these classes' outputs differs from fit to fit.
_UNALIGNED = frozenset(
    {
        *("ALS", "BisectingKMeans", "BucketedRandomProjectionLSH", "ChiSqSelector"),
        *("CountVectorizer", "GaussianMixture", "KMeans", "LDA", "MinHashLSH", "PCA"),
        *("StringIndexer", "UnivariateFeatureSelector", "VarianceThresholdSelector"),
        *("VectorIndexer", "Word2Vec"),
    }
)


@dataclass(frozen=True)
class SparkOperation:
    """A Spark ML transformer or estimator class with its explicit parameters.

    Attributes:
        cls: the Spark class, never instantiated here.
        params: explicit parameters that are not columns.
        reads: column parameter -> feature or features read whenever the stage is applied.
        fit_reads: column parameter -> feature read only while the stage is fitted.
        writes: column parameter -> feature or features provided.
        private: column parameter -> Spark's default column name, for columns that the stage
            writes but that are not features.
    """

    cls: type
    params: Mapping[str, Any]
    reads: Mapping[str, str | tuple[str, ...]]
    fit_reads: Mapping[str, str | tuple[str, ...]]
    writes: Mapping[str, str | tuple[str, ...]]
    private: Mapping[str, str]

    @property
    def title(self) -> str:
        return self.cls.__name__

    @property
    def is_estimator(self) -> bool:
        return hasattr(self.cls, "fit")

    @property
    def label(self) -> str | None:
        """The feature that supervises the fit, if any."""
        column = self.fit_reads.get("labelCol", self.fit_reads.get("ratingCol"))
        return column if isinstance(column, str) else None

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The features that tell a fit something of the outcome."""
        return column_names({p: f for p, f in self.fit_reads.items() if p not in _NO_OUTCOME})

    @property
    def is_aligned(self) -> bool:
        """Whether its outputs mean the same in every fit, as predictions of a label do.

        The numbers of clusters, the axes of an embedding and the leaves of trees do not.
        """
        known = {base.__name__ for base in self.cls.__mro__}
        return known.isdisjoint(_UNALIGNED) and "leafCol" not in self.writes


@dataclass(frozen=True)
class ColumnOperation:
    """A function from Spark columns to a Spark column: a row-wise stage."""

    function: Callable[..., Any]

    is_estimator = False
    label = None

    @property
    def title(self) -> str:
        return f"{self.function.__name__}()"


Function = Literal["sum", "mean", "min", "max", "stddev", "count", "count_distinct", "recency"]
FUNCTIONS: tuple[Function, ...] = get_args(Function)


@dataclass(frozen=True)
class Measure:
    """One feature that an aggregate provides.

    Attributes:
        output: the feature.
        inputs: the features of the finer entity that it reads.
        function: from Spark columns to an aggregated column, or the name of a usual one;
            `recency` is the number of days since the latest event.
        window: how long before the row's own time events count; `None` for all of them.
        where: (feature, value): only rows with this value count.
    """

    output: str
    inputs: tuple[str, ...]
    function: Callable[..., Any] | Function
    window: timedelta | None = None
    where: tuple[str, str] | None = None


@dataclass(frozen=True)
class AggregateOperation:
    """Measures of a finer entity's rows, for each row of another entity.

    Attributes:
        of: the entity whose rows are aggregated.
        to: the entity whose rows get the measures.
        over: the entity whose key both have, which is `to` itself or an ancestor of it; all rows
            of a group belong to one row of it.
        measures: what is computed.
        gap: how long before a row's own time the latest rows end that count.
    """

    of: Entity
    to: Entity
    over: Entity
    measures: tuple[Measure, ...]
    gap: timedelta = timedelta()

    is_estimator = False
    label = None

    @property
    def point_in_time(self) -> bool:
        """Whether only what happened strictly before a row's own event counts."""
        return self.of.time is not None and self.to.time is not None

    @cached_property
    def inputs_of(self) -> Mapping[str, tuple[str, ...]]:
        """Feature -> the features of the finer entity that it is made from."""
        return {measure.output: measure.inputs for measure in self.measures}

    @property
    def title(self) -> str:
        return f"aggregate of {self.of.name}"


@dataclass(frozen=True)
class Attested:
    """What is known of the rows that a pre-trained model was fitted on; certificates show it.

    Args:
        statement: a sentence that says who knows it and how.
        buckets: the buckets of keys on which it was fitted.
        salt: the salt of these buckets; that of the project's split if it is left out, also where
            a target has a split of its own.
        root: the entity whose keys they are of, by name; the root of the rows it is applied to if
            it is left out.
        until: the last day of the data it was fitted on, which a split by time asks for.

    Raises:
        DefinitionError: the statement, the buckets or the day is none.
    """

    statement: str
    buckets: range | None = None
    salt: str | None = None
    root: str | None = None
    until: date | None = None
    location: Location = field(default_factory=caller_location, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, kind, example in (
            ("statement", str, "'fitted on the orders of 2016, says team B'"),
            ("buckets", range | None, "range(800)"),
            ("until", date | None, "date(2016, 12, 31)"),
        ):
            if not isinstance(given := getattr(self, name), kind):
                raise DefinitionError(
                    f"`{name}` of what is attested is none.",
                    where=[("Attested(...)", self.location)],
                    why=f"it was given {given!r}.",
                    fix=f"for example {name}={example}.",
                )


@dataclass(frozen=True)
class PretrainedOperation:
    """A fitted model from elsewhere.

    Attributes:
        load: gives the fitted Spark model, which reads and writes columns of the features' names.
        version: identifies the model.
        attested: what is known of its training rows; `None` if nothing is.
    """

    load: Callable[[], Any]
    version: str
    attested: Attested | None

    is_estimator = False
    label = None

    @property
    def title(self) -> str:
        return f"{self.load.__name__}() {self.version}"


Operation = SparkOperation | ColumnOperation | AggregateOperation | PretrainedOperation


def column_names(columns: Mapping[str, str | tuple[str, ...]]) -> tuple[str, ...]:
    """All names in a mapping of column parameters, in order; one that is given twice, twice."""
    names: list[str] = []
    for value in columns.values():
        names.extend([value] if isinstance(value, str) else value)
    return tuple(names)
