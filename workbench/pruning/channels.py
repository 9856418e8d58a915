"""Channels followed through a network: which of them must be removed together, and which cannot be.

Every channel that a convolution or linear layer makes gets a number, its *unit*. Walking over the
operations in execution order, a sum makes the units of its inputs equal, a concatenation puts them
side by side, flattening repeats them, a depthwise convolution passes them on. What is not understood
freezes the units that reach it. It works on shapes alone, so a plan follows also the layers that earlier
steps will make. The idea of coupled groups: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.layer import Layer, Shape
from workbench.cost.network import Network
from workbench.cost.weights import tied_weights
from workbench.pruning.axes import (
    Located,
    Units,
    channel_axis,
    concatenated,
    multiplied,
    reshaped,
    same_axis,
    slopes,
)

Mask = npt.NDArray[np.bool_]

OUTPUTS = "its outputs are the network's outputs"
MAKERS = frozenset({"conv", "conv_transpose", "linear"})
#: Operators of kinds "elementwise" and "copy" that leave every channel where it is.
IN_PLACE = frozenset(
    "pow square sqrt rsqrt exp log neg abs constant_pad_nd reflection_pad2d replication_pad2d upsample_nearest2d "
    "_upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa".split()
)
#: Reshapes that may stretch an axis without a new order; any other keeps the order of the numbers.
STRETCHING = frozenset({"expand", "expand_as", "as_strided", "as_strided_", "t"})


@dataclass(frozen=True, eq=False)
class Group:
    """Layers whose output channels are tied to each other, and the units that they share."""

    layers: tuple[str, ...]  # module paths of the layers that make the channels
    units: Units  # sorted; removing one removes a channel of every layer here
    each: int = 1  # channels of a layer that a unit stands for: several in a grouped convolution


@dataclass(frozen=True)
class Channels:
    """The units at every operation; arrays are aligned with `network.layers`, empty where unknown."""

    network: Network
    reads: tuple[Units, ...]
    writes: tuple[Units, ...]
    axes: tuple[tuple[int, int], ...]  # where the channels are in the first input, and in the output
    reasons: dict[int, str]  # frozen unit -> why it cannot be removed

    @cached_property
    def made(self) -> dict[str, Units]:
        """The units of the output channels of every layer with weights that makes channels of its own."""
        pairs = zip(self.network.layers, self.writes, strict=True)
        return {layer.module: units for layer, units in pairs if makes(layer) and layer.module}

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Tied layers, in execution order; frozen units are left out."""
        frozen = np.array(sorted(self.reasons), dtype=np.int64)
        free = {name: np.setdiff1d(units, frozen) for name, units in self.made.items()}
        found: list[tuple[list[str], set[int]]] = []
        for name, units in free.items():
            if not len(units):
                continue
            mine = set(units.tolist())
            tied = [group for group in found if group[1] & mine]
            merged = ([n for names, _ in tied for n in names] + [name], mine.union(*(s for _, s in tied)))
            found = [group for group in found if group not in tied] + [merged]
        order = {name: index for index, name in enumerate(self.made)}
        found.sort(key=lambda group: min(order[name] for name in group[0]))
        return tuple(self._group(names, np.array(sorted(units), dtype=np.int64)) for names, units in found)

    @cached_property
    def count(self) -> int:
        """One more than the highest unit."""
        return 1 + max((int(units.max()) for units in (*self.reads, *self.writes) if len(units)), default=-1)

    def macs(self, kept: Mask) -> float:
        """The multiply-accumulates of the network with the units of `kept` alone, without building it."""
        if not len(self._factors[0]):
            return float(self._constant)
        read, written = (np.add.reduceat(kept[units], starts) for units, starts in self._counted)
        return float(self._constant + (self._factors[0] * np.where(self._factors[1], written, read * written)).sum())

    def _group(self, names: list[str], units: Units) -> Group:
        return Group(tuple(names), units, max(1, int(np.isin(self.made[names[0]], units).sum()) // len(units)))

    @cached_property
    def _products(self) -> list[tuple[Layer, Units, Units]]:
        """The operations whose arithmetic depends on channels that are known."""
        return [
            (layer, reads, writes)
            for layer, reads, writes in zip(self.network.layers, self.reads, self.writes, strict=True)
            if layer.kind in MAKERS and layer.macs and len(reads) == layer.c_in and len(writes) == layer.c_out
        ]

    @cached_property
    def _constant(self) -> int:
        return self.network.totals.macs - sum(layer.macs for layer, _, _ in self._products)

    @cached_property
    def _factors(self) -> tuple[Any, Any]:
        """MACs for each pair of channels read and written, or each written one; and which it is."""
        lone = np.array([depthwise(layer) for layer, _, _ in self._products], dtype=bool)
        pairs = [
            layer.macs / (len(writes) * (1 if depthwise(layer) else len(reads)))
            for layer, reads, writes in self._products
        ]
        return np.array(pairs), lone

    @cached_property
    def _counted(self) -> tuple[tuple[Units, Units], tuple[Units, Units]]:
        """All units read and all written, one operation after another, and where each begins."""
        sides = [[reads for _, reads, _ in self._products], [writes for _, _, writes in self._products]]
        first, second = ((np.concatenate(s), np.cumsum([0, *map(len, s[:-1])])) for s in sides)
        return first, second

    def why_frozen(self, name: str) -> str:
        """Why no channel of a layer can be removed."""
        return next((self.reasons[unit] for unit in self.made[name].tolist() if unit in self.reasons), "")


def makes(layer: Layer) -> bool:
    """True for an operation that computes channels of its own; a depthwise one passes its input's on."""
    return layer.kind in MAKERS and not depthwise(layer)


def depthwise(layer: Layer) -> bool:
    """True for a convolution with one group for each input channel."""
    return layer.kind == "conv" and layer.groups > 1 and layer.groups == layer.c_in


def follow(network: Network, module: nn.Module) -> Channels:
    """Follow every channel through `network`; `module` tells which norms work channel by channel."""
    walk = _Walk(network, module)
    for layer in network.layers:
        walk.visit(layer)
    walk.freeze_outputs()
    roots = walk.roots()
    reasons: dict[int, str] = {}
    for unit, why in walk.frozen.items():
        reasons.setdefault(int(roots[unit]), why)
    reads, writes = (tuple(roots[units] for units in side) for side in (walk.reads, walk.writes))
    return Channels(network, reads, writes, tuple(walk.axes), reasons)


NONE: Units = np.empty(0, dtype=np.int64)


class _Walk:
    """The state of `follow`: a union-find over units, and the units of every tensor by its id."""

    def __init__(self, network: Network, module: nn.Module) -> None:
        self.network, self.modules = network, dict(module.named_modules())
        self.parent: list[int] = []
        self.frozen: dict[int, str] = {}
        self.tensors: dict[int, Located] = {}
        self.reads: list[Units] = []
        self.writes: list[Units] = []
        self.axes: list[tuple[int, int]] = []
        self.shared = {name for name, ops in network.by_module.items() if len(ops) > 1}
        self.again = {layer.name.rpartition("#")[0] for layer in network.layers if "#" in layer.name}
        self.tied = tied_weights(module)
        self.multiplied = {node.name for node in getattr(module, "graph", fx.Graph()).nodes if multiplied(node)}

    def visit(self, layer: Layer) -> None:
        """Work out the units that an operation reads and writes."""
        sources = [self._tensor(tensor, layer) for tensor in layer.reads]
        before = sources[0] if sources else Located(NONE, layer.input, 0)
        if layer.kind in MAKERS:
            before = self._entering(layer, before)
            after = self._make(layer, before)
        else:
            passed = self._pass(layer, sources)
            if passed is None:
                everything = (unit for source in sources for unit in source.units)
                self._freeze(everything, self._why_not(layer))
                passed = self._stuck(layer, layer.output, f"{layer.name!r} makes them in a way that is not followed")
            after = passed
        if layer.module in self.shared:
            self._freeze((*before.units, *after.units), f"{layer.module!r} is used more than once")
        if layer.module in self.tied:
            self._freeze((*before.units, *after.units), f"it shares its weight with {self.tied[layer.module]!r}")
        self.tensors[layer.writes] = after
        self.reads.append(before.units)
        self.writes.append(after.units)
        self.axes.append((before.axis, after.axis))

    def freeze_outputs(self) -> None:
        """What the network gives is as wide as it is, whatever else reads it."""
        read = {tensor for layer in self.network.layers for tensor in layer.reads}
        for layer in self.network.layers:
            if layer.result or layer.writes not in read:
                self._freeze(self.tensors[layer.writes].units, OUTPUTS)

    def roots(self) -> Units:
        """The representative of every unit."""
        return np.array([self._find(unit) for unit in range(len(self.parent))] or [0], dtype=np.int64)

    def _tensor(self, tensor: int, layer: Layer) -> Located:
        if tensor not in self.tensors:
            self.tensors[tensor] = self._stuck(layer, layer.input, "it is the network's input")
        return self.tensors[tensor]

    def _entering(self, layer: Layer, before: Located) -> Located:
        """What a layer reads, along its own axis of channels; where that is not known its inputs stay as they are."""
        axis = channel_axis(layer, layer.input)
        if len(before.units) == layer.c_in and before.axis == axis:
            return before
        why = f"{layer.name!r} reads them along another axis"
        self._freeze(before.units, why)
        units = self._fresh(layer.c_in)
        self._freeze(units, why)
        return Located(units, layer.input, axis)

    def _make(self, layer: Layer, before: Located) -> Located:
        reads, axis = before.units, channel_axis(layer, layer.output)
        if depthwise(layer) and layer.module:
            return Located(np.repeat(reads, layer.c_out // layer.c_in), layer.output, axis)
        writes = self._fresh(layer.c_out)
        if not layer.module:
            self._freeze((*reads, *writes), f"the weight of {layer.name!r} is computed, and cannot be cut")
        elif layer.groups > 1 and layer.kind == "conv_transpose":
            self._freeze((*reads, *writes), "transposed convolutions with groups are not cut")
        elif layer.groups > 1:  # every group loses the same of its channels
            for units in (reads, writes):
                first, *others = units.reshape(layer.groups, -1)
                for other in others:
                    self._tie(first, other)
        return Located(writes, layer.output, axis)

    def _pass(self, layer: Layer, sources: list[Located]) -> Located | None:
        """The units written by an operation without channels of its own; None where they cannot be followed."""
        sloped = slopes(layer, self.modules)
        if not sources or (layer.fixed and not sloped):  # it meets a tensor that would have to be cut too
            return None
        first, after = sources[0], layer.output
        if sloped:
            return same_axis(first, layer) if first.axis == 0 and layer.name not in self.again else None
        if layer.kind == "norm":
            norm = self.modules.get(layer.module)
            whole = len(first.units) == after[0] and first.axis == 0
            return first._replace(shape=after) if isinstance(norm, _BatchNorm) and whole else None
        if layer.kind in {"activation", "pool"}:
            return same_axis(first, layer)
        if layer.kind == "add":
            return None if layer.module else self._sum(sources, after)
        if layer.kind == "reshape":
            return None if layer.op in STRETCHING or layer.node in self.multiplied else reshaped(first, after)
        if layer.op == "cat":
            return concatenated(sources, after)
        return same_axis(first, layer) if layer.op in IN_PLACE else None

    def _why_not(self, layer: Layer) -> str:
        """Why channels cannot be followed through an operation."""
        if layer.fixed:
            return f"{layer.name!r} meets them with numbers of its own, which would have to be cut too"
        if layer.kind == "add":
            return f"{layer.name!r} combines them with what is not followed"
        if layer.kind == "norm" and not isinstance(self.modules.get(layer.module), _BatchNorm):
            return f"{layer.name!r} normalises over several channels"
        return f"{layer.name!r} mixes or reorders channels"

    def _sum(self, sources: list[Located], after: Shape) -> Located | None:
        first = sources[0]
        for other in sources[1:]:
            alike = len(other.units) == len(first.units) and len(other.shape) == len(first.shape)
            if not alike or other.axis != first.axis:
                return None
            self._tie(first.units, other.units)
        return first._replace(shape=after) if len(after) == len(first.shape) else None

    def _stuck(self, layer: Layer, shape: Shape, why: str) -> Located:
        axis = len(shape) - 1 if layer.kind == "linear" else 0
        units = self._fresh(shape[axis] if shape else 0)
        self._freeze(units, why)
        return Located(units, shape, axis)

    def _fresh(self, count: int) -> Units:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def _freeze(self, units: Iterable[Any], why: str) -> None:
        for unit in units:
            self.frozen.setdefault(int(unit), why)

    def _tie(self, first: Units, second: Units) -> None:
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            x, y = self._find(a), self._find(b)
            self.parent[max(x, y)] = min(x, y)

    def _find(self, unit: int) -> int:
        while self.parent[unit] != unit:
            self.parent[unit] = self.parent[self.parent[unit]]
            unit = self.parent[unit]
        return unit
