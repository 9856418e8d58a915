"""The ONNX file computes what the torch module computes, and is easy to work on."""

from __future__ import annotations

import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from workbench import onnx_file
from workbench.errors import StepFailed
from workbench.models.architectures import ARCHITECTURES
from workbench.onnx_file import file_bytes, write_onnx
from workbench.runtimes import runtime


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms statistics that folding could get wrong."""
    generator = torch.Generator().manual_seed(seed)
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor in (one.running_mean, one.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            for tensor in (one.running_var, one.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


def agree(module: nn.Module, example: torch.Tensor, folder: Path) -> onnx.ModelProto:
    """Write, check, and compare with torch in evaluation mode at a batch size the exporter never saw."""
    path = write_onnx(module, example, folder / "net.onnx")
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    inputs = torch.randn(7, *example.shape[1:], generator=torch.Generator().manual_seed(3))
    was_training = module.training
    with torch.no_grad():
        expected = module.eval()(inputs).numpy()
    module.train(was_training)
    got = runtime().load(path).run(inputs.numpy())
    np.testing.assert_allclose(got, expected, atol=1e-4 * max(1.0, float(np.abs(expected).max())))
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_bundled_architectures(name: str, tmp_path: Path) -> None:
    module = shaken(ARCHITECTURES[name]())
    model = agree(module, torch.zeros(1, 1, 28, 28), tmp_path)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"BatchNormalization", "Identity", "Constant", "Dropout"}
    named = {n for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert {node.name for node in model.graph.node if node.op_type in {"Conv", "Gemm"}} == named


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.ReLU()],
        [nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)],
        [nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)],
        [nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)],
        [nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    ],
    ids=["grouped", "transposed", "norm first", "linear", "no norm"],
)
def test_batch_norm_folds_into_the_layer_before(layers: list[nn.Module], tmp_path: Path) -> None:
    module = shaken(nn.Sequential(*layers, nn.Flatten()))
    model = agree(module, torch.zeros(1, 4, 6, 6), tmp_path)
    left = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert len(left) == isinstance(layers[0], nn.BatchNorm2d)  # there is no layer before it


class Shared(nn.Module):
    """One convolution used twice, each time followed by its own batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.conv(x))
        return self.second(self.conv(x)).mean((2, 3))


def test_the_export_leaves_stdout_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to the whole process: a progress bar on another thread once put a closed one back."""
    seen, export = [], onnx_file._export_script

    def look(*given: Any) -> None:
        seen.append((sys.stdout, sys.stderr))
        export(*given)

    monkeypatch.setattr(onnx_file, "_export_script", look)
    write_onnx(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 4, 4), tmp_path / "net.onnx")
    assert seen == [(sys.stdout, sys.stderr)]


@pytest.mark.parametrize(
    "layers",
    [
        [nn.ConstantPad2d(1, 0.0), nn.MaxPool2d(3, 2)],
        [nn.ConstantPad2d((0, 1, 2, 0), 0.0), nn.MaxPool2d(3, 1, padding=1)],
        [nn.ConstantPad2d(1, 0.0), nn.Dropout(), nn.MaxPool2d(2)],
        [nn.ConstantPad2d(1, float("-inf")), nn.MaxPool2d(3, 2)],
        [nn.ConstantPad2d(1, 0.0), nn.AvgPool2d(3, 2)],
        [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 6, 3)],
    ],
    ids=["zeros", "twice padded", "dropout", "minus infinity", "mean", "convolution"],
)
def test_padding_before_a_pool_is_what_torch_pads(layers: list[nn.Module], tmp_path: Path) -> None:
    """ONNX Runtime takes zeros around a max pool for minus infinity, which shows where all else is negative."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Softplus(), _Negative(), *layers).eval()
    model = agree(module, torch.randn(1, 4, 8, 8), tmp_path)
    session = onnxruntime.InferenceSession(model.SerializeToString())  # as a user runs it, with every optimisation
    inputs = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        expected = module(inputs).numpy()
    np.testing.assert_allclose(session.run(None, {"input": inputs.numpy()})[0], expected, atol=1e-5)


class _Negative(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x - 1


def test_a_shared_convolution_keeps_two_weights(tmp_path: Path) -> None:
    model = agree(shaken(Shared()), torch.zeros(1, 3, 5, 5), tmp_path)
    assert [node.name for node in model.graph.node][:1] == ["conv"] or "conv" in model.graph.node[0].name
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


def test_tokens_keep_the_names_of_linear_layers(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Sequential(nn.Linear(8, 3)))
    model = agree(module, torch.zeros(1, 4, 8), tmp_path)
    assert [node.name for node in model.graph.node if node.op_type == "MatMul"] == ["0", "2.0"]


def test_training_mode_and_weights_are_left_alone(tmp_path: Path) -> None:
    module = shaken(ARCHITECTURES["fashion-mobilenet"]()).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    agree(module, torch.zeros(1, 1, 28, 28), tmp_path)
    assert module.training
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items() if "num_batches" not in k)


def test_no_chatter_and_safe_in_threads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    errors: list[BaseException] = []

    def work(index: int) -> None:
        try:
            agree(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(1, 1, 2, 2), tmp_path / str(index))
        except BaseException as error:  # noqa: BLE001  # carried to the main thread
            errors.append(error)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert not [w for w in seen if "onnx" in str(w.message).lower()]
    assert capfd.readouterr() == ("", "")


class Fickle(nn.Module):
    """Takes another way when the batch is larger than one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) * (1.0 if len(x) == 1 else 2.0)


def test_a_file_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"Fickle cannot be written as ONNX: .*Python branches"):
        write_onnx(Fickle(), torch.ones(1, 2, 2), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_external_data_counts(tmp_path: Path) -> None:
    path = write_onnx(nn.Sequential(nn.Flatten(), nn.Linear(4096, 8)), torch.zeros(1, 4096), tmp_path / "net.onnx")
    inside = file_bytes(path)
    assert inside == path.stat().st_size > 4096 * 8 * 4
    model = onnx.load(str(path))
    onnx.save_model(model, str(tmp_path / "out.onnx"), save_as_external_data=True, location="weights.bin")
    outside = (tmp_path / "out.onnx").stat().st_size
    assert outside < 4096 < 4096 * 8 * 4 <= file_bytes(tmp_path / "out.onnx") - outside


class Two(nn.Module):
    """Two inputs, by place or by name, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sum": self.head(left + right), "difference": left - right}


@pytest.mark.parametrize("exporter", ["both", "newer"])
@pytest.mark.parametrize("named", [False, True])
def test_each_exporter_keeps_names_and_takes_any_batch(
    exporter: str, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("an operator that it does not know")

    if exporter == "newer":
        monkeypatch.setattr(onnx_file, "_export_script", refuse)
    module, (left, right) = Two().eval(), torch.randn(2, 5, 4)
    example: Any = {"left": left[:1], "right": right[:1]} if named else (left[:1], right[:1])
    session = onnxruntime.InferenceSession(str(write_onnx(module, example, tmp_path / "net.onnx")))
    names = ["left", "right"] if named else ["input", "input_2"]
    assert [one.name for one in session.get_inputs()] == names
    assert [one.name for one in session.get_outputs()] == ["logits", "output_2"]
    found = session.run(None, dict(zip(names, (left.numpy(), right.numpy()), strict=True)))
    with torch.no_grad():
        expected = module(left, right)
    for one, other in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-5)
