"""Where a study keeps its variants: an SQLite database and content-addressed files in one folder.

A variant's files are moved into place first and its row is inserted last, in one transaction, so
that killing the process at any moment loses no finished variant and leaves no half one.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workbench import quota
from workbench.errors import BadFile
from workbench.estimate import Estimate

SCHEMA = """
CREATE TABLE IF NOT EXISTS study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS variants (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT UNIQUE NOT NULL,
    created TEXT NOT NULL,
    recipe TEXT NOT NULL,
    estimates TEXT NOT NULL,
    notes TEXT NOT NULL,
    onnx TEXT NOT NULL,
    state TEXT NOT NULL,
    facts TEXT NOT NULL DEFAULT '{}'
);
"""
VERSION = "1"


@dataclass(frozen=True)
class Record:
    """A variant as it is stored; `onnx` and `state` are names of files in the folder."""

    id: str
    created: str
    recipe: str
    estimates: dict[str, Estimate]
    notes: tuple[str, ...]
    onnx: str
    state: str
    facts: dict[str, str] = field(default_factory=dict)  # texts: the verdict, the machine, the samples


class Storage:
    """One folder. Safe to use from several threads and processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artefacts = folder / "artefacts"
        self.artefacts.mkdir(parents=True, exist_ok=True)
        with self._database() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(SCHEMA)
            columns = {row[1] for row in database.execute("PRAGMA table_info(variants)")}
            if "facts" not in columns:  # a study of an earlier version
                database.execute("ALTER TABLE variants ADD COLUMN facts TEXT NOT NULL DEFAULT '{}'")

    def claim(self, **facts: str) -> None:
        """Write what the study is about, or check that the folder is about the same.

        Raises: `BadFile` when it holds another study.
        """
        for key, value in {"version": VERSION, **facts}.items():
            with self._database() as database:
                database.execute("INSERT OR IGNORE INTO study VALUES (?, ?)", (key, value))
                stored = database.execute("SELECT value FROM study WHERE key = ?", (key,)).fetchone()[0]
            if stored != value:
                raise BadFile(
                    f"The folder {self.folder} holds a study of another {key} ({stored}, this one is {value}). "
                    "Choose another path, or load the model and data it was made with."
                )

    def adopt(self, file: Path) -> str:
        """Move a file into the folder under the digest of its content; returns its name there.

        Raises: `OverQuota` where a visitor of this page may not store so much.
        """
        quota.here().check_room()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:32]
        name = f"{digest}{file.suffix}"
        os.replace(file, self.artefacts / name)  # noqa: PTH105  # atomic, and overwrites the same content
        return name

    def put(self, record: Record) -> None:
        """Insert a variant; one that is there already is kept."""
        estimates = json.dumps({name: asdict(e) for name, e in record.estimates.items()})
        texts = json.dumps(record.notes), record.onnx, record.state, json.dumps(record.facts)
        with self._database() as database:
            database.execute(
                "INSERT OR IGNORE INTO variants (id, created, recipe, estimates, notes, onnx, state, facts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (record.id, record.created, record.recipe, estimates, *texts),
            )

    def records(self) -> list[Record]:
        """Every variant, in order of creation."""
        with self._database() as database:
            rows = database.execute(
                "SELECT id, created, recipe, estimates, notes, onnx, state, facts FROM variants ORDER BY position"
            ).fetchall()
        return [_record(row) for row in rows]

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use: SQLite's are not shared between threads."""
        path = self.folder / "study.sqlite"
        try:
            connection = sqlite3.connect(path, timeout=30)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise BadFile(
                f"{path} is not a readable study: {error}. Move the folder away or choose another path."
            ) from error


def _record(row: tuple[str, ...]) -> Record:
    identity, created, recipe, estimates, notes, onnx, state, facts = row
    known = {name: Estimate(**fields) for name, fields in json.loads(estimates).items()}
    return Record(identity, created, recipe, known, tuple(json.loads(notes)), onnx, state, json.loads(facts))
