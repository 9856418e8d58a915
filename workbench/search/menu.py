"""The menu: for every group of channels its widths, for every layer at these what may stand in its place, the prices.

A layer's price depends on the channels that it reads and makes, so its options are listed for each pair of widths of
the two groups; the choice sees to it that a layer and its neighbours agree on them. Prices are those of the plan: the
cost model, the predicted latency, in float or in int8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.cost.layer import WITH_WEIGHTS
from workbench.cost.network import Network
from workbench.cost.on_device import predictor
from workbench.cost.roofline import Time, weight_bytes
from workbench.factorization.planner import treatable
from workbench.factorization.step import Factorize
from workbench.pruning.axes import Units
from workbench.pruning.channels import Channels, Group, depthwise, follow
from workbench.pruning.widths import Goal, shrink
from workbench.recipe import Recipe, Step
from workbench.steps.cp import CP
from workbench.steps.prune_channels import PruneChannels
from workbench.steps.separable import Separable
from workbench.steps.spatial_svd import SpatialSVD
from workbench.steps.svd import SVD
from workbench.steps.tucker import Tucker

if TYPE_CHECKING:
    from workbench.cost.weights import Weights
    from workbench.lowrank.spectra import Ranks
    from workbench.models.model import Model

#: Shares of a group's channels that may go.
REMOVED = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875)
FAMILIES: tuple[type[Factorize], ...] = (Tucker, SVD, SpatialSVD, Separable, CP)
#: Ranks of a family that are offered for a layer.
RANKS = 6
#: A layer without a chain.
KEEP = ""


class Price(NamedTuple):
    """What something costs: milliseconds as predicted, multiply-accumulates, parameters, bytes of weights at work."""

    latency_ms: float
    macs: float
    params: float
    weight_bytes: float

    def __sub__(self, other: Price) -> Price:
        return Price(*(a - b for a, b in zip(self, other, strict=True)))

    def plus(self, other: Price) -> Price:
        """Both together."""
        return Price(*(a + b for a, b in zip(self, other, strict=True)))


class Chain(NamedTuple):
    """What may stand in a layer's place: a family and its ranks, and the loss of its weight (a share of its energy)."""

    family: str
    ranks: Ranks = ()
    loss: float = 0.0


class Option(NamedTuple):
    """A chain for a layer at the widths (levels) of what it reads and makes."""

    read: int
    made: int
    chain: Chain
    price: Price
    peak_bytes: int = 0  # of activations around it, where all other groups keep their widths


@dataclass(frozen=True)
class Slot:
    """A layer, the groups (by number; None where the width is fixed) that it reads and makes, and its options."""

    layer: str
    reads: int | None
    makes: int | None
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Width:
    """A group of channels and what it can keep; `prices` are of the operations without weights around it."""

    group: Group
    kept: tuple[int, ...]
    prices: tuple[Price, ...]
    peaks: tuple[int, ...] = ()  # bytes of activations around those operations, as in `Option`

    def removed(self, level: int) -> float:
        """The share that goes."""
        return 1 - self.kept[level] / len(self.group.units)


@dataclass(frozen=True)
class Menu:
    """Everything that can be chosen, and what the network costs with nothing chosen.

    Whether weights and activations run from the cache is settled for all layers at once: prices are of networks that
    do not, or of those that do, which may have `near_bytes` of weights.
    """

    widths: tuple[Width, ...]
    slots: tuple[Slot, ...]
    whole: Price
    lowering: tuple[Step, ...] = ()
    near_bytes: float = math.inf

    @property
    def count(self) -> int:
        """How many options there are."""
        return sum(len(one.kept) for one in self.widths) + sum(len(one.options) for one in self.slots)


@dataclass(frozen=True)
class Selection:
    """A choice from a menu: the level of each group, and the chain of each layer that gets one."""

    levels: tuple[int, ...]
    chains: Mapping[str, Chain] = field(default_factory=dict)

    def recipe(self, menu: Menu) -> Recipe:
        """The steps that carry it out, without training."""
        pairs = zip(menu.widths, self.levels, strict=True)
        cut = {width.group.layers[0]: width.removed(level) for width, level in pairs if level}
        steps: list[Step] = [PruneChannels(cut)] if cut else []
        for family in FAMILIES:
            ranks = {name: chain.ranks for name, chain in self.chains.items() if chain.family == family.__name__}
            if ranks:
                steps.append(at_ranks(family, ranks))
        return Recipe((*steps, *menu.lowering))


def at_ranks(family: type[Factorize], ranks: Mapping[str, Ranks]) -> Factorize:
    """A family's step with ranks of its own for every layer."""
    setting: dict[str, Any] = {family.rule_field: dict(ranks)}
    return family(**setting)


def menus(
    model: Model, lowering: Sequence[Step] = (), families: Sequence[type[Factorize]] = FAMILIES
) -> tuple[Menu, ...]:
    """The menu of a model whose artefact is lowered by these steps (int8, or none), and that of what fits a cache."""
    network, weights = model.network, model.weights
    channels = follow(network, weights.module, weights.example)
    room = predictor().near_bytes - network.totals.peak_activation_bytes
    states = [True, False] if room > 0 else [True]
    return tuple(_Maker(channels, weights, tuple(lowering), tuple(families), far, room).menu() for far in states)


@dataclass(frozen=True)
class _Maker:
    channels: Channels
    weights: Weights
    lowering: tuple[Step, ...]
    families: tuple[type[Factorize], ...]
    far: bool
    room: float
    shrunk: dict[tuple[tuple[int, int], ...], Network] = field(default_factory=dict)

    def menu(self) -> Menu:
        network = self.channels.network
        widths = [Width(group, kept, ()) for group, kept in zip(self.groups, self.kept, strict=True)]
        slots = [self._slot(index) for index in range(len(network.layers)) if self._weighs(index)]
        priced = [
            Width(one.group, one.kept, self._around(number), self._peaks(number)) for number, one in enumerate(widths)
        ]
        near = math.inf if self.far else self.room
        return Menu(tuple(priced), tuple(slots), self._total(self._lowered(network)), self.lowering, near)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The groups that can be narrowed by at least one of the shares."""
        return tuple(one for one in self.channels.groups if len(one.units) > 1)

    @cached_property
    def kept(self) -> list[tuple[int, ...]]:
        """The widths of each group, all of it first, rounded as the step rounds."""
        round_to = PruneChannels().round_to
        found = [[len(one.units)] for one in self.groups]
        for share in REMOVED[1:]:
            goal = Goal({one.layers[0]: share for one in self.groups}, None, round_to)
            for own, kept in zip(found, goal.widths(self.channels, self.groups, None).kept, strict=True):
                if kept not in own:
                    own.append(kept)
        return [tuple(own) for own in found]

    def _weighs(self, index: int) -> bool:
        layer = self.channels.network.layers[index]
        return bool(layer.module) and layer.kind in WITH_WEIGHTS

    def _slot(self, index: int) -> Slot:
        layer = self.channels.network.layers[index]
        reads, makes = self._sides[index]
        options: list[Option] = []
        for read in self._levels(reads):
            for made in [read] if makes == reads else self._levels(makes):
                chosen = {one: at for one, at in ((reads, read), (makes, made)) if one is not None}
                options += self._at(index, chosen, read, made)
        return Slot(layer.module, reads, makes, tuple(options))

    def _at(self, index: int, chosen: Mapping[int, int], read: int, made: int) -> list[Option]:
        """The options of a layer at the widths of its neighbours."""
        network = self._network(chosen)
        layer = network.layers[index]
        before = self._lowered(network)
        own = self._own(before, index)
        found = [Option(read, made, Chain(KEEP), own, _peak(before, [index]))]
        total = self._total(before)
        for family, ranks, loss in self._chains.get(layer.module, ()):
            if all(rank < most for rank, most in zip(ranks, family.full_of(layer), strict=True)):
                chain = family.priced(layer, ranks)
                if chain.macs < layer.macs and chain.params < layer.params:
                    after = self._lowered(network.replace({layer.module: chain.chain}))
                    price, places = own.plus(self._total(after) - total), range(index, index + len(chain.chain))
                    told = Chain(type(family).__name__, ranks, loss)
                    found.append(Option(read, made, told, price, _peak(after, places)))
        return _worthwhile(found)

    @cached_property
    def _chains(self) -> dict[str, list[tuple[Factorize, Ranks, float]]]:
        """What may stand in each layer's place, from the weights as they are."""
        network = self.channels.network
        found: dict[str, list[tuple[Factorize, Ranks, float]]] = {}
        for kind in self.families:
            family = kind()
            for one in treatable(family, network, self.weights):
                if len(network.by_module[one.layer.module]) > 1:
                    continue  # a choice is for one place
                layer, spectrum = one.layer, family.known(one.layer, self.weights)
                for ranks in _spread(family.candidates(layer)):
                    loss = spectrum.error(ranks) ** 2
                    if loss > 0 and not (one.edge and loss > 0.01):
                        found.setdefault(layer.module, []).append((family, ranks, loss))
        return found

    @cached_property
    def _sides(self) -> list[tuple[int | None, int | None]]:
        """For each operation the groups that it reads and makes most channels of."""
        found = []
        for place in self.channels.places:
            reads = self._most(place.taken)
            found.append((reads, reads if depthwise(place.layer) else self._most(place.made)))
        return found

    def _most(self, units: Units) -> int | None:
        shares = [int(np.isin(one.units, units).sum()) for one in self.groups]
        most = max(shares, default=0)
        return shares.index(most) if most else None

    def _around(self, number: int) -> tuple[Price, ...]:
        """What a group's width adds to or saves in the operations that no slot has at this width."""
        base, prices = self._lowered(self.channels.network), []
        for level in range(len(self.kept[number])):
            at = self._lowered(self._network({number: level}))
            rest = self._total(at) - self._total(base)
            for index in range(len(self.channels.network.layers)):
                if self._weighs(index) and number in self._sides[index]:
                    rest = rest - (self._own(at, index) - self._own(base, index))
            prices.append(rest)
        return tuple(prices)

    def _peaks(self, number: int) -> tuple[int, ...]:
        """Bytes around the operations without weights that a group's channels pass through, at each width."""
        units = self.groups[number].units
        places = [
            index for index, place in enumerate(self.channels.places)
            if not self._weighs(index) and any(np.isin(units, one).any() for one in place.units if len(one))
        ]  # fmt: skip
        return tuple(_peak(self._lowered(self._network({number: level})), places) for level in self._levels(number))

    def _levels(self, group: int | None) -> range:
        return range(1 if group is None else len(self.kept[group]))

    def _network(self, chosen: Mapping[int, int]) -> Network:
        """The network with some groups narrowed."""
        key = tuple(sorted((group, level) for group, level in chosen.items() if level))
        if key not in self.shrunk:
            mask = np.ones(self.channels.count, dtype=bool)
            for group, level in key:
                mask[self.groups[group].units[self.kept[group][level] :]] = False
            self.shrunk[key] = shrink(self.channels, mask) if key else self.channels.network
        return self.shrunk[key]

    def _lowered(self, network: Network) -> Network:
        for step in self.lowering:
            network = step.planned(network, self.weights).network
        return network

    def _total(self, network: Network) -> Price:
        totals, seconds = network.totals, sum(time.total for time in self._times(network))
        return Price(1e3 * seconds, totals.macs, totals.params, weight_bytes(network))

    def _own(self, network: Network, index: int) -> Price:
        layer = network.layers[index]
        milliseconds = 1e3 * self._times(network)[index].total
        return Price(milliseconds, layer.macs, layer.params, layer.params * layer.bits / 8)

    def _times(self, network: Network) -> list[Time]:
        device = predictor()
        return network.remembered(("times", id(device), self.far), lambda one: device.times(one, self.far))


def _peak(network: Network, places: Sequence[int]) -> int:
    """The most bytes of activations that are alive at any of these operations."""
    return max((network.occupancy[one].held + network.occupancy[one].written for one in places), default=0)


def _spread(candidates: Sequence[Ranks]) -> list[Ranks]:
    """A few of the candidates, from the smallest to the largest."""
    places = np.unique(np.linspace(0, len(candidates) - 1, RANKS + 2).round().astype(int))[1:-1]
    return [candidates[place] for place in places]


def _worthwhile(options: list[Option]) -> list[Option]:
    """Those that no other beats in time, arithmetic, parameters and loss at once; the layer itself stays."""

    def figures(one: Option) -> tuple[float, ...]:
        return (*one.price, one.chain.loss)

    def beaten(one: Option) -> bool:
        mine = figures(one)
        others = (figures(other) for other in options)
        return any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in others)

    return [one for one in options if one.chain.family == KEEP or not beaten(one)]
