"""Every tensor of an ONNX graph on some inputs, from whatever is able to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from workbench.errors import BadValue
from workbench.quantization.observe import with_outputs
from workbench.runtimes.onnxruntime import open_session

Array = npt.NDArray[Any]
#: How a graph is run: by ONNX Runtime at one of its levels of rewriting, or by ONNX's own reference implementation.
REFERENCE = "onnx"
Run = Callable[[Mapping[str, Array]], list[Array]]


def runner(model: onnx.ModelProto, how: str, names: Sequence[str] | None = None) -> Run:
    """A function from inputs by name to outputs, all or those named. Raises: what refuses the model."""
    if how == REFERENCE:
        evaluator = ReferenceEvaluator(model)
        return lambda inputs: [np.asarray(one) for one in evaluator.run(names, dict(inputs))]
    session = open_session(model.SerializeToString(), level=how)
    return lambda inputs: [np.asarray(one) for one in session.run(names, dict(inputs))]


def all_values(model: onnx.ModelProto, inputs: Mapping[str, Array], how: str = "off") -> dict[str, Array]:
    """The tensors of the graph that are arrays of numbers, by name. Raises: what refuses the model."""
    names = list(dict.fromkeys(name for node in model.graph.node for name in node.output if name))
    found = runner(with_outputs(model, names), how, names)(inputs)
    known = {name: one for name, one in zip(names, found, strict=True) if one.dtype.kind in "fiub"}
    return {**inputs, **known}


def some_values(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """As `all_values`, from ONNX Runtime without rewriting or else the reference; none where neither runs it."""
    for how in ("off", REFERENCE):
        try:
            return all_values(model, inputs, how)
        except Exception:  # noqa: BLE001  # a runtime raises anything; the next one may do
            continue
    return {}


def made_up(model: onnx.ModelProto, seed: int) -> dict[str, Array]:
    """Inputs of the shapes that a file declares, 1 for an open size: normal numbers, and zeros, a row of any table."""
    random = np.random.default_rng(seed)
    constants = {one.name for one in model.graph.initializer}
    found = {}
    for one in model.graph.input:
        if one.name in constants:
            continue
        tensor = one.type.tensor_type
        shape = [size.dim_value or 1 for size in tensor.shape.dim]
        kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        noise = random.standard_normal(shape) if np.issubdtype(kind, np.floating) else np.zeros(shape)
        found[one.name] = noise.astype(kind)
    return found


def fitted(model: onnx.ModelProto, given: Mapping[str, Any] | Sequence[Any]) -> dict[str, Array]:
    """What is given, by name or in order, as inputs of a graph. Raises: `BadValue` for another number or name."""
    constants = {one.name for one in model.graph.initializer}
    entries = [one for one in model.graph.input if one.name not in constants]
    names = [one.name for one in entries]
    inputs = given if isinstance(given, Mapping) else dict(zip(names, given, strict=False))
    if sorted(inputs) != sorted(names) or len(given) != len(names):
        raise BadValue(f"The file takes the inputs {', '.join(names)}, and it is given {', '.join(map(str, inputs))}.")
    kinds = {one.name: helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type) for one in entries}
    return {name: np.ascontiguousarray(inputs[name], kinds[name]) for name in names}
