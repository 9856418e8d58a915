"""Run a float or a QDQ graph in torch, with gradients that pass through the rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import nn
from torch.nn import functional

from workbench.errors import StepFailed
from workbench.onnx_graph import attribute

_LIMITS: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.INT32: (-(2**31), 2**31 - 1),
}
_STORED: dict[int, type[np.integer[Any]]] = {
    TensorProto.INT8: np.int8,
    TensorProto.UINT8: np.uint8,
    TensorProto.INT32: np.int32,
}


class Simulated(nn.Module):
    """An ONNX graph as a torch module: (N, ...) -> (N, classes), rounding and saturating as ONNX Runtime does.

    Quantized weights and biases are trained as float parameters, `masters` by the names of the integers;
    each pass rounds them. Gradients pass straight through rounding, and stop where a value saturates
    (Jacob et al. 2018, section 3). Scales and zero points stay as calibrated.

    Raises: `StepFailed` for an operator that is not known here.
    """

    def __init__(self, model: onnx.ModelProto, floats: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.model = model
        self.kinds = {one.name: one.data_type for one in model.graph.initializer}
        self.constants = {
            one.name: torch.from_numpy(np.array(numpy_helper.to_array(one))) for one in model.graph.initializer
        }
        for node in model.graph.node:
            if node.op_type not in _OPERATORS and node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
                raise StepFailed(
                    f"Training through quantization does not know the operator {node.op_type} of {node.name!r}. "
                    "Use Quantize('int8'), which needs no training."
                )
        self.masters = nn.ParameterDict(_masters(model, self.constants, floats or {}))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The graph's first output."""
        values: dict[str, Any] = {**self.constants, self.model.graph.input[0].name: x}
        for node in self.model.graph.node:
            args = [values[name] if name else None for name in node.input]
            if node.op_type == "QuantizeLinear":
                result = self._quantize(node, *args)
            elif node.op_type == "DequantizeLinear":
                result = self._dequantize(node, *args)
            else:
                result = _OPERATORS[node.op_type](node, *args)
            values[node.output[0]] = result
        logits: torch.Tensor = values[self.model.graph.output[0].name]
        return logits

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
        exact = x / _spread(scale, x, axis) + _spread(zero.float(), x, axis)
        inside = exact.clamp(low, high)
        return inside + (inside.detach().round() - inside.detach())


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


# Operators: (node, *inputs) -> output, as in the ONNX specification


def _pads(node: onnx.NodeProto, x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """X padded as the node says."""
    rank = x.dim() - 2
    pads = list(attribute(node, "pads", [0] * 2 * rank))
    if not any(pads):
        return x
    pairs = [size for index in reversed(range(rank)) for size in (pads[index], pads[rank + index])]
    return functional.pad(x, pairs, value=value)


def _conv(node: onnx.NodeProto, x: Any, weight: Any, bias: Any = None) -> Any:
    rank = weight.dim() - 2
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    strides, dilations = (list(attribute(node, name, [1] * rank)) for name in ("strides", "dilations"))
    return run(_pads(node, x), weight, bias, strides, 0, dilations, int(attribute(node, "group", 1)))


def _gemm(node: onnx.NodeProto, a: Any, b: Any, c: Any = None) -> Any:
    a = a.transpose(0, 1) if attribute(node, "transA", 0) else a
    b = b.transpose(0, 1) if attribute(node, "transB", 0) else b
    product = attribute(node, "alpha", 1.0) * (a @ b)
    return product if c is None else product + attribute(node, "beta", 1.0) * c


def _max_pool(node: onnx.NodeProto, x: Any) -> Any:
    kernel = list(attribute(node, "kernel_shape", []))
    strides = list(attribute(node, "strides", [1] * len(kernel)))
    dilations = list(attribute(node, "dilations", [1] * len(kernel)))
    ceil = bool(attribute(node, "ceil_mode", 0))
    run = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(kernel) - 1]
    return run(_pads(node, x, float("-inf")), kernel, strides, 0, dilations, ceil)


def _average_pool(node: onnx.NodeProto, x: Any) -> Any:
    kernel = list(attribute(node, "kernel_shape", []))
    strides = list(attribute(node, "strides", [1] * len(kernel)))
    run: Any = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(kernel) - 1]
    sums = run(_pads(node, x), kernel, strides)
    if attribute(node, "count_include_pad", 0) or not any(attribute(node, "pads", [0])):
        return sums
    return sums / run(_pads(node, torch.ones_like(x)), kernel, strides)


def _global_average(node: onnx.NodeProto, x: Any) -> Any:
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def _reshape(node: onnx.NodeProto, x: Any, shape: Any) -> Any:
    sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _reduce_mean(node: onnx.NodeProto, x: Any, axes: Any = None) -> Any:
    dims = axes.tolist() if axes is not None else list(attribute(node, "axes", range(x.dim())))
    return x.mean(dim=dims, keepdim=bool(attribute(node, "keepdims", 1)))


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda node, a, b: a @ b,
    "Add": lambda node, a, b: a + b,
    "Mul": lambda node, a, b: a * b,
    "Relu": lambda node, x: x.relu(),
    "Clip": lambda node, x, low=None, high=None: x.clamp(low, high),
    "Sigmoid": lambda node, x: x.sigmoid(),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "ReduceMean": _reduce_mean,
    "Flatten": lambda node, x: x.flatten(int(attribute(node, "axis", 1))),
    "Reshape": _reshape,
    "Concat": lambda node, *parts: torch.cat(parts, dim=int(attribute(node, "axis", 1))),
    "Transpose": lambda node, x: x.permute(list(attribute(node, "perm", range(x.dim())))),
    "Identity": lambda node, x: x,
}
