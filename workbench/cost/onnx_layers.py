"""The operations of an ONNX file with their shapes, as they came out when it ran on one input."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx

from workbench.artefact.onnx_graph import attribute
from workbench.artefact.whole import INTEGERS, Whole, number, weights_of
from workbench.cost.fusion import mark_fused
from workbench.cost.layer import Layer, Shape, interned
from workbench.cost.network import Network
from workbench.modules.calling import Inputs, arguments

_NAMES = {
    "conv": "Conv ConvInteger QLinearConv",
    "conv_transpose": "ConvTranspose",
    "linear": "Gemm MatMul MatMulInteger QLinearMatMul QGemm DynamicQuantizeMatMul MatMulIntegerToFloat FusedMatMul",
    "recurrent": "LSTM GRU RNN DynamicQuantizeLSTM",
    "norm": "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization SkipLayerNormalization "
    "LpNormalization",
    "pool": "MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ArgMax "
    "ArgMin ReduceL1 ReduceL2 ReduceProd ReduceSumSquare ReduceLogSumExp TopK QLinearGlobalAveragePool "
    "QLinearAveragePool",
    "activation": "Relu Clip LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Gelu Softplus Mish "
    "QLinearSigmoid QLinearLeakyRelu",
    "add": "Add Sub Mul Div Max Min Where Sum Mean QLinearAdd QLinearMul",
    "elementwise": "Softmax LogSoftmax Pow Sqrt Exp Log Neg Abs Sin Cos Erf Floor Ceil Round Reciprocal Equal Greater "
    "Less GreaterOrEqual LessOrEqual Not And Or Xor Resize Upsample QuantizeLinear DequantizeLinear "
    "DynamicQuantizeLinear",
    "copy": "Concat Transpose Pad Slice Split Gather GatherElements GatherND ScatterND ScatterElements Tile "
    "DepthToSpace SpaceToDepth Compress NonZero OneHot",
    "reshape": "Reshape Flatten Squeeze Unsqueeze Identity Cast Dropout Expand Shape Size ConstantOfShape",
}  # fmt: skip
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
#: Torch's names of what a runtime folds into a product before it.
_OPS = {"Relu": "relu", "Clip": "clamp", "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid", "Tanh": "tanh",
        "LeakyRelu": "leaky_relu", "Add": "add", "BatchNormalization": "batch_norm"}  # fmt: skip
#: Where a product has its weight among its inputs, where that is not the second.
_WEIGHT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
_GATES = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3, "RNN": 1}


def network_of_file(whole: Whole, module: Any, example: Inputs) -> Network:
    """The operations of the file that a canonical `module` is, for batches of 1. It is run once, for its shapes."""
    model, inputs = whole.model, _by_name(whole, module, example)
    shapes = _shapes(model, inputs)
    work = _Reading(model, shapes)
    for node in model.graph.node:
        work.add(node)
    outputs = {work.ids.get(one.name) for one in model.graph.output}
    layers = [layer.but(result=layer.writes in outputs) for layer in work.layers]
    return Network(interned(mark_fused(layers)))


def _by_name(whole: Whole, module: Any, example: Inputs) -> dict[str, Any]:
    """The inputs by the file's names: the layer reads them in the file's order."""
    args, kwargs = arguments(example)
    places = [str(node.target) for node in module.graph.nodes if node.op == "placeholder"]
    given = dict(zip(places, args, strict=False)) | kwargs
    (call,) = (node for node in module.graph.nodes if node.op == "call_module")
    names = [one.name for one in whole.model.graph.input]
    return {name: given[str(node.target)].numpy() for name, node in zip(names, call.args, strict=True)}


def _shapes(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, Shape]:
    """The shape of every tensor: of constants as stored, of others as they came out; those of texts are missing."""
    from workbench.runtimes.onnxruntime import feeds, open_session

    found: dict[str, Shape] = {one.name: tuple(one.dims) for one in model.graph.initializer}
    found |= {name: tuple(np.shape(value)) for name, value in inputs.items()}
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del seen.graph.output[:]
    seen.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(seen.SerializeToString(), level="off")
    values = session.run(None, feeds(session, inputs))
    return found | {name: tuple(np.shape(one)) for name, one in zip(names, values, strict=True)}


class _Reading:
    def __init__(self, model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
        self.shapes, self.constants = shapes, weights_of(model)
        self.types = {one.name: one.data_type for one in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and (held := attribute(node, "value", None)) is not None:
                self.types[node.output[0]] = held.data_type
        self.ids = {one.name: index for index, one in enumerate(model.graph.input)}
        self.layers: list[Layer] = []
        self.counted: set[str] = set()

    def add(self, node: onnx.NodeProto) -> None:
        """The operation of a node, unless it computes on constants or on sizes alone."""
        data = [name for name in node.input if name in self.ids]
        outputs = [name for name in node.output if name]
        if not outputs or all(name in self.constants for name in outputs) or node.op_type in {"Shape", "Size"}:
            return
        if not data:  # of sizes, or a loop over what stands around it
            if not any(one.HasField("g") for one in node.attribute):
                return
            data = list(self.ids)[:1]
        self.layers.append(self._layer(node, data, outputs[0]))
        self.ids.update(dict.fromkeys(outputs, self.layers[-1].writes))

    def _layer(self, node: onnx.NodeProto, data: list[str], output: str) -> Layer:
        kind = _KINDS.get(node.op_type, "other")
        held = [name for name in node.input if name in self.constants and self._learnt(node, name)]
        new = [name for name in held if name not in self.counted]
        self.counted.update(new)
        weight = _WEIGHT.get(node.op_type, 1)
        if kind == "linear" and (len(node.input) <= weight or node.input[weight] not in self.constants):
            kind = "matmul"
        layer = Layer(
            name=node.name, kind=kind, input=self._shape(data[0]), output=self._shape(output),
            module=node.name if held else "", weights=sum(prod(self.shapes.get(name, ())) for name in new),
            reads=tuple(dict.fromkeys(self.ids[name] for name in data)), writes=1 + max([*self.ids.values(), 0]),
            op=_OPS.get(node.op_type, node.op_type), bits=8 if node.op_type in INTEGERS else 32, node=node.name,
            others=sum(prod(self.shapes.get(name, ())) for name in data[1:]), shared=bool(held) and not new,
        )  # fmt: skip
        return self._measured(layer, node, kind)

    def _measured(self, layer: Layer, node: onnx.NodeProto, kind: str) -> Layer:
        """With what a product's attributes and its weight tell."""
        weight = _WEIGHT.get(node.op_type, 1)
        shape = self.shapes.get(node.input[weight], ()) if len(node.input) > weight else ()
        if kind in {"conv", "conv_transpose"}:
            axes = len(shape) - 2
            pads = list(attribute(node, "pads", [0] * 2 * axes))
            return layer.but(
                kernel=tuple(shape[2:]), padding=tuple(pads[:axes]),
                stride=tuple(attribute(node, "strides", [1] * axes)),
                dilation=tuple(attribute(node, "dilations", [1] * axes)), groups=number(node, "group", 1),
                bias=self._biased(node, 8 if weight == 3 else 2),
            )  # fmt: skip
        if kind == "linear":
            return layer.but(bias=self._biased(node, 2) and node.op_type == "Gemm")
        if kind == "matmul":
            inner = self.shapes.get(node.input[0], (1,))[-1:]
            return layer.but(work=prod(self.shapes.get(node.output[0], ())) * prod(inner))
        if kind == "recurrent":
            steps = prod(self.shapes.get(node.input[0], ())[:2])
            hidden, way = number(node, "hidden_size", 1), attribute(node, "direction", b"forward")
            per_step = _GATES[node.op_type] * hidden * (self.shapes[node.input[0]][-1] + hidden)
            return layer.but(work=steps * per_step * (2 if way == b"bidirectional" else 1))
        return layer

    def _biased(self, node: onnx.NodeProto, place: int) -> bool:
        return len(node.input) > place and bool(node.input[place])

    def _learnt(self, node: onnx.NodeProto, name: str) -> bool:
        """Whether a constant is a weight: numbers, or the codes that an integer kernel reads, and not a single one."""
        codes = node.op_type in INTEGERS or node.op_type in _GATES
        floats = self.types.get(name, onnx.TensorProto.FLOAT) in (1, 10, 11, 16) or codes
        return floats and prod(self.shapes.get(name, ())) > 1

    def _shape(self, name: str) -> Shape:
        """Without the batch."""
        shape = self.shapes.get(name, ())
        return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
