"""Integer graphs in QDQ form, made by ONNX Runtime's quantizer from given ranges."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from workbench.artefact.onnx_graph import WEIGHTED, Graph, attribute, drop_unread
from workbench.quantization.edges import INTEGER_OPERATORS, integer_nodes, with_shapes

Array = npt.NDArray[Any]

#: Operators that ONNX Runtime moves a quantization past.
_PASSED = frozenset({"MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"})


@dataclass(frozen=True)
class Types:
    """Integer types, as in QDQ: unsigned or signed 8 bit, for activations and for weights."""

    activation: str = "uint8"
    weight: str = "int8"


#: Steps of a bias, an int32, that leave the sums of products their share of the 31 bits.
_LARGEST_BIAS = 2**30

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

    Only what `integer_nodes` allows is quantized. Nodes named in `exclude` stay in float, and so does the
    graph's output: rounding logits to 256 steps costs accuracy and saves nothing. Layers must have their
    weights and biases to themselves (`onnx_graph.separate`). Source: Jacob et al. 2018, section 2.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData

    kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    copy = with_shapes(model)
    chosen = sorted(name for name in integer_nodes(model, ranges) if name not in exclude)
    if not chosen:  # to the quantizer an empty list means every node
        return copy
    quantizer = QDQQuantizer(
        copy,
        per_channel,
        False,  # the full range of 8 bits: saturation is a matter of CPUs before VNNI
        kinds[types.weight],
        kinds[types.activation],
        TensorsData(CalibrationMethod.MinMax, data),
        chosen,
        [],
        INTEGER_OPERATORS,
        {
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": types.weight == "int8",
            "TensorQuantOverrides": _wide_weights(Graph(copy), chosen, ranges, per_channel),
        },
    )
    level = logging.getLogger().level
    quantizer.quantize_model()
    logging.getLogger().setLevel(level)
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    _free_outputs(quantized)
    _shield(quantized, frozenset(node.name for node in model.graph.node) - frozenset(chosen))
    return quantized


def _wide_weights(
    graph: Graph, nodes: list[str], ranges: Mapping[str, tuple[float, float]], per_channel: bool
) -> dict[str, list[dict[str, Any]]]:
    """Wider ranges for weights so small that their layer's bias would not fit into its integers.

    A bias is stored in steps of (step of the input) * (step of the weight): beside a filter of tiny weights it
    needs more than 31 bits, and what is cut off is nearly all of the output. Such weights say nothing beside
    that bias, so they can bear coarser steps.
    """
    found = {}
    for node in graph.nodes:
        fed = len(node.input) > 2 and node.op_type in {"Conv", "Gemm"} and node.name in nodes
        if not fed or not {node.input[1], node.input[2]} <= graph.constants.keys():
            continue
        axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
        weight, bias = graph.array(node.input[1]), graph.array(node.input[2])
        rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        low, high = ranges[node.input[0]]
        step = (max(high, 0.0) - min(low, 0.0)) / 255 or 1.0
        half = np.broadcast_to(np.abs(bias).ravel() / (step * _LARGEST_BIAS) * 255 / 2, len(rows))
        ends = np.minimum(rows.min(1), 0.0), np.maximum(rows.max(1), 0.0)
        if not per_channel:
            half, ends = half.max(keepdims=True), (ends[0].min(), ends[1].max())
        if (2 * half > ends[1] - ends[0]).any():
            found[node.input[1]] = _overrides(*ends, half, axis if per_channel else None)
    return found


def _overrides(lows: Array, highs: Array, half: Array, axis: int | None) -> list[dict[str, Any]]:
    """Ranges that reach at least `half` to both sides, as ONNX Runtime's quantizer takes them."""
    ends = zip(np.minimum(lows, -half), np.maximum(highs, half), strict=True)
    entries: list[dict[str, Any]] = [{"rmin": np.float32(low), "rmax": np.float32(high)} for low, high in ends]
    if axis is not None:
        entries[0]["axis"] = axis
    return entries


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
