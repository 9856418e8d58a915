"""Which layers a factorization treats, at what ranks, and why it leaves the others alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.errors import BadValue, OutOfReach
from workbench.lowrank.ranks import Rule, parse
from workbench.lowrank.spectra import Ranks
from workbench.steps.base import Row, select
from workbench.steps.budgets import EDGE_ENERGY, Treated, share
from workbench.steps.chain import Chain, macs, params

if TYPE_CHECKING:
    from workbench.steps.factorize import Factorize

#: Layers with at most this many input channels a group count as a stem.
STEM_INPUTS = 3
KINDS = frozenset({"conv", "conv_transpose", "linear"})


@dataclass(frozen=True)
class Decision:
    """What happens to one layer: the chain in its place, or None and the reason."""

    layer: Layer
    action: str
    uses: int = 1
    ranks: Ranks = ()
    chain: Chain | None = None
    error: float | None = None
    about: bool = False  # the ranks are settled only once an earlier step has made the weights

    def row(self, step: str) -> Row:
        """The plan's line."""
        one, chain = self.layer, self.chain or (self.layer,)
        action = "about " * self.about + self.action
        return Row(
            step, one.module, one.kind, self.chain is not None, action, one.macs * self.uses,
            macs(chain) * self.uses, one.params, params(chain), self.error,
        )  # fmt: skip


def decide(step: Factorize, network: Network, weights: Weights) -> list[Decision]:
    """One decision a layer, in execution order. Raises: `BadValue`, `OutOfReach`, `UnknownName`."""
    found: list[Decision] = []
    layers = _layers(step, network, weights)
    try:
        chosen = wished(step, network, [one for one, refused in layers if not refused], weights)
    except OutOfReach as error:
        rows = [_alone(one, refused or "the budget cannot be reached").row(step.brief) for one, refused in layers]
        raise OutOfReach(str(error), rows) from error
    unknown = any(weights.of(one.layer.module) is None for one, refused in layers if not refused)
    for one, refused in layers:
        if refused:
            found.append(_alone(one, refused))
            continue
        decision = _decision(step, one, chosen[one.layer.module], weights)
        about = unknown and decision.chain is not None and _looks_at_weights(rule_of(step), one)
        found.append(replace(decision, about=about))
    return found


def _looks_at_weights(rule: Rule, one: Treated) -> bool:
    """Whether the weights have a say in a layer's ranks, beside its shape."""
    own = rule if rule.is_budget else rule.of(one.layer.module)
    return own is not None and own.kind != "explicit" and (own.kind != "fraction" or one.edge)


def treatable(step: Factorize, network: Network, weights: Weights) -> list[Treated]:
    """The layers that a family can treat, in execution order. Raises: `UnknownName`."""
    return [one for one, refused in _layers(step, network, weights) if not refused]


def wished(step: Factorize, network: Network, layers: Sequence[Treated], weights: Weights) -> dict[str, Ranks | None]:
    """The ranks that the step's rule gives each layer; None where it has none for it. Raises: `BadValue`."""
    rule = rule_of(step)
    _refuse_beyond(step, rule, [one.layer for one in layers])
    if rule.is_budget:
        return share(step, rule, network, layers, weights)
    return {one.layer.module: _by_rule(step, rule, one, weights) for one in layers}


def rule_of(step: Factorize) -> Rule:
    """The step's rank, parsed."""
    return parse(getattr(step, step.rule_field))


def check_rule(step: Factorize, rule: Rule) -> None:
    """Raise `BadValue` for a kind of rule, or a number of ranks, that the family has no use for."""
    where = f"{type(step).__name__}({step.rule_field}="
    for one in [rule, *(own for _, own in rule.each)]:
        if one.kind not in step.rules | {"each"}:
            known = ", ".join(sorted(step.rules))
            raise BadValue(f"{where}...): a rule of kind {one.kind!r} has no meaning here; known: {known}.")
        if len(one.ranks) not in {0, 1, step.modes}:
            raise BadValue(
                f"{where}{one.ranks!r}): give one number, or {step.modes} for the {step.modes} ranks of a layer."
            )


def _layers(step: Factorize, network: Network, weights: Weights) -> list[tuple[Treated, str]]:
    """Every layer that the step is meant for, and why it cannot be treated, or ""."""
    uses = {name: ops for name, ops in network.by_module.items() if any(op.kind in KINDS for op in ops)}
    edges = _edges(network)
    return [
        (Treated(uses[name][0], len(uses[name]), name in edges), _refusal(step, uses[name], weights))
        for name in select(step.layers, uses)
    ]


def _edges(network: Network) -> frozenset[str]:
    """Layers that get their own judgement: stems, and the last linear layer of a network of several."""
    weighed = [layer for layer in network.layers if layer.kind in KINDS and layer.module]
    found = {one.module for one in weighed if one.kind == "conv" and one.c_in <= STEM_INPUTS}
    if len(weighed) > 1 and weighed[-1].kind == "linear":
        found.add(weighed[-1].module)
    return frozenset(found)


def _by_rule(step: Factorize, rule: Rule, one: Treated, weights: Weights) -> Ranks | None:
    layer, own = one.layer, rule.of(one.layer.module)
    if own is None:
        return None
    ranks = step.ranks(own, layer, weights)
    if own.kind == "explicit" or not one.edge or ranks == step.full(layer):
        return ranks
    enough = step.known(layer, weights).energy(EDGE_ENERGY)
    return step.limit(layer, step.stronger(ranks, enough))


def _decision(step: Factorize, one: Treated, ranks: Ranks | None, weights: Weights) -> Decision:
    """The chain at these ranks, unless it saves nothing; None leaves the layer alone."""
    layer, rule = one.layer, rule_of(step)
    if ranks is None:
        budget, unnamed = "the budget is better spent on other layers", "the mapping of ranks does not name it"
        return _alone(one, budget if rule.is_budget else unnamed)
    chain = () if ranks == step.full(layer) and not step.allow_growth else step.chain(layer, ranks)
    larger = max(macs(chain) / layer.macs, params(chain) / layer.params)
    if chain and (larger < 1 or step.allow_growth):
        known = step.exact_error and weights.of(layer.module) is not None
        error = step.known(layer, weights).error(ranks) if known else None
        return Decision(layer, step.describe(ranks), one.uses, ranks, chain, error)
    own = rule.of(layer.module)
    if one.edge and own is not None and own.kind != "explicit":
        why = f"first or last layer: keeping {EDGE_ENERGY:.0%} of its energy saves nothing"
        return _alone(one, f"{why} ({step.describe(ranks)}); an explicit rank overrides")
    saved = f"would make it {larger:.2f} times as large" if chain else "is the full rank, nothing to save"
    return _alone(one, f"{step.describe(ranks)} {saved}")


def _alone(one: Treated, why: str) -> Decision:
    return Decision(one.layer, f"left alone: {why}", one.uses)


def _refuse_beyond(step: Factorize, rule: Rule, layers: Sequence[Layer]) -> None:
    """Raise `BadValue` for a rank above the full rank of every layer it is meant for: surely a slip."""
    for name, own in rule.each:
        _refuse_beyond(step, own, [layer for layer in layers if layer.module == name])
    if rule.kind != "explicit" or not layers or not step.bounded:
        return
    fulls = {layer.module: step.full(layer) for layer in layers}
    every = all if len(rule.ranks) == 1 else any  # one number for both modes may exceed the smaller
    asks = [zip(step.explicit(rule, full), full, strict=True) for full in fulls.values()]
    if all(every(rank > most for rank, most in pairs) for pairs in asks):
        name, full = max(fulls.items(), key=lambda item: item[1])
        asked = rule.ranks[0] if len(rule.ranks) == 1 else rule.ranks
        raise BadValue(
            f"{type(step).__name__}({step.rule_field}={asked}): above the full rank of every layer it is for; "
            f"the largest is {', '.join(map(str, full))}, of {name!r}. Give that at most, or a fraction."
        )


def _refusal(step: Factorize, ops: Sequence[Layer], weights: Weights) -> str:
    """Why a layer cannot be treated at all, or ""."""
    layer = ops[0]
    if layer.kind == "conv_transpose":
        return "transposed convolutions are not supported"
    if any(op.input != layer.input or op.kind != layer.kind for op in ops):
        return f"it runs {len(ops)} times, on inputs of different shapes"
    if layer.module in weights.tied:
        return f"it shares its weight with {weights.tied[layer.module]!r}: two chains would hold more than one layer"
    if len(layer.kernel) > 2:
        return "convolutions over three axes are not supported"
    return step.unfit(layer) or _weights_unfit(layer, weights)


def _weights_unfit(layer: Layer, weights: Weights) -> str:
    """Why a layer's values rule a factorization out, or "" (also where an earlier step decides)."""
    return weights.analysed(layer.module, "unfit", _health) or ""


def _health(weight: torch.Tensor) -> str:
    if not torch.isfinite(weight).all():
        return "its weights hold NaN or infinite values"
    return "" if weight.any() else "its weights are all zero"
