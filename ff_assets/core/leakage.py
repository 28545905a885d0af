"""Which rows influenced which values: the provenance algebra.

The rows of a bucket influence a value in two ways: a fitted parameter behind it was learned from
their features (X), or from their labels (Y). The provenance of a value is (X, Y, t, a), where t
is the day by which the latest label used was known and a tells whether it rests on a statement of
somebody's. Provenances are joined by (union, union, max, or): a semilattice with bottom `NOTHING`,
in which *everything* (unknown) absorbs. The rules of transfer:

    source                 nothing
    row-wise stage         the join of its inputs
    aggregate              the join of its inputs; all rows of a group are in one bucket
    fit on the rows A      A joins X; A joins Y if a label is read, or a value made from one; plus
                           the provenance of what it is trained on, on A
    application            the provenance of the fit that serves the row, and of the inputs there
    pretrained             what is attested; everything if nothing is

A cross-fitted estimator serves the rows of each fold with another fit, so the provenance of an
instance is constant on pieces of its rows. A nested one has other fits, and so another provenance,
in every context that it is read in (`core/nesting.py`). Under a time split, what an aggregate reads
may be of any day up to the row's own. Every rule is monotone, and costs time in proportion to the
number of inputs. `core/accounts.py` applies them to the instances of a flow.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ff_assets.core.buckets import BUCKETS
from ff_assets.core.split import Space


@dataclass(frozen=True, slots=True)
class FitSet:
    """Buckets whose rows were read by fits.

    Attributes:
        buckets: space -> bitmap; numbers of different spaces cannot be compared.
        everything: whether nothing is known, so that every row may have been read.
    """

    buckets: Mapping[Space, int] = field(default_factory=dict)
    everything: bool = False

    def __or__(self, other: "FitSet") -> "FitSet":
        if other is self or self.everything or not (other.buckets or other.everything):
            return self
        if other.everything or not self.buckets:
            return other
        joined = dict(self.buckets)
        for space, rows in other.buckets.items():
            joined[space] = joined.get(space, 0) | rows
        # Equal values stay one object, so that long chains share it.
        if joined == self.buckets:
            return self
        return other if joined == other.buckets else FitSet(joined)

    def within(self, space: Space, rows: int) -> int:
        """Those of some buckets that may have been read."""
        return rows if self.everything else self.buckets.get(space, 0) & rows


NONE = FitSet()
EVERYTHING = FitSet(everything=True)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What influenced a value.

    Attributes:
        features: X, the buckets whose rows were read by a fit behind it.
        labels: Y, the buckets whose labels were read by a fit behind it.
        latest: t, the latest day by which a label that was used was known, as an ordinal of
            `date`; `None` where no time is known of.
        attested: whether it rests on what somebody states of a pre-trained model.
    """

    features: FitSet = NONE
    labels: FitSet = NONE
    latest: int | None = None
    attested: bool = False

    def __or__(self, other: "Provenance") -> "Provenance":
        if other is self or other is NOTHING:
            return self
        if self is NOTHING:
            return other
        features = self.features | other.features
        labels = features if self._alike and other._alike else self.labels | other.labels
        latest = max(self.latest or 0, other.latest or 0) or None
        attested = self.attested or other.attested
        if (
            features is self.features
            and labels is self.labels
            and (latest, attested) == (self.latest, self.attested)
        ):
            return self
        return Provenance(features, labels, latest, attested)

    @property
    def _alike(self) -> bool:
        return self.features is self.labels

    @property
    def everywhere(self) -> FitSet:
        """X and Y together."""
        return self.features | self.labels

    @property
    def is_unknown(self) -> bool:
        return self.everywhere.everything


NOTHING = Provenance()
UNKNOWN = Provenance(EVERYTHING, EVERYTHING)


class Piece(NamedTuple):
    """Rows, as a bitmap of buckets, whose values have one provenance."""

    rows: int
    provenance: Provenance


Pieces = tuple[Piece, ...]  # disjoint


def on(pieces: Pieces, rows: int) -> Provenance:
    """The provenance of values on some rows taken together."""
    joined = NOTHING
    for piece in pieces:
        if piece.rows & rows:
            joined |= piece.provenance
    return joined


def overlay(among: Iterable[Pieces], rows: int) -> Pieces:
    """The join of several provenances, row by row."""
    different = list({id(pieces): pieces for pieces in among}.values())
    if len(different) == 1 and not any(piece.rows & ~rows for piece in different[0]):
        return different[0]
    made: Pieces = (Piece(rows, NOTHING),) if rows else ()
    for pieces in different:
        made = tuple(
            Piece(common, mine.provenance | theirs.provenance)
            for mine in made
            for theirs in pieces
            if (common := mine.rows & theirs.rows)
        )
    return made


def united(pieces: Iterable[Piece]) -> Pieces:
    """Rows that have the same provenance in one piece."""
    made: list[Piece] = []
    for piece in pieces:
        for index, other in enumerate(made):
            if piece.provenance is other.provenance or piece.provenance == other.provenance:
                made[index] = Piece(piece.rows | other.rows, other.provenance)
                break
        else:
            made.append(piece)
    return tuple(made)


def until(pieces: Pieces, rows: int) -> Pieces:
    """The provenance of values that are made from all rows up to each row, in order of time."""
    ordered = sorted(pieces, key=lambda piece: piece.rows & -piece.rows)
    made, joined = [], NOTHING
    for piece, following in zip(ordered, [*ordered[1:], None], strict=True):
        joined |= piece.provenance
        begin = piece.rows & -piece.rows
        end = following.rows & -following.rows if following else 1 << BUCKETS
        if common := rows & (end - begin):  # the buckets from `begin` to before `end`
            made.append(Piece(common, joined))
    return tuple(made)


def before_and_in(rows: int) -> int:
    """Some rows of a time split with all that were before them."""
    return (1 << rows.bit_length()) - 1
