"""What a factorization will cost at any fraction of the rank, fast enough to follow a slider.

A sketch builds every layer of the network anew. But the cost of a chain is affine in its rank (bilinear
in Tucker's two), so a few coefficients a layer, read off once, give the totals of a whole network in
a handful of array operations. Nothing here is a second set of formulas: the coefficients come from `chain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from workbench.cost.network import Layer, Network
from workbench.cost.weights import Weights
from workbench.lowrank.ranks import parse
from workbench.lowrank.spectra import Ranks, Spectrum
from workbench.steps.chain import Chain, macs, params, taps

if TYPE_CHECKING:
    from workbench.steps.factorize import Factorize


@dataclass(frozen=True)
class Outlook:
    """Costs of the network for one input, and the relative weight error of every layer that is factorized."""

    macs: int
    params: int
    memory_access_bytes: int
    relative_error: dict[str, float | None]


@dataclass(frozen=True)
class Table:
    """What an outlook needs of a network, for one family and one choice of layers."""

    network: Network
    layers: tuple[Layer, ...]
    full: np.ndarray  # (modes, layers)
    least: np.ndarray  # (modes, layers): ranks that stems and heads keep in any case
    dense: np.ndarray  # (3, layers): macs, params and memory access of the layer as it is
    taps: np.ndarray  # (layers,)
    coefficients: np.ndarray  # (3, 2 ** modes, layers): of 1, q, p, p * q
    uses: np.ndarray  # (layers,)
    spectra: tuple[Spectrum | None, ...]  # None where the error has no closed form
    totals: np.ndarray  # (3,)


def outlook(step: Factorize, network: Network, weights: Weights) -> Outlook | None:
    """The totals that `step.sketch` would give, without building it.

    None where the rule is no plain fraction or the family's chain is not affine in its rank: sketch those.
    """
    rule = parse(getattr(step, step.rule_field))
    if rule.kind != "fraction" or not step.affine or step.allow_growth or weights.changed:
        return None
    table = _table(step, network, weights)
    ranks = _ranks(rule.value, step.round_to, table)
    costs = _costs(step, ranks, table)
    smaller = (costs[0] < table.dense[0]) & (costs[1] < table.dense[1]) & (ranks < table.full).any(0)
    change = np.where(smaller, costs - table.dense, 0)
    change[0] *= table.uses
    change[2] *= table.uses
    total = table.totals + change.sum(1)
    chosen = ranks.T.tolist()
    errors: dict[str, float | None] = {}
    for layer, spectrum, at, smaller_here in zip(table.layers, table.spectra, chosen, smaller.tolist(), strict=True):
        if smaller_here:
            errors[layer.module] = None if spectrum is None else spectrum.error(tuple(at))
    return Outlook(int(total[0]), int(total[1]), int(total[2]), errors)


def _ranks(fraction: float, multiple: int, table: Table) -> np.ndarray:
    """As `ranks.rounded` and the families' limits, for all layers at once: (modes, layers)."""
    ranks = fraction * table.full
    if multiple > 1:
        ranks = np.maximum(1, np.rint(ranks / multiple)) * multiple
    ranks = np.where(fraction * table.full >= table.full, table.full, (ranks + 0.5).astype(np.int64))
    return np.asarray(np.clip(np.maximum(ranks, table.least), 1, table.full))


def _costs(step: Factorize, ranks: np.ndarray, table: Table) -> np.ndarray:
    """Macs, params and memory access of the chains, (3, layers)."""
    if len(ranks) == 1:
        return np.asarray(table.coefficients[:, 0] + table.coefficients[:, 1] * ranks[0])
    p, q = ranks
    c = table.coefficients
    costs = np.asarray(c[:, 0] + c[:, 1] * q + c[:, 2] * p + c[:, 3] * (p * q))
    special = (ranks == table.full).any(0) | (p > q * table.taps) | (q > p * table.taps)
    for index in np.flatnonzero(special):
        layer = table.layers[index]  # a side at its full rank has no link of its own
        limited = step.limit(layer, tuple(int(r) for r in ranks[:, index]))
        ranks[:, index] = limited
        costs[:, index] = _cost(step.chain(layer, limited))
    return costs


def _table(step: Factorize, network: Network, weights: Weights) -> Table:
    key = ("", f"outlook {type(step).__name__} {step.layers} {step.form_key()}")
    found = weights.cache.get(key)
    if isinstance(found, Table) and found.network is network:
        return found
    table = _make(step, network, weights)
    weights.cache[key] = table
    return table


def _make(step: Factorize, network: Network, weights: Weights) -> Table:
    treated = step.treated(network, weights)
    layers = tuple(layer for layer, _, _ in treated)
    full = np.array([step.full(layer) for layer in layers], dtype=np.int64).reshape(len(layers), step.modes).T
    least = [step.least(layer, edge, weights) for layer, _, edge in treated]
    totals = network.totals
    return Table(
        network,
        layers,
        full,
        np.array(least, dtype=np.int64).reshape(len(layers), step.modes).T,
        np.array([_cost((layer,)) for layer in layers], dtype=np.int64).reshape(-1, 3).T,
        np.array([taps(layer) for layer in layers], dtype=np.int64),
        _coefficients(step, layers),
        np.array([uses for _, uses, _ in treated], dtype=np.int64),
        tuple(step.known_spectrum(layer, weights) for layer in layers),
        np.array([totals.macs, totals.params, totals.memory_access_bytes], dtype=np.int64),
    )


def _coefficients(step: Factorize, layers: Sequence[Layer]) -> np.ndarray:
    """Read off at ranks 1 and 2 of every mode, where no side is at its full rank."""
    found = np.zeros((3, 2**step.modes, len(layers)), dtype=np.int64)
    for index, layer in enumerate(layers):
        at: dict[Ranks, np.ndarray] = {
            ranks: np.array(_cost(step.inner_chain(layer, ranks))) for ranks in product((1, 2), repeat=step.modes)
        }
        if step.modes == 1:
            slope = at[(2,)] - at[(1,)]
            found[:, :, index] = np.stack([at[(1,)] - slope, slope], axis=1)
            continue
        both = at[2, 2] - at[2, 1] - at[1, 2] + at[1, 1]
        by_q, by_p = at[1, 2] - at[1, 1] - both, at[2, 1] - at[1, 1] - both
        found[:, :, index] = np.stack([at[1, 1] - by_q - by_p - both, by_q, by_p, both], axis=1)
    return found


def _cost(chain: Chain) -> tuple[int, int, int]:
    return macs(chain), params(chain), sum(one.memory_access_bytes for one in chain)
