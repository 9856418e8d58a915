"""The moments of what layers see, and weights beside them: together they are the layers' own outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from workbench.artefact.onnx_graph import Graph
from workbench.jobs import Reporter
from workbench.quantization.biases import correct_bias
from workbench.quantization.equalize import equalize
from workbench.quantization.patches import as_patches, from_patches, observe_layers

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def model(nodes: list[onnx.NodeProto], constants: dict[str, Array], shape: tuple[int, ...]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answers(made: onnx.ModelProto, inputs: Array) -> Array:
    found: Array = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"input": inputs})[0]
    return found


CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "plain": ("Conv", {}, (5, 4, 3, 3), (4, 7, 6)),
    "grouped": ("Conv", {"group": 2}, (6, 2, 3, 3), (4, 6, 6)),
    "depthwise": ("Conv", {"group": 4}, (4, 1, 3, 3), (4, 6, 6)),
    "strides": ("Conv", {"strides": [2, 3]}, (5, 4, 3, 2), (4, 9, 14)),
    "dilated": ("Conv", {"dilations": [2, 1]}, (5, 4, 3, 3), (4, 9, 6)),
    "uneven pads": ("Conv", {"pads": [2, 0, 1, 3]}, (5, 4, 3, 3), (4, 4, 4)),
    "all at once": (
        "Conv", {"pads": [1, 2, 0, 1], "strides": [2, 1], "dilations": [1, 2], "group": 2}, (6, 2, 2, 3), (4, 9, 6)
    ),
    "one axis": ("Conv", {"pads": [1, 0], "strides": [2]}, (5, 4, 3), (4, 11)),
    "three axes": ("Conv", {}, (3, 2, 2, 3, 1), (2, 3, 4, 2)),
    "gemm": ("Gemm", {}, (4, 5), (4,)),
    "gemm, turned": ("Gemm", {"transB": 1}, (5, 4), (4,)),
    "square gemm, turned": ("Gemm", {"transB": 1}, (4, 4), (4,)),
    "tokens": ("MatMul", {}, (4, 5), (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_patches_and_weights_are_the_outputs(case: str) -> None:
    """Their first and second moments; each of these layers has six positions an axis at most, so that all are seen."""
    operator, attributes, shape, given = CASES[case]
    weight, inputs = drawn(*shape), drawn(50, *given)
    made = model([helper.make_node(operator, ["input", "w"], ["y"], **attributes)], {"w": weight}, given)
    (layer,) = observe_layers(Graph(made), inputs, Reporter(), second=True)
    outputs = answers(made, inputs)
    by_output = outputs.reshape(-1, outputs.shape[-1]) if operator != "Conv" else np.moveaxis(outputs, 1, -1).reshape(
        -1, outputs.shape[1]
    )  # fmt: skip
    patches = as_patches(layer, weight)
    assert layer.mean is not None and layer.second is not None and layer.count == len(by_output)
    np.testing.assert_allclose(np.einsum("gop,gp->go", patches, layer.mean).ravel(), by_output.mean(0), atol=1e-4)
    squares = np.einsum("gop,gpq,goq->go", patches, layer.second, patches).ravel()
    np.testing.assert_allclose(squares, (by_output.astype(np.float64) ** 2).mean(0), rtol=1e-3)
    np.testing.assert_array_equal(from_patches(layer, patches, weight), weight)


def test_of_a_large_map_evenly_spaced_places_are_seen() -> None:
    made = model([helper.make_node("Conv", ["input", "w"], ["y"])], {"w": drawn(2, 3, 1, 1)}, (3, 20, 13))
    inputs = drawn(4, 3, 20, 13)
    (layer,) = observe_layers(Graph(made), inputs, Reporter(), second=False)
    seen = inputs[:, :, ::4, ::3]  # 5 of 20, and 5 of 13: at most 6
    assert layer.mean is not None and layer.second is None and layer.count == 4 * 5 * 5
    np.testing.assert_allclose(layer.mean[0], seen.mean((0, 2, 3)), atol=1e-5)


def test_only_layers_of_constant_floats_are_observed() -> None:
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["a"]),
        helper.make_node("Transpose", ["a"], ["t"], perm=[1, 0]),
        helper.make_node("Gemm", ["a", "w"], ["b"], transA=1),
        helper.make_node("MatMul", ["a", "t"], ["c"]),
        helper.make_node("MatMul", ["c", "b"], ["y"]),
    ]
    made = model(nodes[:2] + nodes[3:4], {"w": drawn(4, 4)}, (4,))
    assert [layer.node.output[0] for layer in observe_layers(Graph(made), drawn(8, 4), Reporter(), second=False)] == [
        "a"
    ]
    turned = model(nodes[2:3], {"w": drawn(4, 4)}, (4,))
    turned.graph.node[0].input[0] = "input"
    assert observe_layers(Graph(turned), drawn(4, 4), Reporter(), second=False) == []


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("biased", [False, True])
def test_equalized_layers_compute_the_same_and_share_their_ranges(groups: int, biased: bool) -> None:
    """Eq. 11 of Nagel et al.: both ranges of a channel become the geometric mean; dead channels stay as they are."""
    first = drawn(6, 4, 3, 3) * np.logspace(-2, 2, 6).reshape(-1, 1, 1, 1).astype(np.float32)
    second = drawn(12, 6 // groups, 1, 1)
    second[:, 1] = 0
    constants = {"w": first, "v": second} | ({"b": drawn(6)} if biased else {})
    nodes = [
        helper.make_node("Conv", ["input", "w", *(["b"] if biased else [])], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["y"], group=groups),
    ]
    made = model(nodes, constants, (4, 5, 5))
    even, inputs = equalize(made), drawn(10, 4, 5, 5)
    np.testing.assert_allclose(answers(even, inputs), answers(made, inputs), rtol=1e-3, atol=1e-3)
    graph, per = Graph(even), 6 // groups
    for channel in range(6):
        group, place = divmod(channel, per)
        mine = slice(group * 12 // groups, (group + 1) * 12 // groups)
        before, after = (
            (np.abs(a[channel]).max(), np.abs(b[mine, place]).max())
            for a, b in ((first, second), (graph.array("w"), graph.array("v")))
        )
        expected = before if before[1] == 0 else (float(before[0] * before[1]) ** 0.5,) * 2
        np.testing.assert_allclose(after, expected, rtol=1e-4)


@pytest.mark.parametrize("between", ["Clip", "two readers", "returned"])
def test_layers_that_something_else_sees_are_not_equalized(between: str) -> None:
    middle = {"Clip": helper.make_node("Clip", ["a", "", "six"], ["r"])}.get(
        between, helper.make_node("Relu", ["a"], ["r"])
    )
    nodes = [helper.make_node("Conv", ["input", "w"], ["a"]), middle, helper.make_node("Conv", ["r", "v"], ["c"])]
    nodes.append(helper.make_node("Add", ["c", "a" if between == "two readers" else "c"], ["y"]))
    constants = {"w": drawn(4, 4, 1, 1), "v": drawn(4, 4, 1, 1), "six": np.array(6, np.float32)}
    made = model(nodes, constants, (4, 5, 5))
    if between == "returned":
        made.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, None))
    graph = Graph(equalize(made))
    assert all(np.array_equal(graph.array(name), constants[name]) for name in "wv")


@pytest.mark.parametrize("case", ["grouped", "gemm", "gemm, turned", "plain"])
def test_a_corrected_bias_takes_back_the_mean_error_of_rounding(case: str) -> None:
    operator, attributes, shape, given = CASES[case]
    weight, inputs = drawn(*shape), drawn(200, *given) + 1
    axis = 0 if operator == "Conv" or attributes.get("transB") else 1
    bias = drawn(shape[axis])
    made = model(
        [helper.make_node(operator, ["input", "w", "b"], ["y"], **attributes)], {"w": weight, "b": bias}, given
    )
    size = [-1 if n == axis else 1 for n in range(weight.ndim)]
    scale = np.linspace(0.2, 0.4, shape[axis]).astype(np.float32)
    zero = np.arange(shape[axis]).astype(np.int8) - 1
    stored = np.clip(np.rint(weight / scale.reshape(size)) + zero.reshape(size), -128, 127).astype(np.int8)
    names = ["w_quantized", "w_scale", "w_zero_point"]
    nodes = [helper.make_node("DequantizeLinear", names, ["w"], axis=axis), made.graph.node[0]]
    constants = dict(zip(names, (stored, scale, zero), strict=True)) | {"b": bias}
    rounded = model(nodes, constants, given)
    corrected = correct_bias(made, rounded, inputs, Reporter())
    new = Graph(corrected).array("b")
    again = model(nodes, constants | {"b": new}, given)
    axes = (0, *range(2, answers(made, inputs).ndim))
    before, after, exact = (answers(one, inputs).mean(axes) for one in (rounded, again, made))
    assert np.abs(before - exact).max() > 0.02
    np.testing.assert_allclose(after, exact, atol=2e-3)
