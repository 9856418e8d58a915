"""How many channels every group of layers keeps, and the network that results: closed forms on shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from workbench.cost.layer import Layer, Shape
from workbench.cost.network import Network
from workbench.errors import BadValue, OutOfReach, unknown
from workbench.pruning.axes import Axes, Mask, Units
from workbench.pruning.channels import Channels, Group
from workbench.pruning.makers import Place, depthwise

Scores = npt.NDArray[np.float64]

#: A group keeps at least this share of its channels when one threshold cuts all groups.
LEAST_SHARE = 0.125
#: A layer of fewer than one and a half times `round_to` channels is rounded more finely.
LEAST_GRAINS = 1.5
STEPS = 16  # of the bisection: the share is known to 1 / 65,536


@dataclass(frozen=True)
class Widths:
    """The groups that are cut, and how many units each keeps."""

    channels: Channels
    groups: tuple[Group, ...]
    kept: tuple[int, ...]

    def mask(self, chosen: Sequence[Units] | None = None) -> Mask:
        """True for every unit that stays: `chosen` ones of each group, or just as many."""
        mask = np.ones(self.channels.count, dtype=bool)
        for group, count in zip(self.groups, self.kept, strict=True):
            mask[group.units] = False
            mask[group.units[:count]] = chosen is None
        for units in chosen or ():
            mask[units] = True
        return mask

    @property
    def network(self) -> Network:
        """The network with that many channels."""
        return shrink(self.channels, self.mask())

    @property
    def macs(self) -> float:
        """Its multiply-accumulates; found without building it."""
        return self.channels.macs(self.mask())


@dataclass(frozen=True)
class Goal:
    """What to reach: a share of the channels to remove, of all layers or of each, or of the MACs to keep."""

    ratio: float | Mapping[str, float] | None
    macs: float | None
    round_to: int

    def widths(self, channels: Channels, groups: tuple[Group, ...], scores: Sequence[Scores] | None) -> Widths:
        """The widths that reach the goal; `scores` (one array a group) set one threshold for all, None one share.

        Raises: `BadValue` when a layer would be left empty, or the MACs cannot fall that far.
        """
        if not groups:
            if self.macs is not None and self.macs < 1:
                raise OutOfReach(f"'macs:{self.macs:g}' cannot be reached: no channel of this network can be removed.")
            return Widths(channels, (), ())
        if isinstance(self.ratio, Mapping):
            shares = self._each(self.ratio, channels, groups)
        elif self.ratio is None:
            return self._to_macs(channels, groups, _shares(groups, scores))
        else:
            shares = _shares(groups, scores)(self.ratio)
        self._refuse_empty(groups, shares)
        return self._rounded(channels, groups, shares)

    def _each(self, ratio: Mapping[str, float], channels: Channels, groups: tuple[Group, ...]) -> list[float]:
        """What each group keeps: of layers that are tied the one that loses most decides for all."""
        for name in ratio:
            if name not in channels.made:
                raise unknown("layer", name, channels.made)
        return [1 - max(ratio.get(name, 0.0) for name in group.layers) for group in groups]

    def _to_macs(self, channels: Channels, groups: tuple[Group, ...], share: Callable[[float], list[float]]) -> Widths:
        assert self.macs is not None
        limit = self.macs * channels.network.totals.macs + 0.5  # half of one: what floats may be off
        low, high = 0.0, 1.0
        best = self._rounded(channels, groups, share(high))
        if best.macs > limit:
            least = best.macs / channels.network.totals.macs
            raise OutOfReach(
                f"'macs:{self.macs:g}' cannot be reached by removing channels: {least:.1%} of the MACs remain at least "
                f"(layers keep up to {self.round_to} channels). Ask for more, choose more layers, or lower round_to."
            )
        for _ in range(STEPS):
            middle = (low + high) / 2
            found = self._rounded(channels, groups, share(middle))
            if found.macs <= limit:
                high, best = middle, found
            else:
                low = middle
        return self._give_back(best, limit)

    def _give_back(self, widths: Widths, limit: float) -> Widths:
        """Widen group by group what rounding cut too far, as long as the limit holds."""
        for index, group in enumerate(widths.groups):
            wider = min(widths.kept[index] + _grain(group, self.round_to), len(group.units))
            kept = (*widths.kept[:index], wider, *widths.kept[index + 1 :])
            tried = Widths(widths.channels, widths.groups, kept)
            if tried.macs <= limit:
                widths = tried
        return widths

    def _rounded(self, channels: Channels, groups: tuple[Group, ...], shares: Sequence[float]) -> Widths:
        kept = []
        for group, wanted in zip(groups, shares, strict=True):
            grain, count = _grain(group, self.round_to), len(group.units)
            kept.append(min(count, max(grain, round(wanted * count / grain) * grain)))
        return Widths(channels, groups, tuple(kept))

    def _refuse_empty(self, groups: tuple[Group, ...], shares: Sequence[float]) -> None:
        for group, wanted in zip(groups, shares, strict=True):
            if wanted * len(group.units) < 0.5:
                ratio = self.ratio if isinstance(self.ratio, Mapping) else f"{self.ratio:g}"
                ratio = self.ratio if isinstance(self.ratio, Mapping) else f"{self.ratio:g}"
                raise BadValue(
                    f"ratio={ratio} would leave {group.layers[0]!r} without channels: it has "
                    f"{len(group.units)}. Use a smaller ratio, or leave the layer out with layers=."
                )


def shrink(channels: Channels, kept: Mask) -> Network:
    """The network with the units of `kept` alone; every shape follows."""
    written: dict[int, tuple[Shape, Shape]] = {}  # the shapes of every tensor, before and after
    layers = []
    for place in channels.places:
        new = _shrunk(place, kept, written)
        written[place.layer.writes] = (place.layer.output, new.output)
        layers.append(new)
    return Network(tuple(layers))


def _shrunk(place: Place, kept: Mask, written: dict[int, tuple[Shape, Shape]]) -> Layer:
    layer = place.layer
    before, after = (_sized(shape, axes, kept) for shape, axes in ((layer.input, place.reads),
                                                                   (layer.output, place.writes)))  # fmt: skip
    others = layer.others
    if others:
        pairs = [written[tensor] for tensor in layer.reads[1:] if tensor in written]
        others += sum(prod(new) - prod(old) for old, new in pairs)
    fixed = prod(place.fixed.cut(kept)) if place.fixed is not None and layer.fixed > 0 else layer.fixed
    work = layer.work
    for units in place.work:
        work = work * int(kept[units].sum()) // len(units)
    weights = layer.weights
    for units in place.weighed:
        weights = weights * int(kept[units].sum()) // len(units)
    changed = layer.but(input=before, output=after, others=others, fixed=fixed, work=work, weights=weights)
    if changed is not layer and not len(place.made) and depthwise(layer):
        return changed.but(groups=before[0])  # a function with filters of its own, one for each channel
    if not len(place.made) or changed is layer:
        return changed
    new = changed.but(groups=int(kept[place.taken].sum()) if depthwise(layer) else layer.groups)
    return new.but(weights=new.weight_elements) if layer.module else new


def _sized(shape: Shape, axes: Axes, kept: Mask) -> Shape:
    return tuple(int(kept[axes[axis]].sum()) if axis in axes else size for axis, size in enumerate(shape))


def _shares(groups: tuple[Group, ...], scores: Sequence[Scores] | None) -> Callable[[float], list[float]]:
    """A function from the share removed over all groups to the share that each group keeps."""
    if scores is None:
        return lambda removed: [1 - removed] * len(groups)
    ranked = np.sort(np.concatenate(list(scores)))

    def by_threshold(removed: float) -> list[float]:
        cut = min(int(removed * len(ranked)), len(ranked) - 1)
        threshold = ranked[cut] if cut else -np.inf
        return [max(float((one >= threshold).mean()), LEAST_SHARE) for one in scores]

    return by_threshold


def _grain(group: Group, round_to: int) -> int:
    """Units that make `round_to` channels of a layer; half or a quarter of them and so on in a narrow layer."""
    grain = max(1, round_to // group.each)
    while grain > 1 and len(group.units) < LEAST_GRAINS * grain:
        grain //= 2
    return grain
