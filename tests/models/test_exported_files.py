"""Files of `torch.export.save`: read where nothing in them is executed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import BadFile

SAID: list[str] = []


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 6), nn.Conv1d(2, 6, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sum": self.left(a) + self.right(b).mean(2), "left": a}


def plain() -> nn.Module:
    torch.manual_seed(0)
    parts = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(1), nn.Linear(4 * 36, 5))
    return nn.Sequential(*parts).eval()


def exported(module: nn.Module, *inputs: torch.Tensor) -> torch.export.ExportedProgram:
    shapes: Any = tuple({0: torch.export.Dim.AUTO} for _ in inputs)
    return torch.export.export(module, inputs, dynamic_shapes=shapes)


def test_a_file_is_the_network_that_it_was_made_from(tmp_path: Path) -> None:
    net, path = plain(), tmp_path / "net.pt2"
    torch.export.save(exported(net, torch.randn(2, 3, 8, 8)), path)
    model = wb.load(path)
    x = torch.randn(5, 3, 8, 8)
    assert torch.allclose(model.module(x), net(x), atol=1e-5)
    assert (model.name, model.shape) == ("net", (3, 8, 8))
    assert {type(one) for one in model.module.modules()} >= {nn.Conv2d, nn.BatchNorm2d, nn.Linear}


@pytest.mark.parametrize("how", [lambda program: program, lambda program: program.module()])
def test_programs_and_their_modules_are_networks(how: Callable[[Any], Any]) -> None:
    net, a, b = Two().eval(), torch.randn(3, 4), torch.randn(3, 2, 9)
    model = wb.load(how(exported(net, a, b)), example=(a[:1], b[:1]))
    found, expected = model.module(a, b), net(a, b)
    assert list(found) == ["sum", "left"]
    assert torch.allclose(found["sum"], expected["sum"], atol=1e-5)


def changed(source: Path, target: Path, change: Callable[[str, bytes], dict[str, bytes]]) -> Path:
    """The archive with its files changed: a name and a content give what stands in their place."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            for name, content in change(entry.filename, old.read(entry)).items():
                new.writestr(name, content)
    return target


def _edited(name: str, content: bytes, part: str, edit: Callable[[str], str]) -> dict[str, bytes]:
    return {name: edit(content.decode()).encode() if name.endswith(part) else content}


def _pickled(name: str, content: bytes) -> dict[str, bytes]:
    return _edited(
        name, content, "weights_config.json", lambda t: t.replace('"use_pickle": false', '"use_pickle": true')
    )


def _called(name: str, content: bytes) -> dict[str, bytes]:
    return _edited(name, content, "model.json", lambda t: t.replace("torch.ops.aten.relu.default", "torch.hub.load"))


def _evaluated(name: str, content: bytes) -> dict[str, bytes]:
    def edit(text: str) -> str:
        index = json.loads(text)
        for entry in index["graph_module"]["graph"]["tensor_values"].values():
            entry["sizes"] = [{"as_expr": {"expr_str": "__import__('os').getpid()", "hint": None}}]
        return json.dumps(index)

    return _edited(name, content, "model.json", edit)


def _library(name: str, content: bytes) -> dict[str, bytes]:
    more = {f"{name.split('/')[0]}/data/aotinductor/model/net.so": b"\x7fELF"} if name.endswith("version") else {}
    return {name: content} | (more if name.endswith("archive_version") else {})


def _inputs(name: str, content: bytes) -> dict[str, bytes]:
    class Bad:
        def __reduce__(self) -> Any:
            return SAID.append, ("executed",)

    if not name.endswith("sample_inputs/model.pt"):
        return {name: content}
    import io

    stream = io.BytesIO()
    torch.save(Bad(), stream)
    return {name: stream.getvalue()}


@pytest.mark.parametrize("change", [_pickled, _called, _evaluated, _library, _inputs])
def test_what_could_run_code_is_refused(change: Callable[[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    good = tmp_path / "good.pt2"
    torch.export.save(exported(plain(), torch.randn(2, 3, 8, 8)), good)
    bad = changed(good, tmp_path / "bad.pt2", change)
    with pytest.raises(BadFile):
        wb.load(bad)
    assert not SAID


def test_a_cut_archive_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(exported(plain(), torch.randn(2, 3, 8, 8)), path)
    content = path.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(BadFile):
            wb.load(path)


def test_scripts_and_pickles_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(wb.WorkbenchError, match="original module"):
        wb.load(torch.jit.trace(plain(), torch.zeros(1, 3, 8, 8)), example=(1, 3, 8, 8))
    with pytest.raises(BadFile, match=r"\.onnx"):
        wb.load(tmp_path / "net.pt")
