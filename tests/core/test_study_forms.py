"""Studies of other versions: migrated in place or in memory, whole or not at all; later ones are refused."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kills
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from server import binaries, postgres
from test_records import files, record

from workbench.errors import BadFile, NewerVersion, StorageFailed
from workbench.kept import Kept
from workbench.studies import database as databases
from workbench.studies.database import File
from workbench.studies.migrate import MIGRATIONS, is_current, migrate
from workbench.studies.naming import Label
from workbench.studies.records import COLUMNS, Record
from workbench.studies.server import Server
from workbench.studies.storage import Storage
from workbench.studies.tables import FORMAT, REVISION, VERSION_TABLE, schema

#: A study that an earlier workbench made, as SQL.
FORMER = (Path(__file__).parent / "study_of_format_1.sql").read_text()
CONTENT = {"a": ("graph", "weights"), "b": ("third graph", "weights")}


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """The folder of a study of format 1, with its files."""
    folder = tmp_path / "former"
    (folder / "artefacts").mkdir(parents=True)
    connection = sqlite3.connect(folder / "study.sqlite")
    connection.executescript(FORMER)
    for identity, onnx, state in connection.execute("SELECT id, onnx, state FROM variants").fetchall():
        for name, content in zip((onnx, state), CONTENT[identity], strict=True):
            (folder / "artefacts" / name).write_text(content)
    connection.close()
    return folder


def look(folder: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(folder / "study.sqlite")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def check_content(storage: Storage) -> None:
    """What the earlier workbench was told to store: see the texts of the fixture."""
    first, second = storage.records()
    assert isinstance(first, Record) and isinstance(second, Record)  # their seals hold
    assert (first.id, first.estimates["accuracy"].value, first.notes) == ("a", 0.5, ("it is small",))
    assert (second.id, second.estimates["accuracy"].high, second.created) == ("b", 0.475, "2026-01-02T03:04:07")
    assert first.metadata == {"verdict": "good", "machine": "m", "future": [1]}
    assert storage.labels() == {"b": Label("mine", ("x",), "why")}
    assert storage.whole(first) and storage.whole(second)


def test_a_study_of_an_earlier_form_is_brought_up_to_date(former: Path, tmp_path: Path) -> None:
    storage = Storage(former)
    storage.claim(model="m", data="d")
    check_content(storage)
    columns = {row[1] for row in look(former, "PRAGMA table_info(variants)")}
    assert columns == {"position", *COLUMNS} and "metadata" in columns and "facts" not in columns
    assert look(former, f"SELECT version_num FROM {VERSION_TABLE}") == [(REVISION,)]
    assert json.loads(look(former, "SELECT content FROM replaced")[0][0])["created"] == "2026-01-02T03:04:06"
    assert look(former, "PRAGMA journal_mode") == [("wal",)]
    third = storage.store(record("c"), *files(tmp_path / "made", "c", "c"))
    assert storage.records()[2] == third
    assert look(former, "SELECT position FROM variants") == [(1,), (2,), (4,)]  # numbers are not given twice
    assert look(former, "SELECT value FROM study WHERE key = 'version'") == [(str(FORMAT),)]  # for the earlier one


def test_looking_at_an_earlier_study_changes_nothing(former: Path) -> None:
    before = (former / "study.sqlite").read_bytes()
    kept = Kept(str(former))
    assert [one.name for one in kept.variants] == ["original", "mine"] and not kept.notes
    assert kept.frame().accuracy.tolist() == [0.5, 0.375]
    assert (former / "study.sqlite").read_bytes() == before and {one.name for one in former.iterdir()} == {
        "study.sqlite", "artefacts"
    }  # fmt: skip


def test_an_earlier_study_that_may_not_be_written_is_read_all_the_same(
    former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (former / "study.sqlite").read_bytes()
    real = databases._connected
    monkeypatch.setattr(databases, "_connected", lambda path, mode="rw": real(path, "ro"))
    storage = Storage(former)
    check_content(storage)
    with pytest.raises(StorageFailed, match=r"needs to write to .*are kept"):
        storage.store(record("c"), *files(tmp_path / "made", "c", "c"))
    assert (former / "study.sqlite").read_bytes() == before


KILLED = """
import os, shutil, sys
from pathlib import Path
import sqlalchemy as sa
from workbench.studies.storage import Storage
import alembic.command

former = Path(sys.argv[1])

def child(folder, left):
    @sa.event.listens_for(sa.Engine, "after_cursor_execute")
    def count(connection, cursor, statement, *_):
        nonlocal left
        left -= not statement.startswith(("SELECT", "PRAGMA", "BEGIN"))
        if left == 0:
            os._exit(9)
    Storage(folder)
    os._exit(0)

for moment in range(1, 40):
    folder = Path(shutil.copytree(former, former.parent / f"killed {moment}"))
    if os.fork() == 0:
        child(folder, moment)
    if os.waitstatus_to_exitcode(os.wait()[1]) == 0:
        break
"""


def test_a_migration_that_is_killed_half_way_leaves_the_study_as_it_was(former: Path, tmp_path: Path) -> None:
    """Killed behind each statement that writes, until one gets through."""
    subprocess.run([sys.executable, "-c", KILLED, str(former)], check=True)
    *killed, through = sorted(tmp_path.glob("killed *"), key=lambda one: int(one.name.split()[1]))
    assert len(killed) > 4
    for folder in killed:
        assert look(folder, "SELECT name FROM pragma_table_info('variants') WHERE name = 'facts'")
        check_content(Storage(folder))
    assert not look(through, "SELECT name FROM pragma_table_info('variants') WHERE name = 'facts'")
    check_content(Storage(through))


@pytest.mark.parametrize("where", ["number", "revision"])
def test_a_later_study_is_refused_with_both_versions_and_left_alone(tmp_path: Path, where: str) -> None:
    storage = Storage(tmp_path / "study")
    stored = storage.store(record(), *files(tmp_path / "made"))
    connection = sqlite3.connect(storage.folder / "study.sqlite")
    with connection:
        if where == "number":
            connection.execute("UPDATE study SET value = '9' WHERE key = 'version'")
        else:
            connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0009'")
        connection.execute("UPDATE study SET value = '7.5' WHERE key = 'workbench'")
    dump = list(connection.iterdump())
    told = rf"format 9, which workbench 7\.5 wrote.*reads format {FORMAT} .*install -U"
    for use in (Storage, lambda folder: Kept(str(folder))):
        with pytest.raises(NewerVersion, match=told):
            use(storage.folder)
    assert list(connection.iterdump()) == dump and (storage.artefacts / stored.onnx).exists()
    connection.close()


def test_another_program_s_database_is_no_study(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "study.sqlite").executescript("CREATE TABLE users (name TEXT)")
    with pytest.raises(BadFile, match="holds no study"):
        Kept(str(tmp_path))


# --- the revisions themselves


def test_the_newest_revision_is_the_one_that_is_asked_for() -> None:
    script = ScriptDirectory(MIGRATIONS)
    assert script.get_heads() == [REVISION] and int(REVISION) == FORMAT
    assert len(list(script.walk_revisions())) == FORMAT  # one for each form


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[sa.Engine]]:
    """Both kinds of database, as far as they are here."""
    found: list[Any] = [File(tmp_path / "study")]
    (tmp_path / "study").mkdir()
    found[0]._begin()
    if binaries() is None:
        yield [one._writer for one in found]
        return
    with postgres() as server:
        yield [one._writer for one in (*found, Server(server.url()))]


def test_the_tables_are_what_the_revisions_make(engines: list[sa.Engine]) -> None:
    for engine in engines:
        with engine.begin() as connection:
            migrate(connection)
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
            )
            assert compare_metadata(context, schema) == []
            assert is_current(connection, "it")


def test_revisions_are_found_wherever_the_package_is() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    found = {Path(one.path).name for one in ScriptDirectory.from_config(config).walk_revisions()}
    assert found == {one.name for one in (MIGRATIONS / "versions").glob("v*.py")}


# --- an SQLite file whose disk refuses


def test_a_copy_in_memory_has_what_a_killed_process_had_finished(tmp_path: Path) -> None:
    """What is committed stands in the log of writes alone until the last connection closes."""
    script = f"""
import os, sys
from pathlib import Path
sys.path[:0] = ["tests/core"]
from test_records import files, record
from workbench.studies.storage import Storage
storage = Storage(Path({str(tmp_path / "study")!r}))
holds = storage.database._opened()
holds.execute("BEGIN"), holds.execute("SELECT * FROM variants").fetchall()
storage.store(record(), *files(Path({str(tmp_path / "made")!r})))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], check=False, env=os.environ)
    folder = tmp_path / "study"
    assert (folder / "study.sqlite-wal").stat().st_size > 0
    connection = databases.snapshot.in_memory(folder / "study.sqlite")
    assert connection.execute("SELECT id FROM variants").fetchall() == [("a",)]
    assert (folder / "study.sqlite-wal").stat().st_size > 0  # nothing was touched
    assert [one.id for one in Storage(folder).records()] == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_study_on_a_disk_without_a_byte_left_opens() -> None:
    try:
        with kills.small_disk(1) as disk:
            storage = Storage(disk / "study")
            stored = storage.store(record(), *files(disk / "made"))
            (disk / "filler").write_bytes(b"\0" * shutil.disk_usage(disk).free)
            assert Storage(disk / "study").records() == [stored]
            with pytest.raises(StorageFailed, match=r"no room on the disk.*are kept"):
                storage.label("a", Label("x"))
            (disk / "filler").unlink()
            storage.label("a", Label("x"))
            assert look(disk / "study", "PRAGMA integrity_check") == [("ok",)]
    except subprocess.CalledProcessError:
        pytest.skip("mounts are not allowed here")


def test_studies_are_made_on_several_threads_at_once(tmp_path: Path) -> None:
    """As the screen does with two networks; Alembic alone has one at a time."""

    def made(number: int) -> bool:
        storage = Storage(tmp_path / str(number))
        return (storage.folder / "study.sqlite").exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(made, range(24)))
