"""`SVD`: two layers in the place of one, the second pointwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.factorization.chain import Chain, link, pointwise, spatial, taps
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.matrices import two_layers
from workbench.lowrank.spectra import OneRank, Ranks, Spectrum, assumed, matrix_spectrum
from workbench.step import setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class SVD(Factorize):
    """Fewer outputs, then a pointwise layer that makes all of them (Zhang et al. 2015).

    A linear layer becomes two, a 1 x 1 convolution two, a k x k convolution a thinner k x k and a 1 x 1.
    """

    title: ClassVar[str] = "SVD"
    summary: ClassVar[str] = "Linear layers and convolutions as a thinner one and a pointwise one."

    rank: Any = setting(0.5, help="Channels between the two layers: a fraction, a number, a rule or a budget.", **RANK)

    def unfit(self, layer: Layer) -> str:
        """A layer of rank one a group has nothing to factorize."""
        return "depthwise: each group is of rank 1 already" if self.full_of(layer) == (1,) else ""

    def full(self, layer: Layer) -> Ranks:
        """min(outputs, inputs * taps) a group."""
        g = layer.groups
        return (min(layer.c_out // g, layer.c_in // g * taps(layer)),)

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """The thinner layer, then the pointwise one."""
        g, middle = layer.groups, ranks[0] * layer.groups
        if layer.kind == "linear":
            first = pointwise(layer, layer.input, middle)
        else:
            first = link(layer, layer.input, middle, spatial(layer), g)
        return first, pointwise(layer, first.output, layer.c_out, g, layer.bias)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> OneRank:
        """Singular values of the (out, in * taps) matrix."""
        return matrix_spectrum([weight.flatten(1) for weight in weights])

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling singular values."""
        return assumed(self.full_of(layer)[0])

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """[(rank, in, *kernel), (out, rank)]."""
        first, second = two_layers(weight.flatten(1), ranks[0], moment)
        return [first.reshape(ranks[0], *weight.shape[1:]), second]
