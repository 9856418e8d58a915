"""Layers that make channels of their own, and where channels are in the operations of a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from workbench.cost.layer import Layer, Shape
from workbench.pruning.axes import NONE, Axes, Spread, Ties, Units
from workbench.pruning.calls import Seen

MAKERS = frozenset({"conv", "conv_transpose", "linear"})


def makes(layer: Layer) -> bool:
    """True for an operation that computes channels of its own; a depthwise one passes its input's on."""
    return layer.kind in MAKERS and not depthwise(layer)


def depthwise(layer: Layer) -> bool:
    """True for a convolution with one group for each input channel."""
    return layer.kind in {"conv", "conv_transpose"} and layer.groups > 1 and layer.groups == layer.c_in


def channel_axis(layer: Layer, shape: Shape) -> int:
    """Where a layer with weights has its channels: before the kernel's axes, or last."""
    return len(shape) - 1 - (0 if layer.kind == "linear" else len(layer.kernel))


@dataclass
class Place:
    """Where channels are in what an operation reads and writes; axes as in the layer's shapes, without the batch."""

    layer: Layer
    reads: Axes = field(default_factory=dict)
    writes: Axes = field(default_factory=dict)
    taken: Units = field(default_factory=lambda: NONE)  # of a layer with weights, the channels that it reads
    made: Units = field(default_factory=lambda: NONE)  # and those that it writes
    weighed: tuple[Units, ...] = ()  # the axes of channels that its parameters have
    fixed: Spread | None = None  # the largest constant that it reads
    work: tuple[Units, ...] = ()  # the axes whose sizes its work goes with, where that does not follow from the shapes

    @property
    def units(self) -> tuple[Units, ...]:
        """Every unit that it meets, also in constants of its own."""
        fixed = self.fixed.axes.values() if self.fixed is not None else ()
        axes = (*self.reads.values(), *self.writes.values(), *fixed)
        return (self.taken, self.made, *axes, *self.weighed, *self.work)

    def watched(self, seen: Seen) -> None:
        """Take over what was seen of an operator."""
        self.reads = fitted(seen.data[0], self.layer.input) if seen.data else {}
        self.writes = fitted(seen.result, self.layer.output)
        largest = max(seen.constants, key=lambda one: prod(one.shape), default=None)
        self.fixed = largest
        if self.layer.weights and largest is not None:
            self.weighed = tuple(largest.axes.values())
        if self.layer.work:
            first = list(self.reads.values())
            known = {id(one) for one in first}
            self.work = (*first, *(one for one in self.writes.values() if id(one) not in known and not _in(one, first)))


def _in(units: Units, several: list[Units]) -> bool:
    return any(len(one) == len(units) for one in several)


def make(place: Place, before: Spread, ties: Ties) -> Spread:
    """What a layer with weights makes of a tensor; `place` is told its channels."""
    layer = place.layer
    axis = channel_axis(layer, before.shape)
    reads = before.axes.get(axis, NONE)
    if len(reads) != layer.c_in:
        ties.freeze(reads, f"{layer.name!r} reads them along another axis")
        reads = ties.fresh(layer.c_in)
        ties.freeze(reads, "its inputs are not followed")
    over = {place_ for place_ in before.axes if place_ > axis} if layer.kind != "linear" else set()
    for other in over:
        ties.freeze(before.axes[other], f"{layer.name!r} mixes or reorders channels")
    writes = _written(layer, reads, ties)
    place.taken, place.made = reads, writes
    shape = (*before.shape[:axis], layer.c_out, *layer.output[len(layer.output) - len(before.shape[axis + 1 :]) :])
    stay = {one: units for one, units in before.axes.items() if one < axis}
    after = Spread(shape, {**stay, axis: writes})
    entered = Spread(before.shape, {**stay, axis: reads})
    place.reads, place.writes = fitted(entered, layer.input), fitted(after, layer.output)
    return after


def _written(layer: Layer, reads: Units, ties: Ties) -> Units:
    if depthwise(layer):
        return np.repeat(reads, layer.c_out // layer.c_in)
    writes = ties.fresh(layer.c_out)
    if layer.groups > 1:  # every group loses the same of its channels
        for units in (reads, writes):
            first, *others = units.reshape(layer.groups, -1)
            for other in others:
                ties.tie(first, other)
    return writes


def between(place: Place, before: Spread, ties: Ties, is_batch_norm: bool) -> Spread:
    """What any other operation makes of a tensor that stands beside a layer, or that an earlier step will put there."""
    layer = place.layer
    place.reads = fitted(before, layer.input)
    if layer.kind == "reshape" and not layer.module:  # rows for a product, and back
        place.writes = fitted(before, layer.output)
        return before
    own_bias = layer.kind == "add" and bool(layer.weights)  # of a linear layer that torch takes apart
    if layer.input == layer.output and (layer.kind == "activation" or is_batch_norm or own_bias):
        place.writes = place.reads
        place.weighed = tuple(place.reads.values()) if layer.weights else ()
        return before
    for units in before.axes.values():
        ties.freeze(units, f"{layer.name!r} mixes or reorders channels")
    return Spread((*before.shape[: max(0, len(before.shape) - len(layer.input))], *layer.output), {})


def fitted(spread: Spread, shape: Shape) -> Axes:
    """The units along the axes of a layer's shape: that of a tensor without its batch, or as rows of features."""
    lean = spread.without_batch()
    while len(lean.shape) > max(1, len(shape)) and lean.shape[0] == 1:  # one token, one head
        lean = lean.without_batch()
    for one in (lean, spread):
        if one.shape == shape:
            return one.axes
    if len(lean.shape) > len(shape) == 2 and lean.shape[-1] == shape[-1]:
        return _as_rows(lean)
    if len(lean.shape) == len(shape):  # reduced, or spread over other axes
        return {axis: units for axis, units in lean.axes.items() if shape[axis] == len(units)}
    return {}


def _as_rows(spread: Spread) -> Axes:
    """A tensor as rows of its last axis."""
    last = len(spread.shape) - 1
    found = {1: spread.axes[last]} if last in spread.axes else {}
    for axis, units in spread.axes.items():
        if axis != last:
            wide = units.reshape([-1 if place == axis else 1 for place in range(last)])
            found[0] = np.broadcast_to(wide, spread.shape[:-1]).reshape(-1)
    return found
