"""The example data: what is fetched, how it is read, and what is said when it is not there."""

import io
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ff_assets.flows import datasets
from ff_assets.flows.datasets import DatasetError, fetch_snippets, parse_snippets, snippets_path


@pytest.fixture
def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder where nothing was fetched."""
    monkeypatch.setenv("FF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def archive(path: Path, files: dict[str, bytes]) -> Path:
    """Write a ``.tar.gz`` of files, by name."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def distribution(folder: Path, tweets: bytes) -> Path:
    """Write a source distribution with these tweets and one snippet in the other collections."""
    contents = dict.fromkeys(datasets.COLLECTIONS.values(), b"1_1\t0.5\tfine")
    contents["tweets_GroundTruth.txt"] = tweets
    bundle = archive(
        folder / "bundle.tar.gz",
        {f"hutto_ICWSM_2014/{name}": content for name, content in contents.items()},
    )
    name = "vaderSentiment-0/additional_resources/hutto_ICWSM_2014.tar.gz"
    return archive(folder / "vaderSentiment-0.tar.gz", {name: bundle.read_bytes()})


def test_the_snippets_are_whole_and_as_published() -> None:
    table = pq.read_table(fetch_snippets())
    rows = {row["review_id"]: row for row in table.to_pylist()}

    assert table.schema == pa.schema(
        {"review_id": "string", "collection": "string", "text": "string", "rating": "float64"}
    )
    assert Counter(row["collection"] for row in rows.values()) == {
        "tweets": 4_200,
        "movies": 10_605,
        "products": 3_708,
        "editorials": 5_190,
    }
    assert sum(column.null_count for column in table.columns) == 0
    ratings = [row["rating"] for row in rows.values()]
    assert (min(ratings), max(ratings)) == (-3.875, 3.94117647059)
    assert sum(rating > 0.5 for rating in ratings) == 10_107
    assert sum(rating < -0.5 for rating in ratings) == 9_029
    assert sum(rating <= -2 for rating in ratings) == 2_720
    assert rows["movies:10604"]["text"].startswith("We\u2019ve seen the hippie turned yuppie plot")
    assert rows["products:309_8"]["rating"] == -2.75


def test_quotes_marks_and_odd_line_breaks_stay_in_the_text(tmp_path: Path) -> None:
    tweets = '\ufeff1\t-0.9\t"Quoted, once\r\n2\t2\t a\u2028b &amp; c\x0bd \r\n3\t1\tlast'

    texts = parse_snippets(distribution(tmp_path, tweets.encode())).to_pylist()[:3]

    assert [(row["review_id"], row["rating"], row["text"]) for row in texts] == [
        ("tweets:1", -0.9, '"Quoted, once'),
        ("tweets:2", 2.0, " a\u2028b &amp; c\x0bd "),
        ("tweets:3", 1.0, "last"),
    ]


def test_data_that_was_never_fetched_says_how_to_get_it(empty_home: Path) -> None:
    with pytest.raises(DatasetError, match="make data") as error:
        snippets_path()

    assert str(empty_home / "data") in str(error.value)


def test_another_file_than_the_published_one_is_refused(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "SHA256", datasets.SHA256[::-1])

    with pytest.raises(DatasetError, match="pip could not fetch vaderSentiment"):
        fetch_snippets()

    assert not list(empty_home.rglob("*.parquet"))


def test_too_few_snippets_are_refused(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = distribution(tmp_path, b"1\t0.5\tfine")
    monkeypatch.setattr(datasets, "_download", lambda folder: short)

    with pytest.raises(DatasetError, match="holds 4 snippets, 23,703 were expected"):
        fetch_snippets()

    assert not list(empty_home.rglob("*.parquet*"))
