"""What a factorization will cost at any rank, fast enough to follow a slider.

A sketch builds every layer of the network anew. But the cost of a chain is affine in its rank (bilinear
in Tucker's two), so a few coefficients a layer, read off once, give the totals of a whole network in
a handful of array operations. Nothing here is a second set of formulas: the ranks come from `ranking`, the
coefficients from the families' `chain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.errors import WorkbenchError
from workbench.lowrank.spectra import Ranks, Spectrum
from workbench.steps.base import Prediction, Step
from workbench.steps.budgets import Treated
from workbench.steps.chain import Chain, macs, params
from workbench.steps.ranking import treatable, wished

if TYPE_CHECKING:
    from workbench.steps.factorize import Factorize

#: Rows of a chain's figures before those of its memory: MACs, parameters, bytes of memory access.
COSTS = 3


@dataclass(frozen=True)
class Table:
    """What an outlook needs of a network, for one family and one choice of layers."""

    network: Network  # after the steps that follow, which change precision alone
    treated: tuple[Treated, ...]
    full: np.ndarray  # (modes, layers)
    dense: np.ndarray  # (COSTS, layers): of the layer as it is
    coefficients: np.ndarray  # (COSTS + links, 2 ** modes, layers): of 1, q, p, p * q
    uses: np.ndarray  # (layers,)
    spectra: tuple[Spectrum | None, ...]  # None where the error has no closed form
    totals: np.ndarray  # (COSTS,)
    occupancy: np.ndarray  # (3, operations): bytes held before, freed after, written
    places: np.ndarray  # (2, operations of treated layers): index of the operation, of the layer


def outlook(step: Factorize, network: Network, weights: Weights, after: Sequence[Step]) -> Prediction | None:
    """The totals after `step` and the steps `after` it, none of which changes a shape.

    None where a chain is not affine in its rank, or a later step treats a chain unlike the layer it replaces.
    Raises: `BadValue`, `UnknownName`.
    """
    table = _table(step, network, weights, tuple(after)) if step.affine else None
    if table is None:
        return None
    asked = wished(step, table.network, table.treated, weights)
    none = (0,) * step.modes
    ranks = np.array([asked[one.layer.module] or none for one in table.treated], dtype=np.int64)
    ranks = ranks.reshape(-1, step.modes).T
    figures = _figures(step, ranks, table)
    saves = (figures[:2] < table.dense[:2]).all(0) & (ranks < table.full).any(0)
    replaced = np.asarray((ranks > 0).all(0) & (saves | step.allow_growth))
    change = np.where(replaced, figures[:COSTS] - table.dense, 0)
    change[[0, 2]] *= table.uses
    total_macs, total_params, total_bytes = (int(x) for x in table.totals + change.sum(1))
    peak = _peak(figures[COSTS:], replaced, table)
    costs = np.where(replaced, figures[:COSTS], table.dense).T.tolist()
    pairs = zip(table.treated, costs, strict=True)
    layers = {one.layer.module: (cost[0], cost[1], cost[2]) for one, cost in pairs if one.uses == 1}
    return Prediction(total_macs, total_params, total_bytes, peak, _errors(ranks, replaced, table), layers)


def _errors(ranks: np.ndarray, replaced: np.ndarray, table: Table) -> dict[str, float]:
    found = {}
    for index in np.flatnonzero(replaced).tolist():
        spectrum = table.spectra[index]
        if spectrum is not None:
            found[table.treated[index].layer.module] = spectrum.error(tuple(ranks[:, index].tolist()))
    return found


def _peak(memory: np.ndarray, replaced: np.ndarray, table: Table) -> int:
    """The most bytes alive at once: the first link works beside the input, the others without it."""
    held, freed, written = table.occupancy
    need = held + written
    at, layer = table.places[:, replaced[table.places[1]]]
    need[at] = held[at] + np.maximum(memory[0, layer], memory[1:, layer].max(0, initial=0) - freed[at])
    return int(need.max(initial=0))


def _figures(step: Factorize, ranks: np.ndarray, table: Table) -> np.ndarray:
    """Costs and memory of all chains at these ranks, (COSTS + links, layers)."""
    c = table.coefficients
    if len(ranks) == 1:
        return np.asarray(c[:, 0] + c[:, 1] * ranks[0])
    p, q = ranks
    found = np.asarray(c[:, 0] + c[:, 1] * q + c[:, 2] * p + c[:, 3] * (p * q))
    if not step.allow_growth:  # a side at its full rank has no link of its own
        for index in np.flatnonzero((ranks == table.full).any(0) & (ranks < table.full).any(0)).tolist():
            special = _figures_of(step.chain(table.treated[index].layer, (int(p[index]), int(q[index]))))
            found[:, index] = 0
            found[: len(special), index] = special
    return found


def _table(step: Factorize, network: Network, weights: Weights, after: tuple[Step, ...]) -> Table | None:
    key = ("", f"outlook {step.variety} {step.layers} {after}")
    if key not in weights.cache or weights.cache[key][0] is not network:
        weights.cache[key] = (network, _make(step, network, weights, after))
    found: Table | None = weights.cache[key][1]
    return found


def _make(step: Factorize, source: Network, weights: Weights, after: tuple[Step, ...]) -> Table | None:
    network = _settled(step, source, weights, after)
    if network is None:
        return None
    treated = treatable(step, network, weights)
    layers = [one.layer for one in treated]
    index = {layer.module: place for place, layer in enumerate(layers)}
    at = [(place, index[op.module]) for place, op in enumerate(network.layers) if op.module in index]
    totals = network.totals
    return Table(
        network=network,
        treated=tuple(treated),
        full=np.array([step.full(layer) for layer in layers], dtype=np.int64).reshape(-1, step.modes).T,
        dense=np.array([_figures_of((layer,))[:COSTS] for layer in layers], dtype=np.int64).reshape(-1, COSTS).T,
        coefficients=_coefficients(step, layers),
        uses=np.array([one.uses for one in treated], dtype=np.int64),
        spectra=tuple(step.known(layer, weights) if step.exact_error else None for layer in layers),
        totals=np.array([totals.macs, totals.params, totals.memory_access_bytes], dtype=np.int64),
        occupancy=np.array(network.occupancy, dtype=np.int64).reshape(-1, 3).T,
        places=np.array(at, dtype=np.int64).reshape(-1, 2).T,
    )


def _settled(step: Factorize, network: Network, weights: Weights, after: tuple[Step, ...]) -> Network | None:
    """The network with the later steps done first; None where that would make a difference."""
    if not after:
        return network
    modules = [one.layer.module for one in treatable(step, network, weights)]

    def grown(base: Network) -> Network:
        least = (1,) * step.modes
        return base.replace({name: _every_link(step, base.by_module[name][0], least) for name in modules})

    unknown = replace(weights, changed=weights.changed | set(modules))
    try:
        early, late = _through(network, weights, after), _through(grown(network), unknown, after)
    except WorkbenchError:  # a name that only one of the two has; the sketch will say it
        return None
    return early if early is not None and late is not None and _sizes(grown(early)) == _sizes(late) else None


def _sizes(network: Network) -> list[Layer]:
    """The layers without what makes their weights compress, on which no total depends."""
    return [layer.but(pattern=(0.0, 0)) for layer in network.layers]


def _through(network: Network, weights: Weights, steps: Sequence[Step]) -> Network | None:
    for step in steps:
        sketch = step.sketch(network, weights)
        if any(row.relative_error is not None for row in sketch.rows):
            return None  # it has something to say about weights, which the factorization changes
        network = sketch.network
    return network


def _coefficients(step: Factorize, layers: Sequence[Layer]) -> np.ndarray:
    """Read off at ranks 1 and 2 of every mode, where no side is at its full rank."""
    corners = list(product((1, 2), repeat=step.modes))
    columns = []
    for layer in layers:
        at = {ranks: np.array(_figures_of(_every_link(step, layer, ranks)), dtype=np.int64) for ranks in corners}
        if step.modes == 1:
            slope = at[(2,)] - at[(1,)]
            columns.append(np.stack([at[(1,)] - slope, slope], axis=1))
            continue
        both = at[2, 2] - at[2, 1] - at[1, 2] + at[1, 1]
        by_q, by_p = at[1, 2] - at[1, 1] - both, at[2, 1] - at[1, 1] - both
        columns.append(np.stack([at[1, 1] - by_q - by_p - both, by_q, by_p, both], axis=1))
    found = np.zeros((max(map(len, columns), default=COSTS + 1), len(corners), len(layers)), dtype=np.int64)
    for index, column in enumerate(columns):
        found[: len(column), :, index] = column
    return found


def _every_link(step: Factorize, layer: Layer, ranks: Ranks) -> Chain:
    """The chain with every link, also where these ranks are a side's full one."""
    return replace(step, allow_growth=True).chain(layer, ranks)


def _figures_of(chain: Chain) -> list[int]:
    """MACs, parameters, memory access, then the bytes beside which each link works: its input if new, its output."""
    sizes = [prod(one.output) * one.bits // 8 for one in chain]
    beside = [sizes[0], *(a + b for a, b in pairwise(sizes))]
    return [macs(chain), params(chain), sum(one.memory_access_bytes for one in chain), *beside]
