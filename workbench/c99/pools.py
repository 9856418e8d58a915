"""Poolings: the largest or the mean of windows, and of whole maps."""

from __future__ import annotations

import numpy as np
import onnx

from workbench.artefact.onnx_graph import attribute
from workbench.c99.program import At, Call, Limits, Map, Step, Struct, Tensor, Text, cut
from workbench.c99.source import Source, layer_of, reads, refuse
from workbench.c99.windows import window


@reads("MaxPool")
def max_pool(source: Source, node: onnx.NodeProto) -> None:
    """Bytes are in the order of the numbers that they stand for."""
    stored, own = source.moved(node)
    before, _ = source.shape(node.input[0], node)
    after, _ = source.shape(node.output[0], node)
    looks = window(node, tuple(attribute(node, "kernel_shape", ())), before, after)

    def make(writes: Tensor, limits: Limits) -> Step:
        tensor = stored(writes.grid)
        pooled = Call("max_pool", (Struct("window", looks.fields(before, after)), At(tensor), At(writes)))
        said = f"largest of {looks}: {before} -> {after}"
        return Step(layer_of(node), said, (tensor,), writes, (pooled, *cut(writes, tensor.grid, limits)))

    source.give(node, make, moves=True, own=own)


@reads("AveragePool")
def average_pool(source: Source, node: onnx.NodeProto) -> None:
    """In floats, as ONNX Runtime does: halves, which are frequent in means of a few, fall as they do there."""
    tensor = source.takes(node)
    after, _ = source.shape(node.output[0], node)
    looks = window(node, tuple(attribute(node, "kernel_shape", ())), tensor.map, after)
    whole = bool(attribute(node, "count_include_pad", 0)) and looks.padded
    sides = zip(tensor.map[1:], after[1:], looks.kernel, looks.stride, looks.before, looks.after, strict=True)
    if any((new - 1) * step + side > old + first + last for old, new, side, step, first, last in sides):
        refuse(node, "its last windows reach beyond the padding (ceil_mode)")

    def make(writes: Tensor | None, limits: Limits) -> Step:
        if writes is None:
            refuse(node, "its result is the network's answer, and not quantized")
        given = (Struct("window", looks.fields(tensor.map, after)), int(whole), *tensor.grid, *writes.grid)
        pooled = Call("average_pool", (*given, At(tensor), At(writes)))
        said = f"mean of {looks}: {tensor.map} -> {after}"
        return Step(layer_of(node), said, (tensor,), writes, (pooled, *cut(writes, writes.grid, limits)))

    source.give(node, make)


@reads("GlobalAveragePool")
def global_average(source: Source, node: onnx.NodeProto) -> None:
    """The mean of each channel."""
    _mean(source, node)


@reads("ReduceMean")
def reduce_mean(source: Source, node: onnx.NodeProto) -> None:
    """Over all rows and columns; of vectors, and over other axes, there is no kernel."""
    axes = source.sizes(node, 1) or list(attribute(node, "axes", []))
    rank = source.seen[node.input[0]].ndim
    if rank < 3 or sorted(axis % rank for axis in axes) != list(range(2, rank)):
        refuse(node, f"it takes the mean over axes {axes}; means over all rows and columns are computed")
    _mean(source, node)


def _mean(source: Source, node: onnx.NodeProto) -> None:
    tensor = source.takes(node)
    after, _ = source.shape(node.output[0], node)
    places = np.float32(tensor.map.places)

    def make(writes: Tensor | None, limits: Limits) -> Step:
        said, given = f"mean of all places: {tensor.map} -> {after.channels}", (tensor.map, tensor.grid.zero)
        if writes is None:
            if limits != Limits():
                refuse(node, "its result is cut, and the network's answer")
            call = Call("mean", (*given, tensor.grid.scale / places, 0, At(tensor), Text("NULL"), Text("answers")))
            return Step(layer_of(node), said, (tensor,), None, (call,))
        scale = tensor.grid.scale / (writes.grid.scale * places)
        call = Call("mean", (*given, scale, writes.grid.zero, At(tensor), At(writes), Text("NULL")))
        return Step(layer_of(node), said, (tensor,), writes, (call, *cut(writes, writes.grid, limits)))

    source.give(node, make, map=Map(after.channels))
