"""`Stack3x3`: two or three 3 x 3 convolutions in the place of a 5 x 5 or a 7 x 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.cost.weights import Weights
from workbench.factorization.chain import Chain, link, spatial
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.filters import stack3
from workbench.lowrank.ranks import Rule
from workbench.lowrank.spectra import Ranks, Spectrum, assumed
from workbench.step import setting

Tensor = torch.Tensor


@dataclass(frozen=True)
class Stack3x3(Factorize):
    """5 x 5 as two 3 x 3, 7 x 7 as three, fitted to the layer's responses (after Simonyan & Zisserman 2015).

    There is no nonlinearity between, so the fit is exact arithmetic on the composed kernel. The first link
    takes all the padding: borders come out as the original's do.
    """

    title: ClassVar[str] = "Stack of 3 x 3"
    summary: ClassVar[str] = "5 x 5 and 7 x 7 convolutions as two or three 3 x 3."
    of_recurrent: ClassVar[str] = "a recurrent layer has no taps"
    rule_field: ClassVar[str] = "width"
    rules: ClassVar[frozenset[str]] = frozenset({"fraction", "explicit"})
    exact_error: ClassVar[bool] = False  # known only after the fit

    width: Any = setting(1.0, help="Channels between, as a fraction of the smaller channel count, or a number.", **RANK)

    def unfit(self, layer: Layer) -> str:
        """Only 5 x 5 and 7 x 7 kernels are stacks of 3 x 3."""
        if layer.kind == "conv_transpose":
            return "it is transposed: a stack would put zeros between its own maps too"
        if layer.kernel in {(5, 5), (7, 7)}:
            return ""
        shape = "x".join(map(str, layer.kernel))
        return f"its kernel is {shape}, only 5x5 and 7x7 are stacks of 3x3" if shape else "a linear layer has no taps"

    def full(self, layer: Layer) -> Ranks:
        """A width at which a stack can hold every kernel: one channel for every shift of every input."""
        shifts = (layer.kernel[0] - 2) ** 2
        return (shifts * max(layer.c_in, layer.c_out) // layer.groups,)

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """3 x 3 links: padding in the first, stride and bias in the last."""
        count, g = (layer.kernel[0] - 1) // 2, layer.groups
        chain: list[Layer] = []
        for index in range(count):
            last = index == count - 1
            shape = layer.but(
                kernel=(3, 3),
                stride=layer.stride if last else (1, 1),
                padding=(0, 0) if index else layer.padding,
            )
            before = chain[-1].output if chain else layer.input
            c_out = layer.c_out if last else ranks[0] * g
            chain.append(link(shape, before, c_out, spatial(shape), g, layer.bias and last))
        return tuple(chain)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> Spectrum:
        """No closed form: falling values stand in."""
        return self.assumed(layer)

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling singular values."""
        return assumed(self.full_of(layer)[0])

    def describe(self, ranks: Ranks) -> str:
        """The width in words."""
        return f"3x3 stack with {ranks[0]} channels between"

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """The kernels, first to last."""
        return stack3(weight, ranks[0], moment=moment)

    def ranks(self, rule: Rule, layer: Layer, weights: Weights) -> Ranks:
        """A fraction is of the smaller channel count, not of the width that is exact."""
        if rule.kind == "explicit":
            return super().ranks(rule, layer, weights)
        smaller = min(layer.c_in, layer.c_out) // layer.groups
        return self.limit(layer, (max(1, round(rule.value * smaller)),))

    def stronger(self, ranks: Ranks, enough: Ranks) -> Ranks:
        """A stem's stack has no energy to keep: the width asked for."""
        return ranks
