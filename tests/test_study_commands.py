"""`workbench study ...` on studies stored by hand: what is listed, shown, compared, freed, taken elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from workbench import cli
from workbench.errors import UnknownName
from workbench.estimate import Estimate
from workbench.kept import Kept
from workbench.measure.paired import Sample
from workbench.studies.naming import Label
from workbench.studies.records import Record
from workbench.studies.storage import Storage

NAME = "net-data-12345678"
#: Of ten inputs the original has nine right; the variant loses two of these and gains the tenth.
RIGHT = {"0a": [True] * 9 + [False], "0b": [False, False, *[True] * 8]}
RATIO = {"0a": None, "0b": 0.5}


def stored(storage: Storage, place: Path, identity: str) -> Record:
    ratio, right = RATIO[identity], RIGHT[identity]
    steps = [] if ratio is None else [{"step": "Prune", "ratio": ratio}]
    share = sum(right) / 10
    estimates = {"accuracy": Estimate(share, share - 0.1, share + 0.05, 10), "macs": Estimate(7, 7, 7, 1, "MACs"),
                 "file_bytes": Estimate(1000 + share * 10, 1000 + share * 10, 1000 + share * 10, 1, "B")}  # fmt: skip
    samples = json.dumps({"accuracy": Sample.of_marks(np.array(right)).write()})
    recipe = json.dumps({"version": 1, "recipe": steps})
    made = (place / "model.onnx", place / "state.safetensors")
    place.mkdir(exist_ok=True)
    for file in made:
        file.write_text(f"{identity} {file.suffix}")
    known = Record(identity, f"2026-01-02T03:04:0{len(steps)}", recipe, estimates, (), metadata={"samples": samples})
    return storage.store(known, *made)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    storage = Storage(tmp_path / "studies" / NAME)
    storage.claim(model="m", data="d")
    storage.describe(model_name="net", data_name="data", judged_by="accuracy")
    for identity in RIGHT:
        stored(storage, tmp_path / "made", identity)
    return storage


def said(*arguments: str) -> str:
    shown = CliRunner().invoke(cli.app, ["study", *arguments])
    assert shown.exit_code == 0, shown.output
    return shown.output


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["workbench", "study", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (cli.MISUSED, cli.FAILED)
    return " ".join(capsys.readouterr().err.split())


def test_studies_are_listed_the_newest_first_with_those_that_cannot_be_read(study: Storage, tmp_path: Path) -> None:
    other = Storage(tmp_path / "studies" / "other")
    broken = tmp_path / "studies" / "broken"
    broken.mkdir()
    (broken / "study.sqlite").write_bytes(b"no database" * 100)
    (tmp_path / "studies" / "no study").mkdir()
    found = json.loads(said("ls", "--json"))
    assert [Path(one["study"]).name for one in found] == [NAME, "broken", "other"]
    first = found[0]
    assert (first["model"], first["data"], first["variants"]) == ("net", "data", 2)
    assert first["changed"] == "2026-01-02T03:04:01"
    assert first["bytes"] == sum(one.stat().st_size for one in study.folder.rglob("*") if one.is_file())
    assert "is not a readable study" in found[1]["problem"]
    text = said("ls")
    assert NAME in text and "net" in text and "Note:" in text and "is not a readable study" in text
    assert json.loads(said("ls", str(other.folder), "--json"))[0]["variants"] == 0
    assert len(json.loads(said("ls", str(tmp_path / "studies"), "--json"))) == 3


@pytest.mark.parametrize("name", [NAME, "net-"])
def test_a_study_is_shown_with_its_intervals(study: Storage, name: str) -> None:
    study.label("0b", Label("small", ("x",)))
    text = said("show", name)
    assert "net on data: 2 variants" in text and "0.9 (0.8 to 0.95)" in text and "small" in text and "original" in text
    limited = json.loads(said("show", name, "--where", "accuracy < 0.85", "--columns", "id,accuracy,tags", "--json"))
    assert limited == [{"id": "0b", "accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.85, "tags": "x"}]


def test_two_variants_are_compared_on_the_same_inputs(study: Storage) -> None:
    """Two lost and one gained of ten, by hand."""
    found = {one["name"]: one for one in json.loads(said("compare", NAME, "original", "0b", "--json"))}
    change = found["accuracy"]["change"]
    assert change["value"] == pytest.approx(-0.1) and change["low"] < -0.1 < 0 < change["high"]
    assert found["accuracy"]["how"] == "on the same inputs" and found["accuracy"]["distinguishable"] is False
    assert found["file_bytes"]["change"]["value"] == pytest.approx(-1.0)
    assert "macs" not in found  # counted, and the same
    text = said("compare", NAME, "0a", "Prune 0.5")
    assert "not distinguishable" in text and "Prune 0.5" in text


def test_files_that_no_variant_has_are_counted_then_deleted_and_no_others(study: Storage) -> None:
    kept = {one.name for one in study.artefacts.iterdir()}
    assert "Every file belongs to a variant." in said("gc", NAME)
    orphan = "0" * 32 + ".onnx"
    (study.artefacts / orphan).write_bytes(bytes(2_000_000))
    (study.artefacts / "mine.txt").write_text("of the user")
    text = said("gc", NAME)
    assert orphan in text and "Would be freed: 1 files, 2.0 MB" in text and (study.artefacts / orphan).exists()
    assert "Freed: 1 files, 2.0 MB." in said("gc", NAME, "--yes")
    assert {one.name for one in study.artefacts.iterdir()} == kept | {"mine.txt"}


def test_files_are_not_looked_at_while_a_variant_is_being_stored(study: Storage, tmp_path: Path) -> None:
    """Deleting takes the place of a writer: the files of one that is not finished yet are no leftovers."""
    import threading

    moved, go_on, freed = threading.Event(), threading.Event(), []
    settle = study._files.settle

    def slow(files: Any) -> None:
        settle(files)
        moved.set()
        assert go_on.wait(30)

    study._files.settle = slow  # type: ignore[method-assign]
    RIGHT["0c"], RATIO["0c"] = [True] * 10, 0.1
    writer = threading.Thread(target=stored, args=(study, tmp_path / "more", "0c"))
    writer.start()
    assert moved.wait(30)
    tidy = threading.Thread(target=lambda: freed.append(Kept(NAME).tidy(remove=True)))
    tidy.start()
    tidy.join(0.3)
    assert tidy.is_alive()  # it waits
    go_on.set()
    writer.join(), tidy.join()
    del RIGHT["0c"], RATIO["0c"]
    assert freed == [{}]
    assert all(isinstance(one, Record) and study.whole(one) for one in study.records()) and len(study.records()) == 3


@pytest.mark.parametrize("end", [".csv", ".json", ".parquet"])
def test_the_table_leaves_as_a_file(study: Storage, tmp_path: Path, end: str) -> None:
    file = tmp_path / "new" / f"table{end}"
    said("export", NAME, str(file))
    read = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}[end](file)
    assert read.accuracy.tolist() == [0.9, 0.8] and read["name"].tolist() == ["original", "Prune 0.5"]
    assert {"accuracy_low", "speedup", "recipe"} <= {*read.columns}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_whole_study_is_taken_elsewhere(study: Storage, tmp_path: Path, form: str) -> None:
    import shutil

    study.label("0b", Label("mine"))
    target = tmp_path / ("copy.zip" if form == "zip" else "copy")
    said("export", NAME, str(target))
    if form == "zip":
        shutil.unpack_archive(target, tmp_path / "copy")
    copy = Storage(tmp_path / "copy")
    copy.claim(model="m", data="d")
    assert copy.records() == study.records() and copy.labels() == study.labels()
    assert all(isinstance(one, Record) and copy.whole(one) for one in copy.records())
    added = stored(copy, tmp_path / "made", "0a")  # it goes on there
    assert added == copy.records()[0]


def test_what_cannot_be_found_or_written_is_a_sentence(
    study: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    Storage(tmp_path / "studies" / "net-other")
    for arguments, why in (
        (("show", "nothing"), "There is no study named 'nothing'"),
        (("show", "net-"), "'net-' may be net-data-12345678 or net-other"),
        (("show", str(tmp_path / "taken")), "There is no study in"),
        (("show", NAME, "--columns", "acuracy"), "Did you mean 'accuracy'"),
        (("show", NAME, "--where", "accuracy ="), "accuracy"),
        (("compare", NAME, "0", "0a"), "'0' may be 0a or 0b"),
        (("compare", NAME, "0a", "0z"), "There is no variant named '0z'"),
        (("export", NAME, str(tmp_path / "taken")), "is there already"),
        (("ls", str(tmp_path / "missing")), "There is no folder"),
        (("show", "postgresql://me:s3cret@127.0.0.1:1/x"), "cannot be reached"),
        (("ls", "mysql://me:s3cret@127.0.0.1:1/x"), "kept in a folder, or in PostgreSQL"),
    ):
        message = refused(monkeypatch, capsys, *arguments)
        assert why in message and "s3cret" not in message, message
    with pytest.raises(UnknownName):
        Kept("")


def test_a_row_that_cannot_be_read_is_told_of(study: Storage) -> None:
    with study.database.writing() as connection:
        connection.exec_driver_sql("UPDATE variants SET estimates = '{' WHERE id = '0b'")
    text = said("show", NAME)
    assert "1 variants" in text and "Note:" in text and "cannot be read" in text
