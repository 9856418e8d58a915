"""A study in PostgreSQL, whose server runs here: shared, lost and found again, refused; its files wherever they are."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import kills
import pytest
from server import PASSWORD, Postgres, binaries, postgres
from test_records import files, record
from tiny import tiny_data, tiny_model
from writers import EACH, write

import workbench as wb
from workbench.errors import BadFile, BadValue, NewerVersion, StorageFailed
from workbench.files.content import content_name
from workbench.kept import Kept
from workbench.studies.naming import Label
from workbench.studies.records import Record
from workbench.studies.server import Server, hidden
from workbench.studies.storage import Storage
from workbench.studies.tables import FORMAT

needed = pytest.mark.skipif(
    binaries() is None, reason="no PostgreSQL server is installed: install one (Debian: apt install postgresql)"
)
WRITERS = 8


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as made:
        yield made


@pytest.fixture
def url(server: Postgres) -> str:
    """A new database."""
    name = f"study_{uuid4().hex[:10]}"
    server.sql(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def database(url: str) -> str:
    return url.rpartition("/")[2]


@needed
def test_what_is_stored_is_read_again_by_others(url: str, tmp_path: Path) -> None:
    mine = Storage(tmp_path / "mine", url, tmp_path / "files")
    mine.claim(model="m", data="d")
    stored = mine.store(record(metadata={"machine": "m"}), *files(tmp_path / "made"))
    mine.label("a", Label("first", ("x",), "ü \x00 ☃"))
    other = Storage(tmp_path / "other", url)  # which the study tells where its files are
    other.claim(model="m", data="d")
    assert other.records() == [stored] and other.labels() == {"a": Label("first", ("x",), "ü \x00 ☃")}
    assert other.whole(stored) and (other.artefacts / stored.onnx).read_text() == "graph"
    with pytest.raises(BadFile, match="another model"):
        other.claim(model="n", data="d")
    again = other.store(record(value=0.9), *files(tmp_path / "made", "other"))
    assert again == stored  # the first is kept
    other.delete("a")
    assert mine.records() == [] and mine.labels() == {} and not list((tmp_path / "files").iterdir())


def all_at_once(tmp_path: Path, folders: list[Path], url: str) -> Storage:
    context = multiprocessing.get_context("forkserver")
    with context.Manager() as manager:
        gate = manager.Barrier(WRITERS)
        writers = [
            context.Process(target=write, args=(number, folder, url, tmp_path / "files", gate))
            for number, folder in enumerate(folders)
        ]
        for one in writers:
            one.start()
        for one in writers:
            one.join(120)
        assert [one.exitcode for one in writers] == [0] * WRITERS
    return Storage(folders[0], url, tmp_path / "files" if url else None)


def check_all(storage: Storage) -> None:
    found = storage.records()
    expected = {f"own {number} {each}" for number in range(WRITERS) for each in range(EACH)}
    assert all(isinstance(one, Record) and storage.whole(one) for one in found)
    assert {one.id for one in found} == expected | {f"shared {each}" for each in range(EACH)}
    assert len(found) == WRITERS * EACH + EACH
    assert {one: label.name for one, label in storage.labels().items()} == {one: one for one in expected}
    assert not storage.unused()  # what came second with the same variant left nothing behind


@needed
@pytest.mark.slow
def test_eight_processes_make_one_study_in_postgresql(url: str, tmp_path: Path) -> None:
    check_all(all_at_once(tmp_path, [tmp_path / f"machine {number}" for number in range(WRITERS)], url))


@pytest.mark.slow
def test_eight_processes_make_one_study_in_a_folder(tmp_path: Path) -> None:
    storage = all_at_once(tmp_path, [tmp_path / "study"] * WRITERS, "")
    check_all(storage)
    connection = sqlite3.connect(storage.folder / "study.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", pytest.param("server", marks=needed)])
def test_killed_at_any_moment_no_finished_variant_is_lost(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    address = request.getfixturevalue("url") if kind == "server" else ""
    script = [sys.executable, str(Path(__file__).parent / "killed_writer.py"), str(tmp_path), address]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    moments = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(moments) > 15 and [one["ended"] for one in moments] == [9] * (len(moments) - 1) + [0]
    for one in moments:
        assert len(one["whole"]) == one["found"] and set(one["finished"]) <= set(one["whole"])
    assert "shared" in moments[-1]["finished"]


# --- whole studies


@needed
def test_a_study_is_shared_and_never_tells_its_password(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with kills.untimed():
        study = wb.Study(tiny_model(), tiny_data(), path=url, artefacts=tmp_path / "files")
        made = study.run(wb.Prune(0.3), progress=False)
        again = wb.Study(tiny_model(), tiny_data(), path=url)
    assert [one.id for one in again.variants] == [one.id for one in study.variants] and again[made.id].whole
    assert again[made.id].onnx.parent == tmp_path / "files"
    manifest = wb.export(again[made.id], tmp_path / "out")
    said = [study.kept, repr(study._storage.database), repr(vars(study)), str(study.notes), repr(study._storage.name)]
    said += [one.read_text() for one in manifest.path.glob("*.json")] + list(capfd.readouterr())
    assert "://maker:***@127.0.0.1" in study.kept
    for text in said:
        assert PASSWORD not in text and "s3cret" not in text


@needed
def test_a_database_that_goes_away_loses_nothing(server: Postgres, url: str, tmp_path: Path) -> None:
    with kills.untimed(), warnings.catch_warnings():
        warnings.simplefilter("error")
        study = wb.Study(tiny_model(), tiny_data(), path=url, artefacts=tmp_path / "files")
        study.run(wb.Prune(0.3), progress=False)
        server.stop()
        try:
            with pytest.warns(UserWarning, match=r"cannot be reached\. Finished .* kept in .*pending \(1 now"):
                first = study.run(wb.Prune(0.4), progress=False)
            second = study.run(wb.Prune(0.5), progress=False)  # said once
            assert first.whole and second.whole
            with pytest.raises(StorageFailed, match="cannot be reached") as refused:
                study.tag(first, "x")
            with pytest.raises(StorageFailed, match="cannot be reached"):  # before anything is searched
                wb.Study(tiny_model(), tiny_data(), path=url)
            shutil.rmtree(tmp_path / "files")  # another user tidies up
        finally:
            server.start()
        assert "s3cret" not in str(refused.value)
        (tmp_path / "files").mkdir()
        study.tag(first, "x")
        assert server.sql("SELECT count(*) FROM variants", database(url)) == "4"
        assert first.whole and second.whole
        assert not list(study.path.glob("pending/*"))


@needed
def test_what_waits_is_written_when_the_study_is_opened_again(server: Postgres, url: str, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "study", url)
    first = storage.store(record("a"), *files(tmp_path / "made"))
    server.stop()
    try:
        with pytest.warns(UserWarning, match="cannot be reached"):
            waits = storage.store(record("b"), *files(tmp_path / "made", "graph of b"))
        assert storage.records() == [waits]  # what was read before is known to whoever reads
        assert storage.whole(waits) and "b" in (tmp_path / "study" / "pending").joinpath("b.json").read_text()
    finally:
        server.start()
    assert Storage(tmp_path / "study", url).records() == [first, waits]
    assert not (tmp_path / "study" / "pending").exists()


@needed
def test_a_broken_connection_at_the_end_of_a_transaction_loses_nothing(
    server: Postgres, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import workbench.studies.storage as module

    storage = Storage(tmp_path / "study", url)
    real = module.write_row

    def cut(connection: Any, row: Any) -> None:
        real(connection, row)
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nn-workbench'")

    monkeypatch.setattr(module, "write_row", cut)
    with pytest.warns(UserWarning, match="cannot be reached"):
        stored = storage.store(record("a"), *files(tmp_path / "made"))
    assert server.sql("SELECT count(*) FROM variants", database(url)) == "0"
    monkeypatch.setattr(module, "write_row", real)
    assert storage.records() == [stored] and server.sql("SELECT count(*) FROM variants", database(url)) == "1"


@needed
def test_a_shared_study_is_looked_at_tidied_up_and_taken_home(url: str, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "mine", url, tmp_path / "files")
    storage.claim(model="m", data="d")
    storage.describe(model_name="net", data_name="data", judged_by="accuracy")
    storage.store(record("a"), *files(tmp_path / "made"))
    orphan = tmp_path / "files" / ("0" * 32 + ".onnx")
    orphan.write_text("12345")
    kept = Kept(url)
    assert kept.frame().accuracy.tolist() == [0.5] and kept.entry.variants == 1 and kept.entry.model == "net"
    assert PASSWORD not in repr(kept.entry) and "s3cret" not in repr(kept.entry)
    assert kept.tidy(remove=False) == kept.tidy(remove=True) == {orphan.name: 5} and not orphan.exists()
    assert kept.save(tmp_path / "home study") == []
    copy = Storage(tmp_path / "home study")  # a folder of its own, which needs no server
    copy.claim(model="m", data="d")
    assert copy.records() == storage.records() and "artefacts" not in copy.about
    (found,) = copy.records()
    assert isinstance(found, Record) and copy.whole(found) and copy.artefacts.parent == tmp_path / "home study"


@needed
def test_a_database_without_a_study_is_only_looked_at(server: Postgres, url: str) -> None:
    with pytest.raises(BadFile, match="holds no study"):
        Kept(url)
    assert (
        server.sql("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'", database(url)) == "0"
    )


@needed
def test_another_process_finds_the_study_by_itself(url: str, tmp_path: Path) -> None:
    for storage in (Storage(tmp_path / "shared", url, tmp_path / "files"), Storage(tmp_path / "own")):
        stored = storage.store(record("a"), *files(tmp_path / "made"))
        assert pickle.loads(pickle.dumps(storage)).records() == [stored]


# --- what is refused


@needed
def test_who_may_only_read_reads(server: Postgres, url: str, tmp_path: Path) -> None:
    Storage(tmp_path / "mine", url, tmp_path / "files").store(record("a"), *files(tmp_path / "made"))
    name, reader = database(url), f"reader_{uuid4().hex[:6]}"
    server.sql(f"CREATE ROLE {reader} LOGIN PASSWORD 'l00ker'", name)
    server.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}", name)
    storage = Storage(tmp_path / "theirs", server.url(name, reader, "l00ker"))
    assert [one.id for one in storage.records()] == ["a"]
    with pytest.raises(StorageFailed, match=r"does not allow it: permission denied for table variants.*are kept"):
        storage.store(record("b"), *files(tmp_path / "made", "b", "b"))
    server.sql(f"DROP OWNED BY {reader}; REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    server.sql(f"CREATE DATABASE {name}_empty")
    with pytest.raises(StorageFailed, match="does not allow it: permission denied for schema public"):
        Storage(tmp_path / "new", server.url(f"{name}_empty", reader, "l00ker"))


@needed
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace("s3cret%21word", "wr0ng%40pass"), "password authentication failed"),
        (lambda url: f"{url}_missing", "does not exist"),
        (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "cannot be reached"),
    ],
)
def test_an_address_that_leads_nowhere_is_a_sentence(url: str, tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(StorageFailed, match=said) as refused:
        Storage(tmp_path / "study", change(url))
    assert not (tmp_path / "study").exists()
    text = str(refused.value)
    assert "maker:***@" in text and not any(secret in text for secret in ("s3cret", "wr0ng"))
    assert refused.value.__cause__ is None and refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://me:s3cret@host/db", "kept in a folder, or in PostgreSQL"),
        ("sqlite:///study.db", "kept in a folder, or in PostgreSQL"),
        ("postgresql+psycopg2://me:s3cret@host/db", "postgresql.psycopg://user@host/database"),
        ("postgresql+psycopg://me:s3cret@host:port/db", "no address of a database"),
        ("postgresql+psycopg://me:s3c@ret@host/db", "Write it as %40"),
        ("postgresql:/me:s3cret@host/db", "no address of a database"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, address: str, said: str) -> None:
    with pytest.raises(BadValue, match=said) as refused:
        wb.Study(tiny_model(), tiny_data(), path=address)
    assert not any(secret in str(refused.value) for secret in ("s3cret", "s3c", "ret@"))


@pytest.mark.parametrize("address", ["postgresql://me:s3cret@host/db", "postgres://host/db?user=me&password=s3cret"])
def test_a_password_is_in_no_description(address: str) -> None:
    server = Server(address)
    for text in (repr(server), repr(vars(server)), str(server), server.name, repr(server._writer), server.address):
        assert "s3cret" not in text


def test_passwords_are_left_out_of_texts() -> None:
    assert hidden("postgresql://me:a:b@c/d@host/db") == "postgresql://me:***@host/db"
    assert hidden("postgresql://host/db?user=u&password=secret&x=1") == "postgresql://host/db?user=u&password=***&x=1"
    assert hidden("a folder/with@sign") == "a folder/with@sign"
    assert hidden("postgresql://me@host/db") == "postgresql://me@host/db"


def test_a_missing_driver_says_which_extra_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadValue, match=r"pip install 'nn-workbench\[postgres\]'") as refused:
        Storage(tmp_path / "study", "postgresql://me:s3cret@host/db")
    assert "s3cret" not in str(refused.value)


@needed
def test_tables_of_others_are_left_alone(server: Postgres, url: str, tmp_path: Path) -> None:
    name = database(url)
    server.sql("CREATE TABLE variants (colour text); CREATE TABLE alembic_version (version_num text)", name)
    with pytest.raises(BadFile, match=r"tables of another program.*search_path"):
        Storage(tmp_path / "study", url)
    assert server.sql("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'", name) == "2"
    server.sql("CREATE SCHEMA ours", name)
    storage = Storage(tmp_path / "study", f"{url}?options=-csearch_path%3Dours")
    storage.store(record(), *files(tmp_path / "made"))
    assert server.sql("SELECT count(*) FROM ours.variants", name) == "1"


@needed
def test_a_later_form_is_refused_with_both_versions(server: Postgres, url: str, tmp_path: Path) -> None:
    Storage(tmp_path / "study", url)
    name = database(url)
    server.sql("UPDATE workbench_version SET version_num = '0009'", name)
    server.sql("UPDATE study SET value = '7.5' WHERE key = 'workbench'", name)
    with pytest.raises(NewerVersion, match=rf"format 9, which workbench 7\.5 wrote.*reads format {FORMAT}.*Update"):
        Storage(tmp_path / "study", url)


@needed
def test_a_full_disk_of_the_server_is_a_sentence_and_leaves_it_sound(
    server: Postgres, url: str, tmp_path: Path
) -> None:
    """A disk in memory holds the table of the rows, as far as it goes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    storage = Storage(tmp_path / "study", url)
    first = storage.store(record("a"), *files(tmp_path / "made"))
    try:
        disk = kills.small_disk(1)
        place = disk.__enter__()
    except Exception:  # noqa: BLE001
        pytest.skip("mounts are not allowed here")
    try:
        place.parent.chmod(place.parent.stat().st_mode | 0o011)
        shutil.chown(place, "nobody", "nogroup")
        server.sql(f"CREATE TABLESPACE small LOCATION '{place}'")
        server.sql("ALTER TABLE variants SET TABLESPACE small", database(url))
        noise = os.urandom(2_000_000).hex()
        with pytest.raises(StorageFailed, match=r"has no room on its disk: .*are kept\. Make room"):
            storage.store(record("b", metadata={"samples": noise}), *files(tmp_path / "made", "b", "b"))
        assert storage.records() == [first]
        assert storage.store(record("c"), *files(tmp_path / "made", "c", "c")) in storage.records()
    finally:
        server.sql("ALTER TABLE variants SET TABLESPACE pg_default", database(url))
        server.sql("DROP TABLESPACE small")
        disk.__exit__(None, None, None)


# --- files that are elsewhere


def test_files_behind_an_address_come_once_and_are_checked(tmp_path: Path) -> None:
    place = f"memory://{uuid4().hex}/files"
    storage = Storage(tmp_path / "study", artefacts=place)
    stored = storage.store(record(), *files(tmp_path / "made"))
    there = fsspec.filesystem("memory")
    root = place.removeprefix("memory:/")
    assert {Path(one).name for one in there.ls(root, detail=False)} == {stored.onnx, stored.state}
    copy = Path(shutil.copytree(tmp_path / "study", tmp_path / "copy"))
    shutil.rmtree(copy / "artefacts")
    other = Storage(copy)  # the study remembers where its files are
    assert other.whole(stored) and (other.artefacts / stored.onnx).read_text() == "graph"
    (other.artefacts / stored.onnx).write_text("damaged here")
    assert other.whole(stored)  # fetched again
    there.pipe(f"{root}/{stored.onnx}", b"damaged there")
    assert other.whole(stored)  # what is here is whole
    (other.artefacts / stored.onnx).unlink()
    assert "was changed" in other.problem(other.artefacts / stored.onnx)
    there.rm(f"{root}/{stored.state}")
    (other.artefacts / stored.state).unlink()
    assert other.problem(other.artefacts / stored.state) == "is missing"
    other.delete("a")
    assert there.ls(root) == [] and not list(other.artefacts.iterdir())


def test_files_that_are_not_where_they_should_be_are_told_of(tmp_path: Path) -> None:
    Storage(tmp_path / "study", artefacts=tmp_path / "files").store(record(), *files(tmp_path / "made"))
    (tmp_path / "files").rename(tmp_path / "moved")
    with pytest.raises(BadFile, match=r"are not in .*files: they were kept in .*files\. Give artefacts="):
        Storage(tmp_path / "study")
    with pytest.raises(BadFile, match="are not in .*elsewhere"):
        Storage(tmp_path / "study", artefacts=tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    (found,) = (storage := Storage(tmp_path / "study", artefacts=tmp_path / "moved")).records()
    assert isinstance(found, Record) and storage.whole(found)


@pytest.mark.parametrize(
    ("place", "said"),
    [("nothing://bucket/x", "Protocol not known"), ("", "Give a folder"), (7, "Give a folder")],
)
def test_a_place_for_files_that_cannot_be_used_is_refused(tmp_path: Path, place: Any, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        Storage(tmp_path / "study", artefacts=place)


def test_a_place_of_files_that_goes_away_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"memory://{uuid4().hex}/files"
    storage = Storage(tmp_path / "study", artefacts=place)
    first = storage.store(record("a"), *files(tmp_path / "made"))

    def gone(*_: Any, **__: Any) -> None:
        raise ConnectionError("key=secret https://me:secret@host/x is down")

    with monkeypatch.context() as patched:
        patched.setattr(type(fsspec.filesystem("memory")), "exists", gone)
        with pytest.warns(UserWarning, match="cannot be reached"):
            second = storage.store(record("b"), *files(tmp_path / "made", "graph of b"))
        assert storage.records() == [first, second] and storage.whole(second)
    assert not storage.unused() and storage.records() == [first, second]
    assert content_name(storage.artefacts / second.onnx) == second.onnx and not (tmp_path / "study/pending").exists()
