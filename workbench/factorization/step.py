"""`Factorize`, the step that every low-rank and filter family is: its settings, and what is done with the family.

A technique's file says what the family is (`family.Family`: closed forms of chains, errors and factors). From that
the `planner` decides on ranks (under a budget with `budgets`), and the `fitter` does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

from torch import nn

from workbench.cost.layer import WITH_WEIGHTS, Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue
from workbench.factorization.chain import Chain
from workbench.factorization.family import Family
from workbench.factorization.fitter import rewrite
from workbench.factorization.planner import Choice, check_rule, choose
from workbench.lowrank.ranks import Rule, freeze, parse, thaw
from workbench.plan import Plan
from workbench.settings import doublings
from workbench.step import Context, Layers, Rewrite, Step, layers_setting, setting

#: What the field that holds a family's rank says of itself.
RANK: dict[str, Any] = {"kind": "rank", "low": 0.02, "high": 1.0}
#: Settings that say which layers are treated and how factors are fitted, not what a chain is.
APART = frozenset({"layers", "data_aware", "asymmetric"})


class _Own:
    """Stands for a family's settings where answers are remembered: to look it up is cheaper than to hash them all."""


_OWN: dict[Hashable, _Own] = {}


@dataclass(frozen=True)
class Factorize(Family, Rewrite, abstract=True):
    """A step that puts a chain of smaller layers in the place of one."""

    family: ClassVar[str] = "low-rank"

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
        check_rule(self, self.rule)
        if self.asymmetric and not self.data_aware:
            raise BadValue(
                f"{type(self).__name__}(asymmetric=True, data_aware=False): an asymmetric fit is one to calibration "
                "images. Leave data_aware on."
            )
        super().__post_init__()

    @cached_property
    def rule(self) -> Rule:
        """The rank, parsed."""
        return parse(getattr(self, self.rule_field))

    @cached_property
    def own_settings(self) -> Hashable:
        """The family with every setting but the rank and those of `APART`: one object for equal settings."""
        names = (one.name for one in fields(self) if one.name not in APART and one.name != self.rule_field)
        key = (type(self), *(getattr(self, name) for name in names))
        return _OWN.setdefault(key, _Own())

    @cached_property
    def brief(self) -> str:
        """As for every step, remembered: each row of a plan says it."""
        return Step.brief.fget(self)  # type: ignore[attr-defined,no-any-return]  # a property

    @property
    def effort(self) -> float:
        """That of reading the calibration images, twice."""
        return 12.0 if self.data_aware else 1.0

    def fitting(self, network: Network) -> list[Layer]:
        """The layers of a shape that this family can treat."""
        layers = (ops[0] for ops in network.by_module.values() if ops[0].kind in WITH_WEIGHTS)
        return [one for one in layers if not self.unfit(one)]

    def options(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain values."""
        return {name: thaw(value) for name, value in super().options().items()}

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """What happens to every layer chosen, and the network after it."""
        choices = choose(self, network, weights)
        chains = {one.layer.module: self._chain_of(one, network) for one in choices if one.chain is not None}
        rows = tuple(one.row for one in choices)
        after = network.replace(chains) if chains else network
        return Plan(network, after, rows, exact=not any(one.about for one in rows))

    def _chain_of(self, one: Choice, network: Network) -> Chain | Callable[[Layer], Chain]:
        """What stands in for a layer; where it runs on inputs of several shapes, by the shape."""
        assert one.chain is not None
        uses = network.by_module[one.layer.module]
        if len(uses) == 1 or all(op.input == one.layer.input for op in uses):
            return one.chain
        return lambda op: self.priced(op, one.ranks).chain

    def without(self, layers: Collection[str], network: Network, weights: Weights) -> Step | None:
        """As for every step; under a budget the other layers keep the ranks that it has given them."""
        if not self.rule.is_budget:
            return super().without(layers, network, weights)
        ranks = {one.layer.module: one.ranks for one in choose(self, network, weights) if one.chain is not None}
        kept = {name: rank for name, rank in ranks.items() if name not in layers}
        if not kept or len(kept) == len(ranks):
            return self if kept else None
        changes: dict[str, Any] = {self.rule_field: kept, "layers": tuple(kept)}
        return replace(self, **changes)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with the chains in place. Raises: `StepFailed`, `BadValue`, `Cancelled`."""
        network = trace(module, context.example)
        choices = choose(self, network, Weights(module, context.cache))
        return rewrite(self, module, network, choices, context)
