"""Layers that an artefact leaves in float: the first ones, as Quantize may choose, or those that are excluded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from workbench.c99.program import (
    Array,
    At,
    Block,
    Call,
    Constant,
    Floats,
    Limits,
    Map,
    Step,
    Struct,
    Tensor,
    Text,
)  # fmt: skip
from workbench.c99.source import Source, layer_of, refuse
from workbench.c99.windows import Window

_NONE = Text("NULL")


@dataclass(frozen=True)
class FloatProduct:
    """A layer with its numbers: weights (outputs, kernel rows, kernel columns, inputs of the group)."""

    layer: str
    source: Tensor | Floats | None  # None for the network's input
    window: Window
    groups: int
    before: Map
    after: Map
    weights: Array
    bias: Array

    def step(self, writes: Tensor | Floats | None, limits: Limits) -> Step:
        """The call that stores bytes or floats, or gives answers."""
        fields: dict[str, Any] = {**self.window.fields(self.before, self.after), "groups": self.groups}
        by_channel = self.source is None
        fields["place_step"] = 1 if by_channel else self.before.channels
        fields["channel_step"] = self.before.places if by_channel else 1
        fields |= {"weights": Constant("weights", self.weights.ravel()), "bias": Constant("bias", self.bias)}
        fields |= {"low": limits.ends()[0], "high": limits.ends()[1]}
        if isinstance(self.source, Tensor):
            fields["numbers"] = Constant("numbers", self.source.grid.numbers())
        if isinstance(writes, Tensor):
            fields |= {"scale": writes.grid.scale, "zero": writes.grid.zero}
        call = Call("convolve_floats", (Struct("float_product", fields), *self._reads(), *_writes(writes)))
        said = f"in float: {self.window}: {self.before} -> {self.after}"
        reads = () if self.source is None else (self.source,)
        return Step(self.layer, said, reads, writes, (call,), int(self.after.places * self.weights.size))

    def _reads(self) -> tuple[Any, Any]:
        if self.source is None:
            return Text("input"), _NONE
        return (_NONE, At(self.source)) if isinstance(self.source, Tensor) else (At(self.source), _NONE)


def _writes(writes: Tensor | Floats | None) -> tuple[Any, Any, Any]:
    if writes is None:
        return _NONE, _NONE, Text("answers")
    return (At(writes), _NONE, _NONE) if isinstance(writes, Tensor) else (_NONE, At(writes), _NONE)


def in_float(source: Source, node: onnx.NodeProto, weights: Array, shape: tuple[Window, int, Map, Map]) -> None:
    """Remember a layer whose weights, inputs last, are floats."""
    after = shape[-1]
    bias = source.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(after.channels)
    if bias is None:
        refuse(node, "its bias is computed from the input")
    bias = np.broadcast_to(bias.ravel(), after.channels).astype(np.float32)
    made = FloatProduct(layer_of(node), _source(source, node), *shape, weights.astype(np.float32), bias)
    source.give(node, made.step, map=after, floats=True)


def _source(source: Source, node: onnx.NodeProto) -> Tensor | Floats | None:
    """What a layer reads: the network's input, bytes, or floats that another such layer leaves."""
    name = node.input[0]
    if name == source.entry.name:
        return None
    result = source.results.get(name)
    if name in source.tensors or result is None or not result.floats or result.flat:
        return source.takes(node)
    kept = Floats(result.map, Block(4 * result.map.size, step=4))
    source.steps.append(result.make(kept, result.limits))
    return kept
