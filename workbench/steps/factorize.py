"""What every factorization shares: which layers, what ranks, the plan, and the work.

A family says in closed form what chain of layers stands in for one at given ranks, what the weight's
spectrum tells of every rank, and how to compute the factors. Everything else is here.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.network import Layer, Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue, StepFailed
from workbench.lowrank.budget import Option, cheapest, share_out
from workbench.lowrank.moments import regularised
from workbench.lowrank.ranks import Rule, freeze, parse, rounded, thaw
from workbench.lowrank.spectra import Ranks, Spectrum
from workbench.steps.base import Context, Rewrite, Row, Sketch, select
from workbench.steps.chain import Chain, build, macs, params, respond
from workbench.steps.moments import Moments, collect
from workbench.steps.outlook import Outlook, outlook

Tensor = torch.Tensor
Old = tuple[Tensor, Tensor | None, _BatchNorm | None]  # weight, bias, the norm that follows

#: Layers with at most this many input channels a group count as a stem.
STEM_INPUTS = 3
#: Share of the squared norm that a rule must leave to a stem and to the last layer.
EDGE_ENERGY = 0.99
#: Outputs that a batch norm nearly switches off still weigh this share of the strongest in a fit.
LEAST_GAIN = 1e-2
KINDS = frozenset({"conv", "conv_transpose", "linear"})
PLAIN = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Decision:
    """What happens to one layer: the chain in its place, or None and the reason."""

    layer: Layer
    action: str
    uses: int = 1
    ranks: Ranks = ()
    chain: Chain | None = None
    error: float | None = None

    def row(self, step: str) -> Row:
        """The plan's line."""
        one, chain = self.layer, self.chain or (self.layer,)
        return Row(
            step, one.module, one.kind, self.chain is not None, self.action, one.macs * self.uses,
            macs(chain) * self.uses, one.params, params(chain), self.error,
        )  # fmt: skip


#: What the fields that every factorization has say of themselves.
RANK: dict[str, Any] = {"kind": "rank", "low": 0.02, "high": 1.0}
DATA_AWARE: dict[str, Any] = {
    "kind": "flag",
    "help": "Fit the layers' outputs on calibration images instead of the weights alone.",
    "label": "data-aware",
}
ALLOW_GROWTH: dict[str, Any] = {
    "kind": "flag",
    "help": "Factorize also where that makes a layer larger, to see that full rank is exact.",
}
ROUND_TO: dict[str, Any] = {
    "kind": "integer",
    "help": "Round ranks to a multiple of this; kernels like 8.",
    "label": "round ranks to",
    "low": 1,
    "high": 256,
}


class Factorize(Rewrite, abstract=True):
    """A step that puts a chain of smaller layers in the place of one."""

    family: ClassVar[str] = "low-rank"
    rule_field: ClassVar[str] = "rank"
    rules: ClassVar[frozenset[str]] = frozenset({"fraction", "explicit", "energy", "evbmf", "macs", "params"})
    modes: ClassVar[int] = 1  # how many ranks a layer has
    bounded: ClassVar[bool] = True  # whether the full rank is the most that may be asked for
    affine: ClassVar[bool] = True  # whether costs are affine in every rank, and fractions are of the full rank
    exact_error: ClassVar[bool] = True  # whether the spectrum's error is that of the plain factors

    layers: str | tuple[str, ...]
    data_aware: bool
    allow_growth: bool
    round_to: int

    def __post_init__(self) -> None:
        value = freeze(getattr(self, self.rule_field))
        object.__setattr__(self, self.rule_field, value)
        self._check_rule(parse(value))
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

    # The plan.

    def options(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain values."""
        return {name: thaw(value) for name, value in super().options().items()}

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """What happens to every layer chosen, and the network after it. Raises: `BadValue`, `UnknownName`."""
        decisions = self.decide(network, weights)
        replaced = {d.layer.module: d.chain for d in decisions if d.chain is not None}
        rows = tuple(d.row(self.brief) for d in decisions)
        return Sketch(network.replace(replaced) if replaced else network, rows)

    def decide(self, network: Network, weights: Weights) -> list[Decision]:
        """One decision a layer, in execution order."""
        uses = _uses(network)
        names = select(self.layers, uses)
        rule = parse(getattr(self, self.rule_field))
        refused = {name: self._refusal(uses[name], weights) for name in names}
        edges = _edges(network)
        self._refuse_beyond(rule, [uses[name][0] for name in names if not refused[name]])
        if rule.is_budget:
            fit = {name: uses[name] for name in names if not refused[name]}
            chosen = self._share(rule, network, fit, weights, edges)
        decisions = []
        for name in names:
            layer, times = uses[name][0], len(uses[name])
            if refused[name]:
                decisions.append(_alone(layer, refused[name], times))
            elif rule.is_budget:
                decisions.append(self._decision(layer, times, chosen[name], weights))
            else:
                decisions.append(self._by_rule(rule, layer, times, weights, name in edges))
        return decisions

    def _by_rule(self, rule: Rule, layer: Layer, uses: int, weights: Weights, edge: bool) -> Decision:
        own = rule.of(layer.module)
        if own is None:
            return _alone(layer, "the mapping of ranks does not name it", uses)
        ranks = self._ranks(own, layer, weights)
        if own.kind == "explicit":
            return self._decision(layer, uses, ranks, weights)
        if edge and ranks != self.full(layer):
            enough = self._spectrum(layer, weights).energy(EDGE_ENERGY)
            ranks = self.limit(layer, self._stronger(ranks, enough))
        decision = self._decision(layer, uses, ranks, weights)
        if edge and decision.chain is None and not decision.action.startswith("left alone: its"):
            why = f"first or last layer: keeping {EDGE_ENERGY:.0%} of its energy saves nothing"
            return _alone(layer, f"{why} ({self.describe(ranks)}); an explicit rank overrides", uses)
        return decision

    def _stronger(self, ranks: Ranks, enough: Ranks) -> Ranks:
        """Ranks that keep at least what both keep."""
        return tuple(map(max, ranks, enough))

    def _ranks(self, rule: Rule, layer: Layer, weights: Weights) -> Ranks:
        full = self.full(layer)
        if rule.kind == "fraction":
            wished: Sequence[float] = [rule.value * most for most in full]
        elif rule.kind == "explicit":
            wished = self._explicit(rule, full)
            return self.limit(layer, tuple(min(round(r), most) for r, most in zip(wished, full, strict=True)))
        else:
            spectrum = self._spectrum(layer, weights)
            wished = spectrum.energy(rule.value) if rule.kind == "energy" else spectrum.evbmf()
        ranks = tuple(rounded(rank, most, self.round_to) for rank, most in zip(wished, full, strict=True))
        return self.limit(layer, ranks)

    def _explicit(self, rule: Rule, full: Ranks) -> list[float]:
        given = rule.ranks * len(full) if len(rule.ranks) == 1 else rule.ranks
        pairs = zip(given, full, strict=True)
        return [rank if isinstance(rank, int) else max(1.0, rank * most) for rank, most in pairs]

    def _decision(self, layer: Layer, uses: int, ranks: Ranks | None, weights: Weights) -> Decision:
        """The chain at these ranks, unless it saves nothing; None leaves the layer alone."""
        if ranks is None:
            return _alone(layer, "the budget is better spent on other layers", uses)
        if ranks == self.full(layer) and not self.allow_growth:
            return _alone(layer, f"{self.describe(ranks)} is the full rank, nothing to save", uses)
        chain = self.chain(layer, ranks)
        larger = max(macs(chain) / layer.macs, params(chain) / layer.params)
        if larger >= 1 and not self.allow_growth:
            return _alone(layer, f"{self.describe(ranks)} would make it {larger:.2f} times as large", uses)
        known = self.exact_error and weights.of(layer.module) is not None
        error = self._spectrum(layer, weights).error(ranks) if known else None
        return Decision(layer, self.describe(ranks), uses, ranks, chain, error)

    def _spectrum(self, layer: Layer, weights: Weights) -> Spectrum:
        def compute(weight: Tensor) -> Spectrum:
            return self.spectrum(layer, weight.float().chunk(layer.groups))

        found = weights.analysed(layer.module, f"spectrum {type(self).__name__}", compute)
        return self.assumed(layer) if found is None else found

    # What a slider asks, again and again.

    def outlook(self, network: Network, weights: Weights) -> Outlook | None:
        """The totals and errors that `sketch` would give, in well under a millisecond; None: sketch it."""
        return outlook(self, network, weights)

    def treated(self, network: Network, weights: Weights) -> list[tuple[Layer, int, bool]]:
        """The layers that this family can treat, how often each runs, and whether it is a stem or a head."""
        uses, edges = _uses(network), _edges(network)
        names = [name for name in select(self.layers, uses) if not self._refusal(uses[name], weights)]
        return [(uses[name][0], len(uses[name]), name in edges) for name in names]

    def least(self, layer: Layer, edge: bool, weights: Weights) -> Ranks:
        """Ranks that no rule goes below."""
        return self._spectrum(layer, weights).energy(EDGE_ENERGY) if edge else (1,) * self.modes

    def inner_chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """The chain with every link, also where these ranks are a side's full one."""
        grown: Factorize = replace(self, allow_growth=True)  # type: ignore[type-var]  # every family is a dataclass
        return grown.chain(layer, ranks)

    def known_spectrum(self, layer: Layer, weights: Weights) -> Spectrum | None:
        """The spectrum, where its error is that of the plain factors."""
        return self._spectrum(layer, weights) if self.exact_error else None

    def form_key(self) -> str:
        """Settings other than the rank that shape the chain."""
        return ""

    # Budgets.

    def _share(
        self, rule: Rule, network: Network, fit: dict[str, list[Layer]], weights: Weights, edges: frozenset[str]
    ) -> dict[str, Ranks | None]:
        """Ranks for every layer under one budget; None where the layer stays dense."""
        total = _total(network, rule.kind)
        layers = {name: self._options(ops, rule.kind, weights, name in edges) for name, ops in fit.items()}
        priced = [[price for price, _ in options] for options in layers.values()]
        fixed = total - sum(prices[-1][0] for prices in priced)
        budget = rule.value * total - fixed
        if priced and cheapest(priced) > budget * (1 + 1e-9):
            least = (fixed + cheapest(priced)) / total
            raise BadValue(
                f"{self.brief}: {rule.value:g} of the {rule.kind} cannot be reached, the least is {least:.3g} "
                f"with the layers that {type(self).__name__} can treat. Raise the budget or add a step of another kind."
            )
        share = share_out(priced, budget)
        return {name: options[index][1] for (name, options), index in zip(layers.items(), share.chosen, strict=True)}

    def _options(self, ops: list[Layer], cost: str, weights: Weights, edge: bool) -> list[tuple[Option, Ranks | None]]:
        """(cost, loss) of every candidate that is smaller than the layer, the dense layer last."""
        layer = ops[0]
        what = f"options {type(self).__name__} {self.round_to} {cost} {edge} {layer.input} {layer.output} {len(ops)}"

        def compute(_: Tensor) -> list[tuple[Option, Ranks | None]]:
            return self._price(ops, cost, self._spectrum(layer, weights), edge)

        found = weights.analysed(layer.module, what, compute)
        return self._price(ops, cost, self.assumed(layer), edge) if found is None else found

    def _price(self, ops: list[Layer], cost: str, spectrum: Spectrum, edge: bool) -> list[tuple[Option, Ranks | None]]:
        layer = ops[0]
        times = len(ops) if cost == "macs" else 1
        found: list[tuple[Option, Ranks | None]] = []
        for ranks in self.candidates(layer):
            chain = self.chain(layer, ranks)
            loss = spectrum.error(ranks) ** 2
            smaller = macs(chain) < layer.macs and params(chain) < layer.params
            if smaller and not (edge and loss > 1 - EDGE_ENERGY):
                found.append(((_price_of(chain, cost) * times, loss), ranks))
        return [*found, ((_price_of((layer,), cost) * times, 0.0), None)]

    # The work.

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with the chains in place. Raises: `StepFailed`, `BadValue`, `Cancelled`."""
        network = trace(module, context.example)
        weights = Weights(module, context.cache)
        decisions = self.decide(network, weights)
        _refuse_broken(decisions, self.brief)
        todo = [d for d in decisions if d.chain is not None]
        module = copy.deepcopy(module)
        data = self._moments(module, todo, context)
        norms = _norms_after(network, module)
        for index, decision in enumerate(todo):
            name = decision.layer.module
            context.progress(0.5 + 0.5 * index / len(todo), f"{self.title} {name}")
            new = self._replacement(module, decision, data.pop(name, None), norms.get(name))
            module = _put(module, name, new)
        return module

    def _moments(self, module: nn.Module, todo: Sequence[Decision], context: Context) -> dict[str, Moments]:
        if not self.data_aware or context.calibration is None or not todo:
            return {}
        layers = {d.layer.module: d.layer for d in todo}
        return collect(module, layers, context.calibration, context.progress.part(0.0, 0.5), context.seed)

    def _replacement(
        self, module: nn.Module, decision: Decision, data: Moments | None, norm: _BatchNorm | None
    ) -> nn.Sequential:
        """The trained chain of one layer; the shift of its mean output goes to the bias or the norm after it."""
        layer, chain = decision.layer, decision.chain
        assert chain is not None
        old = module.get_submodule(layer.module)
        assert isinstance(old, PLAIN)
        weight, bias = old.weight.detach().float(), None if old.bias is None else old.bias.detach().float()
        movable = bias is not None or norm is not None
        data = data if data is not None and data.count else None
        moments = None
        if data is not None:
            moments = regularised(data.moment(centred=movable), data.count)
        gain = _gain(norm) if data is not None else None
        weights = self._links(decision, weight if gain is None else _rows(weight, gain), moments)
        if gain is not None:
            weights = _undo_gain(chain, weights, gain)
        if data is not None and movable:
            bias = self._move_mean(decision, (weight, bias, norm), weights, data)
        if not all(bool(torch.isfinite(w).all()) for w in weights if w.is_floating_point()):
            raise StepFailed(f"{self.brief} on {layer.module!r} gave values that are not finite. Use a higher rank.")
        new = build(chain, weights, bias).to(old.weight.dtype)
        return new.train(old.training)

    def _links(self, decision: Decision, weight: Tensor, moments: Tensor | None) -> list[Tensor]:
        """The weights of all links, groups put together."""
        layer = decision.layer
        parts = [
            self.factors(one_group(layer), part, decision.ranks, None if moments is None else moments[group])
            for group, part in enumerate(weight.chunk(layer.groups))
        ]
        return [torch.cat(same) for same in zip(*parts, strict=True)]

    def _move_mean(self, decision: Decision, old: Old, weights: list[Tensor], data: Moments) -> Tensor | None:
        """Undo the shift of the mean output: in the bias, or in the running mean of the norm that follows."""
        layer, (weight, bias, norm) = decision.layer, old
        assert decision.chain is not None
        patch = data.mean.reshape(layer.c_in, *layer.kernel)
        dense = layer._replace(bias=False)
        shift = respond((dense,), [weight], patch) - respond(decision.chain, weights, patch)
        if bias is not None:
            return (bias.double() + shift).to(bias.dtype)
        if norm is not None and norm.running_mean is not None:
            norm.running_mean -= shift.to(norm.running_mean.dtype)
        return None

    # Checks.

    def _check_rule(self, rule: Rule) -> None:
        for one in [rule, *(own for _, own in rule.each)]:
            if one.kind not in self.rules | {"each"}:
                raise BadValue(
                    f"{type(self).__name__}({self.rule_field}=...): a rule of kind {one.kind!r} has no meaning here; "
                    f"known: {', '.join(sorted(self.rules))}."
                )
            if len(one.ranks) not in {0, 1, self.modes}:
                raise BadValue(
                    f"{type(self).__name__}({self.rule_field}={one.ranks!r}): give one number, or {self.modes} "
                    f"for the {self.modes} ranks of a layer."
                )

    def _refuse_beyond(self, rule: Rule, layers: Sequence[Layer]) -> None:
        """Raise `BadValue` for a rank above the full rank of every layer it is meant for: surely a slip."""
        for name, own in rule.each:
            self._refuse_beyond(own, [layer for layer in layers if layer.module == name])
        if rule.kind != "explicit" or not layers or not self.bounded:
            return
        fulls = {layer.module: self.full(layer) for layer in layers}
        every = all if len(rule.ranks) == 1 else any  # one number for both modes may exceed the smaller
        asks = {name: zip(self._explicit(rule, full), full, strict=True) for name, full in fulls.items()}
        if all(every(rank > most for rank, most in pairs) for pairs in asks.values()):
            name, full = max(fulls.items(), key=lambda item: item[1])
            asked = rule.ranks[0] if len(rule.ranks) == 1 else rule.ranks
            raise BadValue(
                f"{type(self).__name__}({self.rule_field}={asked}): above the full rank of every layer it is for; "
                f"the largest is {', '.join(map(str, full))}, of {name!r}. Give that at most, or a fraction."
            )

    def _refusal(self, ops: list[Layer], weights: Weights) -> str:
        """Why a layer cannot be treated at all, or ""."""
        layer = ops[0]
        if layer.kind == "conv_transpose":
            return "transposed convolutions are not supported"
        if any(op.input != layer.input or op.kind != layer.kind for op in ops):
            return f"it runs {len(ops)} times, on inputs of different shapes"
        return self.unfit(layer) or weights_unfit(layer, weights)


def one_group(layer: Layer) -> Layer:
    """One group of a layer, as a layer of its own."""
    if layer.groups == 1:
        return layer
    g = layer.groups
    return layer._replace(
        input=(layer.input[0] // g, *layer.input[1:]), output=(layer.output[0] // g, *layer.output[1:]), groups=1
    )


def weights_unfit(layer: Layer, weights: Weights) -> str:
    """Why a layer's module or its values rule a factorization out, or ""."""
    if weights.of(layer.module) is None:
        return ""  # an earlier step decides
    module = weights.module.get_submodule(layer.module)
    if type(module) not in PLAIN:
        return f"its {type(module).__name__} is not a plain torch layer"
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"its padding mode {module.padding_mode!r} is not zeros"
    return weights.analysed(layer.module, "health", _health) or ""


def _health(weight: Tensor) -> str:
    if not torch.isfinite(weight).all():
        return "its weights hold NaN or infinite values"
    return "" if weight.any() else "its weights are all zero"


def _gain(norm: _BatchNorm | None) -> Tensor | None:
    """What the batch norm behind a layer multiplies each of its outputs by: what an error there weighs.

    Without it the fit would serve the outputs of large variance, which the norm then makes equal to the others.
    """
    if norm is None or norm.running_var is None:
        return None
    gain = (norm.running_var.float() + norm.eps).rsqrt()
    if norm.weight is not None:
        gain = gain * norm.weight.detach().float().abs()
    return gain.clamp_min(LEAST_GAIN * float(gain.max()))


def _rows(weight: Tensor, factor: Tensor) -> Tensor:
    return weight * factor.reshape(-1, *[1] * (weight.dim() - 1))


def _undo_gain(chain: Chain, weights: list[Tensor], gain: Tensor) -> list[Tensor]:
    """Divide the outputs of the last link that has weights by the gain they were fitted with."""
    last = max(index for index, one in enumerate(chain) if one.kind != "other")
    if last < len(chain) - 1:
        gain = gain[weights[-1].argsort()]  # the outputs are put in order only afterwards
    return [*weights[:last], _rows(weights[last], 1 / gain), *weights[last + 1 :]]


def _refuse_broken(decisions: Sequence[Decision], step: str) -> None:
    for decision in decisions:
        if "NaN" in decision.action:
            raise StepFailed(
                f"{step}: the layer {decision.layer.module!r} has NaN or infinite weights. "
                "Load the weights again, or leave the layer out with layers=."
            )


def _alone(layer: Layer, why: str, uses: int) -> Decision:
    return Decision(layer, f"left alone: {why}", uses)


def _uses(network: Network) -> dict[str, list[Layer]]:
    """The operations of every module with a convolution or a linear layer."""
    return {name: list(ops) for name, ops in network.by_module.items() if any(op.kind in KINDS for op in ops)}


def _edges(network: Network) -> frozenset[str]:
    """Layers that get their own judgement: stems, and the last linear layer of a network of several."""
    weighed = [layer for layer in network.layers if layer.kind in KINDS and layer.module]
    found = {one.module for one in weighed if one.kind == "conv" and one.c_in <= STEM_INPUTS}
    if len(weighed) > 1 and weighed[-1].kind == "linear":
        found.add(weighed[-1].module)
    return frozenset(found)


def _total(network: Network, cost: str) -> float:
    return network.totals.macs if cost == "macs" else network.totals.params


def _price_of(chain: Chain, cost: str) -> int:
    return macs(chain) if cost == "macs" else params(chain)


def _norms_after(network: Network, module: nn.Module) -> dict[str, _BatchNorm]:
    """The batch norm that alone reads a layer's output, by the layer's module path."""
    once = {name for name, ops in network.by_module.items() if len(ops) == 1}
    readers: dict[int, list[Layer]] = {}
    for layer in network.layers:
        for tensor in set(layer.reads):
            readers.setdefault(tensor, []).append(layer)
    found = {}
    for layer in network.layers:
        after = readers.get(layer.writes, [])
        if (
            layer.kind in KINDS
            and layer.module in once
            and len(after) == 1
            and after[0].kind == "norm"
            and after[0].module in once
        ):
            norm = module.get_submodule(after[0].module)
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
                found[layer.module] = norm
    return found


def _put(module: nn.Module, name: str, new: nn.Module) -> nn.Module:
    if not name:
        return new
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new)
    return module
