"""Where a study keeps its variants: an SQLite database and content-addressed files in one folder.

A variant's files are moved into place and its row is inserted in one transaction, so that killing the
process at any moment loses no finished variant and leaves no half one. No row can lock the others out:
one that cannot be read is told of and left as it is. What a later version wrote beside what is known
here stays, since rows are written once; what users change later (names, tags) has a table of its own.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from workbench.errors import BadFile, StorageFailed
from workbench.estimate import Estimate
from workbench.files.content import content_name, problem
from workbench.files.disk import keep_on_disk, told
from workbench.studies.naming import Label
from workbench.untrusted import check_version, quota

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
    state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS labels (id TEXT PRIMARY KEY, label TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS replaced (id TEXT NOT NULL, content TEXT NOT NULL);
"""
#: Columns that came later, and what they hold in rows from before.
LATER = {"facts": "{}", "seal": "", "version": "1"}
COLUMNS = ("id", "created", "recipe", "estimates", "notes", "onnx", "state", *LATER)
VERSION = "1"
#: The version of a row. It grows where what an earlier workbench reads of it would be misunderstood.
ROW_VERSION = 1
#: What a seal covers of an estimate: a later version may know more, and its rows are sealed alike.
SEALED = ("value", "low", "high", "n", "unit")


@dataclass(frozen=True)
class Record:
    """A variant as it is stored; `onnx` and `state` are names of files in the folder."""

    id: str
    created: str
    recipe: str
    estimates: dict[str, Estimate]
    notes: tuple[str, ...]
    onnx: str = ""
    state: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)  # the verdict, the machine; of later versions what they like

    @property
    def seal(self) -> str:
        """A digest of what the row says, by which a change of it is noticed."""
        figures = {name: [getattr(e, part) for part in SEALED] for name, e in self.estimates.items()}
        said = [self.metadata.get(name, "") for name in ("verdict", "machine", "samples")]
        content = [self.id, self.created, self.recipe, figures, self.notes, self.onnx, self.state, said]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Damaged:
    """A row that cannot be read: its id and recipe as far as they are known, and why."""

    id: str
    recipe: str
    error: BadFile


class Storage:
    """One folder. Safe to use from several threads and processes at once.

    A folder that cannot be written, or a full disk, can still be read.
    Raises: `BadFile` where there is something else than a study, `StorageFailed`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artefacts = folder / "artefacts"
        try:
            with told(folder, "Opening the study"):
                self.artefacts.mkdir(parents=True, exist_ok=True)
                self._prepare()
        except StorageFailed:
            if not self._columns("variants"):
                raise

    def claim(self, **belonging: str) -> None:
        """Write what the study is about, or check that the folder is about the same.

        Raises: `BadFile` when it holds another study.
        """
        for key, value in {"version": VERSION, **belonging}.items():
            stored = self._claimed(key, value)
            if key == "version" and stored != value:
                raise BadFile(
                    f"The folder {self.folder} holds a study of format {stored!r}, and this workbench reads {value!r}. "
                    "Update the workbench, or choose another path."
                )
            if stored != value:
                raise BadFile(
                    f"The folder {self.folder} holds a study of another {key} ({stored}, this one is {value}). "
                    "Choose another path, or load the model and data it was made with."
                )

    def store(self, record: Record, onnx: Path, state: Path) -> Record:
        """Take in a variant and its files, in one step; gives what is stored of it then.

        Where another process was first with the same variant, that one is kept. A row whose files are damaged
        or that cannot be read is replaced, and its content set aside.
        Raises: `OverQuota` where a visitor of this page may not store so much, `StorageFailed`.
        """
        quota.here().check_room()
        files = {file: content_name(file) for file in (onnx, state)}
        for file in files:
            keep_on_disk(file)
        record = replace(record, onnx=files[onnx], state=files[state])
        with self._database("IMMEDIATE") as database:
            found = self._rows(database, record.id)
            if found and isinstance(found[0], Record) and self.whole(found[0]):
                return found[0]
            for file, name in files.items():
                file.replace(self.artefacts / name)
            self._write(database, record)
        return record

    def records(self) -> list[Record | Damaged]:
        """Every variant, in order of creation."""
        with self._database() as database:
            return self._rows(database)

    def whole(self, record: Record) -> bool:
        """Whether both files are there, with the content that they were stored with."""
        return not any(problem(self.artefacts / name) for name in (record.onnx, record.state))

    def labels(self) -> dict[str, Label]:
        """What users wrote on variants, by id; what cannot be read is left out."""
        with self._database() as database:
            known = bool(_columns(database, "labels"))
            rows = database.execute("SELECT id, label FROM labels").fetchall() if known else []
        return {identity: label for identity, text in rows if (label := Label.from_json(text)) is not None}

    def label(self, identity: str, label: Label) -> None:
        """Keep what a user wrote on a variant."""
        with self._database("IMMEDIATE") as database:
            database.execute("INSERT OR REPLACE INTO labels VALUES (?, ?)", (identity, label.to_json()))

    def delete(self, identity: str) -> None:
        """Take a variant out, then its files that no other variant has."""
        with self._database("IMMEDIATE") as database:
            names = database.execute("SELECT onnx, state FROM variants WHERE id = ?", (identity,)).fetchone() or ()
            database.execute("DELETE FROM variants WHERE id = ?", (identity,))
            database.execute("DELETE FROM labels WHERE id = ?", (identity,))
        with self._database("IMMEDIATE") as database:  # killed before this, files are left over: none is missing
            for name in names:
                count = database.execute("SELECT COUNT(*) FROM variants WHERE ? IN (onnx, state)", (name,)).fetchone()
                if not count[0] and name == Path(str(name)).name:
                    (self.artefacts / name).unlink(missing_ok=True)

    def _prepare(self) -> None:
        if {"id", *LATER} <= self._columns("variants") and self._columns("replaced"):
            return  # nothing is written to a study that is only looked at
        with self._database("") as database:  # readers write nothing in this mode, and network disks are fine
            database.execute("PRAGMA journal_mode=DELETE")
        with self._database("IMMEDIATE") as database:
            for statement in SCHEMA.split(";"):
                database.execute(statement)
            for column, value in LATER.items():
                if column not in _columns(database, "variants"):
                    database.execute(f"ALTER TABLE variants ADD COLUMN {column} TEXT NOT NULL DEFAULT '{value}'")

    def _columns(self, table: str) -> set[str]:
        if not (self.folder / "study.sqlite").is_file():
            return set()
        with self._database() as database:
            return _columns(database, table)

    def _claimed(self, key: str, value: str) -> str:
        query = "SELECT value FROM study WHERE key = ?", (key,)
        with self._database() as database:
            found = database.execute(*query).fetchone()
        if found is None:
            with self._database("IMMEDIATE") as database:
                database.execute("INSERT OR IGNORE INTO study VALUES (?, ?)", (key, value))
                found = database.execute(*query).fetchone()
        return str(found[0])

    def _rows(self, database: sqlite3.Connection, identity: str | None = None) -> list[Record | Damaged]:
        there = _columns(database, "variants")
        wanted = ", ".join(f"'{LATER[name]}'" if name in LATER and name not in there else name for name in COLUMNS)
        where = "" if identity is None else "WHERE id = ?"
        query = f"SELECT {wanted} FROM variants {where} ORDER BY position"
        rows = database.execute(query, () if identity is None else (identity,)).fetchall()
        return [_record(row) for row in rows]

    def _write(self, database: sqlite3.Connection, record: Record) -> None:
        """Insert a row, or replace its content in its place."""
        database.row_factory = sqlite3.Row
        old = database.execute("SELECT * FROM variants WHERE id = ?", (record.id,)).fetchone()
        if old is not None:
            content = json.dumps(dict(old), default=repr)
            database.execute("INSERT INTO replaced VALUES (?, ?)", (record.id, content))
        estimates = json.dumps({name: asdict(e) for name, e in record.estimates.items()})
        head = (record.id, record.created, record.recipe, estimates, json.dumps(record.notes))
        values = (*head, record.onnx, record.state, json.dumps(record.metadata), record.seal, str(ROW_VERSION))
        changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
        database.execute(
            f"INSERT INTO variants ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
            f"ON CONFLICT (id) DO UPDATE SET {changes}",
            values,
        )

    @contextmanager
    def _database(self, lock: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use, in one transaction: SQLite's are not shared between threads."""
        path = self.folder / "study.sqlite"
        try:
            with told(self.folder, "The study"):
                connection = sqlite3.connect(path, timeout=30, isolation_level=None)
                connection.text_factory = lambda content: content.decode("utf-8", "replace")
                try:
                    yield from _transaction(connection, lock)
                finally:
                    connection.close()
        except sqlite3.DatabaseError as error:
            raise BadFile(
                f"{path} is not a readable study: {error}. Move the folder away or choose another path."
            ) from error


def _transaction(connection: sqlite3.Connection, lock: str) -> Iterator[sqlite3.Connection]:
    """With a lock: DEFERRED to read, IMMEDIATE to write; or none."""
    if lock:
        connection.execute(f"BEGIN {lock}")
    try:
        yield connection
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if connection.in_transaction:
        connection.execute("COMMIT")


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def _record(row: tuple[Any, ...]) -> Record | Damaged:
    """A row as it was stored, or why it cannot be that."""
    identity, created, recipe, estimates, notes, onnx, state, facts, seal, version = row
    try:
        check_version({"version": json.loads(version)}, ROW_VERSION, "It")
        _check_texts(onnx, state, identity, created, recipe)
        for content in (recipe, estimates, notes, facts):  # half of a character, which no table can hold
            json.dumps(json.loads(content), ensure_ascii=False).encode()
        figures = {name: _estimate(name, content) for name, content in json.loads(estimates).items()}
        record = Record(identity, created, recipe, figures, _texts(notes), onnx, state, dict(json.loads(facts)))
        intact = not seal or record.seal == seal
        if not intact:
            raise BadFile("Its figures or names are not those that were stored.")
    except BadFile as error:
        return Damaged(str(identity), str(recipe), error)
    except Exception as error:  # noqa: BLE001  # a row may hold anything, and one must not lock the others out
        return Damaged(str(identity), str(recipe), BadFile(f"{type(error).__name__}: {error}."))
    return record


def _check_texts(onnx: str, state: str, *others: str) -> None:
    """Raise `TypeError` where a text is none, or the name of a file leads elsewhere."""
    names = all(isinstance(one, str) and one and Path(one).name == one for one in (onnx, state))
    if not names or not all(isinstance(one, str) for one in others):
        raise TypeError("a text or the name of a file is something else")


def _texts(content: str) -> tuple[str, ...]:
    found = json.loads(content)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise TypeError("the notes are no list of texts")
    return tuple(found)


def _estimate(name: str, content: dict[str, Any]) -> Estimate:
    """An estimate from its stored fields; what a later version adds is left alone."""
    known = {one.name: content[one.name] for one in fields(Estimate) if one.name in content}
    numbers = [known["value"], known["low"], known["high"], known.get("n", 1)]
    if not all(type(one) in (int, float) for one in numbers):
        raise TypeError(f"{name} is no number")
    return Estimate(**known)
