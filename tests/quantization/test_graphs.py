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

from workbench.data.batches import as_split
from workbench.estimate import paired_change
from workbench.jobs import Reporter
from workbench.measure.judging import judge_of
from workbench.onnx_file import write_onnx
from workbench.quantization.biases import correct_bias
from workbench.quantization.dynamic import quantize_dynamically
from workbench.quantization.equalize import equalize
from workbench.quantization.inspect import float_nodes
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import activation_ranges
from workbench.quantization.rounding import METHODS, Grid, compensated, learned, nearest, round_weights
from workbench.quantization.sensitivity import answers, keep_quality, order_by_sensitivity, paired_drop
from workbench.quantization.weights_only import to_int4
from workbench.runtimes.onnxruntime import open_session
from workbench.tasks.classification import CLASSIFICATION


def run(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    return answers(model, inputs, Reporter())


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


def test_every_stored_tensor_is_read(tmp_path: Path) -> None:
    model = quantized(graph(net(), tmp_path))
    read = {name for node in model.graph.node for name in node.input}
    assert {one.name for one in model.graph.initializer} <= read  # ONNX Runtime warns of others


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


@pytest.mark.parametrize("method", ["compensated", "learned"])
@pytest.mark.parametrize("largest", [7, 127])
def test_rounded_weights_lie_on_the_grid_and_fit_better(method: str, largest: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    mixing = 1 + 0.1 * torch.randn(2, 2)  # correlated inputs: there errors can cancel
    module = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 16, 3))
    module[0].weight.data = mixing.reshape(2, 2, 1, 1)
    model = graph(nn.Sequential(*module, nn.Flatten()), tmp_path)
    solved, scales = round_weights(model, images(100), Reporter(), Grid(largest), METHODS[method])

    def weights(m: onnx.ModelProto) -> np.ndarray:
        return next(numpy_helper.to_array(one) for one in m.graph.initializer if one.name == "1.weight").reshape(16, -1)

    before, after = weights(model), weights(solved)
    scale = np.abs(before).max(axis=1, keepdims=True) / largest
    np.testing.assert_allclose(scales["1.weight"], scale[:, 0], rtol=1e-6)
    np.testing.assert_allclose(after / scale, np.rint(after / scale), atol=1e-3)
    if method == "compensated":
        np.testing.assert_allclose(np.abs(after).max(axis=1), np.abs(before).max(axis=1), rtol=1e-6)
    with torch.no_grad():
        hidden = module[0](torch.from_numpy(images(200, 3)))
    patches = nn.functional.unfold(hidden, 3).transpose(1, 2).reshape(-1, 18).numpy()
    plain = np.rint(before / scale) * scale
    assert np.mean((patches @ (before - after).T) ** 2) < 0.7 * np.mean((patches @ (before - plain).T) ** 2)


def test_learned_rounding_finds_nearly_the_best_of_all_choices() -> None:
    """Every choice of up or down for ten weights, tried one after the other."""
    random = np.random.default_rng(0)
    seen = np.maximum(random.standard_normal((500, 4)) @ random.standard_normal((4, 10)) + 0.5, 0)
    second, scale = seen.T @ seen / 500 + 0.01 * np.eye(10), np.array([[0.2]])
    weight = random.uniform(-1, 1, (1, 10))

    def loss(steps: np.ndarray) -> np.ndarray:
        error = steps * scale - weight
        return np.einsum("ni,ij,nj->n", error, second, error)

    choices = np.floor(weight / scale) + np.array(np.meshgrid(*[[0, 1]] * 10)).reshape(10, -1).T
    every = np.sort(loss(choices))
    found = float(loss(learned(weight, scale, second, 7))[0])
    assert found <= every[20]  # among the best 2 % of 1,024
    assert found < float(loss(nearest(weight, scale, second, 7))[0])


def test_without_correlation_the_nearest_step_is_best() -> None:
    weight = np.random.default_rng(0).uniform(-1, 1, (3, 8))
    scale = np.full((3, 1), 1 / 7)
    for method in (compensated, learned):
        np.testing.assert_array_equal(method(weight, scale, np.eye(8), 7), nearest(weight, scale, np.eye(8), 7))


def test_clipped_scales_are_those_of_least_error_by_hand() -> None:
    weights = np.concatenate([np.linspace(-1, 1, 101), [4.0]]).reshape(1, 1, -1)
    fine = np.array([Grid(7, clips=(clip,)).scales(weights).item() for clip in (1.0, 0.5)])

    def error(scale: float) -> float:
        return float(((np.clip(np.rint(weights / scale), -7, 7) * scale - weights) ** 2).sum())

    best = min(fine, key=error)
    assert Grid(7, clips=(1.0, 0.5)).scales(weights).item() == pytest.approx(best)


def test_int4_weights_come_back_as_stored(tmp_path: Path) -> None:
    model = graph(net(), tmp_path)
    rounded, scales = round_weights(model, images(50), Reporter(), Grid(7), nearest)
    stored = to_int4(rounded, scales)
    onnx.checker.check_model(stored, full_check=True)
    assert {one.data_type for one in stored.graph.initializer if one.name.endswith("_int4")} == {onnx.TensorProto.INT4}
    np.testing.assert_allclose(run(stored, images(20, 1)), run(rounded, images(20, 1)), rtol=1e-4, atol=1e-5)


def test_int4_weights_are_unpacked_when_the_file_is_loaded(tmp_path: Path) -> None:
    rounded, scales = round_weights(graph(net(), tmp_path), images(50), Reporter(), Grid(7), nearest)
    path = str(tmp_path / "optimized.onnx")
    open_session(to_int4(rounded, scales).SerializeToString(), optimized=path)
    assert not {"Cast", "Mul", "DequantizeLinear"} & {node.op_type for node in onnx.load(path).graph.node}


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
    change = paired_change(lost=6, gained=2, n=100)
    assert (found.low, found.high) == pytest.approx((-change.high, -change.low))


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

    judge = judge_of(CLASSIFICATION, as_split(inputs, torch.from_numpy(labels)))
    assert order_by_sensitivity(model, ["0", "2", "6"], quantize, judge, Reporter())[0] == "2"
    everything = keep_quality(model, ["0", "2", "6"], quantize, judge, 1.0, Reporter())
    assert everything.kept == ()
    assert everything.drop.value > 0.1
    found = keep_quality(model, ["0", "2", "6"], quantize, judge, 0.05, Reporter())
    assert found.kept == ("2",)
    assert found.drop.value <= 0.05
    assert found.drop.n == len(labels)
