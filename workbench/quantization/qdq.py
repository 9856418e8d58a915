"""Integer graphs in QDQ form, made by ONNX Runtime's quantizer from given ranges."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from workbench.onnx_graph import WEIGHTED, drop_unread

#: Operators with integer kernels on ONNX Runtime's CPU provider; all others would run in float between casts.
INTEGER_OPERATORS = (
    "Conv Gemm MatMul Add Mul Relu Clip Sigmoid LeakyRelu Softmax MaxPool AveragePool GlobalAveragePool "
    "Concat Split Reshape Transpose Squeeze Unsqueeze Flatten Resize Gather Where"
).split()


#: Operators that ONNX Runtime moves a quantization past.
_PASSED = frozenset({"MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"})


@dataclass(frozen=True)
class Types:
    """Integer types, as in QDQ: unsigned or signed 8 bit, for activations and for weights."""

    activation: str = "uint8"
    weight: str = "int8"


#: What may be asked for, the usual winner first. Which is fastest depends on the CPU's instructions.
TYPES = {"u8s8": Types(), "s8s8": Types("int8", "int8"), "u8u8": Types("uint8", "uint8")}


def quantize_graph(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    types: Types = Types(),
    *,
    per_channel: bool = True,
    symmetric: bool = False,
    exclude: Container[str] = (),
) -> onnx.ModelProto:
    """A copy in QDQ form: activations by the ranges given, weights by their own extremes.

    Nodes named in `exclude` stay in float, and so does the graph's output: rounding logits to 256
    steps costs accuracy and saves nothing. Source: Jacob et al. 2018, section 2.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData

    kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    copy = onnx.shape_inference.infer_shapes(model)
    quantizer = QDQQuantizer(
        copy,
        per_channel,
        False,  # the full range of 8 bits: saturation is a matter of CPUs before VNNI
        kinds[types.weight],
        kinds[types.activation],
        TensorsData(CalibrationMethod.MinMax, data),
        [],
        [node.name for node in model.graph.node if node.name in exclude],
        INTEGER_OPERATORS,
        {"ActivationSymmetric": symmetric, "WeightSymmetric": types.weight == "int8"},
    )
    level = logging.getLogger().level
    quantizer.quantize_model()
    logging.getLogger().setLevel(level)
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    _free_outputs(quantized)
    _shield(quantized, exclude)
    return quantized


def _shield(model: onnx.ModelProto, exclude: Container[str]) -> None:
    """Keep ONNX Runtime from quantizing what was left in float.

    It turns dequantize -> Conv -> quantize into an integer convolution and rounds the float weight by
    itself, one scale for all of it; and it moves a quantization up past a MaxPool, which then runs on integers
    in an order of channels that has no fast kernel. A Clip without bounds breaks both patterns.
    """
    writers = {name: node for node in model.graph.node for name in node.output}
    shielded = []
    for node in list(model.graph.node):
        before = writers.get(node.input[0]) if node.input else None
        if before is None:
            continue
        entered = node.op_type in WEIGHTED and node.name in exclude and before.op_type == "DequantizeLinear"
        left = node.op_type == "QuantizeLinear" and before.op_type in _PASSED and before.name in exclude
        if entered or left:
            inputs = [node.input[0], "float32_lowest", "float32_largest"]
            clip = helper.make_node("Clip", inputs, [f"{node.name}_float_input"], name=f"{node.name} stays in float")
            node.input[0] = clip.output[0]
            shielded.append((node, clip))
    if not shielded:
        return
    for node, clip in shielded:
        model.graph.node.insert(list(model.graph.node).index(node), clip)
    limits = np.finfo(np.float32)
    for name, value in (("float32_lowest", limits.min), ("float32_largest", limits.max)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))


def _free_outputs(model: onnx.ModelProto) -> None:
    """Take the last quantization away, and its scale: the final layer returns float."""
    nodes = {name: node for node in model.graph.node for name in node.output}
    for output in model.graph.output:
        last = nodes.get(output.name)
        before = nodes.get(last.input[0]) if last is not None and last.op_type == "DequantizeLinear" else None
        if last is None or before is None or before.op_type != "QuantizeLinear":
            continue
        source = nodes.get(before.input[0])
        if source is None or sum(list(node.input).count(before.input[0]) for node in model.graph.node) > 1:
            continue
        source.output[list(source.output).index(before.input[0])] = output.name
        model.graph.node.remove(last)
        model.graph.node.remove(before)
    drop_unread(model)
