"""Functions of single bytes: what an artefact computes from one byte is a table of 256, which ONNX Runtime fills."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from workbench.artefact.onnx_graph import attribute
from workbench.c99.program import Array, At, Call, Constant, Limits, Result, Step, Tensor, Text, cut
from workbench.c99.source import Source, layer_of, reads, refuse
from workbench.runtimes.onnxruntime import open_session

#: Functions of single numbers.
_FUNCTIONS = (
    "Relu Clip LeakyRelu Sigmoid HardSigmoid HardSwish Tanh Elu Selu Celu Softplus Softsign Mish Gelu Erf Exp Log Sqrt "
    "Abs Neg Reciprocal Floor Ceil Round Sign ThresholdedRelu Sin Cos"
).split()
#: Operators that keep numbers as they are.
_KEEP = "Reshape Flatten Squeeze Unsqueeze Identity Dropout Cast".split()
#: And those of two numbers, of which the other is a constant, or follows from the same byte.
_OF_TWO = "Add Sub Mul Div Min Max Pow PRelu".split()
_INTEGERS = {TensorProto.UINT8: 0, TensorProto.INT8: 128}


@reads(*_FUNCTIONS)
def function(source: Source, node: onnx.NodeProto) -> None:
    """A function of a tensor, or of what is one already; what is in float otherwise can be cut, or is an answer."""
    name = node.input[0]
    tensor, result = source.tensors.get(name), source.results.get(name)
    if node.op_type == "Clip" and _cuts_nothing(source, node):
        keep(source, node)
    elif tensor is not None:
        source.results[node.output[0]] = of_bytes(source, node, tensor)
    elif result is not None and result.root is not None:
        source.results[node.output[0]] = of_bytes(source, node, result.root)
    elif result is not None and node.op_type in {"Relu", "Clip"} and not result.after:
        source.results[node.output[0]] = replace(result, name=node.output[0], limits=_limits(source, node, result))
    elif result is not None and node.op_type == "Sigmoid":
        _after(source, node, result, "sigmoid_answers")
    else:
        source.takes(node)


@reads("Softmax")
def softmax(source: Source, node: onnx.NodeProto) -> None:
    """Of answers that are a vector: in float, or of bytes."""
    tensor, result = source.tensors.get(node.input[0]), source.results.get(node.input[0])
    rank = source.seen[node.input[0]].ndim
    if attribute(node, "axis", -1) % rank != 1 or rank != 2:
        refuse(node, "there is a kernel for answers that are a vector")
    if tensor is not None:
        result = _numbers(source, node, tensor)
    if result is None:
        source.takes(node)
    else:
        _after(source, node, result, "softmax_answers")


def _numbers(source: Source, node: onnx.NodeProto, tensor: Tensor) -> Result:
    """The numbers that bytes stand for, as answers."""

    def make(writes: Tensor | None, limits: Limits) -> Step:
        numbers = Constant("numbers", tensor.grid.numbers())
        call = Call("look_up_answers", (tensor.map, numbers, At(tensor), Text("answers")))
        return Step(layer_of(node), f"answers: {tensor.map}", (tensor,), None, (call,))

    return Result(node.input[0], layer_of(node), node.op_type, tensor.map, tensor.flat, make)


def _cuts_nothing(source: Source, node: onnx.NodeProto) -> bool:
    """Whether its bounds are those of floats: it stands before a layer that is left in float."""
    low, high = source.number(node, 1, -np.inf), source.number(node, 2, np.inf)
    ends = np.finfo(np.float32)
    return low is not None and high is not None and low <= float(ends.min) and high >= float(ends.max)


def _after(source: Source, node: onnx.NodeProto, result: Result, kernel: str) -> None:
    call = Call(kernel, (result.map.size, Text("answers")))
    source.results[node.output[0]] = replace(result, name=node.output[0], after=(*result.after, call))


def _limits(source: Source, node: onnx.NodeProto, result: Result) -> Limits:
    if node.op_type == "Relu":
        return result.limits.within(0.0, np.inf)
    low, high = source.number(node, 1, -np.inf), source.number(node, 2, np.inf)
    if low is None or high is None:
        refuse(node, "its bounds are not constant")
    return result.limits.within(low, high)


@reads(*_KEEP)
def keep(source: Source, node: onnx.NodeProto) -> None:
    """The same bytes with another shape."""
    tensor, result = source.tensors.get(node.input[0]), source.results.get(node.input[0])
    if tensor is not None:
        shape, flat = source.reshaped(node, tensor.map, tensor.flat)
        new = replace(tensor, name=node.output[0], map=shape, flat=flat)
        source.tensors[node.output[0]] = new
        if tensor in source.roots and shape == tensor.map:
            source.roots[new] = source.roots[tensor]
    elif result is not None:
        shape, flat = source.reshaped(node, result.map, result.flat)
        source.results[node.output[0]] = replace(result, name=node.output[0], map=shape, flat=flat)
    else:
        source.takes(node)


def of_bytes(source: Source, node: onnx.NodeProto, root: Tensor) -> Result:
    """What a node gives that follows, byte by byte, from a tensor."""
    name, (_, flat) = node.output[0], source.shape(node.output[0], node)

    def make(writes: Tensor | None, limits: Limits) -> Step:
        said = f"{node.op_type} of {root.map}, by table"
        if writes is None:
            table = Constant("table", evaluate(source, name, root))
            given = Call("look_up_answers", (root.map, table, At(root), Text("answers")))
            return Step(layer_of(node), said, (root,), None, (given,))
        stored = writes.name in source.writers  # as bytes; else what is moved before it is stored
        values = evaluate(source, writes.name, root) if stored else writes.grid.bytes_of(evaluate(source, name, root))
        call = Call("look_up", (root.map.size, Constant("table", values), At(root), At(writes)))
        calls = (call, *cut(writes, writes.grid, limits))
        return Step(layer_of(node), said, (root,), writes, calls, in_place=True)

    return Result(name, layer_of(node), node.op_type, root.map, flat, make, root=root)


def evaluate(source: Source, name: str, root: Tensor) -> Array:
    """What a tensor of the artefact is for each of the 256 bytes of another: 256 bytes, or floats."""
    nodes, entries = _between(source, name, root)
    integers = {one.name: one.data_type for one in source.graph.constants.values()}
    numbers, inputs, given = root.grid.numbers(), [], {}
    for entry in entries:
        maker = source.writers.get(entry)
        of_bytes_ = maker is not None and maker.op_type == "QuantizeLinear"
        zero = maker.input[2] if of_bytes_ and maker is not None and len(maker.input) > 2 else ""
        kind = (integers.get(zero, TensorProto.UINT8)) if of_bytes_ else TensorProto.FLOAT
        inputs.append(helper.make_tensor_value_info(entry, kind, [256]))
        every = np.arange(256) - _INTEGERS.get(kind, 0)
        given[entry] = every.astype(helper.tensor_dtype_to_np_dtype(kind)) if of_bytes_ else numbers
    used = {one for node in nodes for one in node.input}
    constants = [one for one in source.graph.constants.values() if one.name in used]
    graph = helper.make_graph(nodes, "table", inputs, [helper.make_empty_tensor_value_info(name)], constants)
    model = helper.make_model(graph, opset_imports=source.model.opset_import, ir_version=source.model.ir_version)
    (found,) = open_session(model.SerializeToString()).run(None, given)
    values = np.broadcast_to(np.ravel(found), 256)
    return values.astype(np.uint8) if values.dtype == np.uint8 else _unsigned(values)


def _unsigned(values: Array) -> Array:
    return (values.astype(np.int16) + 128).astype(np.uint8) if values.dtype == np.int8 else values.astype(np.float32)


def _between(source: Source, name: str, root: Tensor) -> tuple[list[onnx.NodeProto], list[str]]:
    """The nodes from a tensor's bytes to a name, in order, and the names under which those bytes are read."""
    wanted, entries, chosen = {name}, list[str](), set[str]()
    while wanted:
        one = wanted.pop()
        if _is(source, one, root):
            entries.append(one)
        elif one in source.writers and one not in chosen:
            chosen.add(one)
            wanted.update(_data(source.writers[one]))
    nodes = [node for node in source.graph.nodes if chosen & set(node.output)]
    return [_shapeless(node) for node in nodes], sorted(set(entries))


def _is(source: Source, name: str, root: Tensor) -> bool:
    found = source.tensors.get(name)
    return found is not None and (found is root or (found.block is root.block and found.grid == root.grid))


def _data(node: onnx.NodeProto) -> Iterator[str]:
    yield from (node.input[:1] if node.op_type in _KEEP else (one for one in node.input if one))


def _shapeless(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node that is given 256 numbers in a row, whatever shape they have in the network."""
    if node.op_type in _KEEP:
        return helper.make_node("Identity", node.input[:1], node.output[:1], name=node.name)
    return node


def operands(source: Source, node: onnx.NodeProto) -> list[list[Tensor]]:
    """For each input that is no single constant the tensors that it is a function of, the nearest first, or none."""
    found = []
    for place, name in enumerate(node.input):
        tensor, result = source.tensors.get(name), source.results.get(name)
        if tensor is not None:
            found.append(source.ancestors(tensor))
        elif result is not None and result.root is not None:
            found.append(source.ancestors(result.root))
        elif source.number(node, place) is None:
            found.append([])
    return found


def common(of: list[list[Tensor]]) -> Tensor | None:
    """The nearest tensor that all of these are functions of."""
    return next((one for one in of[0] if all(one in other for other in of[1:])), None)
