"""`Tucker`: 1 x 1, k x k and 1 x 1 convolutions in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.cost.weights import Weights
from workbench.factorization.chain import Chain, link, no_taps, pointwise, spatial, taps
from workbench.factorization.family import STEM_INPUTS
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.ranks import Rule, rounded
from workbench.lowrank.spectra import Ranks, Spectrum, TwoRanks, assumed_two, tucker_spectrum
from workbench.lowrank.tucker import decompose, full_rank
from workbench.step import setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class Tucker(Factorize):
    """Project the input channels, convolve, expand the output channels (Kim et al. 2016).

    A side at its full rank is not projected: with a stem's one or three input channels only the outputs are.
    """

    title: ClassVar[str] = "Tucker"
    summary: ClassVar[str] = "k x k convolutions between fewer channels, with a 1 x 1 before and after."
    of_recurrent: ClassVar[str] = "a recurrent layer has no taps"
    modes: ClassVar[int] = 2

    rank: Any = setting(0.5, help="Ranks (outputs, inputs): a fraction, numbers, a rule or a budget.", **RANK)

    def unfit(self, layer: Layer) -> str:
        """Tucker-2 needs taps and more than one input channel a group."""
        if taps(layer) == 1:
            return no_taps(layer)
        if layer.groups > 1 and layer.groups == layer.c_in:
            return "depthwise: each group reads one channel, there is none to project; SpatialSVD can treat it"
        return ""

    def full(self, layer: Layer) -> Ranks:
        """(r_out, r_in) of a generic kernel, a group."""
        return full_rank(layer.c_out // layer.groups, layer.c_in // layer.groups, taps(layer))

    def limit(self, layer: Layer, ranks: Ranks) -> Ranks:
        """Neither rank can exceed the other times the taps."""
        p, q = super().limit(layer, ranks)
        return min(p, q * taps(layer)), min(q, p * taps(layer))

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """Input projection, core, output expansion."""
        g, (p, q) = layer.groups, ranks
        project, expand = self._sides(layer, ranks)
        chain = [pointwise(layer, layer.input, q * g, g)] if project else []
        before = chain[-1].output if chain else layer.input
        between = p * g if expand else layer.c_out
        chain.append(link(layer, before, between, spatial(layer), g, layer.bias and not expand))
        if expand:
            chain.append(pointwise(layer, chain[-1].output, layer.c_out, g, layer.bias))
        return tuple(chain)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> TwoRanks:
        """The cached bases: every rank is a slice of them."""
        return tucker_spectrum(weights)

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling singular values in both modes."""
        return assumed_two(*self.full_of(layer))

    def candidates(self, layer: Layer) -> list[Ranks]:
        """A grid of ranks; a stem keeps all its inputs."""
        most_out, most_in = self.full_of(layer)
        steps = [(k / 16) ** 1.25 for k in range(1, 17)]
        outs = sorted({rounded(most_out * s, most_out, self.round_to) for s in steps})
        ins = sorted({rounded(most_in * s, most_in, self.round_to) for s in steps})
        if layer.c_in // layer.groups <= STEM_INPUTS:
            ins = [most_in]
        grid = [(p, q) for p in outs for q in ins if (p, q) != (most_out, most_in)]
        return [ranks for ranks in grid if self.limit(layer, ranks) == ranks]

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """[input projection,] core [, output expansion]."""
        p, q = ranks
        core, (u, v) = decompose(weight, (p, q), moment=moment)
        project, expand = self._sides(layer, ranks)
        if not project:
            core = torch.einsum("pq...,iq->pi...", core, v)
        if not expand:
            core = torch.einsum("op,pq...->oq...", u, core)
        return [*([v.T] if project else []), core, *([u] if expand else [])]

    def ranks(self, rule: Rule, layer: Layer, weights: Weights) -> Ranks:
        """As for all, and a stem keeps all its inputs."""
        ranks = super().ranks(rule, layer, weights)
        if rule.kind != "explicit" and layer.c_in // layer.groups <= STEM_INPUTS:
            return self.limit(layer, (ranks[0], self.full_of(layer)[1]))
        return ranks

    def _sides(self, layer: Layer, ranks: Ranks) -> tuple[bool, bool]:
        """Whether the inputs are projected, and the outputs expanded."""
        g, (p, q) = layer.groups, ranks
        return self.allow_growth or q < layer.c_in // g, self.allow_growth or p < layer.c_out // g
