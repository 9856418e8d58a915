"""Where the layers of a network stand in its ONNX artefact, whatever a recipe has made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from workbench.artefact.onnx_graph import WEIGHTED, Graph, scope

#: What may follow a layer before the next one reads its result.
_SETTLING = frozenset(
    "BatchNormalization Relu Clip LeakyRelu PRelu Elu Selu HardSwish Identity QuantizeLinear DequantizeLinear "
    "Cast".split()
)
_CASTS = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast"})
_SHIELD = " stays in float"  # a Clip without bounds in front of a layer that quantization leaves out


@dataclass(frozen=True)
class Place:
    """A layer in a graph: the tensor that it reads, and its result as the layers behind it read it.

    Both are floats. `low`, `high` and `step` say what the result's integers can hold, where it has any.
    """

    operator: str
    source: str
    result: str
    low: float = -np.inf
    high: float = np.inf
    step: float = 0.0

    @property
    def quantized(self) -> bool:
        """Whether the result is rounded to integers on its way."""
        return self.step > 0


def layer_names(model: onnx.ModelProto) -> list[str]:
    """The names of the layers with weights, in execution order; of a layer that runs twice the first time."""
    return [node.name for node in model.graph.node if node.op_type in WEIGHTED and "#" not in node.name]


def places(model: onnx.ModelProto, layers: Iterable[str]) -> dict[str, Place]:
    """The place of each layer of the original, which may have become a chain; those that are gone are left out."""
    graph = Graph(model)
    readers, writers, returned = graph.readers(), graph.writers(), graph.outputs()
    found = {}
    for layer in layers:
        own = [node for node in graph.nodes if _belongs(node, layer)]
        weighted = [node for node in own if node.op_type in WEIGHTED]
        if not weighted:
            continue
        source = _source(graph, own[0], writers)
        result, last = _settle(own[-1].output[0], readers, returned)
        operator = weighted[0].op_type if len(weighted) == 1 else f"{len(weighted)} {weighted[0].op_type}"
        found[layer] = Place(operator, source, result, *(_limits(graph, last) if last is not None else ()))
    return found


def isolated(model: onnx.ModelProto, found: Mapping[str, Place]) -> tuple[onnx.ModelProto, dict[str, tuple[str, str]]]:
    """A graph that holds every layer by itself, and the names of each one's input and output in it.

    A layer whose result depends on more than the tensor that it reads is left out.
    """
    graph = Graph(model)
    writers, kinds = graph.writers(), _kinds(model)
    nodes: list[onnx.NodeProto] = []
    inputs, outputs, ends = [], [], {}
    for layer, place in found.items():
        own = _between(graph, place, writers)
        if not own:
            continue
        for node in own:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{layer}::{node.name}"
            for names in (copy.input, copy.output):
                renamed = [one if not one or one in graph.constants else f"{layer}::{one}" for one in names]
                del names[:]
                names.extend(renamed)
            nodes.append(copy)
        ends[layer] = (f"{layer}::{place.source}", f"{layer}::{place.result}")
        kind = kinds.get(place.source, onnx.TensorProto.FLOAT)
        inputs.append(helper.make_tensor_value_info(ends[layer][0], kind, None))
        outputs.append(helper.make_empty_tensor_value_info(ends[layer][1]))
    alone = helper.make_graph(nodes, "layers", inputs, outputs, list(graph.constants.values()))
    return helper.make_model(alone, opset_imports=model.opset_import, ir_version=model.ir_version), ends


def _belongs(node: onnx.NodeProto, layer: str) -> bool:
    """Whether a node computes a layer or a link of the chain in its place."""
    if node.op_type in _CASTS or node.name.endswith(_SHIELD) or "#" in node.name:
        return False
    name = node.name if node.op_type in WEIGHTED else scope(node.name)
    return name == layer or name.startswith(f"{layer}.")


def _source(graph: Graph, first: onnx.NodeProto, writers: dict[str, onnx.NodeProto]) -> str:
    """The tensor that a layer reads, before it was quantized for it."""
    name: str = next(one for one in first.input if one not in graph.constants and not _constant(graph, one, writers))
    while name in writers and (writers[name].op_type in _CASTS or writers[name].name.endswith(_SHIELD)):
        name = writers[name].input[0]
    return name


def _constant(graph: Graph, name: str, writers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a tensor is a dequantized weight."""
    return name in writers and all(one in graph.constants for one in writers[name].input if one)


def _settle(
    name: str, readers: dict[str, list[onnx.NodeProto]], returned: set[str]
) -> tuple[str, onnx.NodeProto | None]:
    """The tensor after everything that only changes this one on its way to the next layer; the last quantization."""
    last = None
    while name not in returned:
        after = readers.get(name, [])
        whole = len(after) == 1 or (bool(after) and all(node.op_type == "DequantizeLinear" for node in after))
        if not whole or after[0].op_type not in _SETTLING or after[0].input[0] != name:
            break
        last = after[0] if after[0].op_type == "QuantizeLinear" else last
        name = after[0].output[0]
    return name, last


def _limits(graph: Graph, node: onnx.NodeProto) -> tuple[float, float, float]:
    """The least and the greatest value that a quantization can return, and its step."""
    scale, zero = graph.array(node.input[1]), graph.array(node.input[2])
    ends = np.iinfo(zero.dtype)
    step = float(scale.max())
    return (ends.min - float(zero.max())) * step, (ends.max - float(zero.min())) * step, step


def _between(graph: Graph, place: Place, writers: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes that turn a layer's source into its result, in order; none where they need more than the source."""
    needed, todo = set(), [place.result]
    while todo:
        name = todo.pop()
        if name == place.source or not name or name in graph.constants:
            continue
        if name not in writers:
            return []
        if id(writers[name]) not in needed:
            needed.add(id(writers[name]))
            todo.extend(writers[name].input)
    return [node for node in graph.nodes if id(node) in needed]


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor that shape inference knows."""
    known = onnx.shape_inference.infer_shapes(model).graph
    return {one.name: one.type.tensor_type.elem_type for one in (*known.value_info, *known.input, *known.output)}
