"""What models have made is counted in the files that were written: all of it, or a fair sample."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ff_assets.engine.histograms import VALUE, Bins
from ff_assets.engine.outputs import ENOUGH, counts_of

BINS = {"score": Bins(VALUE, edges=(0.5,))}


def write(folder: Path, rows: int) -> list[Path]:
    """Scores in a cycle of ten, of which four are above 0.5; two rows of a household."""
    number = np.arange(rows)
    table = pa.table({"score": (number % 10) / 10, "household": number // 2})
    folder.mkdir()
    for part in range(2):
        pq.write_table(table.slice(part * rows // 2, rows // 2), folder / f"{part}.parquet")
    return sorted(folder.iterdir())


def test_few_rows_are_counted_one_by_one(tmp_path: Path) -> None:
    (counts,) = counts_of(write(tmp_path / "few", 1000), BINS, "household").values()
    assert counts.rows == (0, 600, 400)


def test_of_many_rows_a_sample_has_their_shares_and_is_the_same_each_time(tmp_path: Path) -> None:
    files = write(tmp_path / "many", 5 * ENOUGH)
    (counts,) = counts_of(files, BINS, "household").values()
    drawn = sum(counts.rows)
    assert abs(drawn - ENOUGH) < 5 * ENOUGH**0.5
    assert abs(counts.rows[1] / drawn - 0.6) < 5 * (0.24 / ENOUGH) ** 0.5
    assert counts_of(files, BINS, "household") == {"score": counts}
