"""`Factorize`, the step that every low-rank and filter family is: what a family says of itself, and what follows.

A family says in closed form what chain of layers stands in for one at given ranks, what the weight's
spectrum tells of every rank, and how to compute the factors. From that `ranking` decides on ranks (under a
budget with `budgets`), `outlook` predicts, and `fitting` does the work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue
from workbench.lowrank.ranks import Rule, freeze, rounded, thaw
from workbench.lowrank.spectra import Ranks, Spectrum
from workbench.steps.base import Context, Layers, Prediction, Rewrite, Sketch, Step, layers_setting, setting
from workbench.steps.chain import Chain
from workbench.steps.fitting import rewrite
from workbench.steps.outlook import outlook
from workbench.steps.ranking import KINDS, check_rule, decide, rule_of
from workbench.steps.settings import doublings

Tensor = torch.Tensor

#: What the field that holds a family's rank says of itself.
RANK: dict[str, Any] = {"kind": "rank", "low": 0.02, "high": 1.0}


@dataclass(frozen=True)
class Factorize(Rewrite, abstract=True):
    """A step that puts a chain of smaller layers in the place of one."""

    family: ClassVar[str] = "low-rank"
    rule_field: ClassVar[str] = "rank"
    rules: ClassVar[frozenset[str]] = frozenset({"fraction", "explicit", "energy", "evbmf", "macs", "params"})
    modes: ClassVar[int] = 1  # how many ranks a layer has
    bounded: ClassVar[bool] = True  # whether the full rank is the most that may be asked for
    affine: ClassVar[bool] = True  # whether a chain's costs are affine in every rank
    exact_error: ClassVar[bool] = True  # whether the spectrum's error is that of the plain factors
    mixes: ClassVar[bool] = True  # whether the last link may be multiplied by any matrix from the left

    _: KW_ONLY
    layers: Layers = layers_setting()
    data_aware: bool = setting(
        True, "flag", "Fit the layers' outputs on calibration images instead of the weights alone.", label="data-aware"
    )
    asymmetric: bool = setting(
        False, "flag", "Fit each layer to the inputs that the layers before it give once they are factorized: slower."
    )
    allow_growth: bool = setting(
        False, "flag", "Factorize also where that makes a layer larger, to see that full rank is exact."
    )
    round_to: int = setting(
        1,
        "integer",
        "Round ranks to a multiple of this; kernels like 8.",
        label="round ranks to",
        low=1,
        high=256,
        stops=doublings(1, 256),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, self.rule_field, freeze(getattr(self, self.rule_field)))
        check_rule(self, rule_of(self))
        if self.asymmetric and not self.data_aware:
            raise BadValue(
                f"{type(self).__name__}(asymmetric=True, data_aware=False): an asymmetric fit is one to calibration "
                "images. Leave data_aware on."
            )
        super().__post_init__()

    # What a family says.

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
        """What the weight, one tensor (out, in, *kernel) a group, tells of every rank."""

    @abstractmethod
    def assumed(self, layer: Layer) -> Spectrum:
        """The spectrum to plan with while the weight is not known."""

    @abstractmethod
    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """The weights of the chain's links, for one group."""

    # What most families have in common.

    @property
    def effort(self) -> float:
        """That of reading the calibration images, twice."""
        return 12.0 if self.data_aware else 1.0

    def fitting(self, network: Network) -> list[Layer]:
        """The layers of a shape that this family can treat."""
        layers = (ops[0] for ops in network.by_module.values() if ops[0].kind in KINDS)
        return [one for one in layers if not self.unfit(one)]

    @property
    def variety(self) -> str:
        """The family, and the settings other than the rank that shape its chains."""
        return type(self).__name__

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
        return tuple(min(rank, most) for rank, most in zip(ranks, self.full(layer), strict=True))

    def stronger(self, ranks: Ranks, enough: Ranks) -> Ranks:
        """Ranks that keep at least what both keep."""
        return tuple(map(max, ranks, enough))

    def ranks(self, rule: Rule, layer: Layer, weights: Weights) -> Ranks:
        """The ranks that a rule other than a budget gives one layer."""
        full = self.full(layer)
        if rule.kind == "explicit":
            wished = self.explicit(rule, full)
            return self.limit(layer, tuple(min(round(r), most) for r, most in zip(wished, full, strict=True)))
        if rule.kind == "fraction":
            shares: Sequence[float] = [rule.value * most for most in full]
        else:
            spectrum = self.known(layer, weights)
            shares = spectrum.energy(rule.value) if rule.kind == "energy" else spectrum.evbmf()
        ranks = tuple(rounded(rank, most, self.round_to) for rank, most in zip(shares, full, strict=True))
        return self.limit(layer, ranks)

    def explicit(self, rule: Rule, full: Ranks) -> list[float]:
        """The numbers asked for, one a mode; those written as fractions are of the full rank."""
        given = rule.ranks * len(full) if len(rule.ranks) == 1 else rule.ranks
        pairs = zip(given, full, strict=True)
        return [rank if isinstance(rank, int) else max(1.0, rank * most) for rank, most in pairs]

    def known(self, layer: Layer, weights: Weights) -> Spectrum:
        """The spectrum of a layer's weight, computed once; the assumed one while the weight is not known."""

        def compute(weight: Tensor) -> Spectrum:
            return self.spectrum(layer, weight.float().chunk(layer.groups))

        found = weights.analysed(layer.module, f"spectrum {type(self).__name__}", compute)
        return self.assumed(layer) if found is None else found

    # What follows.

    def options(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain values."""
        return {name: thaw(value) for name, value in super().options().items()}

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """What happens to every layer chosen, and the network after it. Raises: `BadValue`, `UnknownName`."""
        decisions = decide(self, network, weights)
        replaced = {one.layer.module: one.chain for one in decisions if one.chain is not None}
        rows = tuple(one.row(self.brief) for one in decisions)
        exact = not any(one.about for one in decisions)
        return Sketch(network.replace(replaced) if replaced else network, rows, exact)

    def without(self, layers: Collection[str], network: Network, weights: Weights) -> Step | None:
        """As for every step; under a budget the other layers keep the ranks that it has given them."""
        if not rule_of(self).is_budget:
            return super().without(layers, network, weights)
        ranks = {one.layer.module: one.ranks for one in decide(self, network, weights) if one.chain is not None}
        kept = {name: rank for name, rank in ranks.items() if name not in layers}
        if not kept or len(kept) == len(ranks):
            return self if kept else None
        changes: dict[str, Any] = {self.rule_field: kept, "layers": tuple(kept)}
        return replace(self, **changes)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with the chains in place. Raises: `StepFailed`, `BadValue`, `Cancelled`."""
        network = trace(module, context.example)
        decisions = decide(self, network, Weights(module, context.cache))
        return rewrite(self, module, network, decisions, context)

    def outlook(self, network: Network, weights: Weights, after: Sequence[Step] = ()) -> Prediction | None:
        """As for every step; None for chains that are not affine in their rank."""
        return outlook(self, network, weights, after)
