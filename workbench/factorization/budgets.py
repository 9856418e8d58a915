"""One budget of MACs or parameters shared out over the layers that a factorization treats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.errors import OutOfReach
from workbench.factorization.family import Family
from workbench.lowrank.budget import Options, cheapest, share_out
from workbench.lowrank.ranks import Rule
from workbench.lowrank.spectra import Ranks, Spectrum

#: Share of the squared norm that a rule must leave to a stem and to the last layer.
EDGE_ENERGY = 0.99
Priced = tuple[Options, list[Ranks | None]]  # (cost, loss) of each choice of ranks; None is the layer as it is


@dataclass(frozen=True)
class Treated:
    """A layer that a family can treat, how often it runs on inputs of one shape, and whether it is a stem or a head.

    `more` are its runs on inputs of other shapes, as the heads of a detector have them.
    """

    layer: Layer
    uses: int
    edge: bool
    more: tuple[Layer, ...] = ()

    @cached_property
    def macs(self) -> int:
        """Of all its runs."""
        own = self.layer.macs * self.uses
        return own + sum(one.macs for one in self.more) if self.more else own

    def macs_at(self, family: Family, ranks: Ranks, macs: int) -> int:
        """Of all the runs of a chain that needs `macs` for the first one."""
        own = macs * self.uses
        return own + sum(family.priced(one, ranks).macs for one in self.more) if self.more else own


def share(
    family: Family, rule: Rule, network: Network, treated: Sequence[Treated], weights: Weights
) -> dict[str, Ranks | None]:
    """Ranks for every layer under one budget; None where the layer stays as it is.

    Raises: `OutOfReach` naming the least.
    """
    total = network.totals.macs if rule.kind == "macs" else network.totals.params
    layers = [_options(family, one, rule.kind, weights) for one in treated]
    priced = [options for options, _ in layers]
    fixed = total - sum(prices[-1][0] for prices in priced)
    budget = rule.value * total - fixed
    if not priced and rule.value < 1:
        raise OutOfReach(
            f"{family.brief}: there is no layer that {type(family).__name__} can treat, so {rule.value:g} of the "
            f"{rule.kind} cannot be reached; recipe.plan(model) says why for each. Take a step of another kind."
        )
    if priced and cheapest(priced) > budget * (1 + 1e-9):
        least = (fixed + cheapest(priced)) / total
        raise OutOfReach(
            f"{family.brief}: {rule.value:g} of the {rule.kind} cannot be reached, the least is {least:.3g} "
            f"with the layers that {type(family).__name__} can treat. Raise the budget or add a step of another kind."
        )
    chosen = share_out(priced, budget).chosen
    return {one.layer.module: ranks[index] for one, (_, ranks), index in zip(treated, layers, chosen, strict=True)}


def _options(family: Family, one: Treated, cost: str, weights: Weights) -> Priced:
    """Every candidate that is smaller than the layer, the layer itself last."""
    layer = one.layer

    def compute(_: torch.Tensor) -> Priced:
        return _price(family, one, cost, family.known(layer, weights))

    found = weights.analysed(layer.module, (family.own_settings, cost, one), compute)
    return _price(family, one, cost, family.known(layer, weights)) if found is None else found


def _price(family: Family, one: Treated, cost: str, spectrum: Spectrum) -> Priced:
    layer, by_macs = one.layer, cost == "macs"
    found: list[Ranks | None] = []
    options = []
    for ranks in family.candidates(layer):
        chain = family.priced(layer, ranks)
        loss = spectrum.error(ranks) ** 2
        smaller = chain.macs < layer.macs and chain.params < layer.params
        if smaller and not (one.edge and loss > 1 - EDGE_ENERGY):
            found.append(ranks)
            options.append((one.macs_at(family, ranks, chain.macs) if by_macs else chain.params, loss))
    return Options([*options, (one.macs if by_macs else layer.params, 0.0)]), [*found, None]
