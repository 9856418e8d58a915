"""Bias correction: take back the mean error that rounding the weights causes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.artefact.onnx_graph import Graph, attribute
from workbench.jobs import Reporter
from workbench.quantization.patches import as_patches, observe_layers

Array = npt.NDArray[Any]


def correct_bias(
    model: onnx.ModelProto, quantized: onnx.ModelProto, inputs: Any, progress: Reporter
) -> onnx.ModelProto:
    """A copy whose biases take back the mean error that rounding the weights causes, (W - W_q) E[x].

    Source: Nagel et al. 2019, section 4.2, with means taken from calibration inputs (N, ...).
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, rounded = Graph(copy), Graph(quantized)
    reads = graph.reads()
    for layer in observe_layers(graph, inputs, progress, second=False):
        name = layer.node.input[1]
        has_bias = len(layer.node.input) > 2 and layer.node.input[2] in graph.constants
        if f"{name}_quantized" not in rounded.constants or layer.mean is None or not has_bias:
            continue
        error = as_patches(layer, graph.array(name) - _dequantized(rounded, name))
        shift = np.einsum("gop,gp->go", error, layer.mean).ravel()
        bias_name = graph.own(layer.node, 2, reads)
        bias = graph.array(bias_name)
        graph.put(bias_name, (bias + shift).astype(bias.dtype))
    graph.store()
    return copy


def _dequantized(graph: Graph, name: str) -> Array:
    """The value that a quantized weight stands for."""
    values = graph.array(f"{name}_quantized").astype(np.float32)
    scale, zero = graph.array(f"{name}_scale"), graph.array(f"{name}_zero_point").astype(np.float32)
    axis = next((attribute(node, "axis", 1) for node in graph.nodes if node.input[0] == f"{name}_quantized"), 0)
    shape = [-1 if index == axis else 1 for index in range(values.ndim)] if scale.ndim else []
    result: Array = (values - zero.reshape(shape)) * scale.reshape(shape)
    return result
