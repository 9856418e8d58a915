"""Cross-layer equalization: even out the ranges of neighbouring layers' channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from workbench.artefact.onnx_graph import Graph, attribute

_HOMOGENEOUS = frozenset({"Relu", "MaxPool", "AveragePool"})  # f(s x) = s f(x) for s > 0


def equalize(model: onnx.ModelProto, sweeps: int = 3) -> onnx.ModelProto:
    """A copy that computes the same, with the ranges of each channel shared evenly by the layers around it.

    Channel i of a convolution's output is divided by s_i and the next one's input multiplied by it,
    s_i = sqrt(r1_i / r2_i), which makes both ranges sqrt(r1_i r2_i). Possible across ReLU and pooling, not
    across ReLU6. Source: Nagel et al. 2019, "Data-free quantization", eq. 11.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    pairs, reads = list(_neighbours(graph)), graph.reads()
    for first, _ in pairs:  # layers with equal biases share one in the file
        if len(first.input) > 2 and first.input[2]:
            graph.own(first, 2, reads)
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
