"""Networks that were followed once are read from the user's disk: the same to the bit, or made anew."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import workbench as wb
from workbench.models import doors, kept
from workbench.models.from_onnx import convert
from workbench.modules.calling import call, flatten, noise_like


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, which also keeps what took no time."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "WORTH", 0.0)
    return tmp_path / "cache" / "networks"


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was followed since."""
    said: list[str] = []
    for module, name in ((convert, "exported"), (doors, "canonical")):
        work = getattr(module, name)

        def watched(*given: Any, _work: Any = work, _name: str = name, **more: Any) -> Any:
            said.append(_name)
            return _work(*given, **more)

        monkeypatch.setattr(module, name, watched)
    return said


class Standardised(nn.Module):
    """Weights that are computed from others, twice used, with a buffer and an embedding of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix = nn.Embedding(11, 6), nn.Linear(6, 6)
        self.register_buffer("scale", torch.tensor([1.5, -2.0, 0.5, 3.0, 1.0, 1e-3]))

    def forward(self, tokens: torch.Tensor, extra: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.words(tokens) + extra.unsqueeze(1)
        w = self.mix.weight - self.mix.weight.mean(1, keepdim=True)
        x = nn.functional.linear(torch.relu(nn.functional.linear(x, w)), w, self.mix.bias)
        return {"x": x * self.scale, "mean": x.mean(1)}


def written_pt2(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    batch = {0: torch.export.Dim("batch")}
    inputs = (torch.randint(0, 11, (2, 5)), torch.randn(2, 6))
    torch.export.save(torch.export.export(Standardised().eval(), inputs, dynamic_shapes=(batch, batch)), path)
    return path


def written_onnx(path: Path, seed: int = 0, *, outside: bool = False) -> Path:
    """A convolution, a bias that is computed, and ReLU, on pictures of any size."""
    rng = np.random.default_rng(seed)
    weights = {"w": rng.standard_normal((4, 3, 3, 3)), "b": rng.standard_normal((1, 4, 1, 1))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "b"], ["twice"]),
        helper.make_node("Add", ["c", "twice"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    axes = ["n", 3, "h", "w_"]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(
        model, path, save_as_external_data=outside, location=f"{path.name}.weights", size_threshold=0,
    )  # fmt: skip
    return path


def equal(a: wb.Model, b: wb.Model) -> bool:
    """Weights, operations, notes, and what comes out for noise, to the bit."""
    first, second = a.module.state_dict(), b.module.state_dict()
    same = first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    examples = zip(flatten(a.example), flatten(b.example), strict=True)
    same = same and all(torch.equal(x, y) and x.dtype == y.dtype for x, y in examples)
    noise = noise_like(a.example, 3)
    with torch.no_grad():
        outputs = zip(flatten(call(a.module, noise)), flatten(call(b.module, noise)), strict=True)
        same = same and all(torch.equal(x, y) for x, y in outputs)
    grads = [[p.requires_grad for p in one.module.parameters()] for one in (a, b)]
    return same and grads[0] == grads[1] and (a.hash, a.notes, a.name) == (b.hash, b.notes, b.name)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_the_second_load_is_the_first_and_follows_nothing(
    kind: str, tmp_path: Path, place: Path, followed: list[str]
) -> None:
    write = written_onnx if kind == "onnx" else written_pt2
    path = write(tmp_path / f"net.{kind}")
    first = wb.load(path)
    assert len(followed) == 1 and len(list(place.glob("*.safetensors"))) == 1
    again = wb.load(path)
    assert len(followed) == 1 and equal(first, again)
    moved = wb.load(path.rename(tmp_path / f"other.{kind}"))  # known by what is in it, called by its own name
    assert len(followed) == 1 and moved.name == "other" and moved.source.endswith(f"other.{kind}")
    assert again.network.totals == first.network.totals
    changed = wb.load(write(tmp_path / f"net.{kind}", seed=1))
    assert len(followed) == 2 and changed.hash != first.hash


def test_sizes_that_the_example_chooses_are_another_entry(tmp_path: Path, followed: list[str]) -> None:
    path = written_onnx(tmp_path / "net.onnx")
    sizes = [wb.load(path, example=(1, 3, n, n)).shape for n in (20, 24, 20)]
    assert sizes == [(3, 20, 20), (3, 24, 24), (3, 20, 20)] and len(followed) == 2


def test_weights_in_a_file_beside_count(tmp_path: Path, followed: list[str]) -> None:
    path = written_onnx(tmp_path / "net.onnx", outside=True)
    first = wb.load(path)
    assert equal(first, wb.load(path)) and len(followed) == 1
    held = bytearray((tmp_path / "net.onnx.weights").read_bytes())
    held[:4] = np.float32(7.0).tobytes()
    (tmp_path / "net.onnx.weights").write_bytes(held)
    other = wb.load(path)
    assert len(followed) == 2
    assert other.hash != first.hash


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "replaced"])
def test_a_damaged_entry_is_made_anew(damage: str, tmp_path: Path, place: Path, followed: list[str]) -> None:
    path = written_onnx(tmp_path / "net.onnx")
    first = wb.load(path)
    (entry,) = place.glob("*.safetensors")
    held = entry.read_bytes()
    entry.write_bytes({
        "cut": held[:-7], "changed": held[:-4] + bytes([held[-4] ^ 64]) + held[-3:], "emptied": b"",
        "replaced": b"\x80\x04cposix\nsystem\n",
    }[damage])  # fmt: skip
    assert equal(first, wb.load(path)) and len(followed) == 2
    assert equal(first, wb.load(path)) and len(followed) == 2  # and stands there again
    assert len(list(place.glob("*.safetensors"))) == 1


def test_what_was_used_longest_ago_goes_first(
    tmp_path: Path, place: Path, followed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [written_onnx(tmp_path / f"{n}.onnx", seed=n) for n in range(3)]
    for age, path in ((30, paths[0]), (20, paths[1])):
        wb.load(path)
        newest = max(place.glob("*.safetensors"), key=os.path.getmtime)
        os.utime(newest, (1e9 - age, 1e9 - age))
    wb.load(paths[0])  # used just now
    size = sum(p.stat().st_size for p in place.glob("*.safetensors"))
    monkeypatch.setenv("WORKBENCH_CACHE_GB", str((size + 100) / (1 << 30)))
    wb.load(paths[2])
    assert len(followed) == 3 and len(list(place.glob("*.safetensors"))) == 2
    wb.load(paths[0])
    assert len(followed) == 3
    wb.load(paths[1])
    assert len(followed) == 4


@pytest.mark.parametrize(
    "setting", [("WORKBENCH_CACHE", ""), ("WORKBENCH_CACHE_GB", "0"), ("WORKBENCH_PUBLISHED", "1")]
)
def test_it_can_be_turned_off(
    setting: tuple[str, str], tmp_path: Path, place: Path, followed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*setting)
    path = written_onnx(tmp_path / "net.onnx")
    assert equal(wb.load(path), wb.load(path)) and len(followed) == 2
    assert not list(place.glob("*"))


def test_a_folder_that_cannot_be_made_is_no_hindrance(
    tmp_path: Path, followed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "file" / "below"))
    assert wb.load(written_onnx(tmp_path / "net.onnx")).shape[0] == 3 and len(followed) == 1


def test_networks_of_collections_with_their_weights(
    torchvision: ModuleType, tmp_path: Path, place: Path, followed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in torch's own folder of downloads stands for the published weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    url = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.url

    def publish(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), folder / Path(url).name)

    publish(0)
    first = wb.load("torchvision:squeezenet1_1", weights="DEFAULT")
    assert equal(first, wb.load("torchvision:squeezenet1_1", weights="DEFAULT")) and len(followed) == 1
    publish(1)
    assert wb.load("torchvision:squeezenet1_1", weights="DEFAULT").hash != first.hash and len(followed) == 2
    wb.load("torchvision:squeezenet1_1")
    assert len(followed) == 3 and len(list(place.glob("*.safetensors"))) == 2  # random weights are not kept
