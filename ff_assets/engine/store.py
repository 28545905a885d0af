"""The content-addressed store: results on a shared file system, found again by fingerprint.

Layout below the root:

    tables/<fingerprint>/cell=train/     Parquet files and `_record.json`; an evaluation's rows too
    models/<fingerprint>/                `spark/`, one folder for each fold, and `_record.json`
    records/<kind>/<fingerprint>.json    results that are a record only
    staging/<process>/                   what is being written

All of this can be computed again, and be deleted at any time. What cannot is below a folder of its
own, beside the store:

    reads/<split and label>.jsonl        a line for each look at rows of test
    records/<kind>/<fingerprint>.json    what was stated when, and what drift is held against
    predictions/<target>/<alias>/version=3/data=<digest>/day=2026-07-01/
                         Parquet files and `_record.json`
    predictions/<target>/ab_test/test=<name>/versions=3-4/data=<digest>/day=2026-07-01/
                         the same, by two versions
    predictions/<target>/<alias>/_published.jsonl
                         a line for each time that predictions were published, or used again
    experiments/<target>/<test>.jsonl    a line for each look at the effect

A result is written under `staging` and renamed when it is whole, record included. A directory
without a record does not exist for a reader, and a killed run leaves only staging behind,
which the next run sweeps away.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ff_assets.core.ab_test import AB_TEST
from ff_assets.core.errors import FeatureFlowError

RECORD = "_record.json"
STATED, REFERENCES = "stated", "references"  # kinds of records that are kept


class StoreError(FeatureFlowError):
    """The store cannot be read or written."""


@dataclass(frozen=True)
class Record:
    """What is known of one finished result.

    Attributes:
        fingerprint: what it was made from.
        seconds: time that making it took.
        made_at: Unix time at which it was whole.
        rows: number of rows; `None` for models.
        size: bytes on disk; `None` for results that are a record only.
        columns: column -> Spark SQL type.
        details: further plain values (metrics, parameters, model version).
    """

    fingerprint: str
    seconds: float
    made_at: float = field(default_factory=time.time)
    rows: int | None = None
    size: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """Finished results by fingerprint. Safe for several processes at once.

    Whatever reads or writes raises `StoreError` where the directory does not allow it, or holds a
    record that cannot be read.

    Args:
        root: a directory that driver and executors share; made when something is written.
        kept: one on the same file system, for what cannot be computed again; below `root` if it is
            left out, for a store that is thrown away as a whole.
    """

    def __init__(self, root: Path, kept: Path | None = None) -> None:
        self.root = root
        self.kept = root / "kept" if kept is None else kept

    # What exists

    def table(self, fingerprint: str, cell: str) -> Record | None:
        """The record of one cell of a table, if it is whole."""
        return self._read(self.root / "tables" / fingerprint / f"cell={cell}" / RECORD)

    def model(self, fingerprint: str) -> Record | None:
        return self._read(self.root / "models" / fingerprint / RECORD)

    def note(self, kind: str, fingerprint: str) -> Record | None:
        """A result that is a record only, such as an evaluation."""
        return self._read(self.note_path(kind, fingerprint))

    def predictions(self, path: Path) -> Record | None:
        """The record of one day's predictions, if they are whole."""
        return self._read(path / RECORD)

    def predictions_path(self, target: str, alias: str, version: int) -> Path:
        """The folder of all predictions of a model version behind an alias."""
        return self.kept / "predictions" / target / alias / f"version={version}"

    def ab_test_path(self, target: str, test: str) -> Path:
        """The folder of all predictions of an A/B test."""
        return self.kept / "predictions" / target / AB_TEST / f"test={test}"

    def published(self, target: str, alias: str) -> str:
        """The name of the journal that says which predictions were those of an alias when."""
        return f"predictions/{target}/{alias}/_published"

    def lines(self, name: str) -> list[str]:
        """What was added to a journal so far."""
        path = self._journal(name)
        return path.read_text().splitlines() if path.exists() else []

    def table_path(self, fingerprint: str) -> Path:
        return self.root / "tables" / fingerprint

    def note_path(self, kind: str, fingerprint: str) -> Path:
        root = self.kept if kind in (STATED, REFERENCES) else self.root
        return root / "records" / kind / f"{fingerprint}.json"

    def model_path(self, fingerprint: str) -> Path:
        """The folder with a folder for each fit."""
        return self.root / "models" / fingerprint

    # What is added

    def journal(self, name: str) -> Path:
        """A file of lines that are only ever added to, and are kept."""
        path = self._journal(name)
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _journal(self, name: str) -> Path:
        return self.kept / f"{name}.jsonl"

    def staging(self) -> "Staging":
        """A private directory for writing; a context manager that sweeps up behind itself."""
        return Staging(self)

    def add_note(self, kind: str, record: Record) -> Record:
        path = self.note_path(kind, record.fingerprint)
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
            with os.fdopen(handle, "w") as file:
                json.dump(asdict(record), file)
            Path(name).replace(path)
        return record

    def _add(self, directory: Path, final: Path, record: Record) -> Record:
        """Make a staged directory final. Of two that race, the first stays: they are equal."""
        with self._errors():
            (directory / RECORD).write_text(json.dumps(asdict(record)))
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                directory.rename(final)
            except OSError:
                present = self._read(final / RECORD)
                if present is not None:
                    shutil.rmtree(directory, ignore_errors=True)
                    return present
                shutil.rmtree(final, ignore_errors=True)  # its record was deleted by hand
                directory.rename(final)
        return record

    def _read(self, path: Path) -> Record | None:
        try:
            return Record(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f"the store holds a record that cannot be read: {path}",
                why=f"{type(error).__name__}: {error}",
                fix="delete the directory that holds it"
                + (
                    ", whose content is lost."
                    if path.is_relative_to(self.kept)
                    else "; it is computed again."
                ),
            ) from error

    def _errors(self) -> "_StoreErrors":
        return _StoreErrors(self.root)


class Staging:
    """A directory under `staging/` that lives as long as this process holds its lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.root / "staging"

    def __enter__(self) -> "Staging":
        with self._store._errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            _sweep(self._folder)
            self._lock = _locked_file(self._folder)
            self.path = Path(self._lock.name).with_suffix("")
            self.path.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        Path(self._lock.name).unlink(missing_ok=True)
        self._lock.close()

    def directory(self) -> Path:
        """A new name below the staging directory, which does not exist yet."""
        with self._store._errors():
            return Path(tempfile.mkdtemp(dir=self.path)) / "data"

    def add_table(self, directory: Path, cells: Mapping[str, Record]) -> dict[str, Record]:
        """Make the `cell=...` directories of a written table final, with their records."""
        return {
            cell: self._store._add(
                directory / f"cell={cell}",
                self._store.table_path(record.fingerprint) / f"cell={cell}",
                record,
            )
            for cell, record in cells.items()
        }

    def add_model(self, directory: Path, record: Record) -> Record:
        """Make a saved model final. `directory` holds each of its fits in a `fit_folder`."""
        final = self._store.model_path(record.fingerprint)
        return self._store._add(directory, final, record)

    def add_predictions(self, directory: Path, final: Path, record: Record) -> Record:
        """Make written predictions final; of two that race, the first stay."""
        return self._store._add(directory, final, record)


class _StoreErrors:
    """Turns the operating system's refusals into an error that names the store."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"the store at {self._root} cannot be written.",
                why=str(error),
                fix="free space or mend its permissions, or set FF_HOME to a writable place.",
            ) from error


def fit_folder(fit: str) -> str:
    """The name of the folder with one fit of a model; the one that serves all others is `spark`."""
    return fit or "spark"


def size_of(directory: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _locked_file(folder: Path) -> "tempfile._TemporaryFileWrapper[bytes]":
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115  # it is held as long as the lock
            dir=folder, prefix="run-", suffix=".lock", delete=False
        )
        fcntl.flock(file, fcntl.LOCK_EX)
        if Path(file.name).exists():
            return file
        file.close()  # another process swept it away before it was locked


def _sweep(folder: Path) -> None:
    """Remove what processes left that ended without a chance to clean up."""
    for lock in folder.glob("run-*.lock"):
        with suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink()
    for left in folder.glob("run-*/"):
        if not left.with_suffix(".lock").exists():  # Spark outlived its driver and wrote on
            shutil.rmtree(left, ignore_errors=True)
