"""The form of a study's tables: looked at, made new, brought up to date, or refused where it is a later one's."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from workbench.errors import NewerVersion
from workbench.studies.tables import FORMAT, REVISION, VERSION_TABLE

MIGRATIONS = Path(__file__).parent / "migrations"
#: Alembic keeps what it is at in globals of its own, so that two studies of one process take turns.
_ALEMBIC = threading.Lock()


def is_current(connection: Connection, place: str) -> bool:
    """Whether the tables are of this workbench's form; an earlier form, or none, can be brought there.

    Raises: `NewerVersion` where a later workbench made them.
    """
    there = set(inspect(connection).get_table_names())
    found = _format(connection, there)
    if found > FORMAT:
        writer = _value(connection, "workbench") if "study" in there else ""
        by = f", which workbench {writer} wrote" if writer else ""
        raise NewerVersion(
            f"{place} holds a study of format {found}{by}, and this workbench, {_own()}, reads format {FORMAT} and "
            "earlier ones. Update the workbench (pip install -U nn-workbench), or choose another path."
        )
    return VERSION_TABLE in there and found == FORMAT


def has_study(connection: Connection) -> bool:
    """Whether there is a study at all, of whichever form."""
    return {"study", "variants"} <= set(inspect(connection).get_table_names())


def migrate(connection: Connection) -> None:
    """Make the tables, or bring them to this workbench's form, in the transaction of the connection.

    Killed before the transaction's end, everything is as it was.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, REVISION)
    connection.execute(text("DELETE FROM study WHERE key IN ('version', 'workbench')"))
    for key, value in {"version": str(FORMAT), "workbench": _own()}.items():
        connection.execute(text("INSERT INTO study VALUES (:key, :value)"), {"key": key, "value": value})


def _own() -> str:
    from workbench import __version__

    return __version__


def _format(connection: Connection, there: set[str]) -> int:
    """The number of the form; 0 where nothing tells it. Earlier workbenches keep it in the table `study` alone."""
    said = [_value(connection, "version")] if "study" in there else []
    if VERSION_TABLE in there:
        said += connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
    return max((int(one) for one in said if str(one).isdecimal()), default=0)


def _value(connection: Connection, key: str) -> str:
    found = connection.execute(text("SELECT value FROM study WHERE key = :key"), {"key": key}).scalar()
    return "" if found is None else str(found)
