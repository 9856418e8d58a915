"""4-bit weights, with everything else in float: for storage, since convolutions have no 4-bit kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from workbench.artefact.onnx_graph import WEIGHTED, Graph, attribute, drop_unread

Array = npt.NDArray[Any]

#: INT4 came with this version of the operator set; for what our graphs hold it adds types and changes nothing.
_OPSET = 21
LARGEST = 7
#: What the last step may stand for, as shares of the largest weight: at 4 bits clipping a few weights
#: costs less than rounding all of them coarsely.
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def to_int4(model: onnx.ModelProto, scales: Mapping[str, Array]) -> onnx.ModelProto:
    """A copy that stores the weights named in `scales` (outputs,) as 4-bit integers.

    In front of each layer a Cast and a Mul give its weight back in float, which ONNX Runtime does once, when
    it loads the file. DequantizeLinear, which says the same, it runs for every input: 4 times slower.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    done: set[str] = set()
    for node in list(graph.nodes):
        name = node.input[1] if node.op_type in WEIGHTED else ""
        if name not in scales:
            continue
        node.input[1] = f"{name}_float"
        if name in done:  # a layer that runs twice: what its first run unpacked serves both
            continue
        done.add(name)
        axis = output_axis(node)
        scale = scales[name].astype(np.float32)
        shape = [-1 if index == axis else 1 for index in range(graph.array(name).ndim)]
        steps = np.clip(np.rint(graph.array(name) / scale.reshape(shape)), -LARGEST, LARGEST).astype(np.int8)
        copy.graph.initializer.append(_packed(f"{name}_int4", steps))
        copy.graph.initializer.append(onnx.numpy_helper.from_array(scale.reshape(shape), f"{name}_scale"))
        cast = helper.make_node("Cast", [f"{name}_int4"], [f"{name}_steps"], f"{name} steps", to=TensorProto.FLOAT)
        scaled = helper.make_node("Mul", [f"{name}_steps", f"{name}_scale"], [f"{name}_float"], f"{name} in float")
        copy.graph.node.insert(0, scaled)
        copy.graph.node.insert(0, cast)
    drop_unread(copy)
    for entry in copy.opset_import:
        if entry.domain == "":
            entry.version = max(entry.version, _OPSET)
    return copy


def output_axis(node: onnx.NodeProto) -> int:
    """Which dimension of a layer's weight counts its outputs."""
    if node.op_type == "Conv":
        return 0
    return 0 if node.op_type == "Gemm" and attribute(node, "transB", 0) else 1


def _packed(name: str, steps: Array) -> TensorProto:
    """Two values a byte, the first in the low half, as ONNX stores INT4."""
    flat = steps.ravel()
    pairs = np.append(flat, 0)[: 2 * -(-len(flat) // 2)].reshape(-1, 2).astype(np.uint8) & 0xF
    content = (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).tobytes()
    return TensorProto(name=name, data_type=TensorProto.INT4, dims=steps.shape, raw_data=content)
