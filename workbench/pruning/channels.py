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
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.network import Layer, Network, Shape

Units = npt.NDArray[np.int64]
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
        sides = [[product[side] for product in self._products] for side in (1, 2)]
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
    return Channels(
        network, tuple(roots[units] for units in walk.reads), tuple(roots[units] for units in walk.writes), reasons
    )


NONE: Units = np.empty(0, dtype=np.int64)


class _Walk:
    """The state of `follow`: a union-find over units, and the units of every tensor by its id."""

    def __init__(self, network: Network, module: nn.Module) -> None:
        self.network, self.modules = network, dict(module.named_modules())
        self.parent: list[int] = []
        self.frozen: dict[int, str] = {}
        self.tensors: dict[int, tuple[Units, Shape]] = {}
        self.reads: list[Units] = []
        self.writes: list[Units] = []
        self.shared = {name for name, ops in network.by_module.items() if len(ops) > 1}

    def visit(self, layer: Layer) -> None:
        """Work out the units that an operation reads and writes."""
        sources = [self._tensor(tensor, layer) for tensor in layer.reads]
        reads = sources[0][0] if sources else NONE
        if layer.kind in MAKERS:
            writes = self._make(layer, reads)
        else:
            passed = self._pass(layer, sources)
            if passed is None:
                self._freeze((u for units, _ in sources for u in units), f"{layer.name!r} mixes or reorders channels")
                passed = self._stuck(layer, layer.output, f"{layer.name!r} makes them in a way that is not followed")
            writes = passed
        if layer.module in self.shared:
            self._freeze((*reads, *writes), f"{layer.module!r} is used more than once")
        self.tensors[layer.writes] = (writes, layer.output)
        self.reads.append(reads)
        self.writes.append(writes)

    def freeze_outputs(self) -> None:
        """What nothing reads is the network's output."""
        read = {tensor for layer in self.network.layers for tensor in layer.reads}
        for layer in self.network.layers:
            if layer.writes not in read:
                self._freeze(self.tensors[layer.writes][0], OUTPUTS)

    def roots(self) -> Units:
        """The representative of every unit."""
        return np.array([self._find(unit) for unit in range(len(self.parent))] or [0], dtype=np.int64)

    def _tensor(self, tensor: int, layer: Layer) -> tuple[Units, Shape]:
        if tensor not in self.tensors:
            self.tensors[tensor] = (self._stuck(layer, layer.input, "it is the network's input"), layer.input)
        return self.tensors[tensor]

    def _make(self, layer: Layer, reads: Units) -> Units:
        known = len(reads) == layer.c_in
        if known and depthwise(layer):
            return np.repeat(reads, layer.c_out // layer.c_in)
        writes = self._fresh(layer.c_out)
        if not known or (layer.groups > 1 and layer.kind == "conv_transpose") or not layer.module:
            self._freeze((*reads, *writes), f"{layer.name!r} is not a layer that can be cut")
        elif layer.groups > 1:  # every group loses the same of its channels
            for units in (reads, writes):
                first, *others = units.reshape(layer.groups, -1)
                for other in others:
                    self._tie(first, other)
        return writes

    def _pass(self, layer: Layer, sources: list[tuple[Units, Shape]]) -> Units | None:
        """The units written by an operation without channels of its own; None where they cannot be followed."""
        if not sources:
            return None
        units, shape = sources[0]
        if layer.kind == "norm":
            norm = self.modules.get(layer.module)
            return units if isinstance(norm, _BatchNorm) and len(units) == layer.output[0] else None
        if layer.kind in {"activation", "pool"}:
            weighed = self.modules.get(layer.name)
            has_weights = weighed is not None and next(weighed.parameters(recurse=False), None) is not None
            return units if not has_weights and _same_axis(units, shape, layer.output) else None
        if layer.kind == "add":
            return None if layer.module else self._sum(sources)
        if layer.kind == "reshape":
            return None if layer.op in STRETCHING else _reshaped(units, shape, layer.output)
        if layer.op == "cat":
            return _concatenated(sources, layer.output)
        return units if layer.op in IN_PLACE and _same_axis(units, shape, layer.output) else None

    def _sum(self, sources: list[tuple[Units, Shape]]) -> Units | None:
        units, shape = sources[0]
        for other, its in sources[1:]:
            if len(other) != len(units) or len(its) != len(shape):
                return None
            self._tie(units, other)
        return units

    def _stuck(self, layer: Layer, shape: Shape, why: str) -> Units:
        units = self._fresh(shape[-1] if layer.kind == "linear" else shape[0])
        self._freeze(units, why)
        return units

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


def _same_axis(units: Units, before: Shape, after: Shape) -> bool:
    """Channels stay on the same axis: the first of a map, the last of tokens."""
    axis = 0 if len(before) != 2 else -1
    return len(after) in {1, len(before)} and len(units) == before[axis] == after[axis]


def _reshaped(units: Units, before: Shape, after: Shape) -> Units | None:
    if prod(before) != prod(after) or not before or len(units) != before[0]:
        return units if before == after else None
    if len(after) == 1:
        return np.repeat(units, prod(before[1:]))
    return units if after[0] == before[0] else None


def _concatenated(sources: list[tuple[Units, Shape]], after: Shape) -> Units | None:
    joined = np.concatenate([units for units, _ in sources])
    alike = all(shape[1:] == after[1:] and len(units) == shape[0] for units, shape in sources)
    return joined if alike and len(joined) == after[0] else None
