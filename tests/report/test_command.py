"""`workbench report` on a study that is kept: its place is enough where model and data have names of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import workbench as wb
from workbench import cli
from workbench.errors import BadValue, UnknownName
from workbench.estimate import Estimate
from workbench.kept import Kept
from workbench.measure.paired import Sample
from workbench.report.reopened import reopened
from workbench.studies.records import Record
from workbench.studies.storage import Storage

MODEL, DATA = "fashion-mobilenet", "fashion-mnist"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a bundled network and of one variant, with figures written by hand."""
    place = tmp_path_factory.mktemp("kept")
    model, data = wb.load(MODEL), wb.data(DATA)
    storage = Storage(place / "study")
    storage.claim(model=model.hash, data=data.hash)
    storage.describe(model_name=MODEL, data_name=DATA, judged_by="accuracy")
    for recipe, ratio, wrong in ((wb.Recipe(), 1.0, 600), (wb.SVD(0.5).recipe(), 1.5, 640)):
        marks = np.arange(10_000) % 10_000 >= wrong
        found = Sample.of_marks(marks)
        estimates = {"accuracy": found.estimate, "speedup": Estimate(ratio, ratio - 0.1, ratio + 0.1, 40),
                     "latency_ms": Estimate(1, 0.9, 1.1, 40, "ms"), "predicted_speedup": Estimate(1.4, 1.4, 1.4),
                     "validation_accuracy": Estimate(0.93, 0.92, 0.94, 2000)}  # fmt: skip
        costs = {name: Estimate(9, 9, 9) for name in ("macs", "params", "memory_access_bytes", "file_bytes")}
        made = [place / "model.onnx", place / "state.safetensors"]
        for file in made:
            file.write_text(recipe.to_json())
        text = json.dumps({"accuracy": found.write()})
        name = f"{len(recipe)}a"
        storage.store(
            Record(name, "2026-01-02", recipe.to_json(), estimates | costs, (), metadata={"samples": text}), *made
        )
    return place / "study"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["report", *map(str, arguments)])


def test_its_place_is_enough(folder: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and "sqlite" not in file.name}
    done = run(folder, tmp_path / "report.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text()
    assert "fashion-mobilenet on fashion-mnist" in page
    assert "1.50× faster than the original (1.40 to 1.60)" in page
    assert "Shirt" in page  # the classes' names come from the data
    assert {file: file.read_bytes() for file in before} == before


def test_a_card_about_a_named_variant(folder: Path, tmp_path: Path) -> None:
    done = run(folder, tmp_path / "README.md", "--chosen", "1a", "--where", "speedup >= 2", "--title", "Shoes")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "README.md").read_text()
    assert "# Shoes: SVD 0.5" in text
    assert "It does not keep to what was asked (measured speed-up at least 2.00×)" in text


def test_what_cannot_be_is_said(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    for error, *arguments in (
        (UnknownName, tmp_path / "nothing", out),
        (UnknownName, folder, out, "--chosen", "nobody"),
        (BadValue, folder, out, "--model", "fashion-vgg"),
        (BadValue, folder, out, "--data", "fashion-scenes"),
        (BadValue, folder, out, "--model", "no-such-network"),
        (BadValue, folder, tmp_path / "report.pdf"),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, error), (arguments, done.exception)
    assert not out.exists()


def test_a_study_without_variants_is_nothing_to_report(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "empty")
    storage.claim(model="m", data="d")
    with pytest.raises(BadValue, match="Nothing is measured yet"):
        reopened(Kept(str(tmp_path / "empty")), wb.load(MODEL), wb.data(DATA))


def test_a_metric_that_only_its_author_has_is_told(folder: Path) -> None:
    kept = Kept(str(folder))
    kept.about["judged_by"] = "sharpness"
    with pytest.raises(BadValue, match=r"judged by 'sharpness', a metric of your own.*wb\.report\(study"):
        reopened(kept, wb.load(MODEL), wb.data(DATA))
    kept.about["judged_by"] = "top5"
    judged = {one.data.task.principal.name for one in reopened(kept, wb.load(MODEL), wb.data(DATA))}
    assert judged == {"top5"}
