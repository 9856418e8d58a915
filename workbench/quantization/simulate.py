"""Run a float or a QDQ graph in torch, with gradients that pass through the rounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from workbench.artefact.onnx_graph import attribute
from workbench.operators.table import OPERATORS, run

_LIMITS: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.INT32: (-(2**31), 2**31 - 1),
}
_KNOWN = OPERATORS.keys() | {"QuantizeLinear", "DequantizeLinear", "If"}
_STORED: dict[int, type[np.integer[Any]]] = {
    TensorProto.INT8: np.int8,
    TensorProto.UINT8: np.uint8,
    TensorProto.INT32: np.int32,
}


class Simulated(nn.Module):
    """An ONNX graph as a torch module: (N, ...) -> (N, classes), rounding and saturating as ONNX Runtime does.

    Quantized weights and biases are trained as float parameters, `masters` by the names of the integers;
    each pass rounds them. Gradients pass straight through rounding, and stop where a value saturates
    (Jacob et al. 2018, section 3). Scales and zero points stay as calibrated. Other operators run as in float;
    `opaque` names those that gradients do not pass.
    """

    def __init__(self, model: onnx.ModelProto, floats: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.model = model
        self.kinds = {one.name: one.data_type for one in model.graph.initializer}
        self.constants = {
            one.name: torch.from_numpy(np.array(numpy_helper.to_array(one))) for one in model.graph.initializer
        }
        self.opaque = sorted({f"{n.op_type} {n.name!r}" for n in model.graph.node if n.op_type not in _KNOWN})
        self.masters = nn.ParameterDict(_masters(model, self.constants, floats or {}))

    def forward(self, *args: torch.Tensor, **named: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The graph's output, or all of several."""
        names = (one.name for one in self.model.graph.input)
        values: dict[str, Any] = {**self.constants, **dict(zip(names, args, strict=False)), **named}
        for node in self.model.graph.node:
            given = [values[name] if name else None for name in node.input]
            if node.op_type == "QuantizeLinear":
                results: tuple[Any, ...] = (self._quantize(node, *given),)
            elif node.op_type == "DequantizeLinear":
                results = (self._dequantize(node, *given),)
            else:
                results = run(node, given, values)
            values.update((name, one) for name, one in zip(node.output, results, strict=False) if name)
        outputs: tuple[torch.Tensor, ...] = tuple(values[one.name] for one in self.model.graph.output)
        return outputs if len(outputs) > 1 else outputs[0]

    def write_back(self) -> onnx.ModelProto:
        """The graph with the trained weights and biases, as integers again."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        nodes = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
        for one in model.graph.initializer:
            if _key(one.name) not in self.masters:
                continue
            node = nodes[one.name]
            scale, zero = (self.constants[name] for name in node.input[1:3])
            with torch.no_grad():
                steps = self._steps(self.masters[_key(one.name)], scale, zero, one.data_type, _axis(node))
            values = steps.numpy().astype(_STORED[one.data_type])
            one.CopyFrom(numpy_helper.from_array(values, one.name))
        return model

    def _quantize(self, node: onnx.NodeProto, x: Any, scale: Any, zero: Any) -> torch.Tensor:
        return self._steps(x, scale, zero, self.kinds[node.input[2]], _axis(node))

    def _dequantize(self, node: onnx.NodeProto, x: Any, scale: Any, zero: Any) -> torch.Tensor:
        name, axis = node.input[0], _axis(node)
        if _key(name) in self.masters:
            x = self._steps(self.masters[_key(name)], scale, zero, self.kinds[name], axis)
        result: torch.Tensor = (x - _spread(zero.float(), x, axis)) * _spread(scale, x, axis)
        return result

    def _steps(self, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, kind: int, axis: int) -> torch.Tensor:
        """X in steps of `scale`, rounded half to even and saturated; the gradient ignores the rounding."""
        low, high = _LIMITS[kind]
        steps, start = x / _spread(scale, x, axis), _spread(zero.float(), x, axis)
        inside = (steps + start).clamp(low, high)
        rounded = (steps.detach().round() + start).clamp(low, high)  # halves go to the even step, not the even integer
        return inside + (rounded - inside.detach())


def _key(name: str) -> str:
    return name.replace(".", "/")  # torch allows no dots in the names of parameters


def _masters(model: onnx.ModelProto, constants: Mapping[str, Any], floats: Mapping[str, Any]) -> dict[str, Any]:
    """A float parameter for each integer initialiser that a node dequantizes."""
    found = {}
    for node in model.graph.node:
        name = node.input[0]
        if node.op_type != "DequantizeLinear" or name not in constants:
            continue
        scale, zero = (constants[one] for one in node.input[1:3])
        steps = constants[name].float()
        value = (steps - _spread(zero.float(), steps, _axis(node))) * _spread(scale, steps, _axis(node))
        exact = floats.get(name.removesuffix("_quantized"))
        found[_key(name)] = nn.Parameter(value if exact is None else torch.tensor(exact, dtype=torch.float32))
    return found


def _axis(node: onnx.NodeProto) -> int:
    return int(attribute(node, "axis", 1))


def _spread(values: torch.Tensor, like: torch.Tensor, axis: int) -> torch.Tensor:
    """One value a channel, shaped to multiply `like`; a scalar stays as it is."""
    if values.numel() == 1:
        return values.reshape(())
    return values.reshape([-1 if index == axis % like.dim() else 1 for index in range(like.dim())])
