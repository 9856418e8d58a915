"""What moves bytes and computes nothing: parts of maps, maps side by side, padding, larger maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx

from workbench.artefact.onnx_graph import attribute
from workbench.c99.program import Array, At, Call, Constant, Limits, Map, Step, Tensor, cut
from workbench.c99.source import Source, layer_of, reads, refuse


@reads("Concat")
def concat(source: Source, node: onnx.NodeProto) -> None:
    """Maps or vectors side by side, along any axis."""
    given = [source.moved(node, place) for place in range(len(node.input))]
    after, _ = source.shape(node.output[0], node)
    axis = attribute(node, "axis", 1) % source.seen[node.output[0]].ndim - 1
    if axis < 0:
        refuse(node, "it joins inputs of different images")
    axis += 3 - source.seen[node.output[0]].ndim + 1 if axis > 0 else 0  # one row where there is one axis of places

    def make(writes: Tensor, limits: Limits) -> Step:
        parts = [source.plain(stored(writes.grid)) for stored, _ in given]
        calls, done = list[Call](), 0
        for part in parts:
            calls.append(_joined(part, writes, axis, done))
            done += prod(_runs(part.map, axis)[1:])
        said = f"side by side: {', '.join(str(one.map) for one in parts)} -> {after}"
        return Step(layer_of(node), said, tuple(parts), writes, (*calls, *cut(writes, writes.grid, limits)))

    own = given[0][1]
    source.give(node, make, moves=True, own=own)


def _runs(shape: Map, axis: int) -> tuple[int, int]:
    """How many runs of how many bytes a map is, where an axis is the first that a run holds whole."""
    channels, height, width = shape
    return {0: (height * width, channels), 1: (1, height * width * channels), 2: (height, width * channels)}[axis]


def _joined(part: Tensor, writes: Tensor, axis: int, offset: int) -> Call:
    (count, run), (_, step) = _runs(part.map, axis), _runs(writes.map, axis)
    if part.grid == writes.grid:
        return Call("copy_runs", (count, run, At(part), run, At(writes, offset), step))
    table = Constant("table", writes.grid.bytes_of(part.grid.numbers()))
    return Call("look_up_runs", (count, run, table, At(part), run, At(writes, offset), step))


@reads("Slice")
def part(source: Source, node: onnx.NodeProto) -> None:
    """Channels, rows or columns from one to another."""
    shape = source.seen[node.input[0]].shape
    starts, ends = (source.sizes(node, place) or list(attribute(node, name, []))
                    for place, name in ((1, "starts"), (2, "ends")))  # fmt: skip
    axes = source.sizes(node, 3) or list(attribute(node, "axes", range(len(starts))))
    steps = source.sizes(node, 4) or [1] * len(axes)
    ranges = [range(size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        ranges[axis] = range(shape[axis])[start:end:step]
    _take(source, node, node.output[0], ranges)


@reads("Split")
def split(source: Source, node: onnx.NodeProto) -> None:
    """Parts along an axis, one after the other."""
    shape = source.seen[node.input[0]].shape
    axis, start = attribute(node, "axis", 0) % len(shape), 0
    for name in node.output:
        size = source.seen[name].shape[axis]
        ranges = [range(one) for one in shape]
        ranges[axis] = range(start, start + size)
        _take(source, node, name, ranges)
        start += size


def _take(source: Source, node: onnx.NodeProto, name: str, ranges: Sequence[range]) -> None:
    (stored, own), (old, _) = source.moved(node), source.shape(node.input[0], node)
    after, flat = source.shape(name, node)
    wanted = [ranges[1], *[range(1)] * (4 - len(ranges)), *ranges[2:]]
    channels, rows, columns = wanted
    whole = [len(channels) == old.channels, len(rows) == old.height, len(columns) == old.width]
    if len(ranges[0]) != 1 or any(one.step != 1 for one in wanted) or not (whole[0] or whole[2]):
        refuse(node, "it takes other than neighbouring channels, rows or columns, or channels and columns at once")
    offset = (rows.start * old.width + columns.start) * old.channels + channels.start
    if whole[0]:
        count, run, step = len(rows), len(columns) * old.channels, old.width * old.channels
    else:
        count, run, step = len(rows) * old.width, len(channels), old.channels

    def make(writes: Tensor, limits: Limits) -> Step:
        tensor = source.plain(stored(writes.grid))
        call = Call("copy_runs", (count, run, At(tensor, offset), step, At(writes), run))
        said = f"part: {old} -> {after}"
        return Step(layer_of(node), said, (tensor,), writes, (call, *cut(writes, tensor.grid, limits)))

    source.give(node, make, name=name, map=after, flat=flat, moves=True, own=own)


@reads("Pad")
def pad(source: Source, node: onnx.NodeProto) -> None:
    """A constant around rows and columns, or beside channels."""
    (stored, own), rank = source.moved(node), source.seen[node.input[0]].ndim
    (old, vector), value = source.shape(node.input[0], node), source.number(node, 2, 0.0)
    after, _ = source.shape(node.output[0], node)
    pads, axes = source.sizes(node, 1) or list(attribute(node, "pads", [])), source.sizes(node, 3)
    sides = {axis % rank: pads[at] for at, axis in enumerate(axes or range(len(pads) // 2))}
    channel, row, column = (sides.get(axis, 0) for axis in (1, rank - 2 if rank > 3 else -1, rank - 1))
    grows = old.channels != after.channels
    mode = attribute(node, "mode", b"constant")
    if mode != b"constant" or value is None or min(pads) < 0 or (grows and old[1:] != after[1:]) or vector:
        refuse(node, "it is no constant around rows and columns, or beside channels")

    def make(writes: Tensor, limits: Limits) -> Step:
        tensor = stored(writes.grid)
        (byte,) = tensor.grid.bytes_of(np.array([value])).tolist()
        runs = (old.places, old.channels) if grows else (old.height, old.width * old.channels)
        step = after.channels if grows else after.width * after.channels
        offset = channel if grows else (row * after.width + column) * after.channels
        calls = (
            Call("memset", (At(writes), byte, after.size)),
            Call("copy_runs", (*runs, At(tensor), runs[1], At(writes, offset), step)),
        )
        said = f"padding: {old} -> {after}"
        return Step(layer_of(node), said, (tensor,), writes, (*calls, *cut(writes, tensor.grid, limits)))

    source.give(node, make, moves=True, own=own)


@reads("Resize", "Upsample")
def enlarge(source: Source, node: onnx.NodeProto) -> None:
    """Each pixel several times: the nearest neighbour where sides grow by a whole number."""
    (stored, own), (old, _) = source.moved(node), source.shape(node.input[0], node)
    after, _ = source.shape(node.output[0], node)
    down, across = after.height // old.height, after.width // old.width
    times = Map(old.channels, old.height * down, old.width * across)
    if attribute(node, "mode", b"nearest") != b"nearest" or after != times:
        refuse(node, f"it makes {after} of {old}; nearest neighbours are copied, a whole number of times")
    _check_nearest(node, down, across)

    def make(writes: Tensor, limits: Limits) -> Step:
        tensor = stored(writes.grid)
        call = Call("enlarge", (old, down, across, At(tensor), At(writes)))
        said = f"each pixel {down} x {across} times: {old} -> {after}"
        return Step(layer_of(node), said, (tensor,), writes, (call, *cut(writes, tensor.grid, limits)))

    source.give(node, make, moves=True, own=own)


def _check_nearest(node: onnx.NodeProto, *factors: int) -> None:
    """Raise `BadValue` where the nearest neighbour is another than the pixel that lies under it."""
    if node.op_type == "Upsample":
        return
    where = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    rounding = attribute(node, "nearest_mode", b"round_prefer_floor").decode()
    for factor in factors:
        place = np.arange(factor * 3)
        lies = {"asymmetric": place / factor, "half_pixel": (place + 0.5) / factor - 0.5}.get(where)
        if lies is None or (_rounded(lies, rounding) != place // factor).any():
            refuse(node, f"its nearest neighbours are found by {where} and {rounding}")


def _rounded(lies: Array, how: str) -> Array:
    ways = {"floor": np.floor(lies), "ceil": np.ceil(lies), "round_prefer_floor": np.ceil(lies - 0.5),
            "round_prefer_ceil": np.floor(lies + 0.5)}  # fmt: skip
    found: Array = np.maximum(ways[how], 0).astype(int)
    return found
