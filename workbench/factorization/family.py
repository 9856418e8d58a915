"""What a low-rank or filter family says of itself. The planner, the budgets and the fitter are handed one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.factorization.chain import Chain, Priced, oriented, priced
from workbench.lowrank.ranks import Rule, rounded
from workbench.lowrank.spectra import Ranks, Spectrum
from workbench.settings import Layers

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.cost.layer import Layer
    from workbench.cost.weights import Weights

#: Layers with at most this many input channels a group count as a stem.
STEM_INPUTS = 3


class Family(ABC):
    """Closed forms of one family: what stands in for a layer at given ranks, what that costs in error, the factors.

    Whatever is asked of it follows from the layer's shape, its weight and the family's own settings alone, so the
    answers are remembered under these.
    """

    rule_field: ClassVar[str] = "rank"
    rules: ClassVar[frozenset[str]] = frozenset({"fraction", "explicit", "energy", "evbmf", "macs", "params"})
    modes: ClassVar[int] = 1  # how many ranks a layer has
    bounded: ClassVar[bool] = True  # whether the full rank is the most that may be asked for
    exact_error: ClassVar[bool] = True  # whether the spectrum's error is that of the plain factors
    mixes: ClassVar[bool] = True  # whether the last link may be multiplied by any matrix from the left

    title: ClassVar[str]
    brief: Any  # a few characters for a table
    layers: Layers
    allow_growth: bool
    round_to: int
    data_aware: bool
    asymmetric: bool

    # What a family says.

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """How the ranks are chosen."""

    @property
    @abstractmethod
    def own_settings(self) -> Hashable:
        """The family, and everything that its chains and spectra depend on beside the ranks."""

    @abstractmethod
    def unfit(self, layer: Layer) -> str:
        """Why this family cannot treat a layer of this shape, or "" where it can."""

    @abstractmethod
    def full(self, layer: Layer) -> Ranks:
        """The ranks at which the chain is exact."""

    @abstractmethod
    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """The layers in the place of one. With `allow_growth` also those that a full rank makes needless."""

    @abstractmethod
    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> Spectrum:
        """What the weight, as `oriented`, one tensor (out, in, *kernel) a group, tells of every rank."""

    @abstractmethod
    def assumed(self, layer: Layer) -> Spectrum:
        """The spectrum to plan with while the weight is not known."""

    @abstractmethod
    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """The weights of the chain's links, for one group."""

    # What most families have in common.

    def describe(self, ranks: Ranks) -> str:
        """The ranks in words, for the plan."""
        return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"

    def candidates(self, layer: Layer) -> list[Ranks]:
        """Ranks to choose from under a budget: about thirty, dense at the low end."""
        (full,) = self.full(layer)
        found = {rounded(full * (k / 32) ** 1.5, full, self.round_to) for k in range(1, 33)}
        return [(rank,) for rank in sorted(found)]

    def limit(self, layer: Layer, ranks: Ranks) -> Ranks:
        """The ranks brought within what the layer allows."""
        return tuple(map(min, ranks, self.full_of(layer)))

    def stronger(self, ranks: Ranks, enough: Ranks) -> Ranks:
        """Ranks that keep at least what both keep."""
        return tuple(map(max, ranks, enough))

    def ranks(self, rule: Rule, layer: Layer, weights: Weights) -> Ranks:
        """The ranks that a rule other than a budget gives one layer."""
        full = self.full_of(layer)
        if rule.kind == "explicit":
            wished = self.explicit(rule, full)
            return self.limit(layer, tuple(min(round(r), most) for r, most in zip(wished, full, strict=True)))
        if rule.kind == "fraction":
            shares: Sequence[float] = [rule.value * most for most in full]
        else:
            spectrum = self.known(layer, weights)
            shares = spectrum.energy(rule.value) if rule.kind == "energy" else spectrum.evbmf()
        ranks = tuple([rounded(rank, most, self.round_to) for rank, most in zip(shares, full, strict=True)])
        return self.limit(layer, ranks)

    def explicit(self, rule: Rule, full: Ranks) -> list[float]:
        """The numbers asked for, one a mode; those written as fractions are of the full rank."""
        given = rule.ranks * len(full) if len(rule.ranks) == 1 else rule.ranks
        pairs = zip(given, full, strict=True)
        return [rank if isinstance(rank, int) else max(1.0, rank * most) for rank, most in pairs]

    # What is remembered.

    def full_of(self, layer: Layer) -> Ranks:
        """`full`, remembered."""
        key = (self.own_settings, "full")
        found: Ranks = layer.memo.get(key) or layer.remembered(key, self.full)
        return found

    def priced(self, layer: Layer, ranks: Ranks) -> Priced:
        """`chain` with its costs, remembered."""
        key = (self.own_settings, ranks)
        found: Priced = layer.memo.get(key) or layer.remembered(key, lambda one: priced(self.chain(one, ranks)))
        return found

    def known(self, layer: Layer, weights: Weights) -> Spectrum:
        """The spectrum of a layer's weight; the assumed one while the weight is not known."""
        found = self.of_weight(layer, weights)
        return layer.remembered((self.own_settings, "assumed"), self.assumed) if found is None else found

    def of_weight(self, layer: Layer, weights: Weights) -> Spectrum | None:
        """The spectrum of a layer's weight, computed once; None while the weight is not known."""
        return weights.analysed(
            layer.module,
            self.own_settings,
            lambda weight: self.spectrum(layer, oriented(layer, weight.float()).chunk(layer.groups)),
        )
