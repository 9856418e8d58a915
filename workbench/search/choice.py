"""The choice from a menu: an integer linear program that does the least harm under limits, solved by HiGHS.

Binary variables say which width each group has and which option each layer; of a layer's options exactly those agree
that stand at the widths of its neighbours. The relaxation that ties a pair to its sides is tight, as in transport
problems, which is why menus of thousands of options are solved in a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.errors import OutOfReach
from workbench.search.menu import KEEP, Menu, Option, Price, Selection

if TYPE_CHECKING:
    from workbench.search.harm import Harm

Array = npt.NDArray[np.float64]

#: Seconds after which a solve is content with what it has, and the gap to the optimum at which it is in any case.
SECONDS, GAP = 20.0, 0.005
_OUT_OF_TIME = 1  # what the solver calls it
#: The limit that is kept at each operation, and is no sum over layers.
PEAK = "peak_bytes"
#: How a limit that cannot be met is told.
_WORDS = {"latency_ms": "predicted latency", "macs": "MACs", "params": "parameters", "weight_bytes": "bytes of weights",
          PEAK: "bytes of activations"}  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """A selection, its predicted harm and price, and how far at most it is from the optimum (a share)."""

    selection: Selection
    harm: float
    price: Price
    gap: float


def choose(menus: Sequence[Menu], harm: Harm, limits: Mapping[str, float]) -> Chosen:
    """The selection of least harm, from any of the menus, whose price keeps to every limit: a field of `Price` each.

    Raises: `OutOfReach` naming the limit that binds, and the nearest that can be met.
    """
    found = [one for menu in menus if (one := _chosen(menu, harm, limits)) is not None]
    if not found:
        raise OutOfReach(_unmet([_Program(menu, harm) for menu in menus], limits))
    return min(found, key=lambda one: one.harm)


def _chosen(menu: Menu, harm: Harm, limits: Mapping[str, float]) -> Chosen | None:
    program = _Program(menu, harm)
    found = program.solve(program.harms, limits)
    if found is None:
        return None
    chosen, gap = found
    levels, chains = program.read(chosen)
    return Chosen(Selection(levels, chains), float(program.harms @ chosen), program.price(chosen), gap)


def cheapest(menus: Sequence[Menu], harm: Harm, metric: str, limits: Mapping[str, float]) -> float:
    """The least that a metric can be whatever the harm, within limits on others; infinite where these cannot be met."""
    found = [least for menu in menus if (least := _Program(menu, harm).least(metric, limits)) is not None]
    return min(found, default=math.inf)


class _Program:
    """The variables of a menu in a row: every level of every group, then every option of every layer."""

    def __init__(self, menu: Menu, harm: Harm) -> None:
        self.menu = menu
        widths = [(number, level) for number, one in enumerate(menu.widths) for level in range(len(one.kept))]
        options = [(number, option) for number, one in enumerate(menu.slots) for option in one.options]
        self._widths, self._options = widths, options
        self._place = {pair: place for place, pair in enumerate(widths)}
        keeps = [_kept(slot.options) for slot in menu.slots]
        self.harms = np.array(
            [harm.of_width(*pair) for pair in widths]
            + [harm.of_chain(menu.slots[number].layer, one.chain) for number, one in options]
        )
        priced = [menu.widths[number].prices[level] for number, level in widths]
        priced += [one.price - keeps[number] for number, one in options]
        self._offered = np.isfinite(self.harms).astype(float)  # what was not tried is not chosen
        self.harms = np.where(np.isfinite(self.harms), self.harms, 0.0)
        self._peaks = np.array(
            [menu.widths[number].peaks[level] for number, level in widths] + [one.peak_bytes for _, one in options]
        )
        self.prices: dict[str, Array] = {
            name: np.array([getattr(one, name) for one in priced], float) for name in Price._fields
        }

    def solve(self, objective: Array, limits: Mapping[str, float]) -> tuple[Array, float] | None:
        """The values of all variables at the least of an objective, and the gap; None where limits cannot be met."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        size = max(float(np.abs(objective).max(initial=0.0)), 1e-30)
        constraints = [LinearConstraint(*self._consistent)] if self._options or self._widths else []
        bounds = {name: most for name, most in limits.items() if name != PEAK}
        if self.menu.near_bytes < bounds.get("weight_bytes", math.inf):
            bounds["weight_bytes"] = self.menu.near_bytes
        for name, most in bounds.items():
            scale = abs(getattr(self.menu.whole, name)) or 1.0  # of like size for the solver's tolerances
            allowed = (most - getattr(self.menu.whole, name)) / scale
            constraints.append(LinearConstraint(self.prices[name][None] / scale, -np.inf, allowed))
        count = len(objective)
        offered = self._offered * (self._peaks <= limits.get(PEAK, math.inf))
        offered *= self._worthwhile(offered, [objective, *(self.prices[name] for name in bounds)])

        def solved(**options: float) -> Any:
            return milp(
                objective / size,
                integrality=np.ones(count),
                bounds=Bounds(0, offered),
                constraints=constraints,
                options={"mip_rel_gap": GAP, **options},
            )

        result = solved(time_limit=SECONDS)
        if result.x is None and result.status == _OUT_OF_TIME:  # it has not found out yet whether there is any
            result = solved()
        if result.x is None:
            return None
        return np.round(result.x), float(result.mip_gap or 0.0)

    def _worthwhile(self, offered: Array, figures: list[Array]) -> Array:
        """1 for what no other option of the same layer at the same widths beats in all figures; the optimum stays."""
        table, first = np.column_stack(figures), len(self._widths)
        alike: dict[tuple[int, int, int], list[int]] = {}
        for place, (number, one) in enumerate(self._options, first):
            if offered[place]:
                alike.setdefault((number, one.read, one.made), []).append(place)
        kept = np.ones(len(offered))
        for places in alike.values():
            kept[places] = 0.0
            front = list[int]()
            for place in sorted(places, key=lambda one: tuple(table[one])):
                if not any((table[other] <= table[place]).all() for other in front):
                    front.append(place)
            kept[front] = 1.0
        return kept

    def least(self, metric: str, limits: Mapping[str, float]) -> float | None:
        """The least that a metric can be under limits; None where these cannot be met."""
        found = self.solve(self.prices[metric], limits)
        return None if found is None else float(getattr(self.price(found[0]), metric))

    @property
    def _consistent(self) -> tuple[Any, Array, Array]:
        """One level a group; one option a layer for each level of what it reads, and of what it makes."""
        from scipy.sparse import coo_array

        rows: list[tuple[int, int, float]] = []
        right: list[float] = []

        def equation(terms: list[tuple[int, float]], value: float) -> None:
            rows.extend((len(right), place, factor) for place, factor in terms)
            right.append(value)

        for number, width in enumerate(self.menu.widths):
            equation([(self._place[number, level], 1.0) for level in range(len(width.kept))], 1.0)
        first = len(self._widths)
        for slot in self.menu.slots:
            places = range(first, first + len(slot.options))
            first += len(slot.options)
            for group, side in ((slot.reads, "read"), (slot.makes, "made")):
                levels = range(1 if group is None else len(self.menu.widths[group].kept))
                for level in levels:
                    pairs = zip(places, slot.options, strict=True)
                    terms = [(at, 1.0) for at, one in pairs if getattr(one, side) == level]
                    own = [] if group is None else [(self._place[group, level], -1.0)]
                    equation([*terms, *own], 1.0 if group is None else 0.0)
        data, shape = np.array(rows), (len(right), len(self._widths) + len(self._options))
        matrix = coo_array((data[:, 2], (data[:, 0].astype(int), data[:, 1].astype(int))), shape=shape)
        return matrix.tocsc(), np.array(right), np.array(right)

    def price(self, chosen: Array) -> Price:
        """What a solution costs."""
        return Price(*(getattr(self.menu.whole, name) + float(self.prices[name] @ chosen) for name in Price._fields))

    def read(self, chosen: Array) -> tuple[tuple[int, ...], dict[str, Any]]:
        """The level of each group and the chain of each layer that has one."""
        picked = [pair for pair, value in zip(self._widths, chosen, strict=False) if value > 0.5]
        levels = tuple(level for _, level in sorted(picked))
        values = chosen[len(self._widths) :]
        taken = [one for one, value in zip(self._options, values, strict=True) if value > 0.5]
        return levels, {self.menu.slots[n].layer: one.chain for n, one in taken if one.chain.family != KEEP}


def _kept(options: Sequence[Option]) -> Price:
    """The price of a layer as it is."""
    return next(one.price for one in options if (one.read, one.made, one.chain.family) == (0, 0, KEEP))


def _unmet(programs: Sequence[_Program], limits: Mapping[str, float]) -> str:
    """Which limits cannot be met, alone or together, and the nearest that can."""

    def least(metric: str, others: Mapping[str, float]) -> float:
        found = [one for program in programs if (one := program.least(metric, others)) is not None]
        return min(found, default=math.inf)

    alone = {name: least(name, {}) for name in limits if name != PEAK}
    told = [
        f"{_WORDS[name]} of {_number(most)}: the least that any choice reaches is {_number(alone[name])}"
        for name, most in limits.items()
        if name in alone and alone[name] > most
    ]
    if PEAK in limits and math.isinf(least("macs", {PEAK: limits[PEAK]})):
        told.append(f"{_WORDS[PEAK]} of {_number(limits[PEAK])}: some layer needs more at every width that is offered")
    if told:
        return f"No choice keeps to the limits. Out of reach: {'; '.join(told)}."
    last = next(reversed(alone))
    nearest = least(last, {name: most for name, most in limits.items() if name != last})
    return (
        f"Each limit can be met, but not all together: {', '.join(_WORDS[name] for name in limits)}. With the others "
        f"kept, the least {_WORDS[last]} is {_number(nearest)}."
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
