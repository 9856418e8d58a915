"""`CP`: a chain of pointwise and depthwise convolutions from a sum of rank-one terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.errors import StepFailed
from workbench.factorization.chain import Chain, link, no_taps, pointwise, spatial, taps
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.polyadic import DEGENERATE, fit, full_rank, intensity
from workbench.lowrank.spectra import OneRank, Ranks, Spectrum, assumed, triplet_spectrum
from workbench.step import setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class CP(Factorize):
    """1 x 1, depthwise k x 1, depthwise 1 x k, 1 x 1 (Lebedev et al. 2015), corrected as in Phan et al. 2020.

    In the 3-way form one depthwise k x k takes the place of the two in the middle.
    """

    title: ClassVar[str] = "CP"
    summary: ClassVar[str] = "Convolutions as sums of rank-one terms: pointwise, depthwise, pointwise."
    of_recurrent: ClassVar[str] = "a recurrent layer has no taps"
    exact_error: ClassVar[bool] = False  # known only after the fit

    rank: Any = setting(0.25, help="Number of rank-one terms: a fraction, a number, a rule or a budget.", **RANK)
    form: str = setting(
        "4-way", "choice", "4-way splits the taps into two directions, 3-way keeps them together.",
        choices=("4-way", "3-way"),
    )  # fmt: skip

    def unfit(self, layer: Layer) -> str:
        """CP needs taps and more than one channel a group."""
        if taps(layer) == 1:
            return no_taps(layer)
        if layer.groups > 1 and layer.groups == layer.c_in:
            return "depthwise: it is one rank-one term a channel already; SpatialSVD can split its taps"
        return ""

    def full(self, layer: Layer) -> Ranks:
        """All dimensions but the largest: every kernel is exact there."""
        return (full_rank(self._shape(layer)),)

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """Pointwise, depthwise along every direction (or once), pointwise."""
        terms = ranks[0] * layer.groups
        chain = [pointwise(layer, layer.input, terms, layer.groups)]
        for axes in self._directions(layer):
            chain.append(link(layer, chain[-1].output, terms, axes, terms))
        return (*chain, pointwise(layer, chain[-1].output, layer.c_out, layer.groups, layer.bias))

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> OneRank:
        """An upper bound of the error: the strongest singular triplets of single taps."""
        return triplet_spectrum(weights)

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling terms."""
        return assumed(self.full_of(layer)[0])

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """[(terms, in), one (terms, 1, *kernel) a direction, (out, terms)]. Raises: `StepFailed` when degenerate."""
        out, inputs, *directions = found = fit(weight.reshape(self._shape(layer)), ranks[0], moment=moment)
        overlap = intensity(found)
        if overlap > DEGENERATE:
            raise StepFailed(
                f"{self.brief} on {layer.module!r}: the {ranks[0]} rank-one terms cancel each other (their squared "
                f"norms add up to {overlap:.0f} times the kernel's). Use another rank, or Tucker."
            )
        middle = [
            factor.T.reshape(ranks[0], 1, *(k if own else 1 for k, own in zip(layer.kernel, axes, strict=True)))
            for factor, axes in zip(directions, self._directions(layer), strict=True)
        ]
        return [inputs.T, *middle, out]

    def _directions(self, layer: Layer) -> list[list[bool]]:
        """The spatial axes that each depthwise link takes over."""
        if self.form == "3-way" or len(layer.kernel) > 2 or sum(k > 1 for k in layer.kernel) < 2:
            return [spatial(layer)]
        return [[axis == own for axis in range(len(layer.kernel))] for own in range(len(layer.kernel))]

    def _shape(self, layer: Layer) -> tuple[int, ...]:
        g = layer.groups
        middle = layer.kernel if len(self._directions(layer)) > 1 else (taps(layer),)
        return layer.c_out // g, layer.c_in // g, *middle
