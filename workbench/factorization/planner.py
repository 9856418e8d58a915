"""Which layers a factorization treats, at what ranks, and why it leaves the others alone."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from workbench.cost.layer import WITH_WEIGHTS, Layer
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.errors import BadValue, OutOfReach
from workbench.factorization.budgets import EDGE_ENERGY, Treated, share
from workbench.factorization.chain import Chain
from workbench.factorization.family import STEM_INPUTS, Family
from workbench.lowrank.ranks import Rule
from workbench.lowrank.spectra import Ranks
from workbench.plan import Decision, Row
from workbench.settings import select

#: What a layer is left alone for, and the data of the sentence that says so.
Refusal = tuple[Decision, Mapping[str, Any]]
#: Rules whose ranks follow from a layer's shape alone, an edge's apart.
_BY_SHAPE = frozenset({"fraction", "explicit"})


class Choice(NamedTuple):
    """What happens to one layer: the chain in its place, or None; and the plan's line."""

    layer: Layer
    row: Row
    ranks: Ranks = ()
    chain: Chain | None = None


class Offer(NamedTuple):
    """What ranks come to for every layer of a shape; without a chain it is refused."""

    decision: Decision
    data: Mapping[str, Any]
    chain: Chain | None = None
    macs: int = 0
    params: int = 0


def choose(family: Family, network: Network, weights: Weights) -> list[Choice]:
    """One choice a layer, in execution order. Raises: `BadValue`, `OutOfReach`, `UnknownName`."""
    layers = _layers(family, network, weights)
    treated = [one for one, refused in layers if refused is None]
    try:
        ranks = wished(family, network, treated, weights)
    except OutOfReach as error:
        rows = [_left(family, one, refused or (Decision.OUT_OF_REACH, {})).row for one, refused in layers]
        raise OutOfReach(str(error), rows) from error
    waiting = (
        {one.layer.module for one in treated if weights.of(one.layer.module) is None} if weights.changed else set()
    )
    return [
        _left(family, one, refused)
        if refused
        else _told(_choice(family, one, ranks[one.layer.module], weights), family.rule, one, waiting)
        for one, refused in layers
    ]


def treatable(family: Family, network: Network, weights: Weights) -> list[Treated]:
    """The layers that a family can treat, in execution order. Raises: `UnknownName`."""
    return [one for one, refused in _layers(family, network, weights) if refused is None]


def wished(family: Family, network: Network, layers: Sequence[Treated], weights: Weights) -> dict[str, Ranks | None]:
    """The ranks that the family's rule gives each layer; None where it has none for it. Raises: `BadValue`."""
    rule = family.rule
    _refuse_beyond(family, rule, [one.layer for one in layers])
    if rule.is_budget:
        return share(family, rule, network, layers, weights)
    known: dict[tuple[int, int], Ranks] = {}
    return {one.layer.module: _by_rule(family, rule.of(one.layer.module), one, weights, known) for one in layers}


def check_rule(family: Family, rule: Rule) -> None:
    """Raise `BadValue` for a kind of rule, or a number of ranks, that the family has no use for."""
    where = f"{type(family).__name__}({family.rule_field}="
    for one in [rule, *(own for _, own in rule.each)]:
        if one.kind not in family.rules | {"each"}:
            known = ", ".join(sorted(family.rules))
            raise BadValue(f"{where}...): a rule of kind {one.kind!r} has no meaning here; known: {known}.")
        if len(one.ranks) not in {0, 1, family.modes}:
            raise BadValue(
                f"{where}{one.ranks!r}): give one number, or {family.modes} for the {family.modes} ranks of a layer."
            )


def _layers(family: Family, network: Network, weights: Weights) -> list[tuple[Treated, Refusal | None]]:
    """Every layer that the family is meant for, and why it cannot be treated; the ranks have no say in it."""
    question: Hashable = ("layers", family.own_settings, family.layers)
    return weights.remembered(network, question, lambda: _find_layers(family, network, weights))


def _find_layers(family: Family, network: Network, weights: Weights) -> list[tuple[Treated, Refusal | None]]:
    uses = {name: ops for name, ops in network.by_module.items() if any(op.kind in WITH_WEIGHTS for op in ops)}
    edges = _edges(network)
    return [
        (_treated(uses[name], name in edges), _refusal(family, uses[name], weights))
        for name in select(family.layers, uses)
    ]


def _treated(ops: Sequence[Layer], edge: bool) -> Treated:
    more = tuple(one for one in ops if one.input != ops[0].input)
    return Treated(ops[0], len(ops) - len(more), edge, more)


def _edges(network: Network) -> frozenset[str]:
    """Layers that get their own judgement: stems, and the last linear layer of a network of several."""
    weighed = [layer for layer in network.layers if layer.kind in WITH_WEIGHTS and layer.module]
    found = {one.module for one in weighed if one.kind == "conv" and one.c_in <= STEM_INPUTS}
    if len(weighed) > 1 and weighed[-1].kind == "linear":
        found.add(weighed[-1].module)
    return frozenset(found)


def _by_rule(
    family: Family, rule: Rule | None, one: Treated, weights: Weights, known: dict[tuple[int, int], Ranks]
) -> Ranks | None:
    """The ranks of one layer. `known` holds those that a rule gives to layers of a shape, as they are found."""
    if rule is None:
        return None
    layer, key = one.layer, (id(rule), id(one.layer.memo))
    ranks = known.get(key)
    if ranks is None:
        ranks = family.ranks(rule, layer, weights)
        if rule.kind in _BY_SHAPE:
            known[key] = ranks
    if not one.edge or rule.kind == "explicit" or ranks == family.full_of(layer):
        return ranks
    enough = family.known(layer, weights).energy(EDGE_ENERGY)
    return family.limit(layer, family.stronger(ranks, enough))


def _told(choice: Choice, rule: Rule, one: Treated, waiting: Collection[str]) -> Choice:
    """The choice, told as "about" where weights have a say in it that an earlier step has yet to make.

    So is a layer that is left alone: with other weights it may not be.
    """
    waits = waiting and (rule.is_budget or one.layer.module in waiting)
    if not waits or not _looks_at_weights(rule, one):
        return choice
    return choice._replace(row=choice.row._replace(about=True))


def _choice(family: Family, one: Treated, ranks: Ranks | None, weights: Weights) -> Choice:
    """The chain at these ranks, unless it saves nothing; None leaves the layer alone."""
    layer, rule = one.layer, family.rule
    if ranks is None:
        return _left(family, one, (Decision.BETTER_SPENT if rule.is_budget else Decision.UNNAMED, {}))
    key = (_offer, family.own_settings, ranks)
    offer: Offer = layer.memo.get(key) or layer.remembered(key, partial(_offer, family, ranks))
    if offer.chain is None:
        return _refused(family, one, offer.decision, offer.data)
    spectrum = family.of_weight(layer, weights) if family.exact_error else None
    error = None if spectrum is None else spectrum.error(ranks)
    row = Row(
        family.brief, layer.module, layer.kind, offer.decision, offer.data, one.macs,
        one.macs_at(family, ranks, offer.macs), layer.params, offer.params, error,
    )  # fmt: skip
    return Choice(layer, row, ranks, offer.chain)


def _offer(family: Family, ranks: Ranks, layer: Layer) -> Offer:
    said = family.describe(ranks)
    if ranks == family.full_of(layer) and not family.allow_growth:
        return Offer(Decision.FULL_RANK, {"ranks_said": said})
    chain, macs, params = family.priced(layer, ranks)
    larger = max(macs / layer.macs, params / layer.params)
    if larger >= 1 and not family.allow_growth:
        return Offer(Decision.LARGER, {"ranks_said": said, "times": larger})
    return Offer(Decision.FACTORIZED, {"ranks": ranks, "ranks_said": said}, chain, macs, params)


def _refused(family: Family, one: Treated, decision: Decision, data: Mapping[str, Any]) -> Choice:
    """A chain that saves nothing; of a first or last layer it is the care for it that is the reason."""
    own = family.rule.of(one.layer.module)
    if one.edge and own is not None and own.kind != "explicit":
        return _left(family, one, (Decision.EDGE, {**data, "energy": EDGE_ENERGY}))
    return _left(family, one, (decision, data))


def _left(family: Family, one: Treated, why: Refusal) -> Choice:
    layer, (decision, data) = one.layer, why
    cost, size = one.macs, layer.params
    return Choice(layer, Row(family.brief, layer.module, layer.kind, decision, data, cost, cost, size, size))


def _looks_at_weights(rule: Rule, one: Treated) -> bool:
    """Whether the weights have a say in a layer's ranks, beside its shape."""
    own = rule if rule.is_budget else rule.of(one.layer.module)
    return own is not None and own.kind != "explicit" and (own.kind != "fraction" or one.edge)


def _refuse_beyond(family: Family, rule: Rule, layers: Sequence[Layer]) -> None:
    """Raise `BadValue` for a rank above the full rank of every layer it is meant for: surely a slip."""
    for name, own in rule.each:
        _refuse_beyond(family, own, [layer for layer in layers if layer.module == name])
    if rule.kind != "explicit" or not layers or not family.bounded:
        return
    fulls = {layer.module: family.full_of(layer) for layer in layers}
    every = all if len(rule.ranks) == 1 else any  # one number for both modes may exceed the smaller
    asks = [zip(family.explicit(rule, full), full, strict=True) for full in fulls.values()]
    if all(every(rank > most for rank, most in pairs) for pairs in asks):
        name, full = max(fulls.items(), key=lambda item: item[1])
        asked = rule.ranks[0] if len(rule.ranks) == 1 else rule.ranks
        raise BadValue(
            f"{type(family).__name__}({family.rule_field}={asked}): above the full rank of every layer it is for; "
            f"the largest is {', '.join(map(str, full))}, of {name!r}. Give that at most, or a fraction."
        )


def _refusal(family: Family, ops: Sequence[Layer], weights: Weights) -> Refusal | None:
    """Why a layer cannot be treated at all; None where it can, also where an earlier step decides that."""
    layer = ops[0]
    why = _unfit(family, ops, weights)
    if why:
        return Decision.UNFIT, {"why": why}
    return weights.analysed(layer.module, "health", _health)


def _unfit(family: Family, ops: Sequence[Layer], weights: Weights) -> str:
    layer = ops[0]
    why = family.unfit(layer)
    if why or layer.module not in weights.tied:
        return why
    return f"it shares its weight with {weights.tied[layer.module]!r}: two chains would hold more than one layer"


def _health(weight: torch.Tensor) -> Refusal | None:
    """Why a layer's values rule a factorization out."""
    if not torch.isfinite(weight).all():
        return Decision.BROKEN, {}
    return None if weight.any() else (Decision.UNFIT, {"why": "its weights are all zero"})
