"""A graph of a hundred operators, and what can be done to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

CHANNELS, SIDE = 8, 12


def chain(length: int = 100) -> onnx.ModelProto:
    """Convolutions, activations, products by channel and sums with an earlier tensor, in turn; (n, 8, 12, 12)."""
    random, nodes, held, last = np.random.default_rng(0), [], [], "x"
    for index in range(length):
        kind, result = index % 4, f"t{index}"
        if kind == 0:
            held.append((f"w{index}", random.standard_normal((CHANNELS, CHANNELS, 3, 3)) * 0.15))
            nodes.append(helper.make_node("Conv", [last, f"w{index}"], [result], f"conv{index}", pads=[1, 1, 1, 1]))
        elif kind == 1:
            nodes.append(helper.make_node("Relu", [last], [result], f"relu{index}"))
        elif kind == 2:
            held.append((f"b{index}", 1 + 0.1 * random.standard_normal((1, CHANNELS, 1, 1))))
            nodes.append(helper.make_node("Mul", [last, f"b{index}"], [result], f"mul{index}"))
        else:
            nodes.append(helper.make_node("Add", [last, f"t{index - 3}"], [result], f"add{index}"))
        last = result
    return model(nodes, {name: value.astype(np.float32) for name, value in held}, "x", last)


def model(nodes: Iterable[Any], held: dict[str, Any], first: str, last: str) -> onnx.ModelProto:
    """A graph from one tensor (n, 8, 12, 12) to another."""
    ends = [helper.make_tensor_value_info(name, 1, ["n", CHANNELS, SIDE, SIDE]) for name in (first, last)]
    tensors = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def changed(good: onnx.ModelProto, name: str, change: Callable[[onnx.NodeProto], None]) -> onnx.ModelProto:
    """A copy in which something is done to the node of this name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(good)
    change(next(node for node in copy.graph.node if node.name == name))
    return copy


def put(graph: onnx.ModelProto, name: str, value: Any) -> None:
    """An initialiser, new or in the place of another."""
    for old in [one for one in graph.graph.initializer if one.name == name]:
        graph.graph.initializer.remove(old)
    graph.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def held(graph: onnx.ModelProto, name: str) -> Any:
    """The value of an initialiser."""
    return numpy_helper.to_array(next(one for one in graph.graph.initializer if one.name == name)).copy()


def renamed(good: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node and every tensor but the input has another name, shifted by one as if counted anew."""
    copy = onnx.ModelProto()
    copy.CopyFrom(good)
    other = {f"t{index}": f"t{index + 1}" for index in range(len(copy.graph.node))}
    for node in copy.graph.node:
        node.name = f"again_{node.name}"
        for names in (node.input, node.output):
            fresh = [other.get(one, one) for one in names]
            del names[:]
            names.extend(fresh)
    copy.graph.output[0].name = other[copy.graph.output[0].name]
    return copy
