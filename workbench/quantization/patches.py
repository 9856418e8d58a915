"""What the layers of an ONNX graph see: the patches of their inputs, and the moments of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.artefact.onnx_graph import Graph, attribute
from workbench.jobs import Reporter
from workbench.quantization.observe import read

Array = npt.NDArray[Any]

_POSITIONS = 6  # along each dimension of a feature map, for one image


@dataclass
class SeenLayer:
    """A convolution or linear layer with constant weights, and the sums over its inputs' patches.

    The weight is seen as (groups, outputs, patch). `second` is the mean of x x^T, (groups, patch, patch).
    """

    node: onnx.NodeProto
    groups: int
    mean: Array | None = None
    second: Array | None = None
    count: int = 0


def observe_layers(graph: Graph, inputs: Any, progress: Reporter, *, second: bool) -> list[SeenLayer]:
    """The layers with constant weights, with the moments of their inputs' patches."""
    layers = [SeenLayer(node, attribute(node, "group", 1)) for node in graph.nodes if _has_plain_weight(graph, node)]
    names = sorted({layer.node.input[0] for layer in layers})
    for values in read(graph.model, names, inputs, progress, "looking at the layers' inputs"):
        for layer in layers:
            _add(layer, values[layer.node.input[0]], graph.array(layer.node.input[1]), second)
    for layer in layers:
        for field in ("mean", "second"):
            total = getattr(layer, field)
            setattr(layer, field, None if total is None else total / layer.count)
    return layers


def _has_plain_weight(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node multiplies patches of its input with a constant float matrix or filter bank."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"} or node.input[1] not in graph.constants:
        return False
    weight = graph.constants[node.input[1]]
    plain = node.op_type == "Conv" or (len(weight.dims) == 2 and not attribute(node, "transA", 0))
    return bool(plain and weight.data_type == onnx.TensorProto.FLOAT)


def _add(layer: SeenLayer, value: Array, weight: Array, second: bool) -> None:
    """Add the patches of one batch of a layer's inputs to its sums."""
    patches = _patches(layer, value, weight)  # (groups, count, patch)
    layer.mean = patches.sum(axis=1) + (0 if layer.mean is None else layer.mean)
    if second:
        layer.second = patches.transpose(0, 2, 1) @ patches + (0 if layer.second is None else layer.second)
    layer.count += patches.shape[1]


def _patches(layer: SeenLayer, value: Array, weight: Array) -> Array:
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


def as_patches(layer: SeenLayer, weight: Array) -> Array:
    """A weight as (groups, outputs, patch)."""
    if layer.node.op_type == "Conv":
        return weight.reshape(layer.groups, weight.shape[0] // layer.groups, -1)
    transposed = layer.node.op_type == "Gemm" and attribute(layer.node, "transB", 0)
    return (weight if transposed else weight.T)[None]


def from_patches(layer: SeenLayer, patches: Array, like: Array) -> Array:
    """The inverse of `as_patches`."""
    if layer.node.op_type == "Conv":
        shaped: Array = patches.reshape(like.shape)
        return shaped
    transposed = layer.node.op_type == "Gemm" and attribute(layer.node, "transB", 0)
    matrix: Array = patches[0] if transposed else patches[0].T
    return matrix
