"""Quantization against arithmetic done by hand, and against torch's own outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue, StepFailed
from workbench.measure.accuracy import outputs
from workbench.models.architectures import ARCHITECTURES
from workbench.onnx_file import file_bytes, write_onnx
from workbench.steps.base import Context
from workbench.steps.quantize import Quantize

FASHION = (1, 1, 28, 28)


def images(n: int, shape: tuple[int, ...] = FASHION, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape[1:], generator=torch.Generator().manual_seed(seed))


def lowered(step: Quantize, source: Path, calibration: torch.Tensor | None) -> Path:
    target = source.with_name(f"{source.stem}.{step.precision}.onnx")
    example = torch.zeros(1, 1) if calibration is None else calibration[:1]
    step.lower(source, target, Context(example, calibration=calibration))
    return target


def fresh(name: str) -> nn.Module:
    """Random weights, with batch-norm statistics that keep the activations alive in every layer."""
    torch.manual_seed(0)
    module = ARCHITECTURES[name]()
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.momentum = None  # a plain average
    with torch.no_grad():
        module.train()(images(200, seed=9))
    return module.eval()


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nets")
    return {name: write_onnx(fresh(name), torch.zeros(FASHION), folder / f"{name}.onnx") for name in ARCHITECTURES}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("precision", "error", "size"), [("fp16", 0.01, 0.53), ("int8", 0.15, 0.5)])
def test_outputs_stay_near(nets: dict[str, Path], name: str, precision: str, error: float, size: float) -> None:
    target = lowered(Quantize(precision), nets[name], images(100))
    inputs = images(50, seed=1)
    exact, found = outputs(nets[name], inputs), outputs(target, inputs)
    assert 0 < np.std(found - exact) < error * np.std(exact - exact.mean(0))
    assert file_bytes(target) < size * file_bytes(nets[name])


def test_int8_convolution_by_hand(tmp_path: Path) -> None:
    """Quantize, convolve in integers and rescale with numpy alone, as in Jacob et al. 2018, section 2."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 1)
    conv.weight.data[1] *= 20  # per-channel scales must differ
    net = nn.Sequential(conv, nn.ReLU(), nn.Conv2d(3, 2, 1))  # the second layer's output stays in float
    source = write_onnx(net, torch.zeros(1, 2, 4, 4), tmp_path / "net.onnx")
    x = images(64, (1, 2, 4, 4))
    found = outputs(lowered(Quantize("int8"), source, x), x[:8])
    with torch.no_grad():
        hidden_range = net[:2](x)

    def activation(values: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
        low, high = min(0.0, float(seen.min())), max(0.0, float(seen.max()))
        scale = (high - low) / 255
        zero = round(-low / scale)
        integers = np.clip(np.rint(values.numpy() / scale) + zero, 0, 255)
        return (integers - zero) * scale

    def layer(values: np.ndarray, module: nn.Conv2d) -> torch.Tensor:
        weight = module.weight.detach().numpy()[:, :, 0, 0]
        scale = np.abs(weight).max(axis=1, keepdims=True) / 127
        rounded = np.rint(weight / scale) * scale
        assert module.bias is not None
        bias = module.bias.detach().numpy()[None, :, None, None]
        return torch.from_numpy(np.einsum("oi,nihw->nohw", rounded, values) + bias)

    hidden = layer(activation(x[:8], x), conv).clamp(min=0)
    expected = layer(activation(hidden, hidden_range), net[2])
    step = float(hidden_range.max()) / 255 * float(net[2].weight.detach().abs().sum(1).max())
    np.testing.assert_allclose(found, expected.numpy(), atol=1.01 * step)  # ties may round either way
    assert np.mean(np.abs(found - expected.numpy()) > 0.01 * step) < 0.1


def test_weights_are_8_bit_integers_with_one_scale_a_channel(nets: dict[str, Path]) -> None:
    model = onnx.load(str(lowered(Quantize("int8"), nets["fashion-resnet"], images(50))))
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    weights = [v for v in constants.values() if v.ndim == 4]
    assert weights
    assert all(v.dtype == np.int8 for v in weights)
    makers = {name: node for node in model.graph.node for name in node.output}
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    dequantize = makers[conv.input[1]]
    assert constants[dequantize.input[1]].shape == (32,)
    assert model.graph.output[0].name == "logits"
    assert makers["logits"].op_type == "Gemm"  # logits are not rounded


def test_without_calibration_images(nets: dict[str, Path]) -> None:
    with pytest.raises(StepFailed, match="needs calibration images"):
        lowered(Quantize("int8"), nets["fashion-resnet"], None)


def test_nan_activations_name_the_layer(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    net[0].weight.data *= 100
    source = write_onnx(net, torch.zeros(1, 1, 4, 4), tmp_path / "net.onnx")
    inputs = images(20, (1, 1, 4, 4))
    inputs[7] = 3e38
    with pytest.raises(StepFailed, match=r"activations of Conv '[02]' are NaN or infinite"):
        lowered(Quantize("int8"), source, inputs)


def test_unknown_precision() -> None:
    with pytest.raises(BadValue, match="must be one of 'fp16', 'int8'"):
        Quantize("int7")


@pytest.mark.parametrize(("precision", "bits"), [("fp16", 16), ("int8", 8)])
def test_sketch_keeps_shapes_and_shrinks_memory_access(precision: str, bits: int) -> None:
    module = ARCHITECTURES["fashion-resnet"]()
    network = trace(module, torch.zeros(FASHION))
    sketch = Quantize(precision).sketch(network, Weights(module))
    assert sketch.network.totals.macs == network.totals.macs
    assert sketch.network.totals.memory_access_bytes * 32 == network.totals.memory_access_bytes * bits
    assert [row.layer for row in sketch.rows] == [
        name for name, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    assert all(row.applies and row.action == f"{bits} bits" for row in sketch.rows)
