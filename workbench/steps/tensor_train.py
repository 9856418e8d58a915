"""`TensorTrain`: 1 x 1, k x 1, 1 x k and 1 x 1 convolutions in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.cost.weights import Weights
from workbench.factorization.chain import Chain, link, spatial, taps
from workbench.factorization.family import STEM_INPUTS
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.ranks import Rule, rounded
from workbench.lowrank.spectra import Ranks, Spectrum, TrainRanks, assumed, train_spectrum
from workbench.lowrank.trains import joined, train
from workbench.step import setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class TensorTrain(Factorize):
    """One small tensor for the inputs, one for each direction of the taps, one for the outputs (Oseledets 2011).

    The train of a kernel ordered (inputs, high, wide, outputs) is a chain of ordinary convolutions, computed with
    TensorLy. Along an axis with one tap there is no link: a kernel of one direction becomes three layers, a linear
    layer or a 1 x 1 convolution two, which is what SVD gives. (Trains of a matrix whose sides are themselves split,
    as in Novikov et al. 2015, are no chain of plain layers, and are not made here.)
    """

    title: ClassVar[str] = "Tensor train"
    summary: ClassVar[str] = "k x k convolutions as 1 x 1, k x 1, 1 x k and 1 x 1, all with channels of their own."
    modes: ClassVar[int] = 3
    exact_error: ClassVar[bool] = False  # known only after the fit

    rank: Any = setting(
        0.5, help="Channels behind the inputs, high and wide links: a fraction, numbers, a rule or a budget.", **RANK
    )

    def unfit(self, layer: Layer) -> str:
        """A layer of rank one a group has nothing to factorize; a train has links for two directions."""
        if len(layer.kernel) > 2:
            return "its kernel extends in three directions, and this splits two; use Tucker or SVD"
        return "each of its groups is of rank 1 already" if self.full_of(layer) == (1, 1, 1) else ""

    def full(self, layer: Layer) -> Ranks:
        """The ranks of the three unfoldings of a generic kernel, a group."""
        out, inputs, (high, wide) = _sizes(layer)
        return min(inputs, high * wide * out), min(inputs * high, wide * out), min(inputs * high * wide, out)

    def limit(self, layer: Layer, ranks: Ranks) -> Ranks:
        """No rank can exceed its neighbour times the taps between them."""
        high, wide = _sizes(layer)[2]
        a, b, c = super().limit(layer, ranks)
        a, c = min(a, b * high, c * high * wide), min(c, b * wide, a * high * wide)
        return a, min(b, a * high, c * wide), c

    def describe(self, ranks: Ranks) -> str:
        """The ranks in words; equal ones once."""
        return super().describe(ranks[:1] if len(set(ranks)) == 1 else ranks)

    def ranks(self, rule: Rule, layer: Layer, weights: Weights) -> Ranks:
        """As for all, and a stem keeps all its inputs."""
        found = super().ranks(rule, layer, weights)
        if rule.kind != "explicit" and _is_stem(layer):
            return self.limit(layer, (self.full_of(layer)[0], *found[1:]))
        return found

    def candidates(self, layer: Layer) -> list[Ranks]:
        """A grid: one share for the channels at both ends, one for those in the middle; a stem keeps all its inputs."""
        first, middle, last = self.full_of(layer)
        shares = [(k / 12) ** 1.25 for k in range(1, 13)]
        grid = {
            (
                first if _is_stem(layer) else rounded(first * ends, first, self.round_to),
                rounded(middle * inner, middle, self.round_to),
                rounded(last * ends, last, self.round_to),
            )
            for ends, inner in product(shares, shares)
        }
        return sorted({self.limit(layer, ranks) for ranks in grid} - {(first, middle, last)})

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """The inputs' link, one for each direction, the outputs' link."""
        chain: list[Layer] = []
        links = self._links(layer, ranks)
        for index, (axes, width) in enumerate(links):
            before = chain[-1].output if chain else layer.input
            bias = layer.bias and index == len(links) - 1
            chain.append(link(layer, before, width * layer.groups, axes, layer.groups, bias))
        return tuple(chain)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> TrainRanks:
        """Singular values of the three unfoldings."""
        return train_spectrum(weights, _inner(layer))

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling singular values in all."""
        first, middle, last = map(assumed, self.full_of(layer))
        return TrainRanks((first, middle, last), _inner(layer))

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """One a link, (channels behind it, channels before it, *its taps)."""
        kernel = [k for k in layer.kernel if k > 1]
        plain = moment is None or ranks == self.full_of(layer)  # which is exact
        between = [ranks[mode] for mode in _inner(layer)]
        cores = train(weight.reshape(*weight.shape[:2], *kernel), between, None if plain else moment)
        first, last = self._sides(layer, ranks)
        if not first:
            cores = [joined(cores[:2]).squeeze(0), *cores[2:]]
        if not last:
            cores = [*cores[:-2], joined(cores[-2:]).squeeze(-1)]
        inputs = [cores[0].squeeze(0).T] if first else []
        outputs = [cores[-1].squeeze(-1).T] if last else []
        taps_of = cores[first : len(cores) - last]
        return [*inputs, *(core.movedim(-1, 0) for core in taps_of), *outputs]

    def _links(self, layer: Layer, ranks: Ranks) -> list[tuple[list[bool], int]]:
        """The spatial axes that each link takes over, and the channels of a group behind it."""
        out = layer.c_out // layer.groups
        if taps(layer) == 1:
            return [(spatial(layer), ranks[0]), ([], out)]
        first, last = self._sides(layer, ranks)
        widths = [ranks[mode] for mode in _inner(layer)][1:]
        directions = zip(_directions(layer), widths if last else [*widths[:-1], out], strict=True)
        return [*([([], ranks[0])] if first else []), *directions, *([([], out)] if last else [])]

    def _sides(self, layer: Layer, ranks: Ranks) -> tuple[bool, bool]:
        """Whether inputs and outputs have a link of their own: beside taps only where it changes their number."""
        out, inputs, _ = _sizes(layer)
        always = self.allow_growth or taps(layer) == 1
        return always or ranks[0] < inputs, always or ranks[2] < out


def _sizes(layer: Layer) -> tuple[int, int, tuple[int, int]]:
    """Outputs and inputs of a group, and the taps of two axes."""
    high, wide = (*layer.kernel, 1, 1)[:2]
    return layer.c_out // layer.groups, layer.c_in // layer.groups, (high, wide)


def _inner(layer: Layer) -> tuple[int, ...]:
    """Which of the three ranks differ: with one tap along an axis its two neighbours are one and the same."""
    high, wide = _sizes(layer)[2]
    return (0, *([1] if high > 1 and wide > 1 else []), *([2] if high * wide > 1 else []))


def _directions(layer: Layer) -> list[list[bool]]:
    """The axes of every link that has taps."""
    if len(_inner(layer)) < 3:
        return [spatial(layer)]
    return [[axis == own for axis in range(2)] for own in range(2)]


def _is_stem(layer: Layer) -> bool:
    return layer.c_in // layer.groups <= STEM_INPUTS
