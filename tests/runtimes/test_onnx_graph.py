"""Graphs made by hand compute the same when they are tidied; what is shared is told apart and joined again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from workbench.artefact.onnx_graph import Graph, attribute, drop_unread, merge, separate, tidy, weight_of

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def made(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Array], shape: Sequence[Any], outputs: Sequence[str] = ("y",)
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answers(model: onnx.ModelProto, inputs: Array) -> list[Array]:
    """As ONNX Runtime computes it; the reference evaluator of onnx 1.23 takes no groups of transposed convolutions."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    given = {one.name for one in model.graph.input} & {"x"}
    found: list[Array] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(
        None, dict.fromkeys(given, inputs)
    )
    return found


def tidied(model: onnx.ModelProto, inputs: Array) -> onnx.ModelProto:
    """The model after `tidy`, which answers as before."""
    before = answers(model, inputs)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tidy(copy)
    for one, other in zip(before, answers(copy, inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    return copy


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def norm(
    source: str, target: str, channels: int, name: str = "n", **more: Any
) -> tuple[onnx.NodeProto, dict[str, Array]]:
    constants = {f"{name}{k}": drawn(channels) for k in range(3)} | {f"{name}3": np.abs(drawn(channels)) + 0.1}
    return helper.make_node("BatchNormalization", [source, *constants], [target], **more), constants


LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], int, tuple[int, ...]]] = {
    # operator, attributes, weight, channels of the outputs, input
    "conv": ("Conv", {}, (6, 4, 3, 3), 6, (2, 4, 5, 5)),
    "grouped": ("Conv", {"group": 2}, (6, 2, 3, 3), 6, (2, 4, 5, 5)),
    "one axis": ("Conv", {}, (6, 4, 3), 6, (2, 4, 5)),
    "transposed": ("ConvTranspose", {}, (4, 6, 3, 3), 6, (2, 4, 5, 5)),
    "transposed, grouped": ("ConvTranspose", {"group": 2}, (4, 3, 3, 3), 6, (2, 4, 5, 5)),
    "transposed, few to many": ("ConvTranspose", {"group": 2}, (2, 5, 3, 3), 10, (2, 2, 5, 5)),
    "gemm": ("Gemm", {}, (4, 6), 6, (2, 4)),
    "gemm, turned": ("Gemm", {"transB": 1}, (6, 4), 6, (2, 4)),
    "square gemm": ("Gemm", {}, (4, 4), 4, (2, 4)),
}


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("more", [{}, {"epsilon": 0.5}], ids=["", "epsilon"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_norm_behind_a_layer_goes_into_it(layer: str, biased: bool, more: dict[str, Any]) -> None:
    operator, attributes, shape, channels, given = LAYERS[layer]
    constants = {"w": drawn(*shape)} | ({"b": drawn(channels)} if biased else {})
    after, values = norm("h", "y", channels, **more)
    model = made([helper.make_node(operator, ["x", *constants], ["h"], **attributes), after], constants | values, given)
    assert kinds(tidied(model, drawn(*given))) == [operator]


def test_a_norm_stays_where_it_would_change_something_else() -> None:
    after, values = norm("h", "y", 4)
    gemm = {"w": drawn(4, 4), "b": drawn(4)}
    for more in ({"alpha": 2.0}, {"beta": 0.5}):
        model = made([helper.make_node("Gemm", ["x", "w", "b"], ["h"], **more), after], gemm | values, (2, 4))
        assert kinds(tidied(model, drawn(2, 4))) == ["Gemm", "BatchNormalization"]
    layer = helper.make_node("Gemm", ["x", "w", "b"], ["h"])
    also = helper.make_node("Relu", ["h"], ["z"])
    for nodes, outputs in (([layer, after], ("y", "h")), ([layer, after, also], ("y", "z"))):  # others read the layer
        assert "BatchNormalization" in kinds(tidied(made(nodes, gemm | values, (2, 4), outputs), drawn(2, 4)))
    computed = [helper.make_node("ReduceMean", ["x"], ["b"], keepdims=0), layer, after]
    assert "BatchNormalization" in kinds(tidied(made(computed, {"w": gemm["w"]} | values, (2, 4)), drawn(2, 4)))
    alone, own = norm("x", "y", 4)
    assert kinds(tidied(made([alone], own, (2, 4)), drawn(2, 4))) == ["BatchNormalization"]


def test_two_layers_of_one_weight_keep_a_norm_each() -> None:
    (first, one), (second, other) = norm("h", "r", 4, "n"), norm("k", "y", 4, "m")
    gemms = [helper.make_node("Gemm", [source, "w", "b"], [to]) for source, to in (("x", "h"), ("r", "k"))]
    model = made([gemms[0], first, gemms[1], second], {"w": drawn(4, 4), "b": drawn(4)} | one | other, (2, 4))
    found = tidied(model, drawn(2, 4))
    assert kinds(found) == ["Gemm", "Gemm"]
    assert len({name for node in found.graph.node for name in node.input[1:]}) == 4


def test_what_is_constant_is_computed_once() -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Identity", ["c"], ["d"]),
        helper.make_node("Mul", ["x", "d"], ["y"]),
        helper.make_node("Neg", ["a"], ["z"]),
    ]
    constants = {"a": drawn(3), "b": drawn(3), "unread": drawn(2)}
    found = tidied(made(nodes, constants, (2, 3), ("y", "z")), drawn(2, 3))
    assert kinds(found) == ["Mul", "Neg"]  # what is returned must be made by somebody
    assert {one.name for one in found.graph.initializer} == {"a", "c"}
    np.testing.assert_allclose(Graph(found).array("c"), constants["a"] + constants["b"])


def test_initialisers_are_no_inputs_and_quantizers_stay() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = {"q": np.arange(6, dtype=np.int8).reshape(3, 2), "s": np.float32(0.5).reshape(())}
    model = made(nodes, constants, (2, 3))
    model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, ()))
    found = tidied(model, drawn(2, 3))
    assert kinds(found) == ["DequantizeLinear", "MatMul"]
    assert [one.name for one in found.graph.input] == ["x"]


def test_zeros_are_positive_and_all_else_is_as_it_was() -> None:
    weight = np.array([[-0.0, 0.0, -1.5], [2.0, -0.0, -3e-30]], np.float32)
    found = Graph(tidied(made([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}, (2, 2)), drawn(2, 2)))
    assert found.array("w").tolist() == weight.tolist()
    assert np.signbit(found.array("w")).tolist() == [[False, False, True], [False, False, True]]


def test_nodes_have_names_of_their_own_and_say_nothing_of_where_they_came_from() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["b"], name="mine")]
    nodes += [helper.make_node("MatMul", ["b", "block.fc.weight"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    nodes[0].metadata_props.add(key="source", value="/home/somebody/net.py")
    found = tidied(made(nodes, {"block.fc.weight": drawn(3, 3)}, (2, 3)), drawn(2, 3))
    assert [node.name for node in found.graph.node] == ["Relu", "mine", "block.fc", "Relu#2"]
    assert not any(node.metadata_props for node in found.graph.node)


def shared() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["a", "w", "b"], ["c"]),
        helper.make_node("Gemm", ["c", "v", "b"], ["y"]),
    ]
    return made(nodes, {"w": drawn(3, 3), "v": drawn(3, 3), "b": drawn(3), "unread": drawn(1)}, (2, 3))


def test_layers_have_their_weights_to_themselves_until_they_are_joined_again() -> None:
    model, inputs = shared(), drawn(2, 3)
    apart = separate(model)
    names = [name for node in apart.graph.node for name in node.input[1:]]
    assert len(names) == len(set(names)) == 5
    assert len(model.graph.initializer) == 4  # the model itself is left alone
    np.testing.assert_array_equal(answers(apart, inputs)[0], answers(model, inputs)[0])
    graph = Graph(apart)
    changed = graph.nodes[1].input[2]
    graph.put(changed, graph.array(changed) + 1)
    graph.store()
    expected = answers(apart, inputs)[0]
    merge(apart)
    assert len(apart.graph.initializer) == 4  # w, v, and two biases that differ now
    np.testing.assert_array_equal(answers(apart, inputs)[0], expected)


def test_equal_values_of_other_names_types_or_shapes_are_not_joined() -> None:
    model = shared()
    graph = Graph(model)
    graph.put("w#2", graph.array("w").reshape(1, 3, 3))
    graph.put("v", graph.array("w"))
    graph.nodes[0].input[1] = "w#2"
    graph.store()
    merge(model)
    assert {one.name for one in model.graph.initializer} == {"w", "w#2", "v", "b"}


def test_reads_are_counted_also_inside_of_branches() -> None:
    inner = helper.make_graph(
        [helper.make_node("Neg", ["w"], ["i"])], "inner", [], [helper.make_tensor_value_info("i", 1, None)]
    )
    nodes = [
        helper.make_node("If", ["cond"], ["h"], then_branch=inner, else_branch=inner),
        helper.make_node("Add", ["h", "x"], ["y"]),
    ]
    model = made(nodes, {"w": drawn(3), "unread": drawn(3), "cond": np.array(True)}, (2, 3))
    assert Graph(model).reads()["w"] == 2 and Graph(model).reads()["y"] == 1
    inputs = drawn(2, 3)
    before = answers(model, inputs)[0]
    graph = Graph(model)
    graph.put("v", -graph.array("w"))
    graph.redirect("w", "v")
    graph.store()
    assert {one.name for one in model.graph.initializer} == {"v", "cond"}
    np.testing.assert_allclose(answers(model, inputs)[0] - inputs, -(before - inputs), atol=1e-5)


def test_unread_initialisers_go_and_read_ones_stay() -> None:
    model = shared()
    drop_unread(model)
    assert {one.name for one in model.graph.initializer} == {"w", "v", "b"}


def test_small_questions_about_nodes() -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    assert attribute(node, "transB", 0) == 1 and attribute(node, "transA", 7) == 7
    assert weight_of(node, {"w", "b"}) == "w" and weight_of(node, {"b"}) is None
    assert weight_of(helper.make_node("MatMul", ["w", "x"], ["y"]), {"w"}) == "w"
    assert weight_of(helper.make_node("Add", ["x", "w"], ["y"]), {"w"}) is None
    graph = Graph(shared())
    assert graph.outputs() == {"y"} and graph.writers()["c"] is graph.nodes[1]
    assert [len(graph.readers()[name]) for name in ("w", "b", "x")] == [2, 2, 1]
    graph.drop([graph.nodes[2]])
    assert [node.op_type for node in graph.nodes] == ["MatMul", "Gemm"]
