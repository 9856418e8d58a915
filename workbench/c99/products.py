"""Layers with weights: convolutions and fully connected layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from workbench.artefact.onnx_graph import attribute
from workbench.c99.floats import in_float
from workbench.c99.program import Array, At, Call, Constant, Limits, Map, Step, Struct, Tensor, Text
from workbench.c99.source import Source, Weights, layer_of, reads, refuse
from workbench.c99.windows import Window, window

#: What sums of 32 bits hold.
_LARGEST_SUM = 2**31 - 1
_ONE = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
#: Where a layer looks, its groups, and its maps before and after.
Shape = tuple[Window, int, Map, Map]


@dataclass(frozen=True)
class Product:
    """A layer with its numbers: weights (outputs, kernel rows, kernel columns, inputs of the group)."""

    layer: str
    tensor: Tensor
    window: Window
    groups: int
    before: Map
    after: Map
    weights: Array  # int8
    zeros: Array  # of the weights, an output
    scale: Array  # of the sums, an output
    bias: Array

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved with itself."""
        return self.groups > 1 and self.groups == self.before.channels == self.after.channels

    @property
    def kernel(self) -> str:
        """The kernel that stores bytes."""
        if self.depthwise:
            return "depthwise_3x3" if self.window.kernel == (3, 3) and not self.zeros.any() else "depthwise"
        return "pointwise" if self.window.plain and self.groups == 1 else "convolve"

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those with padding included."""
        return int(self.after.places * self.weights.size)

    def step(self, writes: Tensor | None, limits: Limits) -> Step:
        """The calls that store bytes in a tensor, or give answers."""
        fields: dict[str, Any] = {**self.window.fields(self.before, self.after), "groups": self.groups}
        weights = self.weights.transpose(1, 2, 3, 0) if self.depthwise else self.weights
        fields |= {"weights": Constant("weights", weights.ravel()), "bias": Constant("bias", self.bias)}
        scale = self.scale if writes is None else (self.scale / writes.grid.scale).astype(np.float32)
        fields["scale"] = Constant("scale", scale)
        if self.zeros.any():
            fields["weight_zeros"] = Constant("weight_zeros", self.zeros.astype(np.int32))
        if self.window.padded:
            padding = np.full(self.before.channels, self.tensor.grid.zero, np.uint8)
            fields["padding"] = Constant("padding", padding)
        if writes is None:
            given = (Struct("product", fields), At(self.tensor), Text("NULL"), Text("answers"))
            call = Call("depthwise" if self.depthwise else self.kernel, given)
            calls = (call, *_cut_answers(limits, self.after.size))
            return Step(self.layer, self.said, (self.tensor,), None, calls, self.macs)
        lowest, highest = limits.on(writes.grid)
        fields |= {"zero": writes.grid.zero, "lowest": lowest, "highest": highest}
        more = () if self.kernel == "depthwise_3x3" else (Text("NULL"),)
        call = Call(self.kernel, (Struct("product", fields), At(self.tensor), At(writes), *more))
        return Step(self.layer, self.said, (self.tensor,), writes, (call,), self.macs)

    @property
    def said(self) -> str:
        """What it is, in words."""
        if self.before.places == self.after.places == 1 and self.window.plain:
            return f"fully connected: {self.before.channels} -> {self.after.channels}"
        kind = "depthwise convolution" if self.depthwise else "convolution"
        groups = f", {self.groups} groups" if self.groups > 1 and not self.depthwise else ""
        return f"{kind} {self.window}{groups}: {self.before} -> {self.after}"


def _cut_answers(limits: Limits, size: int) -> Sequence[Call]:
    if limits == Limits():
        return []
    return [Call("clamp_answers", (size, *limits.ends(), Text("answers")))]


@reads("Conv")
def conv(source: Source, node: onnx.NodeProto) -> None:
    """A convolution of one or two axes, in groups or without."""
    before, _ = source.shape(node.input[0], node)
    after, _ = source.shape(node.output[0], node)
    groups, kernel = int(attribute(node, "group", 1)), source.seen_shape(node.input[1])
    looks = window(node, kernel[2:], before, after)

    def last(values: Array) -> Array:
        """Input channels last."""
        return values.reshape(*values.shape[:2], *looks.kernel).transpose(0, 2, 3, 1)

    _layer(source, node, 0, last, (looks, groups, before, after))


@reads("Gemm", "MatMul")
def linear(source: Source, node: onnx.NodeProto) -> None:
    """A fully connected layer on a vector; of one that is made of a map, the weights follow its order in memory."""
    across = node.op_type == "Gemm" and bool(attribute(node, "transB", 0))
    factors = [attribute(node, name, 1.0) for name in ("alpha", "beta")] if node.op_type == "Gemm" else []
    if len(source.seen_shape(node.output[0])) != 2 or attribute(node, "transA", 0) or any(x != 1.0 for x in factors):
        refuse(node, "it is no layer on a single vector")
    tensor, outputs = source.tensors.get(node.input[0]), source.seen_shape(node.output[0])[1]
    before, _ = (tensor.map, True) if tensor is not None else source.shape(node.input[0], node)

    def last(values: Array) -> Array:
        """A row an output, its numbers in the order of memory."""
        rows = values if across else values.T
        if tensor is not None and not tensor.ordered:
            rows = rows.reshape(-1, *before).transpose(0, 2, 3, 1)
        return rows.reshape(len(rows), 1, 1, -1)

    _layer(source, node, 0 if across else 1, last, (_ONE, 1, Map(before.size), Map(outputs)))


def _layer(source: Source, node: onnx.NodeProto, axis: int, last: Callable[[Array], Array], shape: Shape) -> None:
    """A layer of bytes where its input and its weights are such; one that is left in float otherwise."""
    tensor = source.tensors.get(node.input[0])
    if tensor is not None and source.stored(node, 1):
        found = source.weights(node, 1, axis)
        _product(source, node, tensor, Weights(last(found.values), found.scale, found.zero), shape)
        return
    weights = source.constant(node.input[1])
    if weights is None:
        refuse(node, "both of its inputs follow from the network's input")
    in_float(source, node, last(weights), shape)


def _product(source: Source, node: onnx.NodeProto, tensor: Tensor, found: Weights, shape: Shape) -> None:
    """Remember a layer: weights as signed bytes, and what the input's zero adds to each sum in the bias."""
    signed = found.values.dtype == np.uint8
    values, zeros = (one.astype(np.int64) - 128 * signed for one in (found.values, found.zero))
    if found.values.dtype not in (np.uint8, np.int8):
        refuse(node, f"its weights are stored as {found.values.dtype}; 8-bit integers are read")
    scale = tensor.grid.scale * found.scale
    rows = (values.reshape(len(values), -1) - zeros[:, None]).sum(1)
    bias = _bias(source, node, scale) - tensor.grid.zero * rows
    largest = np.abs(bias) + 255 * (np.abs(values).reshape(len(values), -1).sum(1) + np.abs(zeros) * values[0].size)
    if int(largest.max()) > _LARGEST_SUM:
        refuse(node, "its sums may need more than 32 bits")
    layer = Product(
        layer_of(node), tensor, *shape, values.astype(np.int8), zeros, scale.astype(np.float32), bias.astype(np.int32)
    )
    source.give(node, layer.step, map=shape[-1])


def _bias(source: Source, node: onnx.NodeProto, scale: Array) -> Array:
    """A layer's bias in steps of its sums, as a runtime of integers takes it."""
    if len(node.input) < 3 or not node.input[2]:
        return np.zeros(len(scale), np.int64)
    maker = source.writers.get(node.input[2])
    if maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in source.graph.constants:
        stored = source.graph.array(maker.input[0])
        return np.broadcast_to(stored.astype(np.int64).ravel(), len(scale))
    value = source.constant(node.input[2])
    if value is None:
        refuse(node, "its bias is computed from the input")
    found: Array = np.broadcast_to(np.rint(value.astype(np.float64).ravel() / scale).astype(np.int64), len(scale))
    return found
