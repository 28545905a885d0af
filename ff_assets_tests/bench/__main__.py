"""Measure 12 variants of text classification in every contestant, and print how they compare."""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from ff_assets.engine.store import Store
from ff_assets_tests.bench import by_hand, clone_and_own, flow, step_per_asset, whole
from ff_assets_tests.bench.memory import watched
from ff_assets_tests.bench.predicting import Predicting, write_waiting
from ff_assets_tests.bench.report import Bar, seconds_table
from ff_assets_tests.bench.workload import CLASSIFIERS, LABELS, spark_session, write_rows

WARM_UP_ROWS = 3_000
AUC_TOLERANCE = 0.01
UNSTABLE = "word2vec"  # its fit depends on the order of rows, which is not the same everywhere

HAND, CLONE, STEPS = "by hand", "clone and own", "step per asset"
ENGINE, WHOLE = "ff_assets, engine", "ff_assets, whole (Dagster and MLflow)"
SECOND, EDIT, EDIT_BY_HAND = "second run, whole", "edit, engine", "edit, by hand"
PREDICT, PREDICT_BY_HAND = "predict, engine", "predict, by hand"
PREDICT_WHOLE = "predict, whole (Dagster)"
# Driver memory is looked at with 3, 6 and 12 variants.
PARTS: tuple[dict[str, Any], ...] = (
    {"targets": tuple(LABELS)[:1], "classifiers": tuple(CLASSIFIERS)[:1]},
    {"targets": tuple(LABELS)[:1]},
    {},
)


class Bench:
    """One run of the benchmark, with its Spark session and its scratch folder."""

    def __init__(self, spark: SparkSession, scratch: Path) -> None:
        self.spark = spark
        self.scratch = scratch
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._aucs: dict[str, float] = {}

    def folder(self) -> Path:
        """A new folder."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    def contestants(self, data: Path) -> dict[str, Callable[[], dict[str, float]]]:
        """What is measured in this process, each giving variant -> test AUC."""
        return {
            HAND: lambda: by_hand.run(self.spark, data, self.folder()),
            CLONE: lambda: clone_and_own.run(self.spark, data, self.folder()),
            ENGINE: lambda: self.engine(data, Store(self.folder())),
        }

    def engine(self, data: Path, store: Store, **part: Any) -> dict[str, float]:
        """The engine on all of the work, or on a part as `flow.declare` takes it."""
        return flow.run(lambda: self.spark, flow.declare(data, **part), store)

    def measure(self, name: str, contestant: Callable[[], dict[str, float]]) -> None:
        """Time a contestant, and see that it has done the same work as those before it."""
        began = time.monotonic()
        aucs = contestant()
        self.note(name, time.monotonic() - began)
        expected = self._aucs = self._aucs or aucs
        if set(aucs) != set(expected) or any(
            abs(auc - expected[variant]) > AUC_TOLERANCE
            for variant, auc in aucs.items()
            if UNSTABLE not in variant
        ):
            raise AssertionError(f"{name} came to other results: {aucs}, not {expected}")

    def note(self, name: str, seconds: float) -> None:
        self.seconds[name].append(seconds)
        print(f"  {name}: {seconds:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)

    def last_job(self) -> int:
        """The number of the latest Spark job of this session."""
        return max(self.spark.sparkContext.statusTracker().getJobIdsForGroup(), default=-1)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m ff_assets_tests.bench", description=__doc__)
    arguments.add_argument("--rows", type=int, default=50_000, help="rows of text (%(default)s)")
    arguments.add_argument(
        "--waiting", type=int, default=1_000_000, help="rows to predict (%(default)s)"
    )
    arguments.add_argument("--repeat", type=int, default=2, help="times to measure (%(default)s)")
    given = arguments.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="ff-bench-"))
    spark = spark_session()
    try:
        run(Bench(spark, scratch), given.rows, given.waiting, given.repeat)
    finally:
        spark.stop()
        shutil.rmtree(scratch)


def run(bench: Bench, rows: int, waiting: int, repeat: int) -> None:
    """Warm up, measure, and print."""
    small = write_rows(bench.scratch / "small", WARM_UP_ROWS)
    data = write_rows(bench.scratch / "rows", rows)
    print(f"{rows:,} rows, 12 variants, {os.cpu_count()} cores. Warming up ...", flush=True)
    for contestant in bench.contestants(small).values():
        contestant()
    whole.run(flow.declare(small), bench.folder())

    registering = []
    for turn in range(repeat):
        contestants = list(bench.contestants(data).items())
        for name, contestant in contestants if turn % 2 == 0 else reversed(contestants):
            bench.measure(name, contestant)
        home = bench.folder()
        timing = whole.run(flow.declare(data), home)
        bench.note(WHOLE, timing.seconds)
        registering.append(timing.registering)
        before = bench.last_job()
        bench.note(SECOND, whole.run(flow.declare(data), home).seconds)
        jobs = bench.last_job() - before
        measure_edit(bench, data)
    bench.measure(STEPS, lambda: step_per_asset.run(data, bench.folder()))
    measure_predicting(bench, waiting, max(3, repeat))

    print()
    print(seconds_table(bench.seconds))
    print(f"of the whole, in MLflow (threads added up): {statistics.median(registering):.1f} s")
    print(f"Spark jobs of the second run: {jobs}")
    print()
    print_bars(bench)
    print_memory(bench, data)


def measure_edit(bench: Bench, data: Path) -> None:
    """One classifier of one target gets another parameter: three variants are fitted again."""
    target = next(iter(LABELS))
    store = Store(bench.folder())
    bench.engine(data, store)
    began = time.monotonic()
    bench.engine(data, store, edited_target=target)
    bench.note(EDIT, time.monotonic() - began)
    bench.note(EDIT_BY_HAND, by_hand.run_edit(bench.spark, data, bench.folder(), target))


def measure_predicting(bench: Bench, rows: int, repeat: int) -> None:
    """A registered model of the reviews flow scores rows that it has not seen."""
    home = bench.folder()
    few, many = (
        Predicting(home, write_waiting(bench.folder() / "rows", n), bench.spark)
        for n in (WARM_UP_ROWS, rows)
    )
    few.fit()
    for turn, rows_of in enumerate([few, *[many] * repeat]):
        ways = [
            (PREDICT_BY_HAND, partial(rows_of.by_hand, bench.folder() / "predictions")),
            (PREDICT, rows_of.by_engine),
            (PREDICT_WHOLE, rows_of.by_job),
        ]
        for name, predict in ways if turn % 2 == 0 else reversed(ways):
            began = time.monotonic()
            predict()
            if rows_of is many:  # the others warm up
                bench.note(name, time.monotonic() - began)


def print_bars(bench: Bench) -> None:
    print(f"{'ratio':<52} {'':>6}  bar")
    for numerator, denominator, limit, at_most in (
        (ENGINE, HAND, 1.15, True),
        (CLONE, ENGINE, 2.0, False),
        (STEPS, ENGINE, 10.0, False),
        (EDIT, EDIT_BY_HAND, 1.15, True),
        (PREDICT, PREDICT_BY_HAND, 1.1, True),
    ):
        ratio = bench.median(numerator) / bench.median(denominator)
        print(Bar(f"{numerator} / {denominator}", ratio, limit, at_most))


def print_memory(bench: Bench, data: Path) -> None:
    print("\nthe driver's heap in MiB after garbage collections: its peaks, and what stays")
    print(f"{'variants':>8} {'alive':>8} {'persisted':>10} {'beside that':>12} {'at the end':>11}")
    for variants, part in zip((3, 6, 12), PARTS, strict=True):
        with watched(bench.spark) as peak:
            bench.engine(data, Store(bench.folder()), **part)
        print(
            f"{variants:>8} {peak.alive:8.0f} {peak.persisted:10.0f} {peak.rest:12.0f} "
            f"{peak.left:11.0f}"
        )


if __name__ == "__main__":
    main()
