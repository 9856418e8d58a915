"""Edit an ONNX graph in memory: fold what is constant, fold batch norms, name nodes after torch layers."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]

#: Operators that hold weights, with the position of the weight among their inputs.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: Operators that must stay even when their inputs are constant.
_KEEP = frozenset({"QuantizeLinear", "DequantizeLinear", "RandomNormal", "RandomUniform", "If", "Loop", "Scan"})


class Graph:
    """A mutable view of a model: initialisers by name, readers of each tensor, writers of each tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {one.name: one for one in model.graph.initializer}

    @property
    def nodes(self) -> Any:
        """The nodes in execution order (a protobuf list)."""
        return self.model.graph.node

    def array(self, name: str) -> Array:
        """The value of an initialiser."""
        return numpy_helper.to_array(self.constants[name])

    def put(self, name: str, value: Array) -> None:
        """Set an initialiser, new or existing."""
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)

    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read each tensor."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def writers(self) -> dict[str, onnx.NodeProto]:
        """The node that writes each tensor."""
        return {name: node for node in self.nodes for name in node.output}

    def outputs(self) -> set[str]:
        """Names of the tensors that the graph returns."""
        return {one.name for one in self.model.graph.output}

    def drop(self, nodes: list[onnx.NodeProto]) -> None:
        """Remove nodes."""
        gone = {id(node) for node in nodes}
        kept = [node for node in self.nodes if id(node) not in gone]
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)

    def reads(self) -> Counter[str]:
        """How many times each tensor is read or returned."""
        return Counter(name for node in self.nodes for name in reads_of(node)) + Counter(self.outputs())

    def own(self, node: onnx.NodeProto, index: int, reads: Counter[str]) -> str:
        """Let a node have its `index`-th input, an initialiser, to itself; the name that it bears now.

        Exporters store equal tensors once, so what one node reads may be another's too: whoever rewrites a
        value for a node asks here first. `reads` is what `reads()` gave, and is kept up to date.
        """
        name: str = node.input[index]
        if reads[name] < 2:
            return name
        copy = next(new for k in range(2, len(self.constants) + 3) if (new := f"{name}#{k}") not in self.constants)
        self.put(copy, self.array(name))
        node.input[index] = copy
        reads[name] -= 1
        reads[copy] = 1
        return copy

    def redirect(self, old: str, new: str) -> None:
        """Let every reader of tensor `old` read `new`."""
        for node in self.nodes:
            _rename_input(node, old, new)

    def store(self) -> None:
        """Write the initialisers that are read, or returned, back to the model."""
        used = {name for node in self.nodes for name in reads_of(node)} | self.outputs()
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(one for name, one in self.constants.items() if name in used)


def reads_of(node: onnx.NodeProto) -> Iterator[str]:
    """Every tensor that a node reads, or a branch inside it."""
    yield from (name for name in node.input if name)
    for one in node.attribute:
        for inner in one.g.node:
            yield from reads_of(inner)


def _rename_input(node: onnx.NodeProto, old: str, new: str) -> None:
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new
    for one in node.attribute:
        for inner in one.g.node:
            _rename_input(inner, old, new)


def drop_unread(model: onnx.ModelProto) -> None:
    """Remove the initialisers that no node reads; ONNX Runtime warns of each."""
    read = {name for node in model.graph.node for name in reads_of(node)}
    for one in [one for one in model.graph.initializer if one.name not in read]:
        model.graph.initializer.remove(one)


def separate(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every layer has its weight and its bias to itself, so that rewriting one changes no other."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    reads = graph.reads()
    for node in graph.nodes:
        if node.op_type in WEIGHTED:
            for index, name in enumerate(node.input):
                if name in graph.constants:
                    graph.own(node, index, reads)
    graph.store()
    return copy


def merge(model: onnx.ModelProto) -> None:
    """Store once again, in place, what `separate` copied and nothing has made different since."""
    graph = Graph(model)
    kept: dict[object, str] = {}
    renamed = {}
    for name, one in graph.constants.items():
        origin = re.sub(r"#\d+", "", name)
        renamed[name] = kept.setdefault((origin, one.data_type, tuple(one.dims), _content(one)), name)
    for node in graph.nodes:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    graph.store()


def _content(tensor: onnx.TensorProto) -> bytes:
    bare = onnx.TensorProto()
    bare.CopyFrom(tensor)
    bare.ClearField("name")
    return bytes(bare.SerializeToString(deterministic=True))


# Why not onnxscript's optimizer and batch-norm fusion (0.7.2, tried on the exports of the bundled networks and of
# those in tests/odd.py): the same outputs, at 2.5 times the time, but padding stays computed at run time (21 nodes in
# place of 8 for padding="same"), a batch norm behind a layer that runs twice stays, `Flatten` becomes a `Reshape` of
# sizes, and an initialiser that a layer shares keeps no name of its own.
def tidy(model: onnx.ModelProto, runs: Sequence[tuple[str, Array]] = ()) -> onnx.ModelProto:
    """Constants folded into initialisers, nodes named, batch norms folded into the layer before; in place.

    `runs` are the torch modules with weights that ran, in order, by path and weight; names that a graph was given
    from them before stay.
    """
    graph = Graph(model)
    _drop_initializer_inputs(graph)
    _fold_constants(graph)
    _name_nodes(graph, runs)
    _fold_batch_norms(graph)
    _positive_zeros(graph)
    graph.store()
    return model


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute, or `default`."""
    for one in node.attribute:
        if one.name == name:
            return helper.get_attribute_value(one)
    return default


def weight_of(node: onnx.NodeProto, constants: Any) -> str | None:
    """The name of the initialiser that a weighted node multiplies with; None for other nodes."""
    if node.op_type not in WEIGHTED:
        return None
    return next((name for name in node.input[:2] if name in constants), None)


def _drop_initializer_inputs(graph: Graph) -> None:
    """Old exporters list initialisers among the inputs, which keeps runtimes from folding them."""
    inputs = [one for one in graph.model.graph.input if one.name not in graph.constants]
    del graph.model.graph.input[:]
    graph.model.graph.input.extend(inputs)


def _fold_constants(graph: Graph) -> None:
    folded = []
    returned = graph.outputs()
    for node in list(graph.nodes):
        if node.op_type in _KEEP or node.domain not in ("", "ai.onnx") or returned & set(node.output):
            continue
        if node.op_type == "Identity" and node.input[0] in graph.constants:
            graph.redirect(node.output[0], node.input[0])
            folded.append(node)
        elif all(name in graph.constants for name in node.input if name):
            for name, value in _evaluate(graph, node):
                graph.put(name, value)
            folded.append(node)
    graph.drop(folded)


def _evaluate(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    """The outputs of one node whose inputs are all constant."""
    names = [name for name in node.input if name]
    inputs = [helper.make_tensor_value_info(n, graph.constants[n].data_type, None) for n in names]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    alone = helper.make_model(
        helper.make_graph([node], "constant", inputs, outputs), opset_imports=graph.model.opset_import
    )
    values = ReferenceEvaluator(alone).run(None, {name: graph.array(name) for name in names})
    yield from zip(node.output, (np.asarray(value) for value in values), strict=True)


def _fold_batch_norms(graph: Graph) -> None:
    """Fold y = (x - mean) / sqrt(var + eps) * gamma + beta into the linear operator that makes x."""
    writers, readers, returned, reads = graph.writers(), graph.readers(), graph.outputs(), graph.reads()
    folded = []
    for norm in list(graph.nodes):
        if norm.op_type != "BatchNormalization" or not all(n in graph.constants for n in norm.input[1:5]):
            continue
        layer = writers.get(norm.input[0])
        if layer is None or norm.input[0] in returned or len(readers[norm.input[0]]) > 1:
            continue
        if _fold_into(graph, layer, norm, reads):
            layer.output[0] = norm.output[0]
            writers[norm.output[0]] = layer
            folded.append(norm)
    graph.drop(folded)


def _fold_into(graph: Graph, layer: onnx.NodeProto, norm: onnx.NodeProto, reads: Counter[str]) -> bool:
    """Scale a layer's weight and bias by a batch norm. False where the layer cannot take it."""
    plain_gemm = layer.op_type == "Gemm" and attribute(layer, "alpha", 1.0) == attribute(layer, "beta", 1.0) == 1.0
    if layer.op_type not in {"Conv", "ConvTranspose"} and not plain_gemm:
        return False
    has_bias = len(layer.input) > 2 and bool(layer.input[2])
    if not all(name in graph.constants for name in layer.input[1:] if name):
        return False
    gamma, beta, mean, var = (graph.array(one).astype(np.float64) for one in norm.input[1:5])
    scale = gamma / np.sqrt(var + attribute(norm, "epsilon", 1e-5))
    name = graph.own(layer, 1, reads)
    weight = graph.array(name)
    bias_name = graph.own(layer, 2, reads) if has_bias else f"{name.removesuffix('.weight')}.bias"
    bias = graph.array(bias_name).astype(np.float64) if has_bias else np.zeros_like(mean)
    graph.put(name, (weight * _along_outputs(layer, weight, scale)).astype(weight.dtype))
    graph.put(bias_name, ((bias - mean) * scale + beta).astype(weight.dtype))
    del layer.input[1:]
    layer.input.extend([name, bias_name])
    return True


def _along_outputs(layer: onnx.NodeProto, weight: Array, scale: Array) -> Array:
    """One factor an output channel, shaped so that it multiplies the layer's weight."""
    if layer.op_type == "Gemm":
        return scale[:, None] if attribute(layer, "transB", 0) else scale[None, :]
    if layer.op_type == "Conv":
        return scale.reshape(-1, *[1] * (weight.ndim - 1))
    groups = attribute(layer, "group", 1)  # a transposed convolution's weight is (in, out / groups, ...)
    spread = np.repeat(scale.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return spread.reshape(*spread.shape, *[1] * (weight.ndim - 2))


def _positive_zeros(graph: Graph) -> None:
    """Every zero is the positive one: a masked weight keeps its sign bit, and two kinds of zeros compress badly."""
    for name in list(graph.constants):
        value = graph.array(name)
        if np.issubdtype(value.dtype, np.floating) and bool(np.signbit(value[value == 0]).any()):
            graph.put(name, value + value.dtype.type(0))  # -0 + 0 is +0, and nothing else changes


def _name_nodes(graph: Graph, runs: Sequence[tuple[str, Array]]) -> None:
    """Name each weighted node after its torch layer ('features.0'); give every other node a unique name."""
    seen: Counter[str] = Counter()
    ran = _by_run(graph, runs)
    for index, node in enumerate(graph.nodes):
        weight = weight_of(node, graph.constants)
        if weight:
            node.name = ran.get(index) or _layer_of(node, weight)
        del node.metadata_props[:]  # where in whose source code it was made: not for a file that is passed on
        name = node.name or node.op_type
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}#{seen[name]}"


def _by_run(graph: Graph, runs: Sequence[tuple[str, Array]]) -> dict[int, str]:
    """The layer of a node, by its place: of all that multiply by one weight, the first is what ran first.

    Initialisers bear the name of one of the layers that share them, and exporters' notes of what ran are short.
    """
    nodes: dict[object, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        weight = weight_of(node, graph.constants)
        if weight and runs:
            nodes.setdefault(_fingerprint(graph.array(weight)), []).append(index)
    layers: dict[object, list[str]] = {}
    for path, value in runs:
        for key in {_fingerprint(value), _fingerprint(value.T) if value.ndim == 2 else None}:
            layers.setdefault(key, []).append(path)
    return {
        index: path
        for key, places in nodes.items()
        if len(places) == len(layers.get(key, ()))
        for index, path in zip(places, layers[key], strict=True)
    }


def _fingerprint(value: Array) -> tuple[tuple[int, ...], int]:
    return value.shape, hash(np.ascontiguousarray(value).tobytes())


def _layer_of(node: onnx.NodeProto, weight: str) -> str:
    """The layer by what the exporter noted, where it cannot be told by what ran."""
    if node.name and "/" not in node.name and not node.metadata_props:
        return node.name  # it was named before
    after_weight = weight.removesuffix(".weight") if weight.endswith(".weight") else ""
    return after_weight or _noted(node) or scope(node.name) or node.name.removeprefix("/") or node.op_type


def _noted(node: onnx.NodeProto) -> str:
    """The torch path of the innermost module that ran, as torch's newer exporter notes it; "" without a note."""
    for one in node.metadata_props:
        if one.key == "pkg.torch.onnx.name_scopes":
            return str(["", *ast.literal_eval(one.value)][-2])
    return ""


def stem(name: str) -> str:
    """The layer that a node's name stands for: 'conv' for 'conv#2', its second run."""
    return re.sub(r"#\d+$", "", name)


def scope(name: str) -> str:
    """The torch path in an exporter's node name: '/head/head.2/MatMul' is 'head.2'."""
    parts = [part for part in name.split("/") if part][:-1]
    path = ""
    for part in parts:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path
