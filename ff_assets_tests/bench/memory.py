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
        rest: the first without the second, at any one time.
        left: what is alive when all is done.
    """

    alive: float = 0
    persisted: float = 0
    rest: float = 0
    left: float = 0


@contextmanager
def watched(spark: SparkSession) -> Iterator[Peak]:
    """Collect garbage over and over and note what is left. This slows the work down."""
    peak, stop = Peak(), threading.Event()

    def watch() -> None:
        while not stop.wait(SECONDS_BETWEEN_SAMPLES):
            gc.collect()  # Python's references keep objects of the JVM
            alive, persisted = _alive(spark), _persisted(spark)
            peak.alive = max(peak.alive, alive)
            peak.persisted = max(peak.persisted, persisted)
            peak.rest = max(peak.rest, alive - persisted)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        gc.collect()
        peak.left = _alive(spark)


def _alive(spark: SparkSession) -> float:
    """The heap as the collection left it, without what other threads have allocated since."""
    jvm: Any = spark._jvm
    jvm.java.lang.Runtime.getRuntime().gc()
    pools = jvm.java.lang.management.ManagementFactory.getMemoryPoolMXBeans()
    usages = [pool.getCollectionUsage() for pool in pools]
    return sum(usage.getUsed() for usage in usages if usage is not None) / MEGABYTE


def _persisted(spark: SparkSession) -> float:
    """Storage memory in use, as Spark's own memory status has it."""
    status = spark.sparkContext._jsc.sc().getExecutorMemoryStatus()
    values = status.values().iterator()
    used = 0.0
    while values.hasNext():
        memory = values.next()
        used += memory._1() - memory._2()
    return used / MEGABYTE
