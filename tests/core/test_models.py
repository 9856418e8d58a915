"""Loading networks, describing rewritten ones as data, and what is refused."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import TinyNet, tiny_model
from torch import nn

import workbench as wb
from workbench.errors import BadFile, BadValue, StepFailed, UnknownName
from workbench.models.structure import describe, load_variant, rebuild, restore, save_variant

BUNDLED = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")


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
        restore(tiny_model(), tmp_path / "other.safetensors")
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
    assert set(describe(model.module, new)) == {"conv2", "bn1"}
    save_variant(new, model, tmp_path / "v.safetensors")
    x = torch.randn(3, 2, 12, 12)
    torch.testing.assert_close(restore(model, tmp_path / "v.safetensors")(x), new(x), rtol=0, atol=0)
    with pytest.raises(BadFile, match="as a module"):
        load_variant(tmp_path / "v.safetensors")


def test_rebuilding_leaves_the_original_and_the_random_state_alone() -> None:
    model = tiny_model()
    description, before = describe(model.module, rewritten(model.module)), model.hash
    state = torch.random.get_rng_state()
    rebuild(model.module, description)
    assert model.hash == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_description_builds_only_known_layers() -> None:
    model = tiny_model()
    for description in ({"type": "Popen", "arguments": {}}, {"type": "Conv2d", "arguments": {"in_channels": "x"}}):
        with pytest.raises(BadFile, match="conv1"):
            rebuild(model.module, {"conv1": description})
    with pytest.raises(BadFile, match="nowhere"):
        rebuild(model.module, {"nowhere.conv": {"type": "Identity", "arguments": {}}})


def test_what_cannot_be_written_down_is_refused() -> None:
    class Custom(nn.Module):
        pass

    new = copy.deepcopy(tiny_model().module)
    new.conv2 = Custom()
    with pytest.raises(StepFailed, match="Custom"):
        describe(tiny_model().module, new)
