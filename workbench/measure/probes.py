"""Small graphs of one kind of operator, made directly as ONNX, with the `Layer` that each node is.

Calibration times them; because nodes and layers are made together, what the latency model is fitted to is
described exactly as the networks that it will predict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from workbench.cost.layer import Layer, Shape
from workbench.cost.network import Network

OPSET = 20
_NOISE = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
_SCALE = np.float32(0.02)  # of every quantized tensor: the values do not matter for time


@dataclass
class Probe:
    """A chain under construction. Every method appends one operator to the end; shapes leave the batch out."""

    input: Shape
    bits: int = 32
    layers: list[Layer] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shape, self._tensor, self._count = self.input, "x", 0
        if self.bits == 8:
            self._tensor = self._quantized(self._tensor)

    @property
    def network(self) -> Network:
        """What the graph is, as a value."""
        return Network(tuple(self.layers))

    def conv(
        self, c_out: int, kernel: int | tuple[int, int], *, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> Probe:
        """A 'same' convolution with its bias, and the ReLU that runtimes fold into it."""
        taps = (kernel, kernel) if isinstance(kernel, int) else kernel
        c_in, pads = self._shape[0], tuple(size // 2 for size in taps)
        sides = zip(self._shape[1:], taps, pads, strict=True)
        after = (c_out, *((side + 2 * pad - size) // stride + 1 for side, size, pad in sides))
        attributes = {"kernel_shape": taps, "pads": pads * 2, "strides": [stride] * 2, "group": groups}
        weight, bias = self._weights((c_out, c_in // groups, *taps), 0)
        self._append(
            "Conv", [weight, bias], attributes, after, kind="conv", kernel=taps, stride=(stride,) * 2,
            padding=pads, dilation=(1, 1), groups=groups, bias=True, relu=relu,
        )  # fmt: skip
        return self

    def clip(self) -> Probe:
        """A ReLU6 after a convolution, which takes it in."""
        low, high = (self._constant(np.asarray(value, np.float32)) for value in (0, 6))
        self._append("Clip", [low, high], {}, self._shape, kind="activation", fused=True)
        self.layers[-1] = self.layers[-1].but(op="hardtanh")
        return self

    def linear(self, features: int, *, relu: bool = False) -> Probe:
        """A linear layer: Gemm for a vector, MatMul and Add for tokens (tokens, features)."""
        after = (*self._shape[:-1], features)
        if len(self._shape) == 1:
            weight, bias = self._weights((features, self._shape[0]), 0)
            self._append("Gemm", [weight, bias], {"transB": 1}, after, kind="linear", bias=True, relu=relu)
        else:
            weight, _ = self._weights((self._shape[-1], features), 1)
            self._append("MatMul", [weight], {}, after, kind="linear")
        return self

    def unary(self, op: str, kind: str, **attributes: Any) -> Probe:
        """An operator that keeps the shape, such as Gelu."""
        self._append(op, [], attributes, self._shape, kind=kind)
        return self

    def pool(self, op: str = "MaxPool") -> Probe:
        """2 x 2 pooling with stride 2."""
        after = (self._shape[0], *(size // 2 for size in self._shape[1:]))
        self._append(op, [], {"kernel_shape": [2, 2], "strides": [2, 2]}, after, kind="pool")
        return self

    def add(self) -> Probe:
        """The sum of the current map and the input."""
        other = self._quantized("x") if self.bits == 8 else "x"
        assert self._shape == self.input, "a sum needs the input's shape"
        self._append("Add", [other], {}, self._shape, kind="add", others=prod(self._shape))
        return self

    def cat(self) -> Probe:
        """The current map twice, one after the other along the channels; integers change their scale."""
        after = (2 * self._shape[0], *self._shape[1:])
        self._append(
            "Concat", [self._tensor], {"axis": 1}, after, kind="copy", others=prod(self._shape), scale=2 * _SCALE
        )
        self.layers[-1] = self.layers[-1].but(op="cat")
        return self

    def reshape(self) -> Probe:
        """Channels split in two axes and joined again, sizes computed while it runs, as exporters write a view."""
        channels, *rest = self._shape
        two, zero, axis = (self._constant(np.asarray(value, np.int64)) for value in (2, 0, [0]))
        for sizes in ((2, channels // 2, *rest), (channels, *rest)):
            tail, made = self._constant(np.asarray(sizes, np.int64)), [self._name() for _ in range(6)]
            for place, (op, inputs) in enumerate((  # the runtime sees through less than this
                ("Shape", [self._tensor]), ("Gather", [made[0], zero]), ("Mul", [made[1], two]),
                ("Div", [made[2], two]), ("Unsqueeze", [made[3], axis]), ("Concat", [made[4], tail]),
            )):  # fmt: skip
                along: dict[str, Any] = {"axis": 0} if op == "Concat" else {}
                self.nodes.append(helper.make_node(op, inputs, [made[place]], **along))
            self._append("Reshape", [made[5]], {}, sizes, kind="reshape")
            self.layers[-1] = self.layers[-1].but(op="view")
        return self

    def norm(self) -> Probe:
        """A layer normalisation over the last axis."""
        scale, shift = (self._constant(np.ones(self._shape[-1], np.float32)) for _ in range(2))
        self._append("LayerNormalization", [scale, shift], {}, self._shape, kind="norm", weights=2 * self._shape[-1])
        return self

    def transpose(self) -> Probe:
        """The last two axes swapped, as between tokens and channels."""
        after = (*self._shape[:-2], self._shape[-1], self._shape[-2])
        order = [*range(len(self._shape) - 1), len(self._shape), len(self._shape) - 1]
        self._append("Transpose", [], {"perm": order}, after, kind="copy")
        return self

    def matmul(self) -> Probe:
        """Every row against every row, x times its own transpose: (heads, n, d) -> (heads, n, n)."""
        heads, rows, inner = self._shape
        turned = self._name()
        self.nodes.append(helper.make_node("Transpose", [self._tensor], [turned], perm=[0, 1, 3, 2]))
        self._append(
            "MatMul", [turned], {}, (heads, rows, rows), kind="matmul", others=heads * rows * inner,
            work=heads * rows * rows * inner,
        )  # fmt: skip
        return self

    def write(self, path: Path) -> Path:
        """Write the ONNX file: input 'x' (batch, ...), output 'y'."""
        self.nodes.append(helper.make_node("Identity", [self._tensor], ["y"]))
        graph = helper.make_graph(
            self.nodes, "probe",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *self.input])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *self._shape])],
            self.constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 10
        path.write_bytes(model.SerializeToString())
        return path

    def _append(self, op: str, more: list[str], attributes: dict[str, Any], after: Shape, **facts: Any) -> None:
        relu, scale = facts.pop("relu", False), facts.pop("scale", _SCALE)
        made = self._name()
        self.nodes.append(helper.make_node(op, [self._tensor, *more], [made], **attributes))
        if relu and self.bits == 32:
            self.nodes.append(helper.make_node("Relu", [made], [f"{made}r"]))
            made = f"{made}r"
        if self.bits == 8:
            made = self._quantized(made, scale)
        index = len(self.layers)
        self.layers.append(
            Layer(f"{op}{index}", input=self._shape, output=after, bits=self.bits, reads=(index,), writes=index + 1,
                  op=op.lower(), **facts)
        )  # fmt: skip
        self._tensor, self._shape = made, after

    def _weights(self, shape: Shape, axis: int) -> tuple[str, str]:
        """The names of a weight and its bias, in the probe's precision."""
        count = shape[axis]
        if self.bits == 32:
            weight = np.resize(_NOISE * np.float32(prod(shape[1:]) ** -0.5), shape)
            return self._constant(weight), self._constant(np.zeros(count, np.float32))
        scales = self._constant(np.full(count, _SCALE))
        zero, zero32 = (self._constant(np.zeros(count, kind)) for kind in (np.int8, np.int32))
        codes = self._constant(np.resize((_NOISE * 40).clip(-127, 127).astype(np.int8), shape))
        bias_scale = self._constant(np.full(count, _SCALE * _SCALE))
        bias_codes = self._constant(np.zeros(count, np.int32))
        names = self._name(), self._name()
        self.nodes.append(helper.make_node("DequantizeLinear", [codes, scales, zero], [names[0]], axis=axis))
        self.nodes.append(helper.make_node("DequantizeLinear", [bias_codes, bias_scale, zero32], [names[1]], axis=0))
        return names

    def _quantized(self, tensor: str, step: np.float32 = _SCALE) -> str:
        """The tensor after a pair of QuantizeLinear and DequantizeLinear, unsigned as ONNX Runtime is fastest."""
        scale, zero = self._constant(np.asarray(step, np.float32)), self._constant(np.asarray(0, np.uint8))
        codes, back = self._name(), self._name()
        self.nodes.append(helper.make_node("QuantizeLinear", [tensor, scale, zero], [codes]))
        self.nodes.append(helper.make_node("DequantizeLinear", [codes, scale, zero], [back]))
        return back

    def _constant(self, value: Any) -> str:
        name = self._name()
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"t{self._count}"
