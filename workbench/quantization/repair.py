"""Keep accuracy without training: even out channels, correct means, round so that errors cancel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.jobs import Reporter
from workbench.onnx_graph import Graph, attribute
from workbench.quantization.observe import with_outputs
from workbench.runtimes.onnxruntime import open_session

Array = npt.NDArray[Any]

LARGEST = 127  # the largest magnitude of a signed 8-bit weight; ONNX Runtime leaves -128 unused
_HOMOGENEOUS = frozenset({"Relu", "MaxPool", "AveragePool"})  # f(s x) = s f(x) for s > 0
_BATCH = 50
_POSITIONS = 6  # along each dimension of a feature map, for one image
#: Share of the mean curvature added to the diagonal, so that directions never seen do not blow up.
_DAMPING = 0.01


# Cross-layer equalization


def equalize(model: onnx.ModelProto, sweeps: int = 3) -> onnx.ModelProto:
    """A copy that computes the same, with the ranges of each channel shared evenly by the layers around it.

    Channel i of a convolution's output is divided by s_i and the next one's input multiplied by it,
    s_i = sqrt(r1_i / r2_i), which makes both ranges sqrt(r1_i r2_i). Possible across ReLU and pooling, not
    across ReLU6. Source: Nagel et al. 2019, "Data-free quantization", eq. 11.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    pairs = list(_neighbours(graph))
    for _ in range(sweeps):
        for first, second in pairs:
            _share(graph, first, second)
    graph.store()
    return copy


def _neighbours(graph: Graph) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Convolutions whose output reaches exactly one other convolution through homogeneous operators."""
    readers, returned = graph.readers(), graph.outputs()
    for first in graph.nodes:
        if first.op_type != "Conv" or len(readers.get(first.input[1], [])) > 1:
            continue
        node = first
        while node.output[0] not in returned and len(readers.get(node.output[0], [])) == 1:
            node = readers[node.output[0]][0]
            if node.op_type not in _HOMOGENEOUS:
                break
        if node.op_type == "Conv" and node is not first and len(readers[node.input[1]]) == 1:
            yield first, node


def _share(graph: Graph, first: onnx.NodeProto, second: onnx.NodeProto) -> None:
    before, after = graph.array(first.input[1]), graph.array(second.input[1])
    groups = attribute(second, "group", 1)
    outputs, inputs = after.shape[:2]
    by_input = np.abs(after).reshape(groups, outputs // groups, inputs, -1).max(axis=(1, 3)).ravel()
    by_output = np.abs(before).reshape(len(before), -1).max(axis=1)
    alive = (by_input > 0) & (by_output > 0)
    scale = np.where(alive, np.sqrt(by_output / np.where(alive, by_input, 1.0)), 1.0).astype(before.dtype)
    scale[~alive] = 1.0
    graph.put(first.input[1], before / scale.reshape(-1, *[1] * (before.ndim - 1)))
    if len(first.input) > 2 and first.input[2]:
        graph.put(first.input[2], graph.array(first.input[2]) / scale)
    factors = np.repeat(scale.reshape(groups, 1, inputs), outputs // groups, axis=1).reshape(outputs, inputs)
    graph.put(second.input[1], after * factors.reshape(outputs, inputs, *[1] * (after.ndim - 2)))


# Bias correction and error-compensating rounding look at the layers' inputs


@dataclass
class _Layer:
    """A convolution or linear layer with constant weights, and the sums over its inputs' patches.

    The weight is seen as (groups, outputs, patch). `second` is the mean of x x^T, (groups, patch, patch).
    """

    node: onnx.NodeProto
    groups: int
    mean: Array | None = None
    second: Array | None = None
    count: int = 0


def correct_bias(
    model: onnx.ModelProto, quantized: onnx.ModelProto, inputs: Array, progress: Reporter
) -> onnx.ModelProto:
    """A copy whose biases take back the mean error that rounding the weights causes, (W - W_q) E[x].

    Source: Nagel et al. 2019, section 4.2, with means taken from calibration inputs (N, ...).
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, rounded = Graph(copy), Graph(quantized)
    for layer in _observe(graph, inputs, progress, second=False):
        name = layer.node.input[1]
        if f"{name}_quantized" not in rounded.constants or layer.mean is None or len(layer.node.input) < 3:
            continue
        error = _as_patches(layer, graph.array(name) - _dequantized(rounded, name))
        shift = np.einsum("gop,gp->go", error, layer.mean).ravel()
        bias = graph.array(layer.node.input[2])
        graph.put(layer.node.input[2], (bias + shift).astype(bias.dtype))
    graph.store()
    return copy


def compensate(
    model: onnx.ModelProto, inputs: Array, progress: Reporter, *, per_channel: bool = True
) -> onnx.ModelProto:
    """A copy whose weights lie on the 8-bit grid, rounded so that errors cancel on inputs (N, ...).

    Minimises |(W - W_q) x|^2, the objective of AdaRound (Nagel et al. 2020, eq. 21), weight by weight: what
    rounding one weight loses, those not yet rounded make up for (Frantar et al. 2023, "GPTQ", eq. 2-3). The
    largest weight of each channel stays, so that the scale that follows from it does.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    layers = _observe(graph, inputs, progress.part(0.0, 0.5), second=True)
    for index, layer in enumerate(layers):
        progress(0.5 + 0.5 * index / len(layers), f"rounding {layer.node.name}")
        name = layer.node.input[1]
        if layer.second is None:
            continue
        weight = graph.array(name)
        patches = _as_patches(layer, weight)
        largest = np.abs(patches).max(axis=2 if per_channel else None, keepdims=True)
        scales = np.broadcast_to(np.maximum(largest, 1e-12) / LARGEST, (*patches.shape[:2], 1))
        solved = [_round(w, s, h) for w, s, h in zip(patches, scales, layer.second, strict=True)]
        graph.put(name, _from_patches(layer, np.stack(solved), weight).astype(weight.dtype))
    graph.store()
    return copy


def _round(weight: Array, scale: Array, second: Array) -> Array:
    """Weights (outputs, patch) on the grid of scale (outputs, 1), for inputs of second moment (patch, patch)."""
    size = len(second)
    damped = second + np.eye(size) * (_DAMPING * np.trace(second) / size + 1e-12)
    inverse = np.linalg.cholesky(np.linalg.inv(damped)).T  # upper triangular, as GPTQ needs it
    left = weight.astype(np.float64)
    fixed = np.abs(weight) >= LARGEST * scale * (1 - 1e-6)
    result = np.empty_like(left)
    for index in range(size):
        column = np.where(fixed[:, index], weight[:, index], left[:, index])
        steps = np.clip(np.rint(column / scale[:, 0]), -LARGEST, LARGEST)
        result[:, index] = steps * scale[:, 0]
        error = (left[:, index] - result[:, index]) / inverse[index, index]
        left[:, index + 1 :] -= error[:, None] * inverse[index, index + 1 :]
    return result


def _dequantized(graph: Graph, name: str) -> Array:
    """The value that a quantized weight stands for."""
    values = graph.array(f"{name}_quantized").astype(np.float32)
    scale, zero = graph.array(f"{name}_scale"), graph.array(f"{name}_zero_point").astype(np.float32)
    axis = next((attribute(node, "axis", 1) for node in graph.nodes if node.input[0] == f"{name}_quantized"), 0)
    shape = [-1 if index == axis else 1 for index in range(values.ndim)] if scale.ndim else []
    result: Array = (values - zero.reshape(shape)) * scale.reshape(shape)
    return result


def _observe(graph: Graph, inputs: Array, progress: Reporter, *, second: bool) -> list[_Layer]:
    """The layers with constant weights, with the moments of their inputs' patches."""
    layers = [
        _Layer(node, attribute(node, "group", 1))
        for node in graph.nodes
        if node.op_type in {"Conv", "Gemm", "MatMul"} and node.input[1] in graph.constants
    ]
    names = sorted({layer.node.input[0] for layer in layers})
    entry = graph.model.graph.input[0].name
    session = open_session(with_outputs(graph.model, [n for n in names if n != entry]).SerializeToString())
    fetched = [n for n in names if n != entry]
    for start in range(0, len(inputs), _BATCH):
        progress(start / len(inputs), "looking at the layers' inputs")
        batch = np.ascontiguousarray(inputs[start : start + _BATCH], np.float32)
        values = {entry: batch, **dict(zip(fetched, session.run(fetched, {entry: batch}), strict=True))}
        for layer in layers:
            _add(layer, values[layer.node.input[0]], graph.array(layer.node.input[1]), second)
    for layer in layers:
        for field in ("mean", "second"):
            total = getattr(layer, field)
            setattr(layer, field, None if total is None else total / layer.count)
    return layers


def _add(layer: _Layer, value: Array, weight: Array, second: bool) -> None:
    """Add the patches of one batch of a layer's inputs to its sums."""
    patches = _patches(layer, value, weight)  # (groups, count, patch)
    layer.mean = patches.sum(axis=1) + (0 if layer.mean is None else layer.mean)
    if second:
        layer.second = patches.transpose(0, 2, 1) @ patches + (0 if layer.second is None else layer.second)
    layer.count += patches.shape[1]


def _patches(layer: _Layer, value: Array, weight: Array) -> Array:
    """What outputs of a layer, evenly spaced, are computed from: (groups, count, patch), padding included."""
    if layer.node.op_type != "Conv":
        return value.reshape(1, -1, value.shape[-1])
    kernel = weight.shape[2:]
    rank = len(kernel)
    pads = list(attribute(layer.node, "pads", [0] * 2 * rank))
    strides = list(attribute(layer.node, "strides", [1] * rank))
    dilations = list(attribute(layer.node, "dilations", [1] * rank))
    padded = np.pad(value, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + rank)))
    every = [slice(None), slice(None), *[slice(None, None, s) for s in strides]]
    windows = windows[(*every, *[slice(None, None, d) for d in dilations])]
    n, channels, *where = windows.shape[: 2 + rank]
    apart = [slice(None, None, -(-size // _POSITIONS)) for size in where]  # a sample is enough for the sums
    windows = windows[(slice(None), slice(None), *apart)]
    where = list(windows.shape[2 : 2 + rank])
    split = windows.reshape(n, layer.groups, channels // layer.groups, int(np.prod(where)), int(np.prod(kernel)))
    patches: Array = split.transpose(1, 0, 3, 2, 4).reshape(layer.groups, n * split.shape[3], -1)
    return patches


def _as_patches(layer: _Layer, weight: Array) -> Array:
    """A weight as (groups, outputs, patch)."""
    if layer.node.op_type == "Conv":
        return weight.reshape(layer.groups, weight.shape[0] // layer.groups, -1)
    transposed = layer.node.op_type == "Gemm" and attribute(layer.node, "transB", 0)
    return (weight if transposed else weight.T)[None]


def _from_patches(layer: _Layer, patches: Array, like: Array) -> Array:
    """The inverse of `_as_patches`."""
    if layer.node.op_type == "Conv":
        shaped: Array = patches.reshape(like.shape)
        return shaped
    transposed = layer.node.op_type == "Gemm" and attribute(layer.node, "transB", 0)
    matrix: Array = patches[0] if transposed else patches[0].T
    return matrix
