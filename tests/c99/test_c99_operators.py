"""Every operator that C has a kernel for against ONNX Runtime, and every refusal with its operator and layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from artefacts import apart, artefact, images
from torch import nn
from torch.nn import functional as fn

from workbench.c99.compiling import compiler
from workbench.c99.reading import read
from workbench.errors import BadValue

needs_compiler = pytest.mark.skipif(not compiler(), reason="no C compiler is installed (cc, gcc or clang)")
SHAPE = (3, 10, 9)


class Of(nn.Module):
    """A convolution, what a function makes of it, and a head."""

    def __init__(self, body: Callable[[torch.Tensor], torch.Tensor], *layers: nn.Module, channels: int = 8) -> None:
        super().__init__()
        self.first, self.body, self.layers = nn.Conv2d(3, channels, 3, padding=1), body, nn.ModuleList(layers)
        with torch.no_grad():
            inside = self.features(torch.zeros(1, *SHAPE))
        self.head = nn.Linear(inside.flatten(1).shape[1], 4)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return self.body(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


def same(x: torch.Tensor) -> torch.Tensor:
    return x


def conv(*given: int, **settings: object) -> nn.Conv2d:
    return nn.Conv2d(*given, **settings)  # type: ignore[arg-type]


BODIES: dict[str, Callable[[], nn.Module]] = {
    "grouped": lambda: Of(same, conv(8, 12, 3, groups=4, bias=False), nn.ReLU6()),
    "several of one channel": lambda: Of(same, conv(8, 16, 3, groups=8, stride=2, padding=1)),
    "depthwise, dilated": lambda: Of(same, conv(8, 8, 3, groups=8, padding=(0, 2), dilation=(1, 2))),
    "depthwise, wide": lambda: Of(same, conv(8, 8, (5, 1), groups=8, padding=(2, 0))),
    "many channels": lambda: Of(same, conv(8, 70, 1), nn.ReLU(), conv(70, 67, 1, stride=2)),
    "max pooling": lambda: Of(same, nn.MaxPool2d(3, 2, 1)),
    "mean pooling": lambda: Of(lambda x: fn.avg_pool2d(x, 2, padding=1, count_include_pad=False)),
    "mean pooling with its padding": lambda: Of(lambda x: fn.avg_pool2d(x, 3, 2, padding=1)),
    "global mean": lambda: Of(lambda x: fn.adaptive_avg_pool2d(x, 1)),
    "gate": lambda: Of(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
    "functions": lambda: Of(lambda x: fn.silu(x) + fn.hardswish(x) * 0.5 - fn.leaky_relu(x, 0.2).clamp(-0.3, 0.4)),
    "two branches": lambda: Of(lambda x: torch.cat([x.relu(), x.tanh(), x[:, 2:5]], 1)),
    "rows side by side": lambda: Of(lambda x: torch.cat([x, x.relu()], 2)),
    "columns side by side": lambda: Of(lambda x: torch.cat([x[..., 1:4], x.relu()], 3)),
    "vectors side by side": lambda: Of(lambda x: torch.cat([x.flatten(1), x.relu().flatten(1)], 1)),
    "parts": lambda: Of(lambda x: torch.cat([one.relu() for one in x.split([3, 5], 1)][::-1], 1)),
    "padding": lambda: Of(lambda x: fn.pad(x, (1, 0, 2, 1))),
    "channels of zeros": lambda: Of(lambda x: x + fn.pad(x[:, :6], (0, 0, 0, 0, 1, 1))),
    "larger": lambda: Of(lambda x: fn.interpolate(x, scale_factor=2)),
    "difference": lambda: Of(lambda x: x - fn.avg_pool2d(x, 3, 1, 1)),
}


@needs_compiler
@pytest.mark.parametrize("name", BODIES)
def test_operators_answer_as_onnx_runtime_does(name: str, tmp_path: Path) -> None:
    file = artefact(BODIES[name](), SHAPE, tmp_path)
    steps, equal = apart(file, tmp_path, images(SHAPE, 300, seed=1).numpy())
    assert steps <= 1.0 and equal > 0.9, (steps, equal)


@needs_compiler
@pytest.mark.parametrize(
    "settings",
    [{"types": "s8s8"}, {"types": "u8u8"}, {"per_channel": False, "symmetric": True}, {"exclude": "layers.0"}],
    ids=str,
)
def test_every_kind_of_integers_and_layers_in_float(settings: dict[str, object], tmp_path: Path) -> None:
    network = Of(lambda x: x.relu(), conv(8, 8, 3, groups=8), conv(8, 6, 3, 2, 1))
    file = artefact(network, SHAPE, tmp_path, **settings)
    steps, equal = apart(file, tmp_path, images(SHAPE, 300, seed=1).numpy())
    assert steps <= 1.0 and equal > 0.5, (steps, equal)


@needs_compiler
@pytest.mark.parametrize(
    "tail", [nn.Softmax(1), nn.Sigmoid(), nn.ReLU(), nn.Identity()], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("place", ["vector", "map"])
def test_answers_that_are_maps_or_probabilities(place: str, tail: nn.Module, tmp_path: Path) -> None:
    if place == "map" and isinstance(tail, nn.Softmax):
        pytest.skip("of a map there is none")
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6), tail)
    wide = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), tail)
    file = artefact(flat if place == "vector" else wide, SHAPE, tmp_path)
    assert apart(file, tmp_path, images(SHAPE, 100, seed=1).numpy())[0] <= 1.0


@needs_compiler
def test_signals_of_one_axis(tmp_path: Path) -> None:
    layers = (nn.Conv1d(3, 6, 5, 2, 2), nn.ReLU(), nn.Conv1d(6, 6, 3, groups=6), nn.MaxPool1d(2), nn.Flatten())
    file = artefact(nn.Sequential(*layers, nn.Linear(6 * 9, 3)), (3, 40), tmp_path)
    assert apart(file, tmp_path, images((3, 40), 200, seed=1).numpy())[0] <= 1.0


@pytest.mark.parametrize(
    ("network", "operator", "layer"),
    [
        (lambda: Of(same, nn.ConvTranspose2d(8, 4, 2)), "ConvTranspose", "layers.0"),
        (lambda: Of(lambda x: x.transpose(2, 3)), "Transpose", "Transpose"),
        (lambda: Of(lambda x: fn.pad(x, (1, 1, 1, 1), mode="reflect")), "Pad", "Pad"),
        (lambda: Of(lambda x: x.softmax(1)), "Softmax", "Softmax"),
        (lambda: Of(lambda x: x.mean(1, keepdim=True)), "ReduceMean", "ReduceMean"),
    ],
    ids=["transposed convolution", "transpose", "reflected padding", "softmax inside", "mean of channels"],
)
def test_what_has_no_kernel_is_named_with_its_layer(
    network: Callable[[], nn.Module], operator: str, layer: str, tmp_path: Path
) -> None:
    file = artefact(network(), SHAPE, tmp_path)
    with pytest.raises(BadValue, match=rf"C99 cannot hold {operator} of the layer '[^']*{layer}[^']*': "):
        read(file)


def test_a_network_with_two_answers_is_refused(tmp_path: Path) -> None:
    model = onnx.load(artefact(Of(same), SHAPE, tmp_path))
    inside = next(one for one in model.graph.node if one.op_type == "Conv").output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(inside, onnx.TensorProto.FLOAT, None))
    onnx.save(model, str(tmp_path / "two.onnx"))
    with pytest.raises(BadValue, match=r"gives 2 outputs; C99 is written for networks with one"):
        read(tmp_path / "two.onnx")


def test_sums_that_may_not_fit_into_32_bits_are_refused(tmp_path: Path) -> None:
    model = onnx.load(artefact(Of(same), SHAPE, tmp_path))
    (bias,) = (one for one in model.graph.initializer if one.name == "head.bias_quantized")
    value = np.full(4, 2**31 - 1000, np.int32)
    bias.CopyFrom(onnx.numpy_helper.from_array(value, bias.name))
    onnx.save(model, str(tmp_path / "large.onnx"))
    with pytest.raises(BadValue, match="Gemm of the layer 'head': its sums may need more than 32 bits"):
        read(tmp_path / "large.onnx")
