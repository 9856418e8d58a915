"""Channels of a network: which of them must be removed together, and which cannot be.

Every channel that a convolution or linear layer makes gets a number, its *unit*. The canonical graph is followed
(`walk`): channels that meet in a sum are one unit, those that a norm takes together too, and what cannot be cut
freezes the units that reach it. The idea of coupled groups: Fang et al. 2023, "DepGraph: Towards Any Structural
Pruning".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import fx, nn
from torch.utils._pytree import tree_map

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.modules.calling import Inputs
from workbench.pruning.axes import NONE, Axes, Mask, Spread, Units
from workbench.pruning.makers import MAKERS, Place, depthwise, makes
from workbench.pruning.walk import OUTPUTS, Followed, walk

__all__ = ["MAKERS", "OUTPUTS", "Channels", "Group", "Mask", "depthwise", "follow", "makes"]


@dataclass(frozen=True, eq=False)
class Group:
    """Layers whose output channels are tied to each other, and the units that they share, which cost the same."""

    layers: tuple[str, ...]  # module paths of the layers that make the channels
    units: Units  # sorted; removing one removes a channel of every layer here
    each: int = 1  # channels of a layer that a unit stands for: several in a grouped convolution, or of a head
    readers: tuple[str, ...] = ()  # the layers that read them all

    @property
    def key(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What tells a group from others, also once it has been cut."""
        return self.layers, self.readers


@dataclass(frozen=True)
class Channels:
    """The units at every operation; `places` are aligned with `network.layers`."""

    network: Network
    places: tuple[Place, ...]
    reasons: dict[int, str]  # frozen unit -> why it cannot be removed
    facts: Mapping[str, Any]  # of each node of the graph, by name: its shape and units
    constants: Mapping[str, Axes]  # the units along the axes of tensors that no layer holds
    parameters: Mapping[str, Units]  # of layers that have numbers for each channel, and make none

    @cached_property
    def reads(self) -> tuple[Units, ...]:
        """The units that each layer with weights reads; empty for other operations."""
        return tuple(place.taken for place in self.places)

    @cached_property
    def writes(self) -> tuple[Units, ...]:
        """The units that each layer with weights writes; empty for other operations."""
        return tuple(place.made for place in self.places)

    @cached_property
    def made(self) -> dict[str, Units]:
        """The units of the output channels of every layer with weights that makes channels of its own."""
        return {one.layer.module: one.made for one in self.places if makes(one.layer) and one.layer.module}

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Units that the same layers make and read, in execution order; frozen ones are left out."""
        makers, readers = ([(one.layer.module, units) for one in self.places for units in [side(one)] if len(units)]
                           for side in (_made, _taken))  # fmt: skip
        marks = _marks([units for _, units in (*makers, *readers)], self.count)
        made = np.unique(np.concatenate([units for _, units in makers] or [NONE]))
        free = np.setdiff1d(made, np.array(sorted(self.reasons), dtype=np.int64))
        _, first, which = np.unique(marks[free], return_index=True, return_inverse=True)
        found = []
        for number, place in enumerate(first.tolist()):
            units = free[which == number]
            sides = [
                tuple(dict.fromkeys(name for name, own in side if free[place] in own)) for side in (makers, readers)
            ]
            found.append(self._group(sides[0], sides[1], units))
        order = {name: index for index, (name, _) in enumerate(makers)}
        return tuple(sorted(found, key=lambda group: (order[group.layers[0]], int(group.units[0]))))

    @cached_property
    def count(self) -> int:
        """One more than the highest unit."""
        spans = [units for place in self.places for units in place.units]
        return 1 + max((int(units.max()) for units in spans if len(units)), default=-1)

    def macs(self, kept: Mask) -> float:
        """The multiply-accumulates of the network with the units of `kept` alone, without building it."""
        if not self._products:
            return float(self._constant)
        joined, starts, first = self._counted
        sums = np.add.reduceat(kept[joined], starts)
        return float(self._constant + (self._factors * np.multiply.reduceat(sums, first)).sum())

    def _group(self, layers: tuple[str, ...], readers: tuple[str, ...], units: Units) -> Group:
        return Group(layers, units, max(1, int(np.isin(self.made[layers[0]], units).sum()) // len(units)), readers)

    @cached_property
    def _products(self) -> list[tuple[Layer, tuple[Units, ...]]]:
        """The operations whose arithmetic depends on channels, and the axes that its amount goes with."""
        return [(one.layer, axes) for one in self.places if one.layer.macs for axes in [worked(one)] if axes]

    @cached_property
    def _constant(self) -> int:
        return self.network.totals.macs - sum(layer.macs for layer, _ in self._products)

    @cached_property
    def _factors(self) -> Any:
        """MACs for each pair of channels read and written, or each written one."""
        return np.array([layer.macs / np.prod([len(one) for one in axes]) for layer, axes in self._products])

    @cached_property
    def _counted(self) -> tuple[Units, Units, Units]:
        """The units of all axes, one after another; where each axis begins; and the first axis of each operation."""
        axes = [one for _, several in self._products for one in several]
        numbers = [len(several) for _, several in self._products]
        return (
            np.concatenate(axes),
            np.cumsum([0, *(len(one) for one in axes[:-1])]),
            np.cumsum([0, *numbers[:-1]]),
        )

    def why_frozen(self, name: str) -> str:
        """Why no channel of a layer can be removed."""
        return next((self.reasons[unit] for unit in self.made[name].tolist() if unit in self.reasons), "")


def _made(place: Place) -> Units:
    return place.made if makes(place.layer) and place.layer.module else NONE


def _taken(place: Place) -> Units:
    return place.taken if place.layer.module else NONE


def _marks(sides: list[Units], count: int) -> Any:
    """A number for each unit that tells where, and how often, it is in each of several arrays."""
    draw = np.random.default_rng(0).integers(0, 2**63, len(sides), dtype=np.uint64)
    found = np.zeros(count, dtype=np.uint64)
    for units, factor in zip(sides, draw, strict=True):
        found += np.bincount(units, minlength=count).astype(np.uint64) * factor
    return found


def worked(place: Place) -> tuple[Units, ...]:
    """The axes of channels whose sizes an operation's arithmetic goes with."""
    if place.layer.kind not in MAKERS:
        return place.work
    if not len(place.made):
        return ()
    lead = tuple(units for axis, units in place.writes.items() if units is not place.made)
    sides = (place.made,) if depthwise(place.layer) else (place.taken, place.made)
    return (*sides, *lead)


def follow(network: Network, module: nn.Module, example: Inputs | None = None) -> Channels:
    """Follow every channel of a network in canonical form; once for each `Network`.

    `example` is an input of `module`; where it is not given, its shape is that of the layer that reads it first.
    """
    assert isinstance(module, fx.GraphModule), "channels are followed in networks in canonical form"
    key: Hashable = ("channels", id(module))
    known = network.memo.get(key)
    if isinstance(known, _Kept) and known.module is module:
        return known.channels
    found = _settled(network, walk(network, module, example))
    network.memo[key] = _Kept(module, found)
    return found


@dataclass(frozen=True)
class _Kept:
    module: nn.Module
    channels: Channels


def _settled(network: Network, found: Followed) -> Channels:
    """What a walk found, with one unit in the place of all that are tied."""
    roots = found.ties.all_roots()

    def settled(spread: Any) -> Any:
        if not isinstance(spread, Spread):
            return spread
        return Spread(spread.shape, rooted(spread.axes))

    def rooted(axes: Axes) -> dict[int, Units]:
        return {axis: roots[units] for axis, units in axes.items()}

    places = []
    for one in found.places:
        made = roots[one.made] if len(one.made) else NONE
        writes = {axis: made if units is one.made else roots[units] for axis, units in one.writes.items()}
        places.append(Place(
            one.layer, rooted(one.reads), writes, roots[one.taken] if len(one.taken) else NONE, made,
            tuple(roots[units] for units in one.weighed), settled(one.fixed), tuple(roots[units] for units in one.work),
        ))  # fmt: skip
    facts = {node.name: tree_map(settled, fact, is_leaf=lambda one: isinstance(one, Spread))
             for node, fact in found.facts.items()}  # fmt: skip
    constants = {path: rooted(axes) for path, axes in found.constants.items()}
    parameters = {path: roots[units] for path, units in found.parameters.items()}
    return Channels(network, tuple(places), found.ties.frozen, facts, constants, parameters)
