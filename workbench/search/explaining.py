"""Why a choice is what it is: one row a layer, with what came second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.search.menu import Chain

if TYPE_CHECKING:
    from workbench.search.trial import Tried


def explained(tried: Tried, factors: Mapping[str, float], metric: str) -> list[tuple[object, ...]]:
    """One row a layer of a choice: what was chosen, its harm and price, what came second, and what that would cost.

    Second is the option at the same widths that is best by harm and price together, where a unit of price is worth the
    harm that the whole choice has paid for one.
    """
    start, chosen = tried.start, tried.chosen
    harm = replace(start.harm, factors=dict(factors))
    menu = min(start.menus, key=lambda one: abs(getattr(one.whole, metric) - getattr(chosen.price, metric)))
    rate = max(chosen.harm, 1e-12) / max(getattr(menu.whole, metric) - getattr(chosen.price, metric), 1e-12)
    rows: list[tuple[object, ...]] = []
    for slot in menu.slots:
        levels = chosen.selection.levels
        read, made = (0 if group is None else levels[group] for group in (slot.reads, slot.makes))
        here = [one for one in slot.options if (one.read, one.made) == (read, made)]
        figures = [(harm.of_chain(slot.layer, one.chain), getattr(one.price, metric), one.chain) for one in here]
        mine = chosen.selection.chains.get(slot.layer)
        own = next((one for one in figures if one[2] == mine or (mine is None and not one[2].family)), None)
        if own is None:  # not offered where the network runs from the cache, or the reverse
            continue
        others = sorted((one for one in figures if one[2] != own[2]), key=lambda one: one[0] + rate * one[1])
        second = others[0] if others else None
        kept = 1.0 if slot.makes is None else 1 - menu.widths[slot.makes].removed(made)
        more = (second[0] - own[0], second[1] - own[1]) if second else (math.nan, math.nan)
        rows.append((slot.layer, kept, told(own[2]), *own[:2], told(second[2]) if second else "", *more))
    return rows


def told(chain: Chain) -> str:
    """A chain in words."""
    return f"{chain.family} {', '.join(map(str, chain.ranks))}" if chain.family else "as it is"
