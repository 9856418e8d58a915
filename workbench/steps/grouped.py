"""`Grouped`: a convolution in channel groups, channels reordered to keep the most energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.factorization.chain import Chain, link, reorder, spatial
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.filters import grouped
from workbench.lowrank.ranks import Rule
from workbench.lowrank.spectra import GroupErrors, Ranks, Spectrum, group_errors
from workbench.step import Stops, setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class Grouped(Factorize):
    """Keep only blocks between groups of channels; one group is the layer itself.

    Which channels share a group is chosen to keep the most energy (as in Huang et al. 2018's condensed
    convolutions, but in closed form), so the channels are reordered before and after.
    """

    title: ClassVar[str] = "Grouped"
    summary: ClassVar[str] = "Convolutions in channel groups, chosen to keep the most energy."
    of_recurrent: ClassVar[str] = "a recurrent layer has no channel groups"
    rule_field: ClassVar[str] = "groups"
    bounded: ClassVar[bool] = False  # more groups are fewer weights
    mixes: ClassVar[bool] = False  # blocks would not stay blocks
    rules: ClassVar[frozenset[str]] = frozenset({"explicit", "energy", "macs", "params"})

    groups: Any = setting(2, help="Number of channel groups: a number, 'energy:0.9', or a budget.", **RANK)

    def unfit(self, layer: Layer) -> str:
        """Groups need channels that they divide."""
        if layer.kind == "linear":
            return "a linear layer has no channel groups, use SVD"
        if layer.groups > 1:
            return f"it has {layer.groups} groups already"
        if gcd(layer.c_in, layer.c_out) == 1:
            return f"no number of groups divides {layer.c_in} inputs and {layer.c_out} outputs"
        return ""

    def stops(self, network: Network) -> Mapping[str, Stops]:
        """The numbers of groups that divide the channels of a layer."""
        return {self.rule_field: tuple(sorted({n for one in self.fitting(network) for (n,) in self.candidates(one)}))}

    def full(self, layer: Layer) -> Ranks:
        """One group is exact."""
        return (1,)

    def limit(self, layer: Layer, ranks: Ranks) -> Ranks:
        """The largest number of groups up to the one asked for that divides both channel counts."""
        return (max(n for n in _divisors(layer) if n <= ranks[0]),)

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """Reorder, convolve in groups, reorder back."""
        conv = link(layer, layer.input, layer.c_out, spatial(layer), ranks[0], layer.bias)
        return reorder(layer, layer.input), conv, reorder(layer, conv.output)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> Spectrum:
        """The error of every number of groups."""
        return group_errors(weights[0], _divisors(layer))

    def assumed(self, layer: Layer) -> Spectrum:
        """Energy spread evenly."""
        return GroupErrors({n: (1 - 1 / n) ** 0.5 for n in _divisors(layer)})

    def candidates(self, layer: Layer) -> list[Ranks]:
        """Every number of groups but one."""
        return [(n,) for n in _divisors(layer) if n > 1]

    def describe(self, ranks: Ranks) -> str:
        """The groups in words."""
        if ranks == (1,):  # what is left of a number that does not divide the channels
            return "one group, as no other number up to the one asked for divides its channels,"
        return f"{ranks[0]} groups"

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """[order of the inputs, blocks (out, in / groups, *kernel), order of the outputs]."""
        found = grouped(weight, ranks[0], moment=moment)
        return [found.in_order, found.blocks, found.out_order.argsort()]

    def ranks(self, rule: Rule, layer: Layer, weights: Weights) -> Ranks:
        """The number of groups, brought to one that divides the channels."""
        if rule.kind == "energy":
            return self.known(layer, weights).energy(rule.value)
        return self.limit(layer, (round(rule.ranks[0]),))

    def stronger(self, ranks: Ranks, enough: Ranks) -> Ranks:
        """Fewer groups keep more."""
        return tuple(map(min, ranks, enough))


def _divisors(layer: Layer) -> Sequence[int]:
    return _divisors_of(gcd(layer.c_in, layer.c_out))


@lru_cache(maxsize=256)
def _divisors_of(common: int) -> tuple[int, ...]:
    return tuple(n for n in range(1, common + 1) if common % n == 0)
