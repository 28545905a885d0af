"""The flip audit: do labels of test reach predictions on test?

The flow of a target is run as it is, with every label of test changed and, as the positive control,
with a few labels of train changed. If no label of test has a way to a prediction, the first two
agree to the last bit. That the third differs shows that a label which has a way is seen.

Labels are changed in sources as they were read: declared ones, what a target's label is made from,
and numeric columns that are one of these on another scale. So every path through the engine and
through stages is seen, whatever their declarations say. Not seen is what a loader has made of a
label otherwise, and what a stage reads elsewhere than in its inputs. A prediction that is made from
labels of other rows of test on purpose, such as earlier outcomes, changes too: a leak here.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from ff_assets.core.cells import CELL, TEST, TRAIN
from ff_assets.core.declare import Source, describe
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DataError, DefinitionError, nearest
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import infer
from ff_assets.core.influence import origins
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.project import Project
from ff_assets.core.sensitivity import masked, tags_beside
from ff_assets.core.steps import rows_of
from ff_assets.engine.columns import stored_columns
from ff_assets.engine.execute import Execution, Failed
from ff_assets.engine.flips import Flip, find_flips, flipped
from ff_assets.engine.make import Maker
from ff_assets.engine.plan import make_plan
from ff_assets.engine.store import Store
from ff_assets.engine.versions import fingerprint, stated_version, upstream

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

Outcome = Literal["no leak", "leak", "control failed", "not reproducible"]
EXAMPLES = 3


@dataclass(frozen=True)
class Audited:
    """What the audit has found of a variant.

    Attributes:
        variant: the name.
        outcome: `no leak`: no prediction on test changed with the labels of test, and some did with
            labels of train. `leak`: some changed. `control failed`: none changed with the labels of
            train either, so nothing is shown. `not reproducible`: they change when nothing does.
        rows: predictions on test that were compared.
        changed: how many of them changed with the labels of test.
        examples: keys of a few of these, unless they are sensitive.
        columns: the columns in which they changed.
        control: how many predictions on test changed with a few labels of train; 0 where this was
            not tried, because labels of test changed some already.
        one_partition: whether it was settled by runs on one partition, because sums of
            floating-point numbers depend on how rows are divided.
    """

    variant: str
    outcome: Outcome
    rows: int
    changed: int
    examples: tuple[str, ...]
    columns: tuple[str, ...]
    control: int
    one_partition: bool


@dataclass(frozen=True)
class Audit:
    """What the audit of a target has found.

    Attributes:
        target: the name.
        flips: what was changed.
        variants: the findings, in order of declaration.
        seconds: what each run took, by what it was.
    """

    target: str
    flips: tuple[Flip, ...]
    variants: tuple[Audited, ...]
    seconds: Mapping[str, float]

    @property
    def passed(self) -> bool:
        """Whether every variant was shown to be free of leaks."""
        return all(each.outcome == "no leak" for each in self.variants)


def audit(
    project: Project,
    target: str,
    spark: Callable[[], "SparkSession"],
    folder: Path,
    *,
    variant: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Run a target's flow with labels changed, and compare its predictions on test.

    Nothing is taken from the project's store and nothing gets there: the runs have a store of
    their own, which is removed in the end.

    Args:
        project: the declarations; flows whose metric is refused can be audited as well.
        target: name of the target.
        spark: gives the session.
        folder: where the temporary store is made; driver and executors share it.
        variant: name of the only variant to audit; all of the target's if it is left out.
        say: is told what is being done.

    Raises:
        DefinitionError: there is no such target or variant.
        DataError: there is no label to change, or a run fails.
        StageError: a run fails.
    """
    declared = project.target(target)
    names = [v.name for v in infer(project).variants_of(target)]
    if variant is not None and variant not in names:
        raise DefinitionError(
            f"target `{target}` has no variant `{variant}`.",
            where=[describe(declared)],
            why=nearest(variant, names),
            fix="`ff plan` lists the variants.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="audit-", dir=folder) as temporary:
        runs = _Runs(project, target, spark, Store(Path(temporary)), say)
        return runs.audit(names if variant is None else [variant])


@dataclass(frozen=True)
class _Ran:
    """One run of the flow: its variants by name, and the sources that were read."""

    variants: Mapping[str, Variant]
    sources: tuple[Instance, ...]
    fingerprints: Fingerprints


@dataclass
class _Difference:
    """The predictions on test that differ between two runs."""

    rows: int = 0
    keys: dict[str, None] = field(default_factory=dict)
    columns: dict[str, None] = field(default_factory=dict)


class _Runs:
    """The runs of an audit, in one store."""

    def __init__(
        self,
        project: Project,
        target: str,
        spark: Callable[[], "SparkSession"],
        store: Store,
        say: Callable[[str], None],
    ) -> None:
        self._project = project
        self._target = target
        self._spark = spark
        self._store = store
        self._say = say
        self._seconds: dict[str, float] = {}
        self._versions: dict[str, str] = {}  # of the sources, as the first run has read them

    def audit(self, names: Sequence[str]) -> Audit:
        """Run, compare, and settle whether what differs is a leak."""
        first = self._run("as it is", {}, names)
        flips = self._flips(first)
        found = self._compared(first, first, flips, names)
        suspects = [name for name in names if found[name].outcome == "leak"]
        if suspects:
            with _one_partition(self._spark()):
                found |= self._settled(first, flips, suspects)
        ordered = tuple(found[name] for name in names)
        return Audit(self._target, tuple(flips), ordered, self._seconds)

    def _settled(
        self, first: _Ran, flips: Sequence[Flip], names: Sequence[str]
    ) -> dict[str, Audited]:
        """The same again where the order of rows is the same in all runs."""
        reference = self._rerun("on one partition", first, (), TEST, names)
        found = self._compared(first, reference, flips, names, ", on one partition")
        suspects = [name for name in names if found[name].outcome == "leak"]
        if suspects:
            repeated = self._rerun("on one partition, once more", first, (), TEST, suspects)
            for name in suspects:
                if self._difference(reference, repeated, name).keys:
                    found[name] = replace(found[name], outcome="not reproducible")
        return found

    def _compared(
        self,
        first: _Ran,
        reference: _Ran,
        flips: Sequence[Flip],
        names: Sequence[str],
        where: str = "",
    ) -> dict[str, Audited]:
        """Run with labels of test changed; what is the same then, also with labels of train."""
        test = self._rerun(f"labels of test changed{where}", first, flips, TEST, names)
        changed = {name: self._difference(reference, test, name) for name in names}
        same = [name for name in names if not changed[name].keys]
        control = dict.fromkeys(names, 0)
        if same:
            train = self._rerun(f"labels of train changed{where}", first, flips, TRAIN, same)
            control |= {name: len(self._difference(reference, train, name).keys) for name in same}
        return {
            name: Audited(
                variant=name,
                outcome="leak" if each.keys else "no leak" if control[name] else "control failed",
                rows=each.rows,
                changed=len(each.keys),
                examples=self._examples(each, first.variants[name].entity),
                columns=tuple(each.columns),
                control=control[name],
                one_partition=bool(where),
            )
            for name, each in changed.items()
        }

    def _examples(self, difference: _Difference, entity: Entity) -> tuple[str, ...]:
        tags = tags_beside(entity, entity.key, *self._project.sources)
        shown = (masked(key, tags) for key in tuple(difference.keys)[:EXAMPLES])
        return tuple(dict.fromkeys(shown))

    # Running

    def _rerun(
        self, what: str, first: _Ran, flips: Sequence[Flip], cell: str, names: Sequence[str]
    ) -> _Ran:
        """Run on the sources as the first run has read them, with flips in a cell.

        Nothing is shared with other runs, so what is equal was computed to be equal.
        """
        sources = {
            i.source.name: flipped(
                i.source,
                str(self._store.table_path(first.fingerprints[i])),
                f"{self._versions[i.source.name]}, {what}",
                flips,
                cell,
            )
            for i in first.sources
        }
        return self._run(what, sources, names)

    def _run(self, what: str, sources: Mapping[str, Source], names: Sequence[str]) -> _Ran:
        self._say(what)
        began = time.monotonic()
        declared = tuple(sources.get(s.name, s) for s in self._project.sources)
        flow = infer(replace(self._project, sources=declared))
        variants = {v.name: v for v in flow.variants_of(self._target) if v.name in names}
        wanted = {
            rows_of(instance): (TEST,)
            for variant in variants.values()
            for instance in _predicted(variant)
        }
        behind = tuple(i for i in upstream(flow, wanted) if i.is_source)
        with self._store.staging() as staging:
            fingerprints, staged = fingerprint(flow, wanted, self._spark, staging)
            if not self._versions:
                self._versions = {
                    i.source.name: str(
                        staged[i].content if i in staged else stated_version(i.source)
                    )
                    for i in behind
                }
            plan = make_plan(flow, wanted, fingerprints, self._store)
            maker = Maker(plan, self._store, staging, self._spark, _register, staged)
            for event in Execution(plan, maker).run():
                if isinstance(event, Failed):
                    raise event.error
        self._seconds[what] = time.monotonic() - began
        return _Ran(variants, behind, fingerprints)

    # What is changed

    def _flips(self, first: _Ran) -> list[Flip]:
        labels = {source: dict.fromkeys(source.source.labels) for source in first.sources}
        for variant in first.variants.values():
            label = variant.target.label
            behind = origins(variant.features[label], label).of_sources if label else ()
            if len(behind) == 1 and behind[0][0] in labels:  # the label in another form, or a sum
                source, column = behind[0]
                labels[source][column] = None
        tables = {
            source: self._spark().read.parquet(
                str(self._store.table_path(first.fingerprints[source]))
            )
            for source in first.sources
        }
        columns = {source: tuple(names) for source, names in labels.items()}
        flips = list(find_flips(tables, columns))
        if not any(flip.rows for flip in flips):
            raise DataError(
                f"target `{self._target}` cannot be audited: there is no label to change.",
                where=[describe(source.source) for source in first.sources],
                why="no row of test has a label, or all labels are the same."
                if any(columns.values())
                else "the sources behind its predictions declare none.",
                fix="name the columns that are outcomes: Source(..., labels=[...]), and see that "
                "rows of test have them.",
            )
        return flips

    # What has changed

    def _difference(self, one: _Ran, other: _Ran, name: str) -> _Difference:
        found = _Difference()
        both = zip(_predicted(one.variants[name]), _predicted(other.variants[name]), strict=True)
        for ours, theirs in both:
            columns = stored_columns(ours)
            if ours.is_source:
                columns = tuple(c for c in columns if c in one.variants[name].target.outputs)
            mine = self._stored(one, ours, columns)
            others = self._stored(other, theirs, columns)
            key = ours.entity.key
            assert mine[key].equals(others[key])  # a stage keeps every row
            found.rows = found.rows or len(mine)
            keys = mine[key].to_pylist()
            for column in columns:
                pairs = zip(mine[column].to_pylist(), others[column].to_pylist(), strict=True)
                # The text of a number tells every bit of it, and NaN is equal to itself.
                changed = [k for k, (a, b) in zip(keys, pairs, strict=True) if repr(a) != repr(b)]
                found.keys.update(dict.fromkeys(map(str, changed)))
                if changed:
                    found.columns[column] = None
        return found

    def _stored(self, ran: _Ran, instance: Instance, columns: Sequence[str]) -> "pa.Table":
        import pyarrow.parquet as pq

        path = self._store.table_path(ran.fingerprints[instance]) / f"{CELL}={TEST}"
        key = instance.entity.key
        # Partitioning is off: the cell is in the path already.
        return pq.read_table(path, columns=[key, *columns], partitioning=None).sort_by(key)


def _predicted(variant: Variant) -> tuple[Instance, ...]:
    """The instances whose rows are a variant's predictions, the one that is measured first."""
    return tuple(dict.fromkeys(variant.features[output] for output in variant.target.outputs))


def _register(*_: Any) -> dict[str, Any]:
    return {}


# On one partition no row of test decides where a row of train stands.
_ONE_PARTITION = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.files.maxPartitionBytes": str(2**40),
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.files.openCostInBytes": "0",
    "spark.sql.shuffle.partitions": "1",
}


@contextmanager
def _one_partition(spark: "SparkSession") -> Iterator[None]:
    """Let a session read and shuffle everything as one partition."""
    before = {name: spark.conf.get(name, None) for name in _ONE_PARTITION}
    try:
        for name, value in _ONE_PARTITION.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, was in before.items():
            if was is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, was)
