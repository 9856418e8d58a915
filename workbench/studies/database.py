"""Where a study's rows are: an SQLite file, or PostgreSQL. Both give connections, each in one transaction of its own.

What goes wrong becomes a sentence, in which a password is never shown.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, Pool, StaticPool

from workbench.errors import BadFile
from workbench.files.disk import has_shared_memory, refused_by_disk, told, workspace
from workbench.studies import snapshot
from workbench.studies.migrate import has_study, is_current, migrate

_PATIENCE_S = 30  # for another process's write


class Database(ABC):
    """The rows of one study. Safe to use from several threads and processes at once: no connection is kept."""

    name: str  # as messages call it
    _reader: Engine
    _writer: Engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with. Raises: `StorageFailed`, `BadFile`."""
        with self._said(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection that alone writes until the block ends; then all of it is kept, or nothing."""
        with self._said(), self._writer.begin() as connection:
            self._lock(connection)
            yield connection

    def prepare(self) -> None:
        """Make the tables, or bring those of an earlier version up to date. Nothing is written where they are.

        Raises: `NewerVersion` for a study of a later workbench, `BadFile`, `StorageFailed`.
        """
        if self.is_current():
            return
        with self.writing() as connection:
            if not is_current(connection, self.name):  # another process may have been first
                migrate(connection)

    def is_current(self) -> bool:
        """Whether nothing need be migrated. Raises: as `prepare`."""
        with self.reading() as connection:
            return is_current(connection, self.name)

    def only_read(self) -> None:
        """Go on without writing. Raises: `BadFile` where there is no study that can be read so."""
        if not self.has_study():
            raise BadFile(f"{self.name} holds no study. Look whether it is the right one.")
        if not self.is_current():
            raise BadFile(f"{self.name} holds a study of an earlier workbench: open it once with wb.Study(path=...).")

    def has_study(self) -> bool:
        """Whether there is a study, of whichever version."""
        with self.reading() as connection:
            return has_study(connection)

    @abstractmethod
    def _said(self) -> Any:
        """A block in which what the database raises becomes a sentence."""

    @abstractmethod
    def _lock(self, connection: Connection) -> None:
        """Let nobody else write until the transaction ends."""


class File(Database):
    """SQLite in a folder, in write-ahead mode: who reads waits for nobody.

    Where the disk refuses to be written to, it is read from a copy in memory, brought up to date there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "study.sqlite"
        self.name = f"The folder {folder}"
        self._outdated = False  # and cannot be written to
        self._reader, self._writer = _engine(self._readable, "DEFERRED"), _engine(self._opened, "IMMEDIATE")

    def __reduce__(self) -> tuple[type[File], tuple[Path]]:
        return File, (self.folder,)

    def prepare(self) -> None:
        """As `Database.prepare`; where it cannot be written to, a study of any version can still be read."""
        try:
            if not self.path.exists():
                with self._said():
                    self.folder.mkdir(parents=True, exist_ok=True)
                    self._begin()
            if not self.is_current():
                with self._said():
                    self._write_ahead(self.path)
                super().prepare()
        except OSError:
            if not (self.path.exists() and self.has_study()):
                raise
            self.only_read()

    def only_read(self) -> None:
        """As `Database.only_read`: a study of an earlier version is read from a copy."""
        if not self.has_study():
            raise BadFile(f"{self.path} holds no study. Look whether it is the right folder.")
        self._outdated = not self.is_current()

    def _lock(self, connection: Connection) -> None:
        """The transaction has begun with it. A study that could not be brought up to date may be able to now."""
        if self._outdated and not is_current(connection, self.name):
            migrate(connection)

    def _begin(self) -> None:
        """Make the file, which is there from the first moment as it is to be."""
        with workspace(self.folder) as place:
            made = place / self.path.name
            self._write_ahead(made, "rwc")
            try:
                os.link(made, self.path)
            except FileExistsError:  # another process was first
                return
            except OSError:  # a disk that knows no such thing
                if not self.path.exists():
                    made.replace(self.path)

    def _write_ahead(self, path: Path, mode: str = "rw") -> None:
        """Let readers not wait for writers, unless processes that use the disk may be on several machines."""
        if not has_shared_memory(self.folder):
            return
        connection = _connected(path, mode)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error):  # else it stays as it is: somebody reads it the other way in this moment
                raise
        finally:
            connection.close()

    def _opened(self) -> sqlite3.Connection:
        return _connected(self.path)

    def _readable(self) -> sqlite3.Connection:
        if self._outdated:
            return self._copied()
        connection = self._opened()
        try:
            connection.execute("PRAGMA schema_version")
        except sqlite3.OperationalError as error:
            connection.close()
            if not refused_by_disk(error):
                raise
            return self._copied()
        return connection

    def _copied(self) -> sqlite3.Connection:
        memory = snapshot.in_memory(self.path)
        memory.text_factory = _text
        if self._outdated:
            with _engine(lambda: memory, "DEFERRED", StaticPool).begin() as connection:
                migrate(connection)
        return memory

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            with told(self.folder, "The study"), unwrapped():
                yield
        except sqlite3.DatabaseError as error:
            raise BadFile(
                f"{self.path} is not a readable study: {error}. Move the folder away or choose another path."
            ) from error


def _connected(path: Path, mode: str = "rw") -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE_S, isolation_level=None)
    connection.text_factory = _text
    return connection


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the database."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@contextmanager
def unwrapped() -> Iterator[None]:
    """What SQLAlchemy wraps comes out as the driver raised it."""
    try:
        yield
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from None


def _engine(connect: Callable[[], sqlite3.Connection], lock: str, pool: type[Pool] = NullPool) -> Engine:
    """Connections in transactions of their own, which begin with a lock: DEFERRED to read, IMMEDIATE to write."""
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {lock}")

    return engine
