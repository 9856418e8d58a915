"""`SpatialSVD`: a vertical and a horizontal convolution in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.factorization.chain import Chain, link
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.matrices import spatial, spatial_unfolding
from workbench.lowrank.spectra import OneRank, Ranks, Spectrum, assumed, matrix_spectrum
from workbench.step import setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class SpatialSVD(Factorize):
    """A k x 1 convolution, then a 1 x k one (Jaderberg et al. 2014). Depthwise convolutions are treated too."""

    title: ClassVar[str] = "Spatial SVD"
    summary: ClassVar[str] = "k x k convolutions as k x 1 and 1 x k."
    of_recurrent: ClassVar[str] = "a recurrent layer has no taps"

    rank: Any = setting(0.25, help="Channels between the two: a fraction, a number, a rule or a budget.", **RANK)

    def unfit(self, layer: Layer) -> str:
        """Two directions with more than one tap each are needed."""
        if len(layer.kernel) > 2:
            return "its kernel extends in three directions, and this splits two; use Tucker or SVD"
        if len(layer.kernel) != 2 or min(layer.kernel) == 1:
            return "its kernel does not extend in two directions"
        return ""

    def full(self, layer: Layer) -> Ranks:
        """min(inputs * k_h, outputs * k_w) a group."""
        g, (high, wide) = layer.groups, layer.kernel
        return (min(layer.c_in // g * high, layer.c_out // g * wide),)

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """Vertical, then horizontal."""
        g = layer.groups
        vertical = link(layer, layer.input, ranks[0] * g, [True, False], g)
        return vertical, link(layer, vertical.output, layer.c_out, [False, True], g, layer.bias)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> OneRank:
        """Singular values of the (out * k_w, in * k_h) matrix."""
        return matrix_spectrum([spatial_unfolding(weight) for weight in weights])

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling singular values."""
        return assumed(self.full_of(layer)[0])

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """[(rank, in, k_h, 1), (out, rank, 1, k_w)]."""
        found = spatial(weight, ranks[0], moment)
        return [found.vertical.unsqueeze(3), found.horizontal.unsqueeze(2)]
