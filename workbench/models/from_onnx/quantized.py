"""Files that are quantized already become float networks: codes of weights become numbers, grids of activations go.

What a grid did beside rounding stays: one that begins at zero cuts negative numbers off, which is how quantizers store
a ReLU. Static files in both forms (pairs of QuantizeLinear and DequantizeLinear, operators on integers) and files that
choose their grids as they run are read; where a weight is computed, an operation stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from workbench.artefact.onnx_graph import Graph, attribute, drop_unread
from workbench.artefact.whole import weights_of

Array = np.ndarray[Any, Any]
#: The rule of an operator: what stands in its place.
Rule = Callable[["_Floating", onnx.NodeProto], list[onnx.NodeProto]]
_NOT_NEGATIVE = frozenset("Relu Sigmoid HardSigmoid Softmax Abs Exp Sqrt".split())
#: What gives nothing negative where it reads nothing negative.
_KEEPS = frozenset(
    "Identity MaxPool AveragePool GlobalAveragePool GlobalMaxPool Reshape Flatten Transpose Squeeze Unsqueeze Add Mul "
    "Concat Slice Gather Resize Cast Dropout".split()
)


class Computed(Exception):
    """A weight or a scale is no constant."""


def without_grids(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The file as a float network, and a note where it was quantized. The file given stays as it is."""
    if not any(node.op_type in RULES for node in model.graph.node):
        return model, []
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.value_info[:]  # of types that are none any more
    work = _Floating(made)
    nodes = [new for node in model.graph.node for new in work.replaced(node)]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    work.graph.store()
    drop_unread(made)
    return made, [
        f"The file is quantized: its weights are read as floating-point numbers, and {work.grids} places where it "
        "rounds activations are left out, so that steps begin from a float network. Quantize('int8') rounds anew."
    ]


class _Floating:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph, self.known, self.grids = Graph(model), weights_of(model), 0
        self.not_negative: set[str] = set()
        self.codes: set[str] = set()  # rows of stored codes, such as those of an embedding
        self.numbers: set[str] = set()  # constants that a grid would round
        self.inputs = {one.name for one in model.graph.input}
        self.values = {one.output[0]: one for one in model.graph.node if one.op_type == "Constant"}

    def replaced(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """What stands in a node's place."""
        if node.op_type in _KEEPS and node.input and self._is_code(node.input[0]):
            self.codes.update(node.output)
        try:
            found = RULES[node.op_type](self, node) if node.op_type in RULES else [node]
        except Computed:
            found = [node]
        for one in found:
            data = [name for name in one.input if name and name not in self.known]
            keeps = one.op_type in _KEEPS and data and all(name in self.not_negative for name in data)
            positive = all(self.array(name).min() >= 0 for name in one.input if name in self.graph.constants)
            if one.op_type in _NOT_NEGATIVE or (keeps and (positive or one.op_type not in {"Add", "Mul"})):
                self.not_negative.update(one.output)
        return found

    def _is_code(self, name: str) -> bool:
        if name in self.codes:
            return True
        try:
            return self.array(name).dtype in (np.int8, np.uint8)
        except Computed:
            return False

    def array(self, name: str) -> Array:
        """The value of a constant. Raises: `Computed`."""
        if name in self.graph.constants:
            return self.graph.array(name)
        held = attribute(self.values[name], "value", None) if name in self.values else None
        if held is None:
            raise Computed
        value: Array = onnx.numpy_helper.to_array(held)
        return value

    def floats(self, node: onnx.NodeProto, places: tuple[int, int, int], axis: int = 0) -> Array:
        """The numbers that codes stand for; the inputs that hold codes, scale and zero point (-1: none)."""
        codes = self.array(node.input[places[0]]).astype(np.float32)
        zero, scale = (self.optional(node, one) for one in (places[2], places[1]))
        for value, change in ((zero, np.subtract), (scale, np.multiply)):
            if value is not None:
                shape = [1] * codes.ndim
                shape[axis] = -1
                codes = change(codes, value.astype(np.float32).reshape(shape if value.size > 1 else ()))
        return codes.astype(np.float32)

    def optional(self, node: onnx.NodeProto, place: int) -> Array | None:
        """The value of an input, None where it is left out."""
        given = 0 <= place < len(node.input) and node.input[place]
        return self.array(node.input[place]) if given else None

    def put(self, node: onnx.NodeProto, kind: str, value: Array) -> str:
        """A new constant, and its name."""
        name = f"{node.output[0]}_{kind}"
        self.graph.put(name, value)
        self.known.add(name)
        return name

    def operand(self, node: onnx.NodeProto, place: int) -> str:
        """An input of an operator on integers, followed by its scale and zero point, as a float tensor."""
        name: str = node.input[place]
        if name not in self.known or name in self.numbers:
            return name
        return self.put(node, f"constant_{place}", self.floats(node, (place, place + 1, place + 2)))

    def grid(self, node: onnx.NodeProto, source: str, places: tuple[int, int]) -> list[onnx.NodeProto]:
        """A grid of an activation, whose scale and zero point are these inputs: what it does beside rounding."""
        self.grids += 1
        zero = self.optional(node, places[1])
        zero = np.zeros(1, np.uint8) if zero is None else zero
        cuts = zero.dtype.kind in "iu" and zero.size == 1 and int(zero.reshape(-1)[0]) == np.iinfo(zero.dtype).min
        plain = not cuts or source in self.not_negative or source in self.inputs
        if plain:
            return [helper.make_node("Identity", [source], [node.output[0]], node.name)]
        scale = self.optional(node, places[0])
        steps = int(np.iinfo(zero.dtype).max) - int(np.iinfo(zero.dtype).min)
        top = steps * float(np.max(1 if scale is None else scale))
        if abs(top - 6) < 0.05:
            ends = [self.put(node, name, np.array(value, np.float32)) for name, value in (("low", 0), ("high", 6))]
            return [helper.make_node("Clip", [source, *ends], [node.output[0]], node.name)]
        return [helper.make_node("Relu", [source], [node.output[0]], node.name)]

    def product(
        self, node: onnx.NodeProto, kind: str, inputs: list[str], grid: tuple[int, int] | None = None, **more: Any
    ) -> list[onnx.NodeProto]:
        """A float operator in a node's place, with its attributes, and its grid behind it."""
        output = node.output[0] if grid is None else f"{node.output[0]}_float"
        new = helper.make_node(kind, inputs, [output, *node.output[1:]], node.name, **more)
        new.attribute.extend(one for one in node.attribute if one.name not in more and one.name != "channels_last")
        if grid is None:
            return [new]
        behind = self.grid(node, output, grid)
        behind[0].name = f"{node.name}_grid"
        return [new, *behind]


def _quantize(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    if node.input[0] in work.known:  # a constant that is stored as a number
        work.numbers.add(node.output[0])
        return [helper.make_node("Identity", [node.input[0]], [node.output[0]], node.name)]
    return work.grid(node, node.input[0], (1, 2))


def _dequantize(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    coded = node.input[0] in work.known or node.input[0] in work.codes
    if coded and node.input[0] not in work.numbers:
        return [node]
    if node.input[0] in work.not_negative:
        work.not_negative.add(node.output[0])
    return [helper.make_node("Identity", [node.input[0]], [node.output[0]], node.name)]


def _chosen(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A grid that is chosen as the file runs: the number itself, on a grid of step 1 from 0 on."""
    work.grids += 1
    for name, value in zip(node.output[1:], (np.float32(1), np.float32(0)), strict=False):
        work.graph.put(name, np.asarray(value))
        work.known.add(name)
    return [helper.make_node("Identity", [node.input[0]], [node.output[0]], node.name)]


def _whole_product(kind: str, axis: int) -> Rule:
    """A product of codes less their zero points; scales follow."""

    def rule(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        weight = node.input[1]
        if weight in work.known:
            weight = work.put(node, "weight", work.floats(node, (1, -1, 3), axis))
        return work.product(node, kind, [node.input[0], weight])

    return rule


def _biased(places: tuple[int, int, int], bias: int) -> Rule:
    """A product with a matrix of codes that gives floats; the input is a float or the codes that `_chosen` left."""

    def rule(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        weight = work.put(node, "weight", work.floats(node, places, -1))
        if len(node.input) <= bias or not node.input[bias]:
            return work.product(node, "MatMul", [node.input[0], weight])
        middle = f"{node.output[0]}_product"
        return [
            helper.make_node("MatMul", [node.input[0], weight], [middle], node.name),
            helper.make_node("Add", [middle, node.input[bias]], [node.output[0]], f"{node.name}_bias"),
        ]

    return rule


def _lstm(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Weights (directions, features, gates) of codes, with a scale for each direction or gate."""
    weights = []
    for place, scale in ((1, 8), (2, 10)):
        codes, step = work.array(node.input[place]).astype(np.float32), work.array(node.input[scale])
        zero = work.optional(node, scale + 1)
        step, zero = (
            np.asarray(one, np.float32).reshape(len(codes), 1, -1) for one in (step, 0 * step if zero is None else zero)
        )
        kind = "weight" if place == 1 else "recurrent"
        weights.append(work.put(node, kind, ((codes - zero) * step).transpose(0, 2, 1).astype(np.float32)))
    inputs = [node.input[0], *weights, *node.input[3:8]]
    while not inputs[-1]:
        inputs.pop()
    new = helper.make_node("LSTM", inputs, list(node.output), node.name)
    new.attribute.extend(node.attribute)
    return [new]


def _convolution(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    inputs = [work.operand(node, 0), work.put(node, "weight", work.floats(node, (3, 4, 5)))]
    bias = work.optional(node, 8)
    if bias is not None:
        scale = work.array(node.input[1]) * work.array(node.input[4])
        inputs.append(work.put(node, "bias", (bias * scale).astype(np.float32)))
    return work.product(node, "Conv", inputs, (6, 7))


def _matrices(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    left, right = work.operand(node, 0), node.input[3]
    if right in work.known:
        right = work.put(node, "weight", work.floats(node, (3, 4, 5), -1))
    return work.product(node, "MatMul", [left, right], (6, 7))


def _gemm(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    axis = 0 if attribute(node, "transB", 0) else 1
    inputs = [work.operand(node, 0), work.put(node, "weight", work.floats(node, (3, 4, 5), axis))]
    bias = work.optional(node, 6)
    if bias is not None:
        scale = work.array(node.input[1]) * work.array(node.input[4])
        inputs.append(work.put(node, "bias", (bias * scale).astype(np.float32)))
    return work.product(node, "Gemm", inputs, (7, 8) if len(node.input) > 7 and node.input[7] else None)


def _operator(kind: str, count: int) -> Rule:
    """An operator of `count` inputs on integers, each with its scale and zero point, then those of the output."""

    def rule(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if attribute(node, "channels_last", 0):
            raise Computed
        inputs = [work.operand(node, 3 * index) for index in range(count)]
        return work.product(node, kind, inputs, (3 * count, 3 * count + 1))

    return rule


def _concat(work: _Floating, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    inputs = [work.operand(node, index) for index in range(2, len(node.input), 3)]
    return work.product(node, "Concat", inputs, (0, 1))


RULES: dict[str, Rule] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "DynamicQuantizeLinear": _chosen,
    "MatMulInteger": _whole_product("MatMul", -1), "ConvInteger": _whole_product("Conv", 0),
    "MatMulIntegerToFloat": _biased((1, 3, 5), 6), "DynamicQuantizeMatMul": _biased((1, 2, 3), 4),
    "DynamicQuantizeLSTM": _lstm, "QLinearConv": _convolution, "QLinearMatMul": _matrices, "QGemm": _gemm,
    "QLinearAdd": _operator("Add", 2), "QLinearMul": _operator("Mul", 2), "QLinearConcat": _concat,
    "QLinearSigmoid": _operator("Sigmoid", 1), "QLinearLeakyRelu": _operator("LeakyRelu", 1),
    "QLinearGlobalAveragePool": _operator("GlobalAveragePool", 1),
    "QLinearAveragePool": _operator("AveragePool", 1),
}  # fmt: skip
