"""A study's rows in PostgreSQL, which several machines share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from workbench.errors import BadFile, BadValue, StorageFailed, WorkbenchError
from workbench.studies.database import Database, unwrapped

DRIVER = "postgresql+psycopg"
EXAMPLE = f'path="{DRIVER}://user@host/database"'
_PATIENCE_S = 60  # for another process's write
#: How a server that does not answer is noticed, in the words of libpq; an address may say otherwise.
_PATIENCE = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "30"}
#: Names one study's lock: a database has one study in each schema.
_ALONE = "SELECT pg_advisory_xact_lock(hashtext('nn-workbench ' || current_schema()))"
_DENIED, _READ_ONLY, _FULL, _BUSY = "42501", "25006", "53100", "55P03"
#: The beginnings of what says that the server is not there: connections, resources, an operator who stops it.
_AWAY = ("08", "53", "57P")
_TABLES = {"42P07": "it holds tables of another program that have the names of a study's",
           "3F000": "it has no schema to make tables in"}  # fmt: skip


class Away(StorageFailed):
    """What holds a study cannot be reached now, and may be again."""


def is_url(path: object) -> bool:
    """Whether a path is the address of a database (`postgresql://`), also where a `Path` was made of it."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) is not None


def hidden(text: str) -> str:
    """A text with the password of every address in it left out."""
    text = re.sub(r"(:/+[^:/@\s]*:)[^\s]*@", r"\1***@", text)
    return re.sub(r"(password=)[^&\s]*", r"\1***", text, flags=re.IGNORECASE)


class Server(Database):
    """PostgreSQL, by its address. Raises: `BadValue` for an address that cannot be used, or without a driver."""

    def __init__(self, address: str) -> None:
        self.address = hidden(address)
        self.name = f"The database {self.address}"
        self._reader = self._writer = self._engine(_url(address))

    def __reduce__(self) -> tuple[type[Server], tuple[str]]:
        """Another process connects by itself, as it must with the same password."""
        return Server, (self._writer.url.render_as_string(hide_password=False),)

    def __repr__(self) -> str:
        return f"Server({self.address!r})"

    def _engine(self, url: URL) -> Engine:
        patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
        arguments: dict[str, Any] = {"application_name": "nn-workbench", **patience, "prepare_threshold": None}
        try:
            return sa.create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
        except ImportError:
            raise BadValue(
                f"{self.name} needs psycopg, which is not installed: pip install 'nn-workbench[postgres]'."
            ) from None

    def _lock(self, connection: Connection) -> None:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_PATIENCE_S}s'"))
        connection.execute(sa.text(_ALONE))

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            with unwrapped():
                yield
        except WorkbenchError:
            raise
        except Exception as error:
            if not hasattr(error, "sqlstate"):  # nothing that the driver raised
                raise
            raise self._error(error, error.sqlstate or "") from None

    def _error(self, error: Exception, state: str) -> WorkbenchError:
        """What the server says, as a sentence. A connection that could not be made has no state."""
        said = self._public(str(error))
        if state == _FULL:
            return StorageFailed(f"{self.name} has no room on its disk: {said}. {_KEPT} Make room there and try again.")
        if state in {_DENIED, _READ_ONLY}:
            return StorageFailed(
                f"{self.name} does not allow it: {said}. {_KEPT} Ask its owner for the right to create and write "
                "tables, or take another one."
            )
        if state == _BUSY:
            return StorageFailed(f"{self.name} is kept busy by another process. {_KEPT} Try again, or end the other.")
        lost = not state and {"OperationalError", "InterfaceError"} & {kind.__name__ for kind in type(error).__mro__}
        if lost or state.startswith(_AWAY):
            return Away(
                f"{self.name} cannot be reached: {said}. {_KEPT} Look whether the address is right and the server is "
                "there, and try again."
            )
        if state in _TABLES:
            return BadFile(
                f"{self.name} cannot be used: {_TABLES[state]} ({said}). Take a database or a schema of the study's "
                "own; ?options=-csearch_path%3DNAME at the end of the address chooses a schema."
            )
        return BadFile(f"{self.name} is no readable study: {said}. Take another database or schema.")

    def _public(self, text: str) -> str:
        password = self._writer.url.password
        text = text.replace(str(password), "***") if password else text
        return " ".join(hidden(text).split()).rstrip(".")


_KEPT = "Variants finished before it are kept."


def _url(address: str) -> URL:
    """The parsed address. Raises: `BadValue`, which shows no password."""
    try:
        url = sa.make_url(address)
    except (ArgumentError, ValueError):
        raise BadValue(f"{hidden(address)!r} is no address of a database. Give {EXAMPLE}, or a folder.") from None
    if "@" in (url.host or ""):
        raise BadValue(
            "The address of the database has an @ in its user or password. Write it as %40 (a / as %2F, a : as %3A), "
            "or leave the password to PGPASSWORD or ~/.pgpass."
        )
    if url.drivername not in {DRIVER, "postgresql", "postgres"}:
        raise BadValue(
            f"A study is kept in a folder, or in PostgreSQL; {hidden(address)!r} is neither. Give {EXAMPLE}, or a "
            "folder, in which SQLite keeps it."
        )
    url = url.set(drivername=DRIVER)
    given = url.query.get("password")
    return url.set(password=str(given)).difference_update_query(["password"]) if given else url
