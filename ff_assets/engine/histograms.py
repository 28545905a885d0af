"""How values of columns are distributed, as rows per bin.

Bins are made of the rows of a reference and stay as they are, so any other rows can be counted by
them. Of many rows of Spark's a sample is counted, which is drawn in one pass: a count for each bin
of each column would cost more than scoring them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, nextafter
from typing import TYPE_CHECKING, Any

from ff_assets.core.entities import Entity
from ff_assets.stats.drift import OTHER, bin_edges, bin_numbers, design_effect

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import Column, DataFrame

VALUE, LENGTH, CATEGORY, PRESENCE = "value", "length", "category", "presence"
MISSING = "(missing)"
PRESENT = "(present)"
_CATEGORIES = 30  # a text with more different values is one that people write
_ROWS_OF_EACH = 10  # that a category has on average; otherwise values say nothing of other rows
_CHARACTERS = 1000  # of a text; longer ones count as long as this
SAMPLING = _RANK, _BEFORE, _VALUES = "_rank", "_before", "_values"  # the columns of a sample
_MARGIN = 1.2  # times the expected rows: for 5,000 out by 13 standard deviations


@dataclass(frozen=True)
class Bins:
    """What rows are counted by in a column. The first bin is that of missing values.

    Attributes:
        of: what is counted: the `value` of a number, the `category` that a text with few values is,
            the `length` of another text, or else the `presence` of a value.
        edges: the upper ends of all bins of numbers but the last.
        categories: the known ones; any other counts as `OTHER`.
    """

    of: str
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> "Bins":
        """What `describe` gave, read back."""
        edges, categories = tuple(described["edges"]), tuple(described["categories"])
        return cls(described["of"], edges, categories)

    def describe(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @property
    def ordered(self) -> bool:
        """Whether bins are in the order of their values."""
        return self.of in (VALUE, LENGTH)

    @property
    def names(self) -> list[str]:
        """The bins, for people."""
        if self.of == CATEGORY:
            return [MISSING, *self.categories, OTHER]
        if not self.edges:
            return [MISSING, PRESENT]
        up_to = [
            # just below a common value, which has the next bin to itself
            f"< {above:.4g}" if nextafter(edge, inf) == above else f"≤ {edge:.4g}"
            for edge, above in zip(self.edges, (*self.edges[1:], inf), strict=True)
        ]
        return [MISSING, *up_to, f"> {self.edges[-1]:.4g}"]

    def place(self, values: "pa.Array | pa.ChunkedArray") -> "NDArray[np.int64]":
        """The bin of each row, (n,)."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.of != CATEGORY:
            return bin_numbers(_numbers(self.of, values), self.edges)
        texts = values.cast(pa.string())
        known = pc.index_in(texts, pa.array(self.categories, pa.string()))
        place = np.asarray(pc.fill_null(known, len(self.categories)), dtype=np.int64) + 1
        return np.where(np.asarray(pc.is_null(texts)), 0, place)

    def count(
        self, values: "pa.Array | pa.ChunkedArray", groups: "NDArray[np.int64] | None"
    ) -> "Counts":
        """Rows per bin.

        Args:
            groups: of each row, (n,); `None` if each is its own.
        """
        return counted(self.place(values), len(self.names), groups)

    def unknown(self, values: "pa.Array | pa.ChunkedArray") -> str | None:
        """The commonest category that is not known, if there is one."""
        if self.of != CATEGORY:
            return None
        new = {name: times for name, times in _times(values).items() if name not in self.categories}
        return min(new, key=lambda name: (-new[name], name)) if new else None


@dataclass(frozen=True)
class Counts:
    """How many rows are in bins.

    Attributes:
        rows: one number for each of the bins.
        effect: how many rows count as one, as those of a group are alike.
    """

    rows: tuple[int, ...]
    effect: float


@dataclass(frozen=True)
class Histogram:
    """Rows per bin.

    Attributes:
        counts: those of the rows that the bins were made of.
    """

    bins: Bins
    counts: Counts

    @classmethod
    def of(
        cls, values: "pa.Array | pa.ChunkedArray", groups: "NDArray[np.int64] | None"
    ) -> "Histogram":
        """Bins made of a column's values, and the rows in them.

        Args:
            groups: of each row, (n,); `None` if each is its own.
        """
        bins = _bins(values)
        return cls(bins, bins.count(values, groups))

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> "Histogram":
        """What `describe` gave, read back."""
        counts = Counts(tuple(described["counts"]), described["effect"])
        return cls(Bins.read(described["bins"]), counts)

    def describe(self) -> dict[str, Any]:
        """As plain values."""
        counts = self.counts
        return {"bins": self.bins.describe(), "counts": counts.rows, "effect": counts.effect}


def counted(
    place: "NDArray[np.integer[Any]]", bins: int, groups: "NDArray[np.int64] | None"
) -> Counts:
    """Rows per bin.

    Args:
        place: the bin of each row, (n,).
        bins: how many there are.
        groups: of each row, (n,); `None` if each is its own.
    """
    import numpy as np

    effect = 1.0 if groups is None or not len(place) else design_effect(groups, place)
    return Counts(tuple(np.bincount(place, minlength=bins).tolist()), effect)


def sampled(
    frame: "DataFrame", columns: Sequence[str], entity: Entity, rows: int
) -> "tuple[DataFrame, Column]":
    """Rows with columns to drop again, and an aggregate of them that draws some at random.

    They are those of the greatest hashes of the key, so the same ones each time. `columns_of` and
    `groups_of` read what was drawn. The groups are those that the split keeps together.

    Texts are cut off. Of arrays and maps it has the size, and of times and all else only whether
    there is a value: time goes on, so times always differ.

    Args:
        rows: how many are drawn; thousands, as fewer could miss one.
    """
    from pyspark.sql import functions as F

    values = [_measured(frame, name).alias(str(place)) for place, name in enumerate(columns)]
    group = F.xxhash64(frame[entity.split_key]).alias("group")
    # A row counts if fewer than `rows` of its partition are above it. So most of a long partition
    # are known not to count from how many came before; no more than the hash is made of them.
    before = F.monotonically_increasing_id().bitwiseAND(F.lit(2**33 - 1))  # of the partition
    lowest = 2.0**63 - 2.0**64 * _MARGIN * rows / (F.col(_BEFORE) + 1)
    counts = F.when(F.col(_RANK) >= lowest, F.struct(*values, group))
    ranked = frame.withColumns({_RANK: F.xxhash64(entity.key), _BEFORE: before})
    ranked = ranked.withColumn(_VALUES, counts)
    rank = F.when(F.col(_VALUES).isNotNull(), F.col(_RANK))  # those without are passed over
    return ranked, F.max_by(_VALUES, rank, rows)


def columns_of(sample: Sequence[Any] | None, columns: Sequence[str]) -> "dict[str, pa.Array]":
    """Column -> its values in a sample; nothing if no row was drawn."""
    import pyarrow as pa

    if not sample:
        return {}
    return {name: pa.array([row[place] for row in sample]) for place, name in enumerate(columns)}


def groups_of(sample: Sequence[Any] | None) -> "NDArray[np.int64]":
    """The group of each row of a sample, (n,)."""
    import numpy as np

    return np.array([row[-1] for row in sample or ()], dtype=np.int64)


def _measured(frame: "DataFrame", name: str) -> "Column":
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, BooleanType, MapType, NumericType, StringType

    column, of = frame[name], frame.schema[name].dataType
    if isinstance(of, NumericType):
        return F.nanvl(column.cast("double"), F.lit(None).cast("double"))
    if isinstance(of, StringType):
        return F.substring(column, 1, _CHARACTERS)
    if isinstance(of, BooleanType):
        return column
    if isinstance(of, ArrayType | MapType):
        return F.when(column.isNotNull(), F.size(column)).cast("double")
    return F.when(column.isNotNull(), F.struct(F.lit(1)))  # counts by its presence


def _bins(values: "pa.Array | pa.ChunkedArray") -> Bins:
    import numpy as np
    import pyarrow.types as t

    of = PRESENCE
    if t.is_integer(values.type) or t.is_floating(values.type) or t.is_decimal(values.type):
        of = VALUE
    elif t.is_string(values.type) or t.is_large_string(values.type):
        of = LENGTH
    if of == LENGTH or t.is_boolean(values.type):
        known = _times(values)
        most = min(_CATEGORIES, len(values) // _ROWS_OF_EACH)
        if of == PRESENCE or 0 < len(known) <= most:
            return Bins(CATEGORY, categories=tuple(sorted(known)))
    numbers = _numbers(of, values)
    if of == PRESENCE or np.isnan(numbers).all():
        return Bins(of)
    return Bins(of, tuple(bin_edges(numbers)))


def _times(values: "pa.Array | pa.ChunkedArray") -> dict[str, int]:
    """Category -> rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.value_counts(values.cast(pa.string()).drop_null()).to_pylist()
    return {each["values"]: int(each["counts"]) for each in found}


def _numbers(of: str, values: "pa.Array | pa.ChunkedArray") -> Any:
    """What is counted, as numbers; NaN where it is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if of == LENGTH:
        values = pc.utf8_length(values.cast(pa.string()))
    elif of == PRESENCE:
        values = pc.if_else(pc.is_valid(values), 1.0, pa.scalar(None, pa.float64()))
    # unsafe: an integer beyond 2^53 may lose its last digit, which moves it to no other bin
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
