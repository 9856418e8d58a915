"""`hf:` names: folders that are laid out like repositories of the hub, with small networks made here."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import workbench as wb
from workbench.errors import BadFile, BadValue, UnknownName

RAN: list[str] = []


@pytest.fixture(scope="module")
def transformers(torchvision: ModuleType) -> ModuleType:
    """Beside torchvision, which it looks for."""
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def vit(transformers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A small network of pictures, as `save_pretrained` writes it."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32, image_size=(16, 24),
        patch_size=8, num_channels=2, num_labels=5,
    )  # fmt: skip
    net = transformers.ViTForImageClassification(config).eval()
    folder = tmp_path_factory.mktemp("hub") / "vit-small"
    net.save_pretrained(folder)
    return net, folder


@pytest.fixture
def copy(vit: tuple[nn.Module, Path], tmp_path: Path) -> Path:
    """The same repository, to be changed."""
    return Path(shutil.copytree(vit[1], tmp_path / "copy"))


def configured(folder: Path, **changes: Any) -> Path:
    held = json.loads((folder / "config.json").read_text())
    held = {key: value for key, value in (held | changes).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(held))
    return folder


def test_a_network_of_transformers(vit: tuple[nn.Module, Path]) -> None:
    net, folder = vit
    model = wb.load(f"hf:{folder}")
    assert (model.name, model.source, model.shape) == ("vit-small", f"hf:{folder}", (2, 16, 24))
    x = torch.randn(3, 2, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(model.module(x)["logits"], net(x).logits, atol=1e-5, rtol=1e-5)
    assert sum(type(one) is nn.Linear for one in model.module.modules()) == 2 * 6 + 1
    assert wb.SVD(0.5).plan(model).macs < wb.SVD(0.5).plan(model).before.macs


def test_a_network_of_tokens_takes_its_inputs_by_name(transformers: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=12, num_labels=3,
    )  # fmt: skip
    net = transformers.BertForSequenceClassification(config).eval()
    net.save_pretrained(tmp_path / "bert", max_shard_size="5KB")
    assert len(list((tmp_path / "bert").glob("*.safetensors"))) > 1  # in parts, with an index
    model = wb.load(f"hf:{tmp_path / 'bert'}")
    ids = torch.randint(0, 9, (4, 12))
    with torch.no_grad():
        torch.testing.assert_close(model.module(ids)["logits"], net(ids).logits, atol=1e-5, rtol=1e-5)
    mask = torch.tensor([[1] * 5 + [0] * 3])
    both = wb.load(f"hf:{tmp_path / 'bert'}", example={"input_ids": ids[:1, :8], "attention_mask": mask})
    with torch.no_grad():
        wanted = net(input_ids=ids[:1, :8], attention_mask=mask).logits
        found = both.module(input_ids=ids[:1, :8], attention_mask=mask)["logits"]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    next((tmp_path / "bert").glob("*-00001-of-*.safetensors")).unlink()
    with pytest.raises(BadFile, match=r"lacks model-00001.*Was it copied whole"):
        wb.load(f"hf:{tmp_path / 'bert'}")


def timm_folder(timm: ModuleType, folder: Path, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    net = timm.create_model("mobilenetv3_small_050", num_classes=7, in_chans=1)
    folder.mkdir(parents=True)
    save_file(net.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "mobilenetv3_small_050", "num_classes": 7, "model_args": {"in_chans": 1},
        "pretrained_cfg": {"input_size": [1, 32, 32]}, **more,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return net.eval()


def test_a_network_of_timm(torchvision: ModuleType, tmp_path: Path) -> None:
    net = timm_folder(pytest.importorskip("timm"), tmp_path / "small")
    model = wb.load(f"hf:{tmp_path / 'small'}")
    assert model.shape == (1, 32, 32)
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.module(x), net(x), atol=1e-5, rtol=1e-4)


class Runs:
    """Unpickled, it says so."""

    def __reduce__(self) -> Any:
        return RAN.append, ("unpickled",)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_args": {"in_chans": 1, "checkpoint_path": "evil.pth"}}, "not taken from a file"),
        ({"architecture": "mobilenetv3_small_05"}, "Did you mean 'mobilenetv3_small_0"),
        ({"architecture": "hf-hub:somebody/else"}, "no timm model"),
        ({"model_args": {"in_chans": 3}}, "cannot make"),
        ({"model_args": {"in_chans": 1 << 28}}, "do not belong together"),
        ({"num_classes": "seven"}, "cannot make"),
        ({"pretrained_cfg": {"input_size": [3, 1 << 40, 2]}}, "input size"),
    ],
)
def test_a_configuration_of_a_strangers(
    config: dict[str, Any], says: str, torchvision: ModuleType, tmp_path: Path
) -> None:
    timm_folder(pytest.importorskip("timm"), tmp_path / "small", **config)
    (tmp_path / "small" / "evil.pth").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(wb.WorkbenchError, match=says):
        wb.load(f"hf:{tmp_path / 'small'}")
    assert not RAN


def test_no_code_of_a_repository_is_run(copy: Path) -> None:
    (copy / "modeling.py").write_text("raise SystemExit('ran')")
    auto = {"AutoModelForImageClassification": "modeling.Own", "AutoConfig": "modeling.OwnConfig"}
    expected = wb.load(f"hf:{copy}").hash
    assert wb.load(f"hf:{configured(copy, auto_map=auto)}").hash == expected  # its class is known without it
    configured(copy, architectures=["Own"])
    with pytest.raises(BadFile, match="'Own', which transformers .* does not know. Code that comes with a repository"):
        wb.load(f"hf:{copy}")
    for name in ("AutoTokenizer", "pipeline", "__name__", "utils.logging"):
        with pytest.raises(BadFile, match="does not know"):
            wb.load(f"hf:{configured(copy, architectures=[name])}")


def test_pickles_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(BadFile, match=r"holds no model\.safetensors.*pytorch_model\.bin, which may hold code"):
        wb.load(f"hf:{copy}")
    (copy / "pytorch_model.bin").rename(copy / "model.safetensors")  # called otherwise it is one all the same
    with pytest.raises(BadFile, match="not a readable safetensors file"):
        wb.load(f"hf:{copy}")
    assert not RAN


def test_weights_that_do_not_fit(copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    head = next(name for name in state if name.endswith("classifier.weight"))
    save_file({k: v for k, v in state.items() if k != head}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadFile, match="lack 'classifier.weight', so that its ViTForImageClassification would begin"):
        wb.load(f"hf:{copy}")
    save_file(state, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadFile, match="do not belong together"):
        wb.load(f"hf:{configured(copy, intermediate_size=1 << 30)}")
    with pytest.raises(BadFile, match="quantized already"):
        wb.load(f"hf:{configured(copy, intermediate_size=32, quantization_config={'bits': 4})}")
    with pytest.raises(BadFile, match="neither an architecture of timm"):
        wb.load(f"hf:{configured(copy, quantization_config=..., architectures=...)}")


def test_exports_and_onnx_files_are_networks_too(tmp_path: Path, mobilenet: wb.Model) -> None:
    from workbench.models.structure import save_variant
    from workbench.onnx_file import write_onnx

    for name in ("ours", "open"):
        (tmp_path / name).mkdir()
    save_variant(mobilenet.module, mobilenet, tmp_path / "ours" / "model.safetensors")
    assert wb.load(f"hf:{tmp_path / 'ours'}").hash == mobilenet.hash
    write_onnx(mobilenet.module, mobilenet.example, tmp_path / "open" / "model.onnx")
    model = wb.load(f"hf:{tmp_path / 'open'}")
    x = torch.randn(2, *mobilenet.shape)
    with torch.no_grad():
        torch.testing.assert_close(model.module(x), mobilenet.module(x), atol=1e-4, rtol=1e-4)
    assert model.name == "open"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The hub's cache, and nobody who answers."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def test_what_is_in_the_hubs_cache_is_read_offline(vit: tuple[nn.Module, Path], offline: Path) -> None:
    place = offline / "models--somebody--vit-small"
    shutil.copytree(vit[1], place / "snapshots" / "abc123")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc123")
    model = wb.load("hf:somebody/vit-small")
    assert (model.name, model.source) == ("vit-small", "hf:somebody/vit-small")
    assert model.hash == wb.load(f"hf:{vit[1]}").hash == wb.load("hf:somebody/vit-small@main").hash
    with pytest.raises(BadValue, match="brings its own"):
        wb.load("hf:somebody/vit-small", weights="DEFAULT")


def test_what_is_not_there_is_said_offline(offline: Path) -> None:
    with pytest.raises(BadFile, match=r"hf:somebody/else is not in the cache.*hub does not answer.*hf:folder"):
        wb.load("hf:somebody/else")
    for name in ("hf:else", "hf:a/b/c", "hf:/no/such folder"):
        with pytest.raises(UnknownName, match="no name on the hub and no folder"):
            wb.load(name)
