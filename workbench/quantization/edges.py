"""Which operations of a graph may compute in integers: those on float data, never those on shapes.

An exported graph holds more than the network's data: sizes, amounts of padding and indices are computed beside
them, often in float for a while. Eight bits would change these, and with them what the network computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import TensorProto

from workbench.artefact.onnx_graph import Graph

#: Operators with integer kernels on ONNX Runtime's CPU provider; all others would run in float between casts.
INTEGER_OPERATORS = (
    "Conv Gemm MatMul Add Mul Relu Clip Sigmoid LeakyRelu Softmax MaxPool AveragePool GlobalAveragePool "
    "Concat Split Reshape Transpose Squeeze Unsqueeze Flatten Resize Gather Where"
).split()

#: The inputs that hold what an operator works on; its others are sizes, axes, bounds, amounts. All where not named.
_FIRST_ALONE = (
    "Reshape Pad Slice Resize Upsample Expand Tile TopK Squeeze Unsqueeze Gather GatherElements GatherND Split Clip "
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
    "ReduceSumSquare CumSum Trilu Dropout"
).split()
_DATA_INPUTS: dict[str, tuple[int, ...]] = dict.fromkeys(_FIRST_ALONE, (0,)) | {
    "Where": (1, 2), "ScatterND": (0, 2), "ScatterElements": (0, 2), "Range": (), "ConstantOfShape": (), "OneHot": (2,),
}  # fmt: skip
#: Operators whose outputs tell of their inputs' sizes, or choose among them.
_TELLS = frozenset(
    "Shape Size NonZero ArgMax ArgMin TopK Equal Less Greater LessOrEqual GreaterOrEqual And Or Not Xor IsNaN "
    "IsInf".split()
)
#: Operators whose output holds an input as it is, beside the others.
_MIXES = frozenset({"Add", "Sub", "Where", "Concat", "Min", "Max"})
#: Operators that give what a table has at places.
_LOOKS_UP = frozenset({"Gather", "GatherElements", "GatherND", "OneHot"})
_WHOLE = frozenset({TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8, TensorProto.UINT8})
_DATA_KINDS = _WHOLE | {TensorProto.FLOAT}
LEVELS = 256
#: Bytes of a constant that is a weight, and no size or axis.
_LARGE_BYTES = 4096


def data_tensors(model: onnx.ModelProto) -> list[str]:
    """Float tensors that follow from the graph's inputs and end in no size or index, in execution order.

    Inputs of whole numbers, such as token ids, are data as well as floats; so is what a table has at such places.
    """
    kinds = kinds_of(model)
    entries = {one.name for one in model.graph.input if kinds.get(one.name) in _DATA_KINDS}
    whole = any(kinds[name] in _WHOLE for name in entries)
    followed = _DATA_KINDS if whole else {TensorProto.FLOAT}  # beside floats whole numbers are places and sizes
    found = set(entries)
    for node in model.graph.node:
        reads = node.input if whole and node.op_type in _LOOKS_UP else data_inputs(node)
        if node.op_type not in _TELLS and any(name in found for name in reads):
            found.update(name for name in node.output if kinds.get(name) in followed)
    found -= _parameters(model) - entries
    made = [one.name for one in model.graph.input] + [name for node in model.graph.node for name in node.output]
    return [name for name in made if name in found and kinds[name] == TensorProto.FLOAT]


def data_inputs(node: onnx.NodeProto) -> list[str]:
    """The inputs of a node that hold data."""
    places = _DATA_INPUTS.get(node.op_type)
    return [name for index, name in enumerate(node.input) if name and (places is None or index in places)]


def float_nodes_of_shapes(model: onnx.ModelProto) -> frozenset[str]:
    """Nodes that make floats which are no data: they must keep their precision."""
    data, kinds = set(data_tensors(model)), kinds_of(model)
    return frozenset(
        node.name
        for node in model.graph.node
        if any(kinds.get(name) == TensorProto.FLOAT and name not in data for name in node.output)
    )


def integer_nodes(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]]) -> frozenset[str]:
    """Names of the nodes that may compute in integers: every float that they read or make is data with a range.

    `ranges` are those of the activations. A node that lays data beside constants so large that one of 256 steps
    holds all of the data (a mask of -1e9 before a softmax) stays in float, and so does what reads its result.
    """
    graph = Graph(model)
    data = set(data_tensors(model)) & ranges.keys()
    kinds = kinds_of(model)
    for node in model.graph.node:
        if node.op_type in _MIXES and _drowned(graph, node, ranges, data):
            data.difference_update(node.output)

    def fits(name: str) -> bool:
        if name in graph.constants:
            return kinds[name] == TensorProto.FLOAT and bool(np.isfinite(graph.array(name)).all())
        return name in data

    return frozenset(
        node.name
        for node in model.graph.node
        if node.op_type in INTEGER_OPERATORS
        and node.domain in ("", "ai.onnx")
        and any(name in data for name in data_inputs(node))
        and all(fits(name) for name in (*data_inputs(node), *node.output) if name)
    )


def _drowned(
    graph: Graph, node: onnx.NodeProto, ranges: Mapping[str, tuple[float, float]], data: Collection[str]
) -> bool:
    """Whether constants beside the data leave these less than one step."""
    inputs = data_inputs(node)
    own = [name for name in inputs if name in data]
    if not own or not any(name in graph.constants for name in inputs):
        return False
    low, high = ranges.get(node.output[0], (0.0, 0.0))
    return all((high - low) / LEVELS > max(map(abs, ranges[name])) for name in own)


def _parameters(model: onnx.ModelProto) -> set[str]:
    """The tensors that a size, an axis or an index is computed from."""
    found: set[str] = set()
    for node in reversed(model.graph.node):
        inputs, data = [name for name in node.input if name], set(data_inputs(node))
        if node.op_type not in _TELLS and any(name in found for name in node.output):
            found.update(inputs)
        elif node.op_type in _DATA_INPUTS:
            found.update(name for name in inputs if name not in data)
    return found


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without the values of large weights, which are copied several times where types are inferred."""
    found = onnx.ModelProto()
    found.opset_import.extend(model.opset_import)
    found.functions.extend(model.functions)
    found.ir_version = model.ir_version
    graph = found.graph
    graph.name = model.graph.name
    for part in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(graph, part).extend(getattr(model.graph, part))
    for one in model.graph.initializer:
        large = len(one.raw_data) > _LARGE_BYTES
        graph.initializer.append(TensorProto(name=one.name, data_type=one.data_type, dims=one.dims) if large else one)
    return found


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that tells the type and shape of every tensor where these can be inferred."""
    found, inferred = onnx.ModelProto(), onnx.shape_inference.infer_shapes(_light(model)).graph
    found.CopyFrom(model)
    for part in ("value_info", "output"):
        del getattr(found.graph, part)[:]
        getattr(found.graph, part).extend(getattr(inferred, part))
    return found


def kinds_of(model: onnx.ModelProto) -> dict[str, int]:
    """The type of every tensor where it can be told."""
    inferred = onnx.shape_inference.infer_shapes(_light(model)).graph
    found = {one.name: one.data_type for one in inferred.initializer}
    infos = (*inferred.value_info, *inferred.output, *inferred.input)
    return found | {one.name: one.type.tensor_type.elem_type for one in infos}
