"""One budget shared out over many layers, where the next unit of cost lowers the error most.

Every layer offers options (cost, loss). On the lower convex hulls of these, taking segments in the
order of falling loss per cost is optimal for the sum of losses at every budget that it hits exactly
(Shoham & Gersho 1988); what is left over is spent on single improvements that still fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

Option = tuple[float, float]  # cost, loss


@dataclass(frozen=True)
class Share:
    """The chosen option of every layer, and what they cost together."""

    chosen: tuple[int, ...]
    cost: float


class Options(tuple[Option, ...]):
    """The options of one layer; what every budget asks of them is found once."""

    @cached_property
    def hull(self) -> list[int]:
        """Indices on the lower convex hull, from the cheapest option to the one with the least loss.

        Points on an edge between two corners stay: a budget may reach the nearer one only.
        """
        order = sorted(range(len(self)), key=self.__getitem__)
        corners: list[int] = []
        for index in order:
            if corners and self[index][1] >= self[corners[-1]][1]:
                continue
            while len(corners) > 1 and _slope(self, corners[-2], corners[-1]) < _slope(self, corners[-1], index):
                corners.pop()
            corners.append(index)
        return corners


def cheapest(layers: Sequence[Options]) -> float:
    """The least that all layers can cost together."""
    return sum(options[options.hull[0]][0] for options in layers)


def share_out(layers: Sequence[Options], budget: float) -> Share:
    """One option a layer, of least total loss at a total cost of at most `budget` (or the cheapest of all)."""
    hulls = [options.hull for options in layers]
    at = [0] * len(layers)
    cost = sum(options[corners[0]][0] for options, corners in zip(layers, hulls, strict=True))
    stuck: set[int] = set()
    for _, layer, step in _segments(layers, hulls):
        price = layers[layer][hulls[layer][step]][0] - layers[layer][hulls[layer][step - 1]][0]
        if layer in stuck or cost + price > budget:
            stuck.add(layer)
            continue
        at[layer] = step
        cost += price
    chosen = [corners[step] for corners, step in zip(hulls, at, strict=True)]
    cost = _spend(layers, chosen, cost, budget)
    return Share(tuple(chosen), cost)


def _segments(layers: Sequence[Sequence[Option]], hulls: Sequence[Sequence[int]]) -> list[tuple[float, int, int]]:
    """(negative loss per cost, layer, step), the most worthwhile first; steps of one layer stay in order."""
    found = []
    for layer, (options, corners) in enumerate(zip(layers, hulls, strict=True)):
        for step in range(1, len(corners)):
            found.append((-_slope(options, corners[step - 1], corners[step]), layer, step))
    return sorted(found)


def _slope(options: Sequence[Option], a: int, b: int) -> float:
    """Loss removed per cost added from option a to option b."""
    return (options[a][1] - options[b][1]) / max(options[b][0] - options[a][0], 1e-12)


def _spend(layers: Sequence[Sequence[Option]], chosen: list[int], cost: float, budget: float) -> float:
    """Use what is left: repeatedly the single change that fits and lowers the loss most."""
    while True:
        best: tuple[float, int, int] | None = None
        for layer, options in enumerate(layers):
            here = options[chosen[layer]]
            for index, (price, loss) in enumerate(options):
                gain = here[1] - loss
                if gain > 1e-12 and cost + price - here[0] <= budget and (best is None or gain > best[0]):
                    best = (gain, layer, index)
        if best is None:
            return cost
        cost += layers[best[1]][best[2]][0] - layers[best[1]][chosen[best[1]]][0]
        chosen[best[1]] = best[2]
