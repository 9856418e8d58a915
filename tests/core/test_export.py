"""What an export checks: the very file that it wrote, its outputs and its accuracy, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import kills
import numpy as np
import onnx
import pytest
import torch
from tiny import CLASSES, SHAPE, tiny_model

import workbench as wb
from workbench import export as export_module
from workbench.building.build import lower
from workbench.coding import pack
from workbench.errors import ExportFailed, OverQuota
from workbench.estimate import Estimate
from workbench.exporters import REGISTRY, Exporter
from workbench.files.disk import workspace
from workbench.jobs import Reporter
from workbench.variant import Variant


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    """The tiny network, measured on images of which those that are compared one by one are all black."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(300, *SHAPE, generator=generator) + 20 * torch.randn(300, SHAPE[0], 1, 1, generator=generator)
    inputs[: len(inputs) // 2] = 0
    with torch.no_grad():
        labels = tiny_model().module(inputs).argmax(1)
    assert len(labels.unique()) > 1
    data = wb.data({"train": (inputs, labels), "test": (inputs, labels)}, name="dark", classes=tuple("abcd"))
    with kills.untimed():
        return wb.Study(tiny_model(), data, path=tmp_path_factory.mktemp("study")).run(wb.Recipe(), progress=False)


@torch.no_grad()
def artefact(folder: Path, spoil: Callable[[torch.nn.Module], object]) -> Path:
    """The ONNX file of the tiny network after some damage."""
    model = tiny_model()
    spoil(model.module)
    return lower(model.module, model, wb.Recipe(), None, folder / "other.onnx", Reporter())


class Converted(Exporter):
    """A conversion that some runtime reads, as far as verification knows; it writes what it is told to."""

    name, title = "converted", "Converted"

    def __init__(self, content: bytes) -> None:
        self.content = content

    def write(self, variant: Variant, folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(self.content)
        return folder / "model.onnx"


def conversion(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setitem(REGISTRY, "converted", Converted(content))


def written(monkeypatch: pytest.MonkeyPatch, format: str, content: bytes) -> None:  # noqa: A002
    """From here on the writer of a format writes these bytes, as a disk might that fails."""
    target, before = REGISTRY[format], REGISTRY[format].write

    def write(variant: Variant, folder: Path) -> Path:
        file = before(variant, folder)
        file.write_bytes(content)
        return file

    monkeypatch.setattr(target, "write", write)


def blind(module: torch.nn.Module) -> None:
    """Without its first layer, which has no bias, the network answers black images alone as before."""
    module.conv1.weight.zero_()


def louder(share: float) -> Callable[[torch.nn.Module], object]:
    """Every answer to black images larger by this share."""

    def spoil(module: torch.nn.Module) -> None:
        module.head.weight *= 1 + share
        module.head.bias *= 1 + share

    return spoil


def test_a_file_that_is_right_on_a_few_inputs_alone_is_refused(
    original: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers the black images alone as the network does: the first ones, and too few of those compared."""
    conversion(monkeypatch, artefact(tmp_path, blind).read_bytes())
    with pytest.raises(ExportFailed, match=r"gives other outputs"):
        wb.export(original, tmp_path / "out", format="converted")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("measured", [(0.5, 0.45, 0.55), (1.2, 1.1, 1.3)], ids=["worse", "better"])
def test_another_accuracy_than_the_measured_one_is_refused(
    original: Variant, tmp_path: Path, measured: tuple[float, float, float]
) -> None:
    claimed = replace(original, estimates={**original.estimates, "accuracy": Estimate(*measured)})
    with pytest.raises(ExportFailed, match=rf"reaches accuracy 100\.00 % where {100 * measured[0]:.2f} % was measured"):
        wb.export(claimed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("share", "refused"), [(1e-2, True), (1e-5, False)])
def test_outputs_may_differ_by_rounding_and_no_more(
    original: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, refused: bool
) -> None:
    conversion(monkeypatch, artefact(tmp_path, louder(share)).read_bytes())
    if refused:
        with pytest.raises(ExportFailed, match="other outputs"):
            wb.export(original, tmp_path / "out", format="converted")
    else:
        verified = wb.export(original, tmp_path / "out", format="converted").verified
        found = verified["largest_relative_difference"]
        assert found == pytest.approx(share, rel=0.2)


def test_outputs_that_are_no_numbers_are_refused(
    original: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load(original.onnx)
    (bias,) = (one for one in graph.graph.initializer if list(one.dims) == [CLASSES])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(CLASSES, np.nan, np.float32), bias.name))
    conversion(monkeypatch, graph.SerializeToString())
    with pytest.raises(ExportFailed, match="other outputs"):
        wb.export(original, tmp_path / "out", format="converted")


def test_a_bundle_is_decoded_and_run(original: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(monkeypatch, "bundle", pack(artefact(tmp_path, louder(0.5))))
    with pytest.raises(ExportFailed, match=r"model\.wbz does not give back the file that was measured"):
        wb.export(original, tmp_path / "out", format="bundle")
    written(monkeypatch, "bundle", b"no bundle")
    with pytest.raises(ExportFailed, match="could not be unpacked"):
        wb.export(original, tmp_path / "out", format="bundle")


def test_the_manifest_names_each_file_with_its_digest(original: Variant, tmp_path: Path) -> None:
    for name in set(wb.export.formats()) - {"c99"}:  # which holds integers alone
        manifest = wb.export(original, tmp_path / name, format=name)
        there = {one.name: one for one in (tmp_path / name).iterdir() if one.name != "manifest.json"}
        assert manifest.files == {one: hashlib.sha256(file.read_bytes()).hexdigest() for one, file in there.items()}


def test_an_export_that_a_visitor_has_no_room_for_is_refused(
    original: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "visitor").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "visitor"))
    size = original.onnx.stat().st_size
    monkeypatch.setenv("WORKBENCH_LIMIT_STORED_MB", repr((size - 1) / 10**6))
    with pytest.raises(OverQuota, match="keeps at most"):
        wb.export(original, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(export_module, "workspace", lambda _: workspace(tmp_path / "visitor"))
    monkeypatch.setenv("WORKBENCH_LIMIT_STORED_MB", repr((size + 1) / 10**6))  # canaries come with it
    with pytest.raises(OverQuota, match="keeps at most"):
        wb.export(original, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("WORKBENCH_LIMIT_STORED_MB", repr((size + 10**6) / 10**6))
    assert wb.export(original, tmp_path / "out").files["model.onnx"]
