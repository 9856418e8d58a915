"""Operators as files of any opset (7 up) have them: what differs from the newest, and what a conversion needs beside.

The rest is in `workbench.operators`. Everything here is `(node, *inputs) -> output or tuple`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from workbench.artefact.onnx_graph import attribute
from workbench.models.from_onnx import cells
from workbench.models.from_onnx.resizing import resize
from workbench.models.from_onnx.sizes import as_array, numpy_type
from workbench.operators import windows
from workbench.operators.table import OPERATORS
from workbench.operators.windows import ints

Tensor = torch.Tensor
Rule = Callable[..., Any]

#: Positions of inputs that are sizes, places or settings: they stay numbers.
SETTINGS: dict[str, frozenset[int]] = {
    "Reshape": frozenset({1}), "Expand": frozenset({1}), "Tile": frozenset({1}), "Slice": frozenset({1, 2, 3, 4}),
    "Pad": frozenset({1, 2, 3}), "Resize": frozenset({1, 2, 3}), "Unsqueeze": frozenset({1}),
    "Squeeze": frozenset({1}), "TopK": frozenset({1}), "Split": frozenset({1}), "Range": frozenset({0, 1, 2}),
    "ConstantOfShape": frozenset({0}), "OneHot": frozenset({1}), "CumSum": frozenset({1}), "Clip": frozenset({1, 2}),
    "Upsample": frozenset({1}), "Trilu": frozenset({1}), "LSTM": frozenset({4}), "GRU": frozenset({4}),
    "RNN": frozenset({4}), "Dropout": frozenset({1, 2}), "If": frozenset({0}),
    **{f"Reduce{one}": frozenset({1}) for one in (
        "Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp",
    )},
}  # fmt: skip
#: Inputs that older opsets have as attributes: (first position, names).
_ONCE_ATTRIBUTES = {
    "Slice": (1, ("starts", "ends", "axes")), "Pad": (1, ("pads", "value")), "Clip": (1, ("min", "max")),
    "Split": (1, ("split",)), "TopK": (1, ("k",)), "Upsample": (1, ("scales",)),
}  # fmt: skip
#: With a number in the place of a tensor.
WITH_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Pow": operator.pow, "Equal": operator.eq,
    "Less": operator.lt, "LessOrEqual": operator.le, "Greater": operator.gt, "GreaterOrEqual": operator.ge,
}  # fmt: skip
#: Layers that hold whole numbers already.
INTEGER_LAYERS = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"})
#: Results that are as large as the values say, and loops whose rounds nobody knows: none of them has a plan.
DATA_SIZED = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "Loop", "Scan", "SequenceMap"})


def modern(node: onnx.NodeProto, args: list[Any]) -> list[Any]:
    """The inputs of a node with those that its opset has as attributes among them."""
    first, names = _ONCE_ATTRIBUTES.get(node.op_type, (0, ()))
    given = [attribute(node, name, None) for name in names]
    if len(args) > first or all(one is None for one in given):
        return args
    kinds = {"value": np.float32, "min": np.float32, "max": np.float32, "scales": np.float32}
    found = [None if v is None else np.asarray(v, kinds.get(n, np.int64)) for n, v in zip(names, given, strict=True)]
    return [*args, *(one.reshape(-1) if one is not None and one.ndim == 0 and n == "k" else one
                     for n, one in zip(names, found, strict=True))]  # fmt: skip


def _clip(_: onnx.NodeProto, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    if isinstance(low, Tensor) or isinstance(high, Tensor):  # computed from the data
        x = x if low is None else torch.maximum(x, torch.as_tensor(low, dtype=x.dtype))
        return x if high is None else torch.minimum(x, torch.as_tensor(high, dtype=x.dtype))
    low, high = (None if one is None else one.item() for one in (low, high))
    if low is None and high is None:
        return x
    if (low, high) == (0.0, 6.0):
        return functional.relu6(x)
    return torch.clamp(x, low, high)


def _flat_softmax(compute: Callable[..., Tensor]) -> Rule:
    """Before opset 13 over everything from `axis` on, together."""

    def rule(node: onnx.NodeProto, x: Tensor) -> Tensor:
        axis = int(attribute(node, "axis", 1)) % x.dim()
        if axis == x.dim() - 1:
            return compute(x, axis)
        return compute(x.flatten(axis), axis).reshape(x.shape)

    return rule


def _divide(_: onnx.NodeProto, a: Any, b: Any) -> Any:
    whole = not any(isinstance(one, float) or (isinstance(one, Tensor) and one.is_floating_point()) for one in (a, b))
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


def _hard_sigmoid(node: onnx.NodeProto, x: Tensor) -> Tensor:
    alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-4) and beta == 0.5:
        return functional.hardsigmoid(x)
    return torch.clamp(x * alpha + beta, 0, 1)


def _gemm(node: onnx.NodeProto, a: Tensor, b: Tensor, c: Any = None) -> Tensor:
    """A linear layer, wherever it is one."""
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    a = a.t() if attribute(node, "transA", 0) else a
    b = b if attribute(node, "transB", 0) else b.t()
    b = b if alpha == 1 else b * alpha
    c = c if c is None or beta == 1 else c * beta
    if c is None or (c.dim() == 1 and c.shape[0] == b.shape[0]):
        return functional.linear(a, b, c)
    if c.dim() == 2 and c.shape == (1, b.shape[0]):
        return functional.linear(a, b, c.reshape(-1))
    product: Tensor = functional.linear(a, b) + c
    return product


def _with_pads(rule: Rule, filler: float) -> Rule:
    """Padding "SAME" as numbers, which depend on the size of the input."""

    def padded(node: onnx.NodeProto, x: Tensor, *args: Any) -> Any:
        way = attribute(node, "auto_pad", b"NOTSET").decode()
        kernel = list(attribute(node, "kernel_shape", args[0].shape[2:] if args else []))
        if not way.startswith("SAME"):
            return rule(_set(node, kernel_shape=kernel), x, *args)
        rank = len(kernel)
        strides, dilations = (list(attribute(node, name, [1] * rank)) for name in ("strides", "dilations"))
        sides = []
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            small, large = total // 2, total - total // 2
            sides.append((small, large) if way == "SAME_UPPER" else (large, small))
        pads = [int(a) for a, _ in sides] + [int(b) for _, b in sides]
        return rule(_set(node, kernel_shape=kernel, pads=pads, auto_pad=None), x, *args)

    return padded


def _set(node: onnx.NodeProto, **changes: Any) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    kept = [one for one in node.attribute if one.name not in changes]
    del made.attribute[:]
    made.attribute.extend(kept)
    made.attribute.extend(onnx.helper.make_attribute(n, v) for n, v in changes.items() if v is not None)
    return made


def _conv(node: onnx.NodeProto, x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    """With even padding inside the layer, so that it is one layer."""
    rank = weight.dim() - 2
    pads = list(attribute(node, "pads", [0] * 2 * rank))
    if pads[:rank] != pads[rank:]:
        return windows.conv(node, x, weight, bias)
    compute: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    strides, dilations = (list(attribute(node, name, [1] * rank)) for name in ("strides", "dilations"))
    result: Tensor = compute(x, weight, bias, strides, pads[:rank], dilations, int(attribute(node, "group", 1)))
    return result


def _conv_transpose(node: onnx.NodeProto, x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    """Padding that differs from side to side is cut off behind."""
    rank = weight.dim() - 2
    pads = list(attribute(node, "pads", [0] * 2 * rank))
    if pads[:rank] == pads[rank:] and not attribute(node, "output_shape", None):
        return windows.conv_transpose(node, x, weight, bias)
    if attribute(node, "output_shape", None):
        raise NotImplementedError("an output_shape")
    whole = windows.conv_transpose(_set(node, pads=[0] * 2 * rank), x, weight, bias)
    for axis in range(rank):
        size = whole.shape[2 + axis]
        whole = whole.narrow(2 + axis, pads[axis], size - pads[axis] - pads[rank + axis])
    return whole


def _dequantize(node: onnx.NodeProto, x: Tensor, scale: Tensor, zero: Any = None) -> Tensor:
    axis = int(attribute(node, "axis", 1))
    if attribute(node, "block_size", 0):
        raise NotImplementedError("blocks")
    shape = [1] * x.dim()
    if scale.dim() and scale.numel() > 1:
        shape[axis] = -1
    scale = scale.reshape(shape) if x.dim() else scale
    shifted = x.float() if zero is None else x.float() - zero.float().reshape(shape if x.dim() else zero.shape)
    return shifted * scale


def _shape(node: onnx.NodeProto, x: Tensor) -> Any:
    return as_array(list(x.shape)[attribute(node, "start", 0) : attribute(node, "end", None)])


def _expand(_: onnx.NodeProto, x: Tensor, shape: Any) -> Tensor:
    wanted = ints(shape)
    wanted = [1] * (x.dim() - len(wanted)) + wanted
    held = [1] * (len(wanted) - x.dim()) + list(x.shape)
    return x.expand([w if isinstance(h, int) and h == 1 else h for h, w in zip(held, wanted, strict=True)])


def _cast(node: onnx.NodeProto, x: Tensor) -> Tensor:
    kind = numpy_type(attribute(node, "to", 1))
    return x.to(torch.from_numpy(np.zeros(0, kind)).dtype)


def _gather(node: onnx.NodeProto, x: Any, index: Any) -> Any:
    if isinstance(index, np.ndarray):
        axis = int(attribute(node, "axis", 0)) % x.dim()
        return x.select(axis, int(index)) if index.ndim == 0 else OPERATORS["Gather"](node, x, torch.from_numpy(index))
    return OPERATORS["Gather"](node, x, index)


def _pad(node: onnx.NodeProto, x: Tensor, pads: Any, value: Any = None, axes: Any = None) -> Any:
    """Margins of constants, and mirrored or repeated ones along any axis."""
    mode = attribute(node, "mode", b"constant").decode()
    if mode == "constant":
        return OPERATORS["Pad"](node, x, pads, value, axes)
    given = ints(pads)
    dims = [one % x.dim() for one in ints(axes)] if axes is not None else list(range(x.dim()))
    sides = {dim: (given[i], given[len(dims) + i]) for i, dim in enumerate(dims) if given[i] or given[len(dims) + i]}
    if 2 <= x.dim() <= 5 and min(sides, default=2) >= 2 and mode in {"reflect", "edge"}:
        return OPERATORS["Pad"](node, x, pads, value, axes)
    for dim, (before, after) in sides.items():
        places = np.pad(np.arange(int(x.shape[dim])), (before, after), mode)
        x = x.index_select(dim, torch.from_numpy(places))
    return x


def _squeeze(node: onnx.NodeProto, x: Tensor, axes: Any = None) -> Any:
    """Where no axes are named, those of length 1: not the batch, which is of any length."""
    if axes is None and not attribute(node, "axes", []):
        axes = np.array([i for i, size in enumerate(x.shape) if isinstance(size, int) and size == 1], np.int64)
        return x.squeeze(tuple(ints(axes)))
    return OPERATORS["Squeeze"](node, x, axes)


def _scatter_elements(node: onnx.NodeProto, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    if attribute(node, "reduction", b"none") != b"none":
        raise NotImplementedError("a reduction")
    axis = int(attribute(node, "axis", 0)) % x.dim()
    return x.scatter(axis, torch.where(index < 0, index + x.shape[axis], index).long(), updates)


def _early_resize(node: onnx.NodeProto, x: Tensor, scales: Any) -> Tensor:
    """Before opset 11 there was one way."""
    return resize(_set(node, coordinate_transformation_mode="asymmetric", nearest_mode="floor"), x, None, scales)


def _space_to_depth(node: onnx.NodeProto, x: Tensor) -> Tensor:
    block = int(attribute(node, "blocksize", 1))
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


def _prelu(_: onnx.NodeProto, x: Tensor, slope: Tensor) -> Tensor:
    flat = slope.reshape(-1)
    along = flat.numel() == 1 or (slope.dim() == x.dim() - 1 and slope.shape[0] == flat.numel() == x.shape[1])
    return functional.prelu(x, flat) if along else torch.where(x < 0, slope * x, x)


def _range(_: onnx.NodeProto, start: Any, end: Any, step: Any) -> Tensor:
    kind = torch.float32 if start.dtype.kind == "f" else torch.int64
    return torch.arange(start.item(), end.item(), step.item(), dtype=kind)


def _top(node: onnx.NodeProto, x: Tensor, k: Any) -> tuple[Tensor, ...]:
    found = x.topk(int(ints(k)[0]), int(attribute(node, "axis", -1)), bool(attribute(node, "largest", 1)), True)
    return tuple(found)


RULES: dict[str, Rule] = OPERATORS | {
    "Clip": _clip, "Div": _divide, "HardSigmoid": _hard_sigmoid, "Gemm": _gemm, "Shape": _shape, "Expand": _expand,
    "Cast": _cast, "Gather": _gather, "DequantizeLinear": _dequantize, "PRelu": _prelu, "Range": _range, "TopK": _top,
    "ScatterElements": _scatter_elements, "Scatter": _scatter_elements, "SpaceToDepth": _space_to_depth,
    "Conv": _with_pads(_conv, 0.0), "ConvTranspose": _conv_transpose,
    "MaxPool": _with_pads(OPERATORS["MaxPool"], 0.0), "AveragePool": _with_pads(OPERATORS["AveragePool"], 0.0),
    "Pad": _pad, "Squeeze": _squeeze, "Resize": resize,
    "LSTM": cells.lstm, "GRU": cells.gru, "RNN": cells.rnn,
    "Size": lambda _, x: as_array([math.prod(x.shape)]).reshape(()),
    "Tile": lambda _, x, times: x.repeat(ints(times)),
    "ThresholdedRelu": lambda node, x: functional.threshold(x, attribute(node, "alpha", 1.0), 0.0),
    "ReduceLogSum": lambda node, *args: OPERATORS["ReduceSum"](node, *args).log(),
    "IsInf": lambda _, x: torch.isinf(x), "GlobalLpPool": lambda node, x: torch.linalg.vector_norm(
        x, attribute(node, "p", 2), tuple(range(2, x.dim())), True),
    "Acosh": lambda _, x: torch.acosh(x), "Asinh": lambda _, x: torch.asinh(x), "Atanh": lambda _, x: torch.atanh(x),
    "EyeLike": lambda node, x: torch.eye(*x.shape, dtype=torch.float32),
    "GridSample": lambda node, x, grid: functional.grid_sample(
        x, grid, {"linear": "bilinear", "cubic": "bicubic"}.get(m := attribute(node, "mode", b"bilinear").decode(), m),
        attribute(node, "padding_mode", b"zeros").decode(), bool(attribute(node, "align_corners", 0))),
}  # fmt: skip
#: In the place of those above before an opset.
BEFORE: dict[str, tuple[int, Rule]] = {
    "Softmax": (13, _flat_softmax(torch.softmax)),
    "LogSoftmax": (13, _flat_softmax(torch.log_softmax)),
    "Resize": (11, _early_resize),
    "Upsample": (99, _early_resize),
}  # fmt: skip


#: Operators whose settings may be tensors that are computed from the data.
COMPUTED = frozenset({"Clip"})


def rule_of(node: onnx.NodeProto, opset: int) -> Rule | None:
    """What computes a node of a file of this opset; None where nothing here does."""
    if node.domain not in ("", "ai.onnx"):
        return None
    below, older = BEFORE.get(node.op_type, (0, None))
    return older if opset < below and older is not None else RULES.get(node.op_type)
