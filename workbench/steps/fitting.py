"""The work of a factorization: fitted chains of small layers in the places of large ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.network import Layer, Network
from workbench.errors import StepFailed
from workbench.lowrank.moments import regularised
from workbench.steps.base import Context
from workbench.steps.chain import Chain, build, respond
from workbench.steps.moments import Moments, collect
from workbench.steps.ranking import KINDS, PLAIN, Decision

if TYPE_CHECKING:
    from workbench.steps.factorize import Factorize

Tensor = torch.Tensor

#: Outputs that a batch norm nearly switches off still weigh this share of the strongest in a fit.
LEAST_GAIN = 1e-2


@dataclass(frozen=True)
class Site:
    """A layer that is being replaced, in float32, with the norm that alone reads it and what it saw."""

    old: nn.Conv1d | nn.Conv2d | nn.Linear
    weight: Tensor
    bias: Tensor | None
    norm: _BatchNorm | None
    data: Moments | None


def rewrite(
    step: Factorize, module: nn.Module, network: Network, decisions: Sequence[Decision], context: Context
) -> nn.Module:
    """A copy of `module` with the chains that were decided on. Raises: `StepFailed`, `Cancelled`."""
    _refuse_broken(decisions, step.brief)
    todo = [one for one in decisions if one.chain is not None]
    module = copy.deepcopy(module)
    data = _moments(step, module, todo, context)
    norms = _norms_after(network, module)
    for index, one in enumerate(todo):
        name = one.layer.module
        context.progress(0.5 + 0.5 * index / len(todo), f"{step.title} {name}")
        old = module.get_submodule(name)
        assert isinstance(old, PLAIN)
        weight, bias = old.weight.detach().float(), None if old.bias is None else old.bias.detach().float()
        seen = data.pop(name, None)
        site = Site(old, weight, bias, norms.get(name), seen if seen is not None and seen.count else None)
        module = _put(module, name, _replacement(step, one, site))
    return module


def one_group(layer: Layer) -> Layer:
    """One group of a layer, as a layer of its own."""
    if layer.groups == 1:
        return layer
    g = layer.groups
    return layer._replace(
        input=(layer.input[0] // g, *layer.input[1:]), output=(layer.output[0] // g, *layer.output[1:]), groups=1
    )


def _moments(step: Factorize, module: nn.Module, todo: Sequence[Decision], context: Context) -> dict[str, Moments]:
    if not step.data_aware or context.calibration is None or not todo:
        return {}
    layers = {one.layer.module: one.layer for one in todo}
    return collect(module, layers, context.calibration, context.progress.part(0.0, 0.5), context.seed)


def _replacement(step: Factorize, decision: Decision, site: Site) -> nn.Sequential:
    """The fitted chain of one layer; the shift of its mean output goes to the bias or the norm after it."""
    assert decision.chain is not None
    movable = site.bias is not None or site.norm is not None
    moments = gain = None
    if site.data is not None:
        moments = regularised(site.data.moment(centred=movable), site.data.count)
        gain = _gain(site.norm)
    weights = _links(step, decision, site.weight if gain is None else _rows(site.weight, gain), moments)
    if gain is not None:
        weights = _undo_gain(decision.chain, weights, gain)
    bias = _move_mean(decision, site, weights) if movable else site.bias
    if not all(bool(torch.isfinite(w).all()) for w in weights if w.is_floating_point()):
        raise StepFailed(
            f"{step.brief} on {decision.layer.module!r} gave values that are not finite. Use a higher rank."
        )
    new = build(decision.chain, weights, bias).to(site.old.weight.dtype)
    return new.train(site.old.training)


def _links(step: Factorize, decision: Decision, weight: Tensor, moments: Tensor | None) -> list[Tensor]:
    """The weights of all links, groups put together."""
    layer = decision.layer
    parts = [
        step.factors(one_group(layer), part, decision.ranks, None if moments is None else moments[group])
        for group, part in enumerate(weight.chunk(layer.groups))
    ]
    return [torch.cat(same) for same in zip(*parts, strict=True)]


def _move_mean(decision: Decision, site: Site, weights: list[Tensor]) -> Tensor | None:
    """Undo the shift of the mean output: in the bias, or in the running mean of the norm that follows."""
    if site.data is None:
        return site.bias
    layer = decision.layer
    assert decision.chain is not None
    patch = site.data.mean.reshape(layer.c_in, *layer.kernel)
    dense = layer._replace(bias=False)
    shift = respond((dense,), [site.weight], patch) - respond(decision.chain, weights, patch)
    if site.bias is not None:
        return (site.bias.double() + shift).to(site.bias.dtype)
    if site.norm is not None and site.norm.running_mean is not None:
        site.norm.running_mean -= shift.to(site.norm.running_mean.dtype)
    return None


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


def _norms_after(network: Network, module: nn.Module) -> dict[str, _BatchNorm]:
    """The batch norm that alone reads a layer's output, by the layer's module path."""
    once = {name for name, ops in network.by_module.items() if len(ops) == 1}
    readers: dict[int, list[Layer]] = {}
    for layer in network.layers:
        for tensor in set(layer.reads):
            readers.setdefault(tensor, []).append(layer)
    found = {}
    for layer in network.layers:
        if layer.kind not in KINDS or layer.module not in once:
            continue
        after = [one for one in readers.get(layer.writes, []) if one.kind == "norm" and one.module in once]
        if len(after) == len(readers.get(layer.writes, [])) == 1:
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
