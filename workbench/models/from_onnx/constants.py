"""Constants of a file as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from workbench.artefact.onnx_graph import attribute
from workbench.errors import BadFile

Array = np.ndarray[Any, Any]
#: The most elements that a constant may have.
MOST_ELEMENTS = 1 << 29


def check_room(node: onnx.NodeProto, args: list[Any], name: str) -> None:
    """Raise `BadFile` before a constant is computed that nobody can hold."""
    kind, elements = node.op_type, 0
    if kind == "ConstantOfShape":
        elements = math.prod(int(one) for one in args[0].reshape(-1))
    elif kind in {"Expand", "Tile"}:
        elements = math.prod(max(1, int(one)) for one in args[1].reshape(-1)) * (args[0].size if kind == "Tile" else 1)
    elif kind == "Range":
        elements = int(abs((args[1] - args[0]) / args[2]))
    elif kind in {"Resize", "Upsample", "Pad"}:
        elements = args[0].size + int(sum(abs(float(o)) for a in args[1:] if a is not None for o in a.reshape(-1))) ** 2
    if elements > MOST_ELEMENTS:
        raise BadFile(f"{name} makes a constant of {elements:,} elements, which no network needs.")


def constant_of(node: onnx.NodeProto) -> Array:
    """The value of a Constant. Raises: `BadFile` for texts and sparse tensors."""
    for name, kind in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        value = attribute(node, name, None)
        if value is not None:
            return np.asarray(value, kind)
    tensor = attribute(node, "value", None)
    if tensor is None:
        raise BadFile(
            f"The constant {node.output[0]!r} holds text or a sparse tensor, which networks of numbers do not."
        )
    return array_of(tensor)


def array_of(tensor: onnx.TensorProto) -> Array:
    """A constant; numbers of any width become float32."""
    if tensor.data_type in (0, onnx.TensorProto.STRING):
        raise BadFile(f"The constant {tensor.name!r} holds text, which networks of numbers do not.")
    value: Array = numpy_helper.to_array(tensor)
    return value if value.dtype.kind in "iub" else value.astype(np.float32)
