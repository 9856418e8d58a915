"""What harm comes to once the network is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from workbench.search.harm import Harm
from workbench.search.menu import KEEP, Menu, Slot

#: Nothing is taken to cost less (milliseconds).
LEAST = 1e-9


def mended(harm: Harm, menu: Menu) -> Harm:
    """Halfway, on a logarithmic scale, between what was measured and what a well designed network has.

    Training makes good the more of a harm the larger it is: taken as it was measured, harm cuts a few layers to almost
    nothing and leaves the others, which no training makes good again. In a network whose designer has balanced its
    widths the same share of any group, or of the energy of any layer, is worth what it costs; so harm goes with the
    time that it saves. Of harm by that alone nearly the same share goes everywhere.
    """
    most = [max(one) for one in harm.widths]
    saved = [_saved(menu, group) for group in range(len(menu.widths))]
    cost = {slot.layer: _price(slot, 0, 0) for slot in menu.slots}
    middle, usual = _geometric(most), _geometric(list(harm.chains.values()))
    share, layer = _geometric(saved), _geometric([cost[name] for _, name in harm.chains])
    widths = tuple(
        tuple(value * math.sqrt(middle * time / share / top) if top > 0 else 0.0 for value in one)
        for one, top, time in zip(harm.widths, most, saved, strict=True)
    )
    chains = {key: math.sqrt(one * usual * cost[key[1]] / layer) for key, one in harm.chains.items()}
    return replace(harm, widths=widths, chains=chains)


def _saved(menu: Menu, group: int) -> float:
    """Milliseconds that a group at its middle width saves alone."""
    width = menu.widths[group]
    level = len(width.kept) // 2
    around = width.prices[0].latency_ms - width.prices[level].latency_ms
    beside = [slot for slot in menu.slots if group in (slot.reads, slot.makes)]
    own = sum(_price(s, 0, 0) - _price(s, level * (s.reads == group), level * (s.makes == group)) for s in beside)
    return max(around + own, LEAST)


def _price(slot: Slot, read: int, made: int) -> float:
    """Milliseconds of a layer as it is, between these widths."""
    found = (one for one in slot.options if (one.read, one.made, one.chain.family) == (read, made, KEEP))
    return max(next(found).price.latency_ms, LEAST)


def _geometric(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, known)) / len(known)) if (known := [one for one in values if one > 0]) else 1.0
