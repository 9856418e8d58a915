"""A study on disk: damaged rows and files, full disks, two writers, kills; nothing finished is lost or wrong."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kills
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadFile, StorageFailed, WorkbenchError
from workbench.files.disk import workspace
from workbench.studies.tables import FORMAT

FIRST, SECOND = wb.Prune(ratio=0.3), wb.Prune(ratio=0.6)


@pytest.fixture(scope="module", autouse=True)
def untimed() -> Iterator[None]:
    with kills.untimed():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three variants, which nobody changes."""
    folder = tmp_path_factory.mktemp("made") / "study"
    study = wb.Study(tiny_model(), tiny_data(), path=folder)
    for recipe in (FIRST, SECOND):
        study.run(recipe, progress=False)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


def opened(folder: Path) -> wb.Study:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `notes` has what they say
        return wb.Study(tiny_model(), tiny_data(), path=folder)


def change(folder: Path, column: str, value: Any, position: int = 2) -> None:
    database = sqlite3.connect(folder / "study.sqlite")
    with database:
        database.execute(f"UPDATE variants SET {column} = ? WHERE position = ?", (value, position))
    database.close()


def stored(folder: Path, column: str, position: int = 2) -> Any:
    database = sqlite3.connect(folder / "study.sqlite")
    found = database.execute(f"SELECT {column} FROM variants WHERE position = ?", (position,)).fetchone()[0]
    database.close()
    return found


# --- rows

TEXT = '{"accuracy": {"value": "high", "low": 0, "high": 1}}'
BROKEN = ["{", "[1]", "null", "5", b"\xff\xfe", "[" * 100_000, 7, TEXT]


@pytest.mark.parametrize("value", BROKEN, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("column", ["estimates", "notes", "recipe", "metadata", "onnx"])
def test_a_damaged_row_locks_no_other_out(folder: Path, column: str, value: Any) -> None:
    if column == "onnx":
        value = f"../{value!r}"[:40]
    change(folder, column, value)
    study = opened(folder)
    assert [one.name for one in study.variants] == ["original", "Prune 0.6"]
    assert len(study.notes) == 1 and "cannot be read" in study.notes[0]
    if column != "recipe":
        assert "Prune 0.3" in study.notes[0] and "study.run(wb.Prune(ratio=0.3))" in study.notes[0]


def test_a_damaged_row_comes_back_when_its_recipe_is_run_and_nothing_of_it_is_destroyed(folder: Path) -> None:
    change(folder, "estimates", "{damaged")
    study = opened(folder)
    again = study.run(FIRST, progress=False)
    assert again.whole and again["accuracy"].n == 100
    reopened = opened(folder)
    assert not reopened.notes
    assert [one.name for one in reopened.variants] == ["original", "Prune 0.3", "Prune 0.6"]  # in its old place
    database = sqlite3.connect(folder / "study.sqlite")
    assert "{damaged" in database.execute("SELECT content FROM replaced").fetchone()[0]
    database.close()


def test_a_figure_that_was_changed_is_noticed(folder: Path) -> None:
    known = json.loads(stored(folder, "estimates"))
    known["accuracy"]["value"] = 0.999
    change(folder, "estimates", json.dumps(known))
    assert "not those that were stored" in opened(folder).notes[0]


def test_what_a_later_version_knows_is_kept(folder: Path) -> None:
    known = json.loads(stored(folder, "estimates"))
    known["accuracy"]["method"] = "of a later version"
    change(folder, "estimates", json.dumps(known))
    change(folder, "metadata", json.dumps(json.loads(stored(folder, "metadata")) | {"future": [1, {"a": 2}]}))
    database = sqlite3.connect(folder / "study.sqlite")
    database.execute("ALTER TABLE variants ADD COLUMN future TEXT DEFAULT 'x'")
    database.close()
    study = opened(folder)
    assert not study.notes and len(study.variants) == 3
    before = [stored(folder, column) for column in ("estimates", "metadata", "future")]
    study.rename(study.variants[1], "mine")
    study.run(wb.Prune(ratio=0.1), progress=False)
    assert [stored(folder, column) for column in ("estimates", "metadata", "future")] == before


def test_a_step_of_a_later_version_is_left_out_and_left_alone(folder: Path) -> None:
    recipe = '[{"step": "Teleport", "ratio": 0.5}]'
    change(folder, "recipe", recipe)
    change(folder, "seal", "")
    study = opened(folder)
    assert len(study.variants) == 2
    assert "Teleport" in study.notes[0] and "update the workbench" in study.notes[0]
    study.run(wb.Prune(ratio=0.1), progress=False)
    assert stored(folder, "recipe") == recipe


@pytest.mark.parametrize("where", ["row", "recipe"])
def test_a_row_of_a_newer_version_is_told_of_locks_nothing_and_is_not_destroyed(folder: Path, where: str) -> None:
    if where == "row":  # whose other columns may hold what this version knows nothing of
        change(folder, "version", "2")
        change(folder, "estimates", "a form of 2031")
    else:
        change(folder, "recipe", '{"version": 2, "recipe": {"graph": []}}')
        change(folder, "seal", "")
    study = opened(folder)
    assert [one.name for one in study.variants] == ["original", "Prune 0.6"]
    (note,) = study.notes
    assert stored(folder, "id") in note and "newer version of the workbench" in note and "of version 2" in note
    assert "run its recipe again" not in note
    kept = [stored(folder, column) for column in ("version", "recipe", "estimates")]
    study.run(wb.Prune(ratio=0.1), progress=False)
    assert [stored(folder, column) for column in ("version", "recipe", "estimates")] == kept
    if where == "row":  # the same recipe is measured here, and what the newer version knew is set aside
        assert study.run(FIRST, progress=False).whole and not opened(folder).notes
        database = sqlite3.connect(folder / "study.sqlite")
        assert "a form of 2031" in database.execute("SELECT content FROM replaced").fetchone()[0]
        database.close()


def test_rows_say_their_version(folder: Path) -> None:
    assert [stored(folder, "version", position) for position in (1, 2, 3)] == ["1"] * 3
    assert json.loads(stored(folder, "recipe"))["version"] == 1


def test_a_row_that_cannot_be_read_can_be_deleted(folder: Path) -> None:
    change(folder, "estimates", "{")
    study = opened(folder)
    study.delete(stored(folder, "id"))
    assert not opened(folder).notes


def test_a_study_of_an_earlier_version_opens(folder: Path) -> None:
    database = sqlite3.connect(folder / "study.sqlite")
    database.execute("PRAGMA journal_mode=DELETE")
    for column in ("metadata", "seal", "version"):
        database.execute(f"ALTER TABLE variants DROP COLUMN {column}")
    database.execute("UPDATE variants SET recipe = json_extract(recipe, '$.recipe')")  # a bare list
    for table in ("labels", "replaced", "workbench_version"):
        database.execute(f"DROP TABLE {table}")
    database.execute("DELETE FROM study WHERE key NOT IN ('model', 'data')")
    database.commit()
    database.close()
    study = opened(folder)
    assert len(study.variants) == 3 and not study.notes
    assert study.run(wb.Prune(ratio=0.1), progress=False).whole


def test_a_study_of_a_later_format_says_so(folder: Path) -> None:
    database = sqlite3.connect(folder / "study.sqlite")
    database.execute("UPDATE study SET value = ? WHERE key = 'version'", (str(FORMAT + 1),))
    database.commit()
    database.close()
    with pytest.raises(BadFile, match="Update the workbench"):
        wb.Study(tiny_model(), tiny_data(), path=folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_of_a_row_may_be_anything(folder: Path, data: st.DataObject) -> None:
    names = ["created", "recipe", "estimates", "notes", "onnx", "state", "metadata", "seal", "version"]
    column = data.draw(st.sampled_from(names))
    before = stored(folder, column)
    content = bytearray(before.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    change(folder, column, data.draw(st.sampled_from([bytes(content), content.decode("utf-8", "replace")])))
    study = opened(folder)
    change(folder, column, before)
    assert {"original", "Prune 0.6"} <= {one.name for one in study.variants}
    for one in study.variants:
        assert {name: e.value for name, e in one.estimates.items()}.keys() >= {"accuracy", "latency_ms"}


# --- files


def test_a_file_that_was_changed_is_never_used_and_comes_back(folder: Path, tmp_path: Path) -> None:
    study = opened(folder)
    _, first, second = study.variants
    expected = first.onnx.read_bytes()
    shutil.copy2(second.onnx, first.onnx)
    for use in (lambda: first.onnx, lambda: wb.export(first, tmp_path / "out"), lambda: first.profile()):
        with pytest.raises(BadFile, match=r"was changed since it was measured.*study\.run"):
            use()
    assert not (tmp_path / "out").exists()
    back = study.run(FIRST, progress=False)
    assert back.whole and back.onnx.read_bytes() == expected
    assert "made and measured again" in " ".join(back.notes)
    assert study[back.id] is back and opened(folder)[back.id].estimates == back.estimates


def test_a_missing_file_comes_back_also_the_original_s(folder: Path) -> None:
    study = opened(folder)
    study.variants[0].artefact.unlink()
    study.variants[1].weights.unlink()
    with pytest.raises(BadFile, match="is missing"):
        _ = study.variants[1].module
    study.run(wb.Prune(ratio=0.2), progress=False)  # which is compared with the original
    assert study.baseline.whole
    assert study.run(FIRST, progress=False).whole


def test_a_folder_that_is_no_whole_export_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    wb.export(opened(folder).variants[1], tmp_path / "out", format="safetensors")
    (tmp_path / "out" / "recipe.yaml").write_text("recipe: []")
    with pytest.raises(BadFile, match=r"recipe\.yaml.*is not the file that was exported"):
        wb.load(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(BadFile, match=r"no whole export: manifest\.json is missing"):
        wb.load(tmp_path / "out")


# --- exports


def whole(out: Path) -> bool:
    manifest = json.loads((out / "manifest.json").read_text())
    return all(kills.sha256(out / name) == known for name, known in manifest["files"].items())


@pytest.mark.parametrize("moment", [1, 2, 5, 8, 9, 12, 14, 15])
def test_an_export_that_fails_half_way_leaves_the_earlier_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    study, out = opened(folder), tmp_path / "out"
    wb.export(study.variants[1], out, format="bundle")
    (out / "mine.txt").write_text("of the user")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    calls, move = iter(range(1, 99)), Path.replace

    def full(self: Path, target: Path) -> Path:
        if next(calls) == moment:
            raise OSError(28, "No space left on device")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", full)
    if moment <= 14:  # a list comes, 7 files of the earlier export go, 6 come
        with pytest.raises(StorageFailed, match="no room on the disk"):
            wb.export(study.variants[2], out)
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    else:
        wb.export(study.variants[2], out)
        assert whole(out) and not (out / "model.wbz").exists()
        assert (out / "mine.txt").read_text() == "of the user"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".unfinished")]


KILLED_AT = """
import json, os, sys
from pathlib import Path
from workbench.export import _hand_over

place, move = Path(sys.argv[1]), Path.replace

def staged(name, *files):
    folder = place / name
    folder.mkdir()
    for file in files:
        (folder / file).write_text(name)
    (folder / "manifest.json").write_text(json.dumps({"files": {file: "" for file in files}}))
    return folder

for moment in range(1, 10):
    out = place / f"out{moment}"
    _hand_over(staged(f"first{moment}", "model.wbz", "decode.py", "recipe.yaml"), out)
    (out / "mine.txt").write_text("of the user")
    if os.fork() == 0:
        left = iter(range(moment - 1, -1, -1))
        Path.replace = lambda self, target: move(self, target) if next(left) else os._exit(9)
        _hand_over(staged(f"second{moment}", "model.onnx", "recipe.yaml"), out)
        os._exit(0)
    os.wait()
    killed = sorted(one.name for one in out.iterdir())
    _hand_over(staged(f"third{moment}", "model.safetensors", "recipe.yaml"), out)
    print(json.dumps([killed, {one.name: one.read_text() for one in out.iterdir()}]))
"""


def test_an_export_after_one_that_was_killed_finds_nothing_of_it_left(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_AT, str(tmp_path)], capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 9
    for moment, (killed, after) in enumerate(found, 1):
        if "manifest.json" in killed:  # it looks whole: then it is, the old one or the new one
            ours = {*killed} - {"mine.txt", "manifest.json", ".replacing.json"}
            assert ours in ({"model.wbz", "decode.py", "recipe.yaml"}, {"model.onnx", "recipe.yaml"})
        assert set(after) == {"model.safetensors", "recipe.yaml", "manifest.json", "mine.txt"}
        assert after["recipe.yaml"] == f"third{moment}"


def test_a_first_export_that_fails_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(folder)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with pytest.raises(StorageFailed, match="Read-only"):
        wb.export(study.variants[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_killed_process_left_unfinished_is_tidied_up(tmp_path: Path) -> None:
    script = f"""
import os, sys
from pathlib import Path
from workbench.files.disk import workspace
with workspace(Path({str(tmp_path)!r})) as folder:
    (folder / "half").write_text("x")
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(list(tmp_path.glob(".unfinished-*"))) == 2
    with workspace(tmp_path) as mine, workspace(tmp_path) as other:
        assert mine.is_dir() and other.is_dir()  # what is at work stays
    assert not list(tmp_path.iterdir())


# --- disks


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """What a full disk does: files cannot grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("size", [0, 100, 2000, 4000])
@pytest.mark.parametrize("recipe", [wb.Recipe((wb.Prune(0.7),)), wb.Prune(0.7) | wb.Finetune(1)], ids=["", "trained"])
def test_a_full_disk_is_a_sentence_and_loses_nothing(folder: Path, size: int, recipe: wb.Recipe) -> None:
    study = opened(folder)
    refused = pytest.raises(StorageFailed, match=r"(no room on the disk|failed at).*are kept")
    with no_file_beyond(size), refused as caught:
        study.run(recipe, progress=False)
    assert isinstance(caught.value, OSError)  # code that expects what the system raises goes on working
    with no_file_beyond(size), pytest.raises(WorkbenchError):
        wb.export(study.variants[1], folder / "out")
    assert not (folder / "out").exists()
    assert all(one.whole for one in opened(folder).variants) and len(opened(folder).variants) == 3
    assert study.run(recipe, progress=False).whole  # once there is room


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_study_on_a_read_only_disk_opens_and_says_why_it_cannot_run() -> None:
    try:
        found = kills.read_only()
    except subprocess.CalledProcessError:
        pytest.skip("mounts are not allowed here")
    assert (found.lost, found.wrong, found.raw) == ([], [], [])


def test_a_path_that_is_no_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailed, match="file"):
        wb.Study(tiny_model(), tiny_data(), path=tmp_path / "file" / "study")


# --- more than one


def test_two_writers_share_what_is_finished(folder: Path) -> None:
    one, other = opened(folder), opened(folder)
    made = one.run(wb.Prune(ratio=0.8), progress=False)
    found = other.run(wb.Prune(ratio=0.8), progress=False)
    assert found.created == made.created and found.estimates == made.estimates  # not measured twice
    together = [wb.Prune(ratio=0.9) | wb.Finetune(epochs=2)] * 2  # also the training that both keep is the same
    threads = [
        threading.Thread(target=study.run, args=(recipe,), kwargs={"progress": False})
        for study, recipe in zip((one, other), together, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = one.find(together[0]), other.find(together[0])
    assert first is not None and second is not None
    assert first.estimates == second.estimates == opened(folder)[first.id].estimates
    assert first.whole and second.whole


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["run", "export", "search", "two writers"])
def test_killed_at_a_write_nothing_finished_is_lost(scenario: str, folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder)
    _ = kills.study(folder).baseline
    found = kills.kill(scenario, folder, random.Random(f"seed of {scenario}"), by_event=True)
    assert found.finished > 0
    assert (found.lost, found.wrong, found.raw) == ([], [], [])
