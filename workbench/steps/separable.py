"""`Separable`: a sum of depthwise-separable terms in the place of a convolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.factorization.chain import Chain, link, no_taps, pointwise, spatial, taps
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.filters import separable, separable_values
from workbench.lowrank.spectra import OneRank, Ranks, Spectrum, assumed
from workbench.step import Stops, setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class Separable(Factorize):
    """A depthwise k x k with `terms` filters an input channel, then a 1 x 1.

    One term is the block of MobileNet (Howard et al. 2017); k * k terms are exact (Guo et al. 2018).
    """

    title: ClassVar[str] = "Depthwise-separable"
    summary: ClassVar[str] = "Convolutions as depthwise filters and a 1 x 1 that mixes them."
    of_recurrent: ClassVar[str] = "a recurrent layer has no taps"
    rule_field: ClassVar[str] = "terms"

    terms: Any = setting(2, help="Depthwise filters a channel: a number, a fraction of k x k, or a rule.", **RANK)

    def unfit(self, layer: Layer) -> str:
        """Separable terms need taps and channels to mix."""
        if taps(layer) == 1:
            return no_taps(layer)
        if layer.groups > 1 and layer.groups == layer.c_in:
            return "it is depthwise already"
        return ""

    def stops(self, network: Network) -> Mapping[str, Stops]:
        """From one filter a channel to as many as are exact."""
        return {self.rule_field: range(1, 1 + max((self.full(one)[0] for one in self.fitting(network)), default=9))}

    def full(self, layer: Layer) -> Ranks:
        """min(outputs a group, taps)."""
        return (min(layer.c_out // layer.groups, taps(layer)),)

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """Depthwise, then pointwise."""
        depthwise = link(layer, layer.input, layer.c_in * ranks[0], spatial(layer), layer.c_in)
        return depthwise, pointwise(layer, depthwise.output, layer.c_out, layer.groups, layer.bias)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> OneRank:
        """Singular values of every input channel's (out, taps) slice."""
        values = torch.cat([separable_values(weight) for weight in weights]).double()
        return OneRank(values.square().numpy(), (layer.c_out // layer.groups, taps(layer)))

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling singular values."""
        return assumed(self.full_of(layer)[0])

    def candidates(self, layer: Layer) -> list[Ranks]:
        """Every number of terms."""
        return [(terms,) for terms in range(1, self.full_of(layer)[0] + 1)]

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """[(in * terms, 1, *kernel), (out, in * terms)]."""
        found = separable(weight, ranks[0], moment=moment)
        return [found.depthwise.flatten(0, 1).unsqueeze(1), found.pointwise.flatten(1)]
