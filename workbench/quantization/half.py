"""Artefacts with float16 weights."""

from __future__ import annotations

import warnings
from collections.abc import Container
from typing import Any

import onnx
from onnx import TensorProto

from workbench.artefact.onnx_graph import WEIGHTED, Graph, attribute, stem
from workbench.jobs import Reporter
from workbench.quantization.edges import float_nodes_of_shapes, kinds_of
from workbench.quantization.observe import extremes

#: The largest number that float16 holds.
LARGEST = 65504.0


def to_float16(model: onnx.ModelProto, exclude: Container[str] = ()) -> onnx.ModelProto:
    """A copy that stores and computes in float16; inputs, outputs, and layers of `exclude` stay float32.

    So do what follows these layers up to the next ones, and sizes that are computed in float: beyond 2,048
    float16 has no odd numbers.
    Values beyond float16's range become its largest ones (65504), subnormal ones its least (6e-8).
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = _kept(model, exclude)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one warning a weight that is clipped
        converted: onnx.ModelProto = convert_float_to_float16(
            copy,
            keep_io_types=True,
            node_block_list=sorted(kept),
        )
    converted.graph.ClearField("value_info")  # the types of before, which are no longer true
    _unite(converted)
    OnnxModel.graph_topological_sort(converted.graph)  # types are inferred in the order of the nodes
    _join(converted)
    return converted


def _unite(model: onnx.ModelProto) -> None:
    """Make each tensor once: the converter casts it anew for every reader that stays in float32, under one name."""
    made: set[str] = set()
    once = []
    for node in model.graph.node:
        if node.op_type != "Cast" or node.output[0] not in made:
            once.append(node)
        made.update(node.output)
    del model.graph.node[:]
    model.graph.node.extend(once)


def _join(model: onnx.ModelProto) -> None:
    """Let neighbours in float32 hand on float32: the converter rounds to float16 and back between any two of them."""
    graph, kinds = Graph(model), kinds_of(model)
    writers = graph.writers()
    for node in graph.nodes:
        back = node.op_type == "Cast" and attribute(node, "to", 0) == TensorProto.FLOAT
        there = writers.get(node.input[0]) if back else None
        if there is not None and there.op_type == "Cast" and kinds.get(there.input[0]) == TensorProto.FLOAT:
            node.input[0] = there.input[0]  # from float to float: nothing is left to do
    read = graph.reads()
    graph.drop([node for node in graph.nodes if node.op_type == "Cast" and not read[node.output[0]]])


def overflows(model: onnx.ModelProto, inputs: Any, progress: Reporter, exclude: Container[str]) -> list[str]:
    """The layers that meet values beyond float16 on inputs (N, ...), as a runtime with float16 kernels has them."""
    ranges, kept = extremes(model, inputs, progress), _kept(model, exclude)
    layer, found = "the input", []
    for node in model.graph.node:
        layer = stem(node.name) if node.op_type in WEIGHTED else layer
        ends = [abs(end) for name in (*node.input, *node.output) for end in ranges.get(name, (0.0, 0.0))]
        if node.name not in kept and max(ends, default=0.0) > LARGEST:
            found.append(layer)
    return list(dict.fromkeys(found))


def _kept(model: onnx.ModelProto, exclude: Container[str]) -> set[str]:
    """The nodes that stay float32."""
    kept, inside = set(float_nodes_of_shapes(model)), False
    for node in model.graph.node:
        inside = node.name in exclude if node.op_type in WEIGHTED else inside
        kept |= {node.name} if inside else set()
    return kept
