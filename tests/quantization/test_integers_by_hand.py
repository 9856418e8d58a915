"""Steps, saturation and axes of integer graphs against ONNX's reference; ranges against trying them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from workbench.quantization.edges import data_tensors, float_nodes_of_shapes, integer_nodes
from workbench.quantization.observe import Histogram
from workbench.quantization.qdq import quantize_graph
from workbench.quantization.ranges import _SHRINK, mse
from workbench.quantization.simulate import Simulated

KINDS = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8}


def model_of(nodes: list[onnx.NodeProto], shapes: dict[str, Any], out: str, **constants: np.ndarray) -> onnx.ModelProto:
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    result = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", entries, [result], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def there_and_back(kind: type, scale: Any, zero: Any, shape: tuple[int, ...], **axis: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **axis),
    ]
    return model_of(nodes, {"x": shape}, "y", s=np.array(scale, np.float32), z=np.array(zero, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, -3])
def test_steps_are_those_of_the_reference(kind: type, axis: int | None) -> None:
    """Half a step goes to the even one, and what is beyond the last step stays at it, on both sides."""
    shape = (2, 3, 64)
    own = {} if axis is None else {"axis": axis}
    count = 3 if axis is None else shape[axis]
    scale, zero = 0.5 ** (1 + np.arange(count) % 4), (np.arange(count) * 5) % 17
    x = np.linspace(-400, 400, 384, dtype=np.float32).reshape(shape)
    x[..., ::2] = np.round(x[..., ::2] * 8) / 8 * 0.25  # of which many are half a step
    model = there_and_back(kind, scale, zero, shape, **own)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_array_equal(Simulated(model)(torch.from_numpy(x)).numpy(), expected)
    single = there_and_back(kind, 0.25, 3, shape)
    expected = ReferenceEvaluator(single).run(None, {"x": x})[0]
    np.testing.assert_array_equal(Simulated(single)(torch.from_numpy(x)).numpy(), expected)
    assert expected.min() < -0.25 * 2 and expected.max() > 0.25 * 100


@pytest.mark.parametrize(
    ("kind", "values", "zero"),
    [
        (np.int8, [[-128, -3, 127], [5, 0, -1]], 0), (np.uint8, [[0, 250, 255], [5, 128, 1]], 128),
        (np.int32, [[-(2**31), 3 * 2**29, 2**30 + 2**10], [7, 0, -(2**30) - 2**11]], 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("axis", [0, 1])
def test_integers_that_were_not_trained_are_those_of_the_file(kind: type, values: Any, zero: int, axis: int) -> None:
    stored, count = np.array(values, kind), (2, 3)[axis]
    scale, zeros = 0.5 ** np.arange(count, dtype=np.float32), np.full(count, zero, kind)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=axis),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    model = model_of(nodes, {"x": (1, 2)}, "y", w=stored, s=scale, z=zeros)
    network = Simulated(model)
    x = np.array([[1.0, 2.0]], np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-6)
    kept = {one.name: numpy_helper.to_array(one) for one in network.write_back().graph.initializer}
    np.testing.assert_array_equal(kept["w"], stored)
    assert kept["w"].dtype == stored.dtype
    with torch.no_grad():
        network.masters["w"] += torch.from_numpy(scale).reshape([-1 if one == axis else 1 for one in range(2)])
    moved = {one.name: numpy_helper.to_array(one) for one in network.write_back().graph.initializer}["w"]
    if kind is not np.int32:  # whose steps are finer than a float's
        limits = np.iinfo(kind)
        np.testing.assert_array_equal(moved, np.clip(stored.astype(int) + 1, limits.min, limits.max))


def test_masters_start_at_the_floats_that_the_integers_were_made_from() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w_quantized", "s", "z"], ["v"]),
        helper.make_node("Mul", ["x", "v"], ["y"]),
    ]
    held = {"w_quantized": np.array([4], np.int8), "s": np.array(0.5, np.float32), "z": np.array(0, np.int8)}
    model = model_of(nodes, {"x": (1,)}, "y", **held)
    assert float(Simulated(model).masters["w_quantized"]) == 2.0
    exact = Simulated(model, {"w": np.array([2.2])})
    assert float(exact.masters["w_quantized"]) == pytest.approx(2.2)
    assert float(exact(torch.ones(1))) == 2.0  # as it is rounded


@pytest.mark.parametrize("skew", [(1.0, 1.0), (4.0, 1.0), (1.0, 4.0), (0.0, 1.0), (1.0, 0.0)])
def test_the_range_of_least_error_is_the_best_of_all_that_differ_at_one_end(skew: tuple[float, float]) -> None:
    random = np.random.default_rng(3)
    values = random.standard_t(3, 20_000)
    values = np.where(values < 0, values * skew[0], values * skew[1])
    counts, edges = np.histogram(values, 2048)
    histogram = Histogram(float(edges[0]), float(edges[-1]), counts.astype(np.int64))
    centres = (edges[1:] + edges[:-1]) / 2

    def lost(low: float, high: float) -> float:
        step = (high - low) / 255
        zero = np.rint(-low / step)
        return float(counts @ ((np.clip(np.rint(centres / step) + zero, 0, 255) - zero) * step - centres) ** 2)

    low, high = mse(histogram)
    least = lost(low, high) * (1 - 1e-9)
    whole = min(0.0, float(edges[0])), max(0.0, float(edges[-1]))
    assert all(least <= lost(whole[0] * s, whole[1] * s) for s in _SHRINK)
    if whole[0] < 0 < whole[1]:
        assert all(least <= lost(low, whole[1] * s) for s in _SHRINK)


# Which operations are on data


def shaped() -> onnx.ModelProto:
    """Data beside what is computed from sizes: a map is scaled by its width, padded by a size, and chosen from."""
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"], "sizes"),
        helper.make_node("Gather", ["sizes", "last"], ["width"], "width"),
        helper.make_node("Cast", ["width"], ["real"], "real", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "half"], ["scaled"], "scaled"),
        helper.make_node("Relu", ["x"], ["a"], "a"),
        helper.make_node("Mul", ["a", "half"], ["b"], "b"),
        helper.make_node("Greater", ["b", "half"], ["large"], "large"),
        helper.make_node("Where", ["large", "b", "a"], ["c"], "c"),
        helper.make_node("Add", ["c", "scaled"], ["d"], "d"),
        helper.make_node("Mul", ["c", "far"], ["e"], "e"),
        helper.make_node("Add", ["d", "e"], ["y"], "y"),
    ]
    half, far = np.array(0.5, np.float32), np.array(np.inf, np.float32)
    return model_of(nodes, {"x": (1, 4)}, "y", last=np.array(1, np.int64), half=half, far=far)


def test_data_are_followed_and_sizes_are_not() -> None:
    model = shaped()
    assert data_tensors(model) == ["x", "a", "b", "c", "d", "e", "y"]
    assert float_nodes_of_shapes(model) == {"real", "scaled"}


def test_integers_are_for_data_with_a_range_beside_finite_constants() -> None:
    ranges = dict.fromkeys(("x", "a", "b", "c", "d", "e", "y"), (-1.0, 1.0))
    assert integer_nodes(shaped(), ranges) == {"a", "b", "c", "y"}  # not beside a size, nor beside an infinite constant
    for missing, left in (("b", {"a", "y"}), ("x", {"b", "c", "y"}), ("y", {"a", "b", "c"})):
        assert integer_nodes(shaped(), {k: v for k, v in ranges.items() if k != missing}) == left


def masked(mask: float) -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "m"], ["a"], "a"), helper.make_node("Softmax", ["a"], ["y"], "y")]
    return model_of(nodes, {"x": (1, 4)}, "y", m=np.array([0, 0, 0, mask], np.float32))


def test_what_drowns_beside_a_constant_stays_in_float() -> None:
    for mask, found in ((-1e9, set()), (-513.0, set()), (-250.0, {"a", "y"})):
        ranges = {"x": (-1.0, 1.0), "a": (mask - 1, 1.0), "y": (0.0, 1.0)}
        assert integer_nodes(masked(mask), ranges) == found, mask


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_large_bias_beside_tiny_weights_comes_through(transposed: int, per_channel: bool) -> None:
    """A bias in steps of (input's step * weight's step) does not fit into 32 bits beside weights of 1e-9."""
    weight = np.array([[0.5, -0.25, 1.0], [1e-9, -1e-9, 2e-9]], np.float32)
    if not per_channel:
        weight[0] = 1e-9
    bias, x = np.array([0.25, 300.0], np.float32), np.array([[1.0, -1.0, 0.5]], np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "h", transB=transposed),
        helper.make_node("Relu", ["h"], ["y"], "y"),
    ]
    model = model_of(nodes, {"x": (1, 3)}, "y", w=weight if transposed else np.ascontiguousarray(weight.T), b=bias)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    ranges = {"x": (-1.0, 1.0), "h": (0.0, 320.0), "y": (0.0, 320.0)}
    found = Simulated(quantize_graph(model, ranges, per_channel=per_channel))(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=320 / 255)
