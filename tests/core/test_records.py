"""The folder of a study without a study: rows and files, what is replaced, shared, deleted, refused; and names."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from workbench.errors import BadFile, OverQuota, StorageFailed
from workbench.estimate import Estimate
from workbench.studies.naming import Label, Names, distinct
from workbench.studies.records import Damaged, Record
from workbench.studies.storage import Storage

RECIPE = '{"version": 1, "recipe": []}'


def record(identity: str = "a", value: float = 0.5, **more: Any) -> Record:
    estimates = {"accuracy": Estimate(value, value - 0.1, value + 0.1, 10), "macs": Estimate(3, 3, 3, 1, "MACs")}
    return Record(identity, "2026-01-02T03:04:05", RECIPE, estimates, ("it is small",), **more)


def files(folder: Path, onnx: str = "graph", state: str = "weights") -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_text(onnx)
    (folder / "state.safetensors").write_text(state)
    return folder / "model.onnx", folder / "state.safetensors"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "study")


def kept(storage: Storage) -> set[str]:
    return {(storage.artefacts / one.name).read_text() for one in storage.artefacts.iterdir()}


def rows(storage: Storage, query: str) -> list[Any]:
    database = sqlite3.connect(storage.folder / "study.sqlite")
    try:
        found = database.execute(query).fetchall()
        database.commit()
        return found
    finally:
        database.close()


def test_what_is_stored_is_read_again(storage: Storage, tmp_path: Path) -> None:
    given = record(metadata={"machine": "m", "future": [1]})
    onnx, state = files(tmp_path / "made")
    stored = storage.store(given, onnx, state)
    assert not onnx.exists() and not state.exists()  # moved, not copied
    assert (storage.artefacts / stored.onnx).read_text() == "graph"
    assert (storage.artefacts / stored.state).read_text() == "weights"
    assert Path(stored.onnx).suffix == ".onnx" and Path(stored.state).suffix == ".safetensors"
    assert Storage(storage.folder).records() == [stored] == [replace(given, onnx=stored.onnx, state=stored.state)]
    assert storage.whole(stored)
    for name in (stored.onnx, stored.state):
        (storage.artefacts / name).unlink()
        assert not storage.whole(stored)
        (storage.artefacts / name).write_text("graph" if name == stored.onnx else "weights")
    assert storage.whole(stored)
    (storage.artefacts / stored.state).write_text("other weights")
    assert not storage.whole(stored)


def test_a_seal_is_what_earlier_versions_wrote(storage: Storage, tmp_path: Path) -> None:
    """Worked out again here, since with another seal nothing that was stored before could be read."""
    stored = storage.store(record(metadata={"verdict": "good", "machine": "m"}), *files(tmp_path / "made"))
    figures = {"accuracy": [0.5, 0.4, 0.6, 10, ""], "macs": [3, 3, 3, 1, "MACs"]}
    said = ["a", "2026-01-02T03:04:05", RECIPE, figures, ["it is small"], stored.onnx, stored.state, ["good", "m", ""]]
    expected = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    assert rows(storage, "SELECT seal, version FROM variants") == [(expected, "1")]


@pytest.mark.parametrize("column", ["id", "created", "recipe", "estimates", "notes", "onnx", "state", "metadata"])
def test_a_change_of_anything_that_is_said_is_noticed(storage: Storage, tmp_path: Path, column: str) -> None:
    storage.store(record(metadata={"machine": "m"}), *files(tmp_path / "made"))
    (before,) = rows(storage, f"SELECT {column} FROM variants")[0]
    changed = {
        "estimates": before.replace("0.5", "0.9"),
        "notes": before.replace("small", "large"),
        "metadata": before.replace('"m"', '"n"'),
    }.get(column, before.replace("a", "b").replace("2026", "2027").replace("1", "2"))
    assert changed != before
    rows(storage, f"UPDATE variants SET {column} = '{changed}'")
    (found,) = storage.records()
    assert isinstance(found, Damaged) and "not those that were stored" in str(found.error)


def test_the_first_of_two_with_one_id_is_kept_while_its_files_are_whole(storage: Storage, tmp_path: Path) -> None:
    first = storage.store(record(value=0.5), *files(tmp_path / "one"))
    storage.store(record("b"), *files(tmp_path / "between", "b", "b"))
    assert storage.store(record(value=0.7), *files(tmp_path / "two", "other")) == first
    assert kept(storage) == {"graph", "weights", "b"} and not rows(storage, "SELECT * FROM replaced")
    (storage.artefacts / first.onnx).write_text("damaged")
    third = storage.store(record(value=0.8), *files(tmp_path / "three", "new graph"))
    assert third.estimates["accuracy"].value == 0.8
    assert [one.id for one in storage.records()] == ["a", "b"] and storage.records()[0] == third  # in its place
    ((identity, content),) = rows(storage, "SELECT * FROM replaced")
    assert identity == "a" and json.loads(json.loads(content)["estimates"])["accuracy"]["value"] == 0.5
    rows(storage, "UPDATE variants SET estimates = '{' WHERE id = 'a'")  # a row that cannot be read gives way too
    assert storage.store(record(value=0.9), *files(tmp_path / "four")) == storage.records()[0]


def test_files_go_with_the_last_variant_that_has_them(storage: Storage, tmp_path: Path) -> None:
    storage.store(record("a"), *files(tmp_path / "a", "shared", "of a"))
    storage.store(record("b"), *files(tmp_path / "b", "shared", "of b"))
    storage.label("a", Label("mine"))
    storage.label("b", Label("other"))
    storage.delete("a")
    assert kept(storage) == {"shared", "of b"}
    assert [one.id for one in storage.records()] == ["b"] and storage.labels() == {"b": Label("other")}
    storage.delete("nothing")
    for one in storage.artefacts.iterdir():
        one.unlink()
    storage.delete("b")  # also without its files
    assert storage.records() == [] and storage.labels() == {}


def test_nothing_outside_the_folder_is_deleted(storage: Storage, tmp_path: Path) -> None:
    storage.store(record(), *files(tmp_path / "made"))
    (storage.folder / "precious").write_text("x")
    rows(storage, "UPDATE variants SET onnx = '../precious'")
    storage.delete("a")
    assert (storage.folder / "precious").exists()


def test_a_write_that_fails_half_way_is_undone(storage: Storage, tmp_path: Path) -> None:
    storage.store(record("a"), *files(tmp_path / "a"))
    with pytest.raises(TypeError):
        storage.store(record("b", metadata={"bad": object()}), *files(tmp_path / "b", "b", "b"))
    with pytest.raises(BadFile, match="no such table: missing"), storage.database.writing() as database:
        _ = [database.exec_driver_sql(f"DELETE FROM {table}") for table in ("variants", "missing")]
    assert [one.id for one in storage.records()] == ["a"]
    assert storage.store(record("c"), *files(tmp_path / "c", "c", "c")) in storage.records()


def test_a_visitor_stores_no_more_than_the_page_allows(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_LIMIT_STORED_MB", "1")
    storage.store(record("a"), *files(tmp_path / "a"))
    (tmp_path / "large").write_bytes(bytes(10**6))
    onnx, state = files(tmp_path / "b", "b", "b")
    with pytest.raises(OverQuota, match="at most 1 MB"):
        storage.store(record("b"), onnx, state)
    assert [one.id for one in storage.records()] == ["a"] and onnx.exists()


def test_a_study_can_be_read_where_nothing_can_be_written(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = storage.store(record(), *files(tmp_path / "made"))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert Storage(storage.folder).records() == [stored]
    with pytest.raises(StorageFailed, match="Read-only"):
        Storage(tmp_path / "elsewhere")


def test_a_folder_is_about_one_thing(storage: Storage, tmp_path: Path) -> None:
    storage.claim(model="m", data="d")
    Storage(storage.folder).claim(model="m", data="d")
    for key, other in (("model", {"model": "n", "data": "d"}), ("data", {"model": "m", "data": "e"})):
        with pytest.raises(BadFile, match=f"another {key}"):
            storage.claim(**other)


def test_labels_are_changed_and_what_cannot_be_read_is_left_out(storage: Storage) -> None:
    storage.label("a", Label("first", ("x", "y"), "why"))
    storage.label("a", Label("second", ("x",)))
    storage.label("b", Label(text="only words"))
    rows(storage, "INSERT INTO labels VALUES ('c', '{\"name\": 1}')")
    assert storage.labels() == {"a": Label("second", ("x",)), "b": Label(text="only words")}
    for broken in ("", "[", "[]", "3", "null", '{"name": "n", "tags": []}', '{"name": "n", "tags": 3, "text": ""}'):
        assert Label.from_json(broken) is None


def test_names_are_the_steps_and_what_tells_them_apart() -> None:
    svd = wb.SVD(0.5).recipe()
    long = wb.SVD(0.5, layers=("a", "b", "c", "d", "e")).recipe()
    three = wb.SVD(0.5, layers=("a", "b", "c")).recipe()
    plain = wb.SVD(0.5, data_aware=False).recipe()
    assert distinct([svd]) == ["SVD 0.5"] == distinct([plain])  # alone it needs no telling apart
    assert distinct([svd, long, three, plain]) == [
        "SVD 0.5", "SVD 0.5 (layers a+b+c+2 more)", "SVD 0.5 (layers a+b+c)", "SVD 0.5 (no data_aware)"
    ]  # fmt: skip
    assert distinct([svd, svd, svd]) == ["SVD 0.5", "SVD 0.5 #2", "SVD 0.5 #3"]
    by_layer = [wb.SVD({"fc": rank, "head": 4}).recipe() for rank in (8, 9)]
    assert distinct(by_layer) == ["SVD on 2 layers", "SVD on 2 layers #2"]
    assert distinct([svd, svd], {"SVD 0.5", "SVD 0.5 #2"}) == ["SVD 0.5 #3", "SVD 0.5 #4"]
    # The same words of different lengths of recipe: the settings of the second step belong to the longer one alone.
    assert distinct([svd, svd | wb.Quantize("int8")])[0] == "SVD 0.5"


def test_a_name_of_the_user_s_is_nobody_else_s() -> None:
    names = Names()
    names.labels = {"2": Label("SVD 0.5", ("fast",), "mine")}
    names.update({"1": wb.SVD(0.5).recipe(), "2": wb.Prune(0.5).recipe(), "3": wb.Tucker(0.5).recipe()})
    assert [names.name(one) for one in "1234"] == ["SVD 0.5 #2", "SVD 0.5", "Tucker 0.5", ""]
    assert names.taken("SVD 0.5", other_than="1") and not names.taken("SVD 0.5", other_than="2")
    assert not names.taken("nothing", other_than="1")
    assert names.label("1") == Label() and names.label("2").tags == ("fast",)
