"""ONNX's operators in torch, differentiable: what exporters write, as the ONNX specification says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch.nn import functional

from workbench.artefact.onnx_graph import attribute, reads_of
from workbench.operators import moves, recurrent, windows
from workbench.operators.windows import ints

Tensor = torch.Tensor
_OPSET = 20  # that of the files which are written here
#: (node, *inputs) -> output, or a tuple of outputs. Raises `NotImplementedError` for settings that it does not know.
Operator = Callable[..., Any]


def run(node: onnx.NodeProto, args: Sequence[Any], values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The outputs of a node. What has no rule here is computed by ONNX's reference, where gradients end.

    `values` are all tensors by name: those that the branches of a node look up outside.
    """
    if node.op_type == "If":
        return _branch(node, values)
    try:
        result = OPERATORS[node.op_type](node, *args)
    except (KeyError, NotImplementedError):
        result = reference(node, values)
    return result if isinstance(result, tuple) else (result,)


def _branch(node: onnx.NodeProto, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The outputs of the branch that the condition chooses."""
    chosen = attribute(node, "then_branch" if bool(values[node.input[0]]) else "else_branch", None)
    constants = {one.name: torch.from_numpy(np.array(numpy_helper.to_array(one))) for one in chosen.initializer}
    known = {**values, **constants}
    for inner in chosen.node:
        args = [known[name] if name else None for name in inner.input]
        known.update(zip(inner.output, run(inner, args, known), strict=False))
    return tuple(known[one.name] for one in chosen.output)


def reference(node: onnx.NodeProto, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The outputs of a node by ONNX's own reference implementation; None for those that nobody asked for."""
    given = {name: values[name].detach().numpy() for name in reads_of(node) if name in values}
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in given.items()}
    entries = [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]
    ends = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "alone", entries, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    found = iter(ReferenceEvaluator(model).run(None, given))
    return tuple(torch.from_numpy(np.array(next(found))) if name else None for name in node.output)


def _axes(node: onnx.NodeProto, x: Tensor, axes: Any) -> list[int]:
    """The axes of a reduction: an input since opset 18, an attribute before; all where none are given."""
    found = ints(axes) if axes is not None else list(attribute(node, "axes", []))
    if not found and not attribute(node, "noop_with_empty_axes", 0):
        return list(range(x.dim()))
    return found


def _reduced(compute: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def operator(node: onnx.NodeProto, x: Tensor, axes: Any = None) -> Tensor:
        dims = _axes(node, x, axes)
        return compute(x, dims, bool(attribute(node, "keepdims", 1))) if dims else x

    return operator


def _gemm(node: onnx.NodeProto, a: Tensor, b: Tensor, c: Any = None) -> Tensor:
    a = a.transpose(0, 1) if attribute(node, "transA", 0) else a
    b = b.transpose(0, 1) if attribute(node, "transB", 0) else b
    product: Tensor = attribute(node, "alpha", 1.0) * (a @ b)
    return product if c is None else product + attribute(node, "beta", 1.0) * c


def _cast(node: onnx.NodeProto, x: Tensor) -> Tensor:
    dtype = helper.tensor_dtype_to_np_dtype(attribute(node, "to", onnx.TensorProto.FLOAT))
    return x.to(torch.from_numpy(np.zeros(0, dtype)).dtype)


def _filled(node: onnx.NodeProto, shape: Tensor) -> Tensor:
    value = attribute(node, "value", None)
    filler = torch.zeros(1) if value is None else torch.from_numpy(np.array(numpy_helper.to_array(value)))
    return filler.reshape(()).expand(ints(shape)).clone()


def _product(x: Tensor, dims: Sequence[int], keep: bool) -> Tensor:
    for dim in sorted((one % x.dim() for one in dims), reverse=True):
        x = x.prod(dim, keepdim=keep)
    return x


def _divide(node: onnx.NodeProto, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _cumulated(node: onnx.NodeProto, x: Tensor, axis: Tensor) -> Tensor:
    if attribute(node, "exclusive", 0):
        raise NotImplementedError
    dim = int(axis)
    return x.flip(dim).cumsum(dim).flip(dim) if attribute(node, "reverse", 0) else x.cumsum(dim)


def _top(node: onnx.NodeProto, x: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    axis, largest = int(attribute(node, "axis", -1)), bool(attribute(node, "largest", 1))
    return tuple(x.topk(int(k), axis, largest, True))


def _argued(compute: Callable[..., Tensor]) -> Operator:
    def operator(node: onnx.NodeProto, x: Tensor) -> Tensor:
        if attribute(node, "select_last_index", 0):
            raise NotImplementedError
        return compute(x, int(attribute(node, "axis", 0)), bool(attribute(node, "keepdims", 1)))

    return operator


def _shape(node: onnx.NodeProto, x: Tensor) -> Tensor:
    start, end = attribute(node, "start", 0), attribute(node, "end", None)
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def _softmax(compute: Callable[..., Tensor]) -> Operator:
    return lambda node, x: compute(x, int(attribute(node, "axis", -1)))


def _each(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """An operator of any number of inputs."""

    def operator(node: onnx.NodeProto, first: Tensor, *others: Tensor) -> Tensor:
        for one in others:
            first = compute(first, one)
        return first

    return operator


def _plain(compute: Callable[..., Any]) -> Operator:
    """An operator without attributes."""
    return lambda node, *args: compute(*args)


def _clip(node: onnx.NodeProto, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


def _constant(node: onnx.NodeProto) -> Tensor:
    """A constant inside a branch; those of the graph are initialisers."""
    value = attribute(node, "value", None)
    if value is None:
        raise NotImplementedError
    return torch.from_numpy(np.array(numpy_helper.to_array(value)))


def _trilu(node: onnx.NodeProto, x: Tensor, k: Any = None) -> Tensor:
    offset = 0 if k is None else int(k)
    return x.triu(offset) if attribute(node, "upper", 1) else x.tril(offset)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs, "Acos": torch.acos, "Asin": torch.asin, "Atan": torch.atan, "Ceil": torch.ceil, "Cos": torch.cos,
    "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "IsNaN": torch.isnan,
    "Log": torch.log, "Neg": torch.neg, "Not": torch.logical_not, "Reciprocal": torch.reciprocal, "Relu": torch.relu,
    "Round": torch.round, "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh,
    "Softplus": functional.softplus, "Softsign": functional.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan,
    "Tanh": torch.tanh, "Mish": functional.mish, "HardSwish": functional.hardswish, "Identity": lambda x: x,
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "MatMul": torch.matmul, "Pow": torch.pow,
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor, "Equal": torch.eq, "Less": torch.lt,
    "LessOrEqual": torch.le, "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Where": torch.where,
    "PRelu": lambda x, slope: torch.where(x < 0, slope * x, x),
    "Size": lambda x: torch.tensor(x.numel()), "NonZero": lambda x: x.nonzero().T,
    "CastLike": lambda x, like: x.to(like.dtype), "Dropout": lambda x, *_: x,
    "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, ints(shape))),
    "Tile": lambda x, times: x.repeat(ints(times)),
    "Range": lambda start, end, step: torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype),
    "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True),
}  # fmt: skip

OPERATORS: dict[str, Operator] = {name: _plain(compute) for name, compute in _ELEMENTWISE.items()} | {
    "Conv": windows.conv, "ConvTranspose": windows.conv_transpose, "Pad": windows.pad, "Resize": windows.resize,
    "LayerNormalization": windows.layer_norm, "GroupNormalization": windows.group_norm,
    "BatchNormalization": windows.batch_norm, "LpNormalization": windows.lp_norm,
    "MaxPool": lambda node, x: windows.pool("max", node, x),
    "AveragePool": lambda node, x: windows.pool("avg", node, x),
    "Reshape": moves.reshape, "Flatten": moves.flatten, "Squeeze": moves.squeeze, "Unsqueeze": moves.unsqueeze,
    "Slice": moves.cut, "Split": moves.split, "Gather": moves.gather, "GatherElements": moves.gather_elements,
    "GatherND": moves.gather_nd, "ScatterND": moves.scatter_nd, "DepthToSpace": moves.depth_to_space,
    "OneHot": moves.one_hot, "Gemm": _gemm, "Cast": _cast, "ConstantOfShape": _filled, "Div": _divide,
    "CumSum": _cumulated, "TopK": _top, "Shape": _shape, "Clip": _clip, "Constant": _constant, "Trilu": _trilu,
    "LSTM": recurrent.lstm, "GRU": recurrent.gru,
    "Min": _each(torch.minimum), "Max": _each(torch.maximum), "Sum": _each(torch.add),
    "Mean": lambda node, *parts: _each(torch.add)(node, *parts) / len(parts),
    "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax),
    "ArgMax": _argued(torch.argmax), "ArgMin": _argued(torch.argmin),
    "ReduceMean": _reduced(lambda x, dims, keep: x.mean(dims, keep)),
    "ReduceSum": _reduced(lambda x, dims, keep: x.sum(dims, keep)),
    "ReduceMax": _reduced(lambda x, dims, keep: x.amax(dims, keep)),
    "ReduceMin": _reduced(lambda x, dims, keep: x.amin(dims, keep)),
    "ReduceProd": _reduced(_product),
    "ReduceL1": _reduced(lambda x, dims, keep: x.abs().sum(dims, keep)),
    "ReduceL2": _reduced(lambda x, dims, keep: torch.linalg.vector_norm(x, 2, dims, keep)),
    "ReduceSumSquare": _reduced(lambda x, dims, keep: x.square().sum(dims, keep)),
    "ReduceLogSumExp": _reduced(lambda x, dims, keep: x.logsumexp(dims, keep)),
    "Concat": lambda node, *parts: torch.cat(parts, int(attribute(node, "axis", 0))),
    "Transpose": lambda node, x: x.permute(list(attribute(node, "perm", reversed(range(x.dim()))))),
    "Einsum": lambda node, *parts: torch.einsum(attribute(node, "equation", b"").decode(), *parts),
    "LeakyRelu": lambda node, x: functional.leaky_relu(x, attribute(node, "alpha", 0.01)),
    "Elu": lambda node, x: functional.elu(x, attribute(node, "alpha", 1.0)),
    "Celu": lambda node, x: functional.celu(x, attribute(node, "alpha", 1.0)),
    "Selu": lambda node, x: functional.selu(x),
    "Gelu": lambda node, x: functional.gelu(x, approximate=attribute(node, "approximate", b"none").decode()),
    "HardSigmoid": lambda node, x: (attribute(node, "alpha", 0.2) * x + attribute(node, "beta", 0.5)).clamp(0, 1),
    "InstanceNormalization": lambda node, x, scale, bias: functional.instance_norm(
        x, weight=scale, bias=bias, eps=attribute(node, "epsilon", 1e-5)
    ),
    "LRN": lambda node, x: functional.local_response_norm(
        x, int(attribute(node, "size", 1)), attribute(node, "alpha", 1e-4), attribute(node, "beta", 0.75),
        attribute(node, "bias", 1.0),
    ),
    "Mod": lambda node, a, b: torch.fmod(a, b) if attribute(node, "fmod", 0) else torch.remainder(a, b),
}  # fmt: skip
