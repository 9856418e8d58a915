"""Loading networks, describing rewritten ones as data, and what is refused."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import TinyNet, tiny_model
from torch import nn

import workbench as wb
from workbench.errors import BadFile, BadValue, StepFailed, UnknownName
from workbench.models.structure import load_variant, restore, save_variant
from workbench.untrusted import read_tensors

BUNDLED = tuple(f"fashion-{one}" for one in ("vgg", "resnet", "mobilenet", "squeezenet", "shufflenet", "seresnet"))


def rewritten(module: nn.Module) -> nn.Module:
    """conv2 as a chain of two, bn1 gone."""
    new = copy.deepcopy(module)
    new.conv2 = nn.Sequential(nn.Conv2d(8, 3, (3, 1), padding=(1, 0), bias=False), nn.Conv2d(3, 8, 1))
    new.bn1 = nn.Identity()
    return new.eval()


@pytest.mark.parametrize("name", BUNDLED)
def test_the_catalogue_tells_the_accuracy_of_the_bundled_weights(name: str) -> None:
    row = wb.catalog().set_index("name").loc[name]
    model, validation = wb.load(name), wb.data("fashion-mnist")["validation"]
    with torch.no_grad():
        right = sum(int((model.module(x).argmax(1) == y).sum()) for x, y in validation.batches(200))
    # another 2,000 images: three standard errors are 1.7 points
    assert abs(right / len(validation) - row.accuracy) < 0.02
    assert row.params == sum(p.numel() for p in model.module.parameters())


def test_the_bundled_networks_reach_what_they_must() -> None:
    accuracy = wb.catalog().set_index("name").accuracy
    assert accuracy["fashion-vgg"] >= 0.930
    assert accuracy["fashion-resnet"] >= 0.935
    assert accuracy["fashion-mobilenet"] >= 0.920
    assert sum(wb.catalog().head(3).file_bytes) < 10e6


def test_the_hash_follows_the_content() -> None:
    assert tiny_model(0).hash == tiny_model(0).hash != tiny_model(1).hash
    other = tiny_model(0)
    other.module.head.bias.data[0] += 1
    assert other.hash != tiny_model(0).hash


def test_other_weights_for_a_bundled_architecture(tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in wb.load("fashion-mobilenet").module.state_dict().items()}
    state["classifier.2.bias"] += 1
    save_file(state, tmp_path / "mine.safetensors")
    loaded = wb.load("fashion-mobilenet", weights=str(tmp_path / "mine.safetensors"))
    assert torch.equal(loaded.module.get_parameter("classifier.2.bias"), state["classifier.2.bias"])


def test_bad_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UnknownName, match="Did you mean 'fashion-resnet'"):
        wb.load("fashion-resnt")
    with pytest.raises(BadFile, match=r"w\.safetensors"):
        wb.load("fashion-vgg", weights=str(tmp_path / "w.safetensors"))
    with pytest.raises(BadFile, match="do not fit"):
        wb.load("fashion-vgg", weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(BadFile, match="no description"):
        restore(tmp_path / "other.safetensors")
    with pytest.raises(BadFile, match=r"\.pth"):
        wb.load("net.pth")
    with pytest.raises(BadValue, match="example="):
        wb.load(TinyNet())
    with pytest.raises(BadValue, match="batch of 1"):
        wb.load(TinyNet(), example=torch.zeros(3, 2, 12, 12))
    with pytest.raises(BadValue, match=r"\(1, 5, 12, 12\)"):
        wb.load(TinyNet(), example=torch.zeros(1, 5, 12, 12))


def test_nan_weights_are_refused() -> None:
    net = TinyNet()
    net.conv2.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(BadValue, match=r"conv2\.weight"):
        wb.load(net, example=torch.zeros(1, 2, 12, 12))


def test_a_rewritten_network_survives_its_file(tmp_path: Path) -> None:
    model = tiny_model()
    new = rewritten(model.module)
    save_variant(new, model, tmp_path / "v.safetensors")
    x = torch.randn(3, 2, 12, 12)
    torch.testing.assert_close(restore(tmp_path / "v.safetensors")(x), new(x), rtol=0, atol=0)
    again = wb.load(tmp_path / "v.safetensors")
    torch.testing.assert_close(again.module(x), new(x), rtol=0, atol=0)
    assert again.example.shape == model.example.shape
    with pytest.raises(BadFile, match="known by name"):
        load_variant(tmp_path / "v.safetensors", by_name=True)


def test_reading_a_network_leaves_the_random_state_alone(tmp_path: Path) -> None:
    model = tiny_model()
    save_variant(model.module, model, tmp_path / "v.safetensors")
    state = torch.random.get_rng_state()
    restore(tmp_path / "v.safetensors")
    wb.load(model.module, example=(1, 2, 12, 12))
    assert torch.equal(torch.random.get_rng_state(), state)


def _tampered(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A stored network whose description was changed by hand."""
    model, path = tiny_model(), tmp_path / "v.safetensors"
    save_variant(model.module, model, path)
    state, metadata = read_tensors(path)
    structure = json.loads(metadata["structure"])
    change(structure)
    save_file(state, path, {**metadata, "structure": json.dumps(structure)})
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["layers"]["conv1"].update(type="Popen"),
        lambda s: s["layers"]["conv1"]["arguments"].update(in_channels="x"),
        lambda s: s["layers"]["conv1"]["arguments"].update(device="cpu"),
        lambda s: s["layers"]["conv1"]["arguments"].update(out_channels=1 << 40),
        lambda s: s["nodes"][1].update(op="call_function", target="os.system"),
        lambda s: s["nodes"][1].update(op="call_function", target="aten.from_file.default"),
        lambda s: s["nodes"][1].update(op="call_function", target="torch.load"),
        lambda s: s["nodes"][1].update(op="call_method", target="register_hook"),
        lambda s: s["nodes"][1].update(op="call_module", target="nowhere"),
        lambda s: s["nodes"][0].update(target="x=[].append(1)"),
        lambda s: s["nodes"][1].update(target='conv1"), print("in", "'),
        lambda s: s["nodes"][1].update(kwargs={"dict": [["x=print(1), y", 1]]}),
        lambda s: s["nodes"][1].update(target="conv1\n    print(1)"),
        lambda s: s["nodes"][1].update(args={"tuple": [{"node": "unheard"}]}),
        lambda s: s.update(version=99),
        lambda s: s.update(nodes="x"),
        lambda s: s.pop("layers"),
        lambda s: s.update(example={"inputs": 3}),
        lambda s: s.update(shared={"conv1.weight": "conv9.weight"}),
    ],
)  # fmt: skip
def test_a_description_builds_only_what_is_known(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        wb.load(_tampered(tmp_path, change))


def test_a_network_from_a_file_may_not_ask_for_all_memory(tmp_path: Path) -> None:
    resize = {"name": "big", "op": "call_module", "target": "big", "args": {"tuple": [{"node": "x"}]}}

    def enlarge(structure: dict[str, Any]) -> None:
        structure["layers"]["big"] = {"type": "Resize", "arguments": {"size": [40000, 40000]}}
        structure["nodes"].insert(1, resize)
        structure["nodes"][-1]["args"] = {"tuple": [{"node": "big"}]}

    with pytest.raises(BadFile, match="GB for one input"):
        wb.load(_tampered(tmp_path, enlarge))


def test_what_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    class Custom(nn.Module):
        pass

    model = tiny_model()
    new = copy.deepcopy(model.module)
    new.conv2 = Custom()
    with pytest.raises(StepFailed, match="Custom"):
        save_variant(new, model, tmp_path / "v.safetensors")


class Masked(nn.Module):
    """Attention to what came before: the mask is a buffer of minus infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed = nn.Linear(8, 24)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.mixed(x).chunk(3, -1)
        return (query @ key.transpose(1, 2) + self.mask).softmax(-1) @ value


def test_buffers_may_hold_infinities_and_weights_may_not() -> None:
    x = torch.randn(2, 4, 8)
    module = Masked().eval()
    model = wb.load(module, example=x[:1])
    assert torch.allclose(model.module(x), module(x), atol=1e-6)
    for name in ("mask", "mixed.bias"):
        broken = Masked()
        dict([*broken.named_buffers(), *broken.named_parameters()])[name].data.view(-1)[0] = torch.nan
        with pytest.raises(wb.WorkbenchError, match=f"'{name}' holds NaN"):
            wb.load(broken, example=x[:1])
    module.mixed.bias.data[0] = torch.inf
    with pytest.raises(wb.WorkbenchError, match=r"'mixed\.bias' holds NaN or infinite"):
        wb.load(module, example=x[:1])
