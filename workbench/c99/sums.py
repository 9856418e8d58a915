"""Sums and products of two maps."""

from __future__ import annotations

import numpy as np
import onnx

from workbench.c99.functions import _OF_TWO, common, of_bytes, operands
from workbench.c99.program import At, Call, Constant, Kept, Limits, Step, Tensor, cut
from workbench.c99.source import Source, layer_of, reads, refuse

Operand = Tensor | Kept


@reads(*_OF_TWO)
def of_two(source: Source, node: onnx.NodeProto) -> None:
    """A function of single bytes where both numbers follow from the same one; a sum or a product otherwise."""
    found = operands(source, node)
    root = common(found) if found else None
    if root is not None:
        source.results[node.output[0]] = of_bytes(source, node, root)
        return
    if node.op_type not in {"Add", "Sub", "Mul"}:
        refuse(node, "it is computed of a number and a constant; of two maps there is no kernel")
    first, second = (source.kept(node, place) or source.takes(node, place) for place in (0, 1))
    if (first.flat or second.flat) and (first.map != second.map or Kept in {type(first), type(second)}):
        first, second = (source.plain(one) if isinstance(one, Tensor) else one for one in (first, second))
    _check_shapes(node, first, second)
    large = first if first.map.size >= second.map.size else second

    def make(writes: Tensor | None, limits: Limits) -> Step:
        if writes is None:
            refuse(node, "its result is the network's answer, and not quantized")
        call = _product(first, second, writes) if node.op_type == "Mul" else _sum(node, first, second, writes)
        word = {"Add": "sum", "Sub": "difference", "Mul": "product"}[node.op_type]
        said = f"{word}: {first.map} and {second.map}"
        reads = tuple(one for one in (first, second) if isinstance(one, Tensor))
        return Step(layer_of(node), said, reads, writes, (call, *cut(writes, writes.grid, limits)))

    source.give(node, make, map=large.map)


def _check_shapes(node: onnx.NodeProto, first: Operand, second: Operand) -> None:
    one, other = first.map, second.map
    if one != other and (one.channels != other.channels or 1 not in {one.places, other.places}):
        refuse(node, f"its maps are of {one} and {other}; equal ones, or one number a channel, are computed")


def _bytes(operand: Operand) -> At | Constant:
    return At(operand) if isinstance(operand, Tensor) else Constant("values", operand.values)


def _step(tensor: Operand, places: int) -> int:
    return tensor.map.channels if tensor.map.places == places else 0


def _sum(node: onnx.NodeProto, first: Operand, second: Operand, writes: Tensor) -> Call:
    """As ONNX Runtime orders its arithmetic: the zeros in one number, then the one map, then the other."""
    places, channels = writes.map.places, writes.map.channels
    sign = np.float32(-1 if node.op_type == "Sub" else 1)
    ratios = [first.grid.scale / writes.grid.scale, sign * second.grid.scale / writes.grid.scale]
    zeros = [np.float32(one.grid.zero) for one in (first, second)]
    both = np.float64(ratios[0]) * zeros[0] + np.float64(ratios[1] * zeros[1])  # rounded once, as by a fused sum
    fixed = np.float32(writes.grid.zero) - np.float32(both)
    pairs = zip((first, second), ratios, strict=True)
    given = [one for tensor, ratio in pairs for one in (_bytes(tensor), _step(tensor, places), ratio)]
    return Call("add", (places, channels, fixed, *given, At(writes)))


def _product(first: Operand, second: Operand, writes: Tensor) -> Call:
    places, channels = writes.map.places, writes.map.channels
    scale = first.grid.scale * second.grid.scale / writes.grid.scale
    given = [x for one in (first, second) for x in (_bytes(one), _step(one, places), one.grid.zero)]
    return Call("multiply", (places, channels, scale, writes.grid.zero, *given, At(writes)))
