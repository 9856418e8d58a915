"""Smaller inputs, and smaller weights with them, for a piece that shows its fault on these too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import onnx
from onnx import numpy_helper

from workbench.reduction.oracles import Twin
from workbench.reduction.pieces import Array, Piece, entry

Pair = tuple[Piece, Twin | None]


@dataclass(frozen=True)
class Cut:
    """What is kept of every axis of one size: of all of them, or of those at one place among the inputs' axes."""

    size: int
    part: slice
    axis: int | None = None

    def of(self, value: Array) -> Array:
        """The part of an array."""
        for place, size in enumerate(value.shape):
            if size == self.size and self.axis in (None, place):
                value = value[(slice(None),) * place + (self.part,)]
        return value


def smaller(pair: Pair, shows: Callable[[Pair], bool], alike: bool) -> Pair:
    """The same pair with axes as short as `shows` allows.

    Axes of inputs alone come first, such as a map's height; where the twin computes the same (`alike`), so do axes that
    weights share, such as channels.
    """
    for axis in range(max((value.ndim for value in pair[0].inputs.values()), default=0)):
        pair = _shortened(pair, shows, axis)
    return _shortened(pair, shows, None) if alike else pair


def _shortened(pair: Pair, shows: Callable[[Pair], bool], axis: int | None) -> Pair:
    for size in _sizes(pair[0], axis):
        while size > 1:
            found = next((one for cut in _cuts(size, axis) if shows(one := _cut(pair, cut))), None)
            if found is None:
                break
            pair, size = found, size // 2
    return pair


def _sizes(piece: Piece, axis: int | None) -> list[int]:
    """The sizes that can be shortened, the longest first."""
    shapes = [value.shape for value in piece.inputs.values()]
    if axis is None:
        shapes += [tuple(one.dims) for one in piece.model.graph.initializer]
        return sorted({size for shape in shapes for size in shape if size > 1}, reverse=True)
    return sorted({shape[axis] for shape in shapes if len(shape) > axis and shape[axis] > 1}, reverse=True)


def _cuts(size: int, axis: int | None) -> Iterator[Cut]:
    """Either half of an axis."""
    half = size // 2
    yield Cut(size, slice(0, half), axis)
    yield Cut(size, slice(size - half, size), axis)


def _cut(pair: Pair, cut: Cut) -> Pair:
    piece, twin = pair
    inputs = {name: cut.of(value) for name, value in piece.inputs.items()}
    made = replace(piece, model=_model(piece.model, cut, inputs), inputs=inputs)
    if twin is None:
        return made, None
    given = {other: inputs[one] for one, other in twin.inputs.items()}
    return made, replace(twin, model=_model(twin.model, cut, given))


def _model(model: onnx.ModelProto, cut: Cut, inputs: dict[str, Array]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for one in copy.graph.input:
        if one.name in inputs:
            kind = onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
            one.CopyFrom(entry(one.name, inputs[one.name].astype(kind)))
    if cut.axis is None:
        for held in copy.graph.initializer:
            if cut.size in held.dims:
                held.CopyFrom(numpy_helper.from_array(cut.of(numpy_helper.to_array(held)).copy(), held.name))
    return copy
