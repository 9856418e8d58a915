"""Where the channels of a tensor are, and where an operation leaves them."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import fx, nn

from workbench.cost.layer import Layer, Shape

Units = npt.NDArray[np.int64]


class Located(NamedTuple):
    """The units of a tensor, its shape without the batch, and the axis that the units are along."""

    units: Units
    shape: Shape
    axis: int


def channel_axis(layer: Layer, shape: Shape) -> int:
    """Where a layer with weights has its channels: before the kernel's axes, or last."""
    return len(shape) - 1 - (0 if layer.kind == "linear" else len(layer.kernel))


def slopes(layer: Layer, modules: Mapping[str, nn.Module]) -> bool:
    """Whether an operation is a PReLU with a slope for each channel."""
    module = modules.get(layer.name)
    return isinstance(module, nn.PReLU) and module.num_parameters > 1 and layer.fixed == layer.input[0]


def multiplied(node: fx.Node) -> bool:
    """Whether a size among a node's arguments is another times a number, such as the batch times the channels."""
    sizes = [one for one in node.all_input_nodes if one.target in {operator.mul, operator.imul}]
    return any(isinstance(size, int) for one in sizes for size in one.args)


def same_axis(before: Located, layer: Layer) -> Located | None:
    """Channels stay along their axis; that axis is the one that is left where a map becomes a vector."""
    after = layer.output
    over = re.search(r"(\d)d", layer.op)  # such as max_pool2d: the last two axes
    if before.axis in layer.axes or (over and before.axis >= len(before.shape) - int(over[1])):
        return None
    gone = sum(axis < before.axis for axis in layer.axes) if len(after) < len(before.shape) else 0
    axis = before.axis - gone
    whole = 0 <= axis < len(after) and len(before.units) == before.shape[before.axis] == after[axis]
    return Located(before.units, after, axis) if whole else None


def reshaped(before: Located, after: Shape) -> Located | None:
    """Where channels are in another view of the same numbers, whose order stays; None where they are torn apart.

    An axis of their size with as many numbers behind it as before holds them; axes behind may be joined with them.
    """
    units, shape, axis = before
    if shape == after:
        return before
    if prod(shape) != prod(after) or not shape or len(units) != shape[axis]:
        return None
    behind = prod(shape[axis + 1 :])
    if len(after) == axis + 1 and after[:axis] == shape[:axis]:  # flattened: each channel becomes several numbers
        return Located(np.repeat(units, behind), after, axis)
    for place, size in enumerate(after):
        if size == len(units) and prod(after[place + 1 :]) == behind:
            return Located(units, after, place)
    return None


def concatenated(sources: list[Located], after: Shape) -> Located | None:
    """The channels of several tensors side by side; None where they are put together along another axis."""
    axis = sources[0].axis
    joined = np.concatenate([source.units for source in sources])
    alike = all(
        source.axis == axis and len(source.shape) == len(after) and len(source.units) == source.shape[axis]
        and (source.shape[:axis], source.shape[axis + 1 :]) == (after[:axis], after[axis + 1 :])
        for source in sources
    )  # fmt: skip
    return Located(joined, after, axis) if alike and len(joined) == after[axis] else None
