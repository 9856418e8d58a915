"""`wb.export(variant, folder, opset=...)`: the measured network in older or newer operators of ONNX."""

from __future__ import annotations

from pathlib import Path

import kills
import onnx
import onnxruntime
import pytest
from onnx import helper
from rgb import colour_data, colour_model

import workbench as wb
from workbench.errors import BadValue
from workbench.exporters import onnx as exported
from workbench.variant import Variant


@pytest.fixture(scope="module")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    with kills.untimed():
        study = wb.Study(colour_model(), colour_data(), path=tmp_path_factory.mktemp("study"))
        return study.run(wb.Quantize("int8"), progress=False)


@pytest.mark.parametrize("opset", [14, 21])
def test_the_file_is_of_the_opset_that_was_asked_for(variant: Variant, tmp_path: Path, opset: int) -> None:
    """Oracle: ONNX's own checker, and ONNX Runtime told to take released opsets alone."""
    manifest = wb.export(variant, tmp_path / "out", opset=opset)
    held = onnx.load(tmp_path / "out" / "model.onnx")
    assert exported.opset_of(held) == opset != exported.opset_of(onnx.load(variant.onnx))
    assert held.ir_version == helper.find_min_ir_version_for(held.opset_import)
    onnx.checker.check_model(held, full_check=True)
    onnxruntime.InferenceSession(held.SerializeToString(), providers=["CPUExecutionProvider"])
    assert manifest.proven and manifest.verified["largest_relative_difference"] < 1e-4


def test_in_its_own_opset_it_is_the_measured_file(variant: Variant, tmp_path: Path) -> None:
    own = exported.opset_of(onnx.load(variant.onnx))
    wb.export(variant, tmp_path / "out", opset=own)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == variant.onnx.read_bytes()


def test_an_opset_that_cannot_hold_the_graph_is_refused_by_its_operator(variant: Variant, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"cannot be written in opset 9: \w+, as it is since opset \d+, cannot"):
        wb.export(variant, tmp_path / "out", opset=9)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("opset", [6, 10_000, True, "17", 17.0])
def test_what_is_no_opset_is_refused(variant: Variant, tmp_path: Path, opset: object) -> None:
    with pytest.raises(wb.WorkbenchError, match=r"17|opset"):
        wb.export(variant, tmp_path / "out", opset=opset)  # type: ignore[arg-type]


def test_other_formats_have_no_opset(variant: Variant, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"'bundle' has no opset"):
        wb.export(variant, tmp_path / "out", format="bundle", opset=17)
