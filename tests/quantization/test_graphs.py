"""What really runs in integers, and how accuracy is kept without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from small_nets import SHAPE, graph, images, net
from torch import nn

from workbench.jobs import Reporter
from workbench.onnx_file import write_onnx
from workbench.quantization.dynamic import quantize_dynamically
from workbench.quantization.inspect import float_nodes
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import activation_ranges
from workbench.quantization.repair import compensate, correct_bias, equalize
from workbench.quantization.sensitivity import keep_accuracy, logits, paired_drop, rank


def run(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    return logits(model, inputs, Reporter())


def quantized(model: onnx.ModelProto, **more: object) -> onnx.ModelProto:
    ranges = activation_ranges(model, images(100), "minmax", Reporter())
    return quantize_graph(model, ranges, **more)  # type: ignore[arg-type]


def floats_of(model: onnx.ModelProto, folder: Path) -> dict[str, str]:
    path = folder / "looked-at.onnx"
    onnx.save_model(model, str(path))
    return {node.name: f"{node.operator}: {node.reason}" for node in float_nodes(path)}


# What runs in integers


def test_everything_runs_in_integers(tmp_path: Path) -> None:
    assert floats_of(quantized(graph(net(), tmp_path)), tmp_path) == {}


def test_a_float_network_runs_in_float(tmp_path: Path) -> None:
    found = floats_of(graph(net(), tmp_path), tmp_path)
    assert {"0", "2", "4", "8"} <= set(found)
    assert "left out" in found["0"]


def test_what_was_left_out_is_named(tmp_path: Path) -> None:
    found = floats_of(quantized(graph(net(), tmp_path), exclude=("4",)), tmp_path)
    assert set(found) == {"4"}
    assert "Conv: it was left out" in found["4"]


def test_an_operator_without_a_kernel_is_named(tmp_path: Path) -> None:
    found = floats_of(quantized(graph(net(gelu=True), tmp_path)), tmp_path)
    assert any("no integer kernel for Gelu" in reason for reason in found.values())


@pytest.mark.parametrize("types", TYPES)
def test_types_are_as_asked(types: str, tmp_path: Path) -> None:
    model = quantized(graph(net(), tmp_path), types=TYPES[types])
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert str(constants["0.weight_quantized"].dtype) == TYPES[types].weight
    assert str(constants["input_zero_point"].dtype) == TYPES[types].activation
    exact, found = run(graph(net(), tmp_path), images(50, 1)), run(model, images(50, 1))
    assert np.std(found - exact) < 0.1 * np.std(exact - exact.mean(0))


def test_the_graph_is_valid_and_in_order(tmp_path: Path) -> None:
    onnx.checker.check_model(quantized(graph(net(), tmp_path)))


def test_dynamic_touches_linear_layers_only(tmp_path: Path) -> None:
    model = graph(net(), tmp_path)
    found = quantize_dynamically(model)
    stored = {one.name: one.data_type for one in found.graph.initializer}
    assert stored["8.weight_quantized"] == onnx.TensorProto.INT8
    assert stored["0.weight"] == onnx.TensorProto.FLOAT
    exact = run(model, images(50))
    assert 0 < np.std(run(found, images(50)) - exact) < 0.05 * np.std(exact - exact.mean(0))


# Cross-layer equalization


@pytest.fixture
def uneven(tmp_path: Path) -> onnx.ModelProto:
    """Channels whose ranges differ a thousandfold: hard with one scale for a whole weight."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=4), nn.ReLU(),
        nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    scale = torch.logspace(-1.5, 1.5, 8)
    module[0].weight.data *= scale.reshape(-1, 1, 1, 1)
    module[0].bias.data *= scale
    weight = module[3].weight.data
    weight /= scale.reshape(4, 1, 2).expand(4, 2, 2).reshape(8, 2, 1, 1)
    return graph(module, tmp_path)


def test_equalized_network_computes_the_same(uneven: onnx.ModelProto) -> None:
    np.testing.assert_allclose(run(equalize(uneven), images(20)), run(uneven, images(20)), rtol=1e-4, atol=1e-5)


def test_equalization_evens_out_channels_and_helps(uneven: onnx.ModelProto) -> None:
    def spread(model: onnx.ModelProto) -> float:
        weight = next(numpy_helper.to_array(one) for one in model.graph.initializer if one.name == "0.weight")
        by_channel = np.abs(weight).reshape(8, -1).max(1)
        return float(by_channel.max() / by_channel.min())

    assert spread(equalize(uneven)) < 0.2 * spread(uneven)
    exact = run(uneven, images(50, 1))
    plain = np.std(run(quantized(uneven, per_channel=False), images(50, 1)) - exact)
    even = np.std(run(quantized(equalize(uneven), per_channel=False), images(50, 1)) - exact)
    assert even < 0.5 * plain


# Rounding and biases


def test_compensated_weights_lie_on_the_grid_and_fit_better(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mixing = 1 + 0.1 * torch.randn(2, 2)  # correlated inputs: there errors can cancel
    module = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 16, 3))
    module[0].weight.data = mixing.reshape(2, 2, 1, 1)
    model = graph(nn.Sequential(*module, nn.Flatten()), tmp_path)
    solved = compensate(model, images(100), Reporter())

    def weights(m: onnx.ModelProto) -> np.ndarray:
        return next(numpy_helper.to_array(one) for one in m.graph.initializer if one.name == "1.weight").reshape(16, -1)

    before, after = weights(model), weights(solved)
    scale = np.abs(before).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(after / scale, np.rint(after / scale), atol=1e-3)
    np.testing.assert_allclose(np.abs(after).max(axis=1), np.abs(before).max(axis=1), rtol=1e-6)
    with torch.no_grad():
        hidden = module[0](torch.from_numpy(images(200, 3)))
    patches = nn.functional.unfold(hidden, 3).transpose(1, 2).reshape(-1, 18).numpy()
    nearest = np.rint(before / scale) * scale
    assert np.mean((patches @ (before - after).T) ** 2) < 0.7 * np.mean((patches @ (before - nearest).T) ** 2)


def test_bias_correction_removes_the_mean_error(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module[0].bias.data += 2  # inputs of the second layer are far from zero mean
    model = graph(module, tmp_path)
    inputs = images(200)

    def mean_error(m: onnx.ModelProto) -> float:
        return float(np.abs((run(quantized(m, per_channel=False), inputs) - run(model, inputs)).mean(0)).max())

    corrected = correct_bias(model, quantized(model, per_channel=False), inputs, Reporter())
    assert mean_error(corrected) < 0.5 * mean_error(model)


# Mixed precision


def test_paired_drop_by_hand() -> None:
    before = np.array([True] * 90 + [False] * 10)
    after = before.copy()
    after[:6] = False  # six lost
    after[90:92] = True  # two gained
    found = paired_drop(before, after)
    assert found.value == pytest.approx(0.04)
    # the variance of a difference of paired proportions: (lost + gained) / n - ((lost - gained) / n)^2, over n
    half = 1.959964 * np.sqrt((8 / 100 - 0.04**2) / 100)
    assert (found.low, found.high) == pytest.approx((0.04 - half, 0.04 + half), rel=1e-5)


@pytest.fixture
def fragile(tmp_path: Path) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """One layer's weights have an outlier that leaves the rest no steps to stand on. Labels are the float answers."""
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    for one in (module[0], module[2], module[6]):
        one.weight.data *= 2
    module[0].weight.data[0], module[0].bias.data[0] = 0.0, -1.0  # after the ReLU this channel is zero,
    module[2].weight.data[:, 0] = 400.0  # so that these weights change nothing but the scale
    with torch.no_grad():  # every class is as likely as the others
        module[6].bias.data -= module(torch.from_numpy(images(400, 2))).mean(0)
    path = write_onnx(module, torch.zeros(1, *SHAPE), tmp_path / "net.onnx")
    model, inputs = onnx.load(str(path)), images(400, 2)
    return model, inputs, run(model, inputs).argmax(1)


def test_the_fragile_layer_goes_back_to_float(fragile: tuple[onnx.ModelProto, np.ndarray, np.ndarray]) -> None:
    model, inputs, labels = fragile
    ranges = activation_ranges(model, inputs[:100], "minmax", Reporter())

    def quantize(kept: frozenset[str]) -> onnx.ModelProto:
        return quantize_graph(model, ranges, per_channel=False, exclude=kept)

    assert rank(model, ["0", "2", "6"], quantize, inputs[:100], Reporter())[0] == "2"
    everything = keep_accuracy(model, ["0", "2", "6"], quantize, (inputs, labels), 1.0, Reporter())
    assert everything.kept == ()
    assert everything.drop.value > 0.1
    found = keep_accuracy(model, ["0", "2", "6"], quantize, (inputs, labels), 0.05, Reporter())
    assert found.kept == ("2",)
    assert found.drop.value <= 0.05
    assert found.drop.n == len(labels)
