"""Operators on sizes: what files compute of shapes, in numbers that torch may keep as symbols.

The values are numpy arrays; where a size is a symbol, arrays of objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from workbench.artefact.onnx_graph import attribute

Array = np.ndarray[Any, Any]
#: Constants up to this many elements are computed here, larger ones by torch.
MOST = 4096
#: Operators whose further inputs say how large, where or how often.
_SHAPED = frozenset({"Expand", "Tile", "Slice", "Reshape", "Range"})


def as_array(sizes: Any) -> Array:
    """Sizes as whole numbers where all are, else as objects."""
    sizes = list(sizes)
    symbols = any(not isinstance(one, int) for one in sizes)
    return np.array(sizes, dtype=object if symbols else np.int64)


def applies(node: onnx.NodeProto, args: list[Any]) -> bool:
    """Whether a node computes on sizes: whole numbers, or symbols beside numbers."""
    given = [one for one in args if one is not None]
    if node.op_type not in SIZES or not given or not all(isinstance(one, np.ndarray) for one in given):
        return False
    if node.op_type in _SHAPED and any(map(_symbolic, given[1:])):  # numpy would make a number of the symbol
        return False
    symbols = any(one.dtype == object for one in given)
    return symbols or all(one.dtype.kind in "iub" and one.size <= MOST for one in given)


def _symbolic(value: Array) -> bool:
    return value.dtype == object and any(isinstance(one, torch.SymInt) for one in value.reshape(-1))


def computed(node: onnx.NodeProto, args: list[Any]) -> Any:
    """What a node gives that `applies`: an array, a tensor, or a tuple of arrays."""
    found = SIZES[node.op_type](node, *args)
    return np.asarray(found) if isinstance(found, np.generic) else found


def numpy_type(kind: int) -> np.dtype[Any]:
    """The type of numpy for ONNX's; numbers of any width are float32."""
    found = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    return found if found.kind in "iub" else np.dtype(np.float32)


def _cast(node: onnx.NodeProto, x: Array) -> Array:
    kind = numpy_type(attribute(node, "to", 1))
    if x.dtype != object:
        return x.astype(kind)
    convert: Any = (lambda one: one) if kind.kind == "f" else torch.sym_int if kind.kind in "iu" else bool
    made = np.array([convert(one) for one in x.reshape(-1)], dtype=object)
    return made.reshape(x.shape)


def _divide(_: onnx.NodeProto, a: Array, b: Array) -> Array:
    whole = all(isinstance(one, (int, torch.SymInt)) for one in (*a.reshape(-1).tolist(), *b.reshape(-1).tolist()))
    return np.asarray(a // b if whole else a / b)


def _slice(
    _: onnx.NodeProto, x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    first, last = starts.tolist(), ends.tolist()
    dims = list(range(len(first))) if axes is None else axes.tolist()
    strides = [1] * len(first) if steps is None else steps.tolist()
    for start, end, dim, step in zip(first, last, dims, strides, strict=True):
        x = x[(*[slice(None)] * (dim % x.ndim), slice(start, end, step))]
    return x


def _given(node: onnx.NodeProto, axes: Array | None) -> list[int]:
    return list(attribute(node, "axes", [])) if axes is None else [int(one) for one in axes.reshape(-1)]


def _unsqueeze(node: onnx.NodeProto, x: Array, axes: Array | None = None) -> Array:
    found = _given(node, axes)
    for axis in sorted(one % (x.ndim + len(found)) for one in found):
        x = np.expand_dims(x, axis)
    return x


def _squeeze(node: onnx.NodeProto, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, tuple(_given(node, axes)) or None)


def _reduced(compute: Callable[..., Any]) -> Callable[..., Array]:
    def operator(node: onnx.NodeProto, x: Array, axes: Array | None = None) -> Array:
        dims = tuple(_given(node, axes)) or None
        return np.asarray(compute(x, axis=dims, keepdims=bool(attribute(node, "keepdims", 1))))

    return operator


def _reshape(_: onnx.NodeProto, x: Array, shape: Array) -> Array:
    return x.reshape([x.shape[i] if one == 0 else one for i, one in enumerate(shape.tolist())])


def _split(node: onnx.NodeProto, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    axis, count = int(attribute(node, "axis", 0)), len(node.output)
    ends = np.cumsum(sizes)[:-1].tolist() if sizes is not None else count
    return tuple(np.split(x, ends, axis))


def _all(compute: Callable[..., Any]) -> Callable[..., Array]:
    return lambda _, *arrays: np.asarray(reduce(compute, arrays))


def _filled(node: onnx.NodeProto, shape: Array) -> Any:
    value = attribute(node, "value", None)
    filler = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    sizes = shape.tolist()
    if shape.dtype != object and math.prod(sizes) <= MOST:
        return np.full(sizes, filler.reshape(())[()])
    kind = torch.float32 if filler.dtype.kind == "f" else torch.from_numpy(np.array(filler)).dtype
    return torch.full(sizes, filler.reshape(-1)[0].item(), dtype=kind)


SIZES: dict[str, Callable[..., Any]] = {
    "Cast": _cast, "Div": _divide, "Slice": _slice, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze,
    "Reshape": _reshape, "Split": _split, "ConstantOfShape": _filled,
    "Add": _all(np.add), "Sub": _all(np.subtract), "Mul": _all(np.multiply), "Mod": _all(np.mod),
    "Min": _all(np.minimum), "Max": _all(np.maximum), "Equal": _all(np.equal), "Less": _all(np.less),
    "Greater": _all(np.greater), "GreaterOrEqual": _all(np.greater_equal), "LessOrEqual": _all(np.less_equal),
    "And": _all(np.logical_and), "Or": _all(np.logical_or), "Pow": _all(np.power),
    "Not": lambda _, x: np.logical_not(x), "Neg": lambda _, x: np.asarray(-x), "Abs": lambda _, x: np.asarray(abs(x)),
    "Floor": lambda _, x: np.asarray([math.floor(one) for one in x.reshape(-1)], x.dtype).reshape(x.shape),
    "Ceil": lambda _, x: np.asarray([math.ceil(one) for one in x.reshape(-1)], x.dtype).reshape(x.shape),
    "Identity": lambda _, x: x, "Where": lambda _, c, a, b: np.where(c, a, b),
    "Gather": lambda node, x, index: np.asarray(np.take(x, index.astype(np.int64), int(attribute(node, "axis", 0)))),
    "Concat": lambda node, *parts: np.concatenate(parts, int(attribute(node, "axis", 0))),
    "Transpose": lambda node, x: x.transpose(attribute(node, "perm", None)),
    "Expand": lambda _, x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "Tile": lambda _, x, times: np.tile(x, times.tolist()),
    "Range": lambda _, start, end, step: np.arange(start.item(), end.item(), step.item(), dtype=start.dtype),
    "ReduceProd": _reduced(np.prod), "ReduceSum": _reduced(np.sum), "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
}  # fmt: skip
