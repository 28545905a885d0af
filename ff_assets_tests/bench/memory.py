"""Driver memory: how much stays alive while a run goes on, beside what the run has persisted."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

SECONDS_BETWEEN_SAMPLES = 0.5
MEGABYTE = 2**20


@dataclass
class Peak:
    """The most that was seen, in MiB.

    Attributes:
        alive: of the JVM's heap after a full garbage collection.
        persisted: what Spark held in its storage memory.
        rest: the first without the second, beyond what was alive before: at any one time.
    """

    alive: float = 0
    persisted: float = 0
    rest: float = 0


@contextmanager
def watched(spark: SparkSession) -> Iterator[Peak]:
    """Collect garbage over and over and note what is left. This slows the work down."""
    peak, stop = Peak(), threading.Event()
    gc.collect()  # Python's references keep objects of the JVM
    before = _alive(spark) - _persisted(spark)

    def watch() -> None:
        while not stop.wait(SECONDS_BETWEEN_SAMPLES):
            alive, persisted = _alive(spark), _persisted(spark)
            peak.alive = max(peak.alive, alive)
            peak.persisted = max(peak.persisted, persisted)
            peak.rest = max(peak.rest, alive - persisted - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _alive(spark: SparkSession) -> float:
    jvm: Any = spark._jvm
    runtime = jvm.java.lang.Runtime.getRuntime()
    runtime.gc()
    return (runtime.totalMemory() - runtime.freeMemory()) / MEGABYTE


def _persisted(spark: SparkSession) -> float:
    """Storage memory in use, as Spark's own memory status has it."""
    status = spark.sparkContext._jsc.sc().getExecutorMemoryStatus()
    values = status.values().iterator()
    used = 0.0
    while values.hasNext():
        memory = values.next()
        used += memory._1() - memory._2()
    return used / MEGABYTE
