"""An export made again from the original: the same bits, or said so; and what is no such thing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kills
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadFile, BadValue, ReplayFailed
from workbench.files.content import digest
from workbench.proof.provenance import package_hash

RECIPES = {
    "free": (wb.Prune(ratio=0.4) | wb.ShareWeights(bits=4, epochs=0), "safetensors"),
    "fitted": (wb.Tucker(rank=0.5) | wb.Recalibrate(), "onnx"),
    "trained": (wb.Prune(ratio=0.3) | wb.Finetune(epochs=1), "safetensors"),
    "int8": (wb.Prune(ratio=0.3) | wb.Quantize("int8"), "bundle"),
    "fp16": (wb.Quantize("fp16").recipe(), "onnx"),
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("exports")
    with kills.untimed():
        study = wb.Study(tiny_model(), tiny_data(), path=place / "study", recalibrate=False)
        for name, (recipe, form) in RECIPES.items():
            wb.export(study.run(recipe, progress=False), place / name, format=form)
    return {name: place / name for name in RECIPES}


@pytest.fixture
def changed(exports: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(exports["free"], tmp_path / "changed"))


@pytest.mark.parametrize("name", RECIPES)
def test_what_was_exported_comes_out_again_bit_for_bit(exports: dict[str, Path], name: str) -> None:
    found = wb.replay(exports[name], tiny_model(), tiny_data())
    assert found.exact and found.weights == 0 and not found.notes
    assert str(found) == f"{RECIPES[name][0].name}: The same, bit for bit."
    inputs = tiny_data()["test"].inputs
    if name in {"free", "trained"}:  # oracle: the exported network itself
        with torch.no_grad():
            assert torch.equal(found.model.module(inputs), wb.load(exports[name]).module(inputs))
    if RECIPES[name][1] == "onnx":
        assert found.artefact == (exports[name] / "model.onnx").read_bytes()


def test_a_recipe_that_looks_at_no_data_needs_none(exports: dict[str, Path]) -> None:
    assert wb.replay(exports["free"] / "manifest.json", tiny_model()).exact


def test_a_recipe_that_was_fitted_to_data_says_that_they_are_missing(exports: dict[str, Path]) -> None:
    with pytest.raises(ReplayFailed, match="It was made with data: give them"):
        wb.replay(exports["fitted"], tiny_model())


def test_a_manifest_says_what_it_was_made_from_and_with(exports: dict[str, Path]) -> None:
    made = json.loads((exports["int8"] / "manifest.json").read_text())["made"]
    assert (made["model"], made["data"]) == (tiny_model().hash, tiny_data().hash)
    assert made["package"] == package_hash() and len(package_hash()) == 16
    assert (made["seed"], made["recalibrate"], made["task"]) == (0, False, "")
    assert made["versions"]["torch"] == torch.__version__


def test_another_model_or_other_data_are_refused(exports: dict[str, Path]) -> None:
    with pytest.raises(BadValue, match=f"is not the network that .* was made from.*{tiny_model().hash}"):
        wb.replay(exports["free"], tiny_model(seed=1), tiny_data())
    with pytest.raises(BadValue, match=f"are not the data that .* was made with .{tiny_data().hash}"):
        wb.replay(exports["free"], tiny_model(), tiny_data(50))


def test_files_that_were_changed_and_folders_of_other_things_are_refused(changed: Path, tmp_path: Path) -> None:
    (changed / "recipe.yaml").write_text("another")
    with pytest.raises(BadFile, match=r"recipe\.yaml in .* is not the file that was exported"):
        wb.replay(changed, tiny_model(), tiny_data())
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BadFile):
            wb.replay(folder, tiny_model(), tiny_data())


def said_to_be(folder: Path, **changes: object) -> None:
    """A manifest of other content, whose files are as it says."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    manifest["files"] = {name: digest(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_manifest_of_another_recipe_than_the_files_is_found_out(changed: Path) -> None:
    said_to_be(changed, recipe=(wb.Prune(ratio=0.9) | wb.SVD(rank=0.2)).to_list())
    with pytest.raises(ReplayFailed, match="is not what was exported"):
        wb.replay(changed, tiny_model(), tiny_data())


def test_other_versions_and_what_is_not_exact_are_said(exports: dict[str, Path], tmp_path: Path) -> None:
    """As if another version had summed in another order: every weight a little other."""
    folder = Path(shutil.copytree(exports["fitted"], tmp_path / "other"))
    model = onnx.load(folder / "model.onnx")
    for one in model.graph.initializer:
        value = numpy_helper.to_array(one)
        if value.dtype == np.float32:
            one.CopyFrom(numpy_helper.from_array(value * np.float32(1 + 1e-5), one.name))
    onnx.save(model, folder / "model.onnx")
    made = json.loads((folder / "manifest.json").read_text())["made"]
    made["versions"]["torch"] = "2.0.0"
    said_to_be(folder, made=made | {"package": "0" * 16})
    found = wb.replay(folder, tiny_model(), tiny_data())
    assert not found.exact and found.weights == pytest.approx(1e-5, rel=0.1)
    assert "Not bit for bit the same, and within 0.001: weights differ by 1e-05 at most." in str(found)
    assert f"Made with torch 2.0.0, made again with {torch.__version__}." in found.notes
    assert "The workbench's own code is not what it was made with." in found.notes


def test_an_export_of_an_earlier_version_says_what_it_lacks(changed: Path) -> None:
    said_to_be(changed, made={})
    found = wb.replay(changed, tiny_model())
    assert "An earlier version made it, which noted neither data nor settings." in found.notes
