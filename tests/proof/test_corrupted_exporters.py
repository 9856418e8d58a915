"""Six ways in which an exporter goes wrong, for every format that is installed here: none gets past verification."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kills
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadValue, ExportFailed
from workbench.exporters import REGISTRY, Exporter, available
from workbench.models.structure import save_variant
from workbench.runtimes import Session, runtime
from workbench.variant import Variant

Array = np.ndarray[Any, Any]
Write = Callable[[Variant, Path], Path]


class Conversion(Exporter):
    """A format without anything that could be compared byte for byte: its outputs alone give it away."""

    name, title = "conversion", "Conversion"

    def write(self, variant: Variant, folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(variant.onnx.read_bytes())
        return folder / "model.onnx"


@dataclass(frozen=True)
class Damage:
    """What happens to the weights of the second convolution, wherever they are kept."""

    weight: Callable[[Array], Array]

    def on(self, variant: Variant, folder: Path) -> Variant:
        """The same variant with other files."""
        folder.mkdir()
        return replace(variant, artefact=self._onnx(variant, folder), weights=self._state(variant, folder), problem=_no)

    def _onnx(self, variant: Variant, folder: Path) -> Path:
        model = onnx.load(variant.onnx)
        for one in model.graph.initializer:
            if list(one.dims) == [8, 8, 3, 3]:
                value = numpy_helper.to_array(one)
                one.CopyFrom(numpy_helper.from_array(self.weight(value.copy()), one.name))
        onnx.save(model, folder / "damaged.onnx")
        return folder / "damaged.onnx"

    @torch.no_grad()
    def _state(self, variant: Variant, folder: Path) -> Path:
        module = variant.module
        module.conv2.weight.copy_(torch.from_numpy(self.weight(module.conv2.weight.numpy().copy())))
        save_variant(module, variant.model, folder / "damaged.safetensors")
        return folder / "damaged.safetensors"


def _no(_: Path) -> str:
    return ""


def one_weight(value: Array) -> Array:
    """The sign of the largest weight."""
    place = np.unravel_index(np.abs(value.astype(np.int64 if value.dtype.kind == "i" else float)).argmax(), value.shape)
    value[place] = -value[place]
    return value


def one_scale(value: Array) -> Array:
    """One channel by a tenth larger, or of integers one step where it has room."""
    if value.dtype.kind == "f":
        value[0] *= 1.1
        return value
    value[0] = np.clip(value[0].astype(int) * 9 // 8, np.iinfo(value.dtype).min, np.iinfo(value.dtype).max)
    return value


def one_axis(value: Array) -> Array:
    """Height and width exchanged."""
    return np.ascontiguousarray(value.swapaxes(2, 3))


def other_metadata(file: Path) -> None:
    """What a file says of itself besides its numbers."""
    content = file.read_bytes()
    if file.suffix == ".onnx":
        model = onnx.load(file)
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
        content = model.SerializeToString()
    elif file.suffix == ".safetensors":
        assert b'"source":"' in content
        content = content.replace(b'"source":"', b'"sourcE":"')
    elif file.suffix == ".wbz":
        content = content[:4] + (int.from_bytes(content[4:8], "little") + 1).to_bytes(4, "little") + content[8:]
    elif file.suffix == ".xml":
        content = content.replace(b'element_type="f32"', b'element_type="f64"', 1)
    elif file.suffix == ".param":
        content = content.replace(b"7767517", b"7767518", 1)
    elif file.suffix == ".pt2":
        content = content.replace(b"PK\x03\x04", b"PK\x03\x05", 1)
    elif file.suffix == ".c":
        content = content.replace(b"void network_run(", b"void network_runs(")
    else:  # whatever stands at the beginning of such a file: what kind it is, and of which version
        content = bytes(16) + content[16:]
    file.write_bytes(content)


def truncated(file: Path) -> None:
    """The last third is missing."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])


def after(write: Write, spoil: Callable[[Path], None]) -> Write:
    """An exporter whose file is spoilt once it is written."""

    def spoilt(variant: Variant, folder: Path) -> Path:
        file = write(variant, folder)
        spoil(file)
        return file

    return spoilt


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Variant]]:
    with kills.untimed():
        study = wb.Study(tiny_model(), tiny_data(200), path=tmp_path_factory.mktemp("study"))
        yield {
            "float": study.run(wb.Prune(ratio=0.3), progress=False),
            "int8": study.run(wb.Quantize("int8", types="u8s8", stem="int8"), progress=False),
        }


@pytest.fixture(params=[*available(), "conversion"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Exporter:
    monkeypatch.setitem(REGISTRY, "conversion", Conversion())
    return REGISTRY[request.param]


@pytest.fixture(params=["float", "int8"])
def variant(request: pytest.FixtureRequest, variants: dict[str, Variant], target: Exporter, tmp_path: Path) -> Variant:
    chosen = variants[request.param]
    try:
        target.write(chosen, _made(tmp_path / "trial"))
    except BadValue as refused:  # a format that cannot hold it
        pytest.skip(str(refused))
    return chosen


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_what_is_right_is_written(variant: Variant, target: Exporter, tmp_path: Path) -> None:
    found = wb.export(variant, tmp_path / "out", format=target.name).verified["accuracy"]
    measured = variant["accuracy"]
    assert found == measured.value if target.measured(variant) == variant.onnx else measured.holds(found)


@pytest.mark.parametrize("kind", [one_weight, one_scale, one_axis])
def test_other_numbers_are_caught(
    variant: Variant, target: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Array], Array]
) -> None:
    write = target.write
    damaged = Damage(kind).on(variant, tmp_path / "damaged")
    monkeypatch.setattr(target, "write", lambda _, folder: write(damaged, folder))
    with pytest.raises(ExportFailed, match="Nothing was exported"):
        wb.export(variant, tmp_path / "out", format=target.name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spoil", [other_metadata, truncated])
def test_a_spoilt_file_is_caught(
    variant: Variant, target: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(target, "write", after(target.write, spoil))
    with pytest.raises(ExportFailed, match="Nothing was exported"):
        wb.export(variant, tmp_path / "out", format=target.name)
    assert not (tmp_path / "out").exists()


def test_the_source_read_in_place_of_the_copy_is_caught(
    variant: Variant, target: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpacked(_: Path, __: Path) -> Path:
        return target.measured(variant) or variant.onnx

    def load(_: Path) -> Session:
        return runtime().load(variant.onnx)

    monkeypatch.setattr(target, "unpacked", unpacked)
    monkeypatch.setattr(target, "load", load)
    with pytest.raises(ExportFailed, match="does not read the file that was written"):
        wb.export(variant, tmp_path / "out", format=target.name)


def test_the_source_handed_on_as_the_copy_is_caught(
    variant: Variant, target: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(variant: Variant, folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(b"something else")
        return variant.onnx

    monkeypatch.setattr(target, "write", write)
    with pytest.raises(ExportFailed, match="no file of the folder that it was to write to"):
        wb.export(variant, tmp_path / "out", format=target.name)
