"""The work of a factorization: fitted chains of small layers in the places of large ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from workbench.cost.layer import WITH_WEIGHTS, Layer
from workbench.cost.network import Network
from workbench.errors import StepFailed
from workbench.factorization.asymmetric import CrossMoments, collect_cross_moments
from workbench.factorization.chain import Chain, build, oriented, respond
from workbench.factorization.family import Family
from workbench.factorization.planner import Choice
from workbench.lowrank.moments import regularised
from workbench.plan import Decision
from workbench.statistics.collector import Feed
from workbench.statistics.gradients import sensitivities
from workbench.statistics.moments import Moments, collect
from workbench.step import Context

Tensor = torch.Tensor


@dataclass(frozen=True)
class Site:
    """A layer that is being replaced, in float32, with the norm that alone reads it and what it saw."""

    layer: Layer
    old: _ConvNd | nn.Linear
    norm: _BatchNorm | None
    data: Moments | None
    gradients: Tensor | None  # second moment of those at its outputs, (groups, out, out)
    pair: CrossMoments | None = None  # what it reads behind layers that were replaced, for an asymmetric fit

    @property
    def weight(self) -> Tensor:
        """What the chain is to do."""
        weight = self.original
        return weight if self.pair is None else self.pair.adjusted(weight, centred=self.movable)

    @property
    def original(self) -> Tensor:
        """The layer's own weight, as `oriented`."""
        return oriented(self.layer, self.old.weight.detach().float())

    @property
    def bias(self) -> Tensor | None:
        """The layer's own bias."""
        return None if self.old.bias is None else self.old.bias.detach().float()

    @property
    def movable(self) -> bool:
        """Whether a shift of the mean output can be undone."""
        return self.old.bias is not None or self.norm is not None

    @property
    def means(self) -> tuple[Tensor, Tensor]:
        """The mean patches that the original reads, and that the chain reads."""
        assert self.data is not None
        return self.data.mean if self.pair is None else self.pair.mean, self.data.mean


def rewrite(
    family: Family, module: nn.Module, network: Network, choices: Sequence[Choice], context: Context
) -> nn.Module:
    """A copy of `module` with the chains that were decided on. Raises: `StepFailed`, `Cancelled`."""
    _refuse_broken(choices, family.brief)
    todo = [one for one in choices if one.chain is not None]
    original, module = module, copy.deepcopy(module)
    seen, matters = _statistics(family, module, network, todo, context)
    norms = _norms_after(network, module)
    for index, one in enumerate(todo):
        name = one.layer.module
        context.progress(0.5 + 0.5 * index / len(todo), f"{family.title} {name}")
        old = module.get_submodule(name)
        assert isinstance(old, (_ConvNd, nn.Linear))
        data = seen.pop(name, None)
        site = Site(one.layer, old, norms.get(name), data if data and data.count else None, matters.pop(name, None))
        if family.asymmetric and index and site.data is not None and context.calibration is not None:
            report = context.progress.part(0.5 + 0.5 * index / len(todo), 0.5 + 0.5 * (index + 1) / len(todo))
            feed = Feed.of(context.calibration, network)
            pair = collect_cross_moments(original, module, one.layer, feed, report, context.seed)
            site = replace(site, data=pair.changed, pair=pair)
        new = _replacement(family, one, site)
        if not name:  # the network is this one layer
            return new
        module.set_submodule(name, new)
    return module


def one_group(layer: Layer) -> Layer:
    """One group of a layer, as a layer of its own."""
    if layer.groups == 1:
        return layer
    g = layer.groups
    return layer.but(
        input=(layer.input[0] // g, *layer.input[1:]), output=(layer.output[0] // g, *layer.output[1:]), groups=1
    )


def _statistics(
    family: Family, module: nn.Module, network: Network, todo: Sequence[Choice], context: Context
) -> tuple[dict[str, Moments], dict[str, Tensor]]:
    """What the layers read on the calibration images, and what errors of their outputs cost; nothing for plain fits."""
    inputs = context.calibration
    if not family.data_aware or inputs is None or not len(inputs) or not todo:
        return {}, {}
    layers = {one.layer.module: one.layer for one in todo}
    seen = collect(module, layers, Feed.of(inputs, network), context.progress.part(0.0, 0.3), context.seed)
    return seen, sensitivities(module, network, layers, inputs, context.progress.part(0.3, 0.5), context.seed)


def _replacement(family: Family, choice: Choice, site: Site) -> nn.Sequential:
    """The fitted chain of one layer; the shift of its mean output goes to the bias or the norm after it."""
    assert choice.chain is not None
    moments = root = None
    if site.data is not None:
        # In the precision that it was summed in: in double the largest take a gigabyte with what is made of them.
        moment = site.data.moment(centred=site.movable, kind=site.data.second.dtype)
        moments = regularised(moment, site.data.count)
        root = None if site.gradients is None else _root(family, site.gradients, site.data.images)
    weight = site.weight if root is None else _through(root, site.weight)
    weights = _links(family, choice, weight, moments)
    if root is not None:
        weights = _back(choice.chain, weights, root)
    bias = _move_mean(choice, site, weights) if site.movable else site.bias
    if not all(bool(torch.isfinite(w).all()) for w in weights if w.is_floating_point()):
        raise StepFailed(
            f"{family.brief} on {choice.layer.module!r} gave values that are not finite. Use a higher rank."
        )
    new = build(choice.chain, weights, bias).to(site.old.weight.dtype)
    return new.train(site.old.training)


def _links(family: Family, choice: Choice, weight: Tensor, moments: Tensor | None) -> list[Tensor]:
    """The weights of all links, groups put together."""
    layer = choice.layer
    parts = [
        family.factors(one_group(layer), part, choice.ranks, None if moments is None else moments[group])
        for group, part in enumerate(weight.chunk(layer.groups))
    ]
    return [torch.cat(same) for same in zip(*parts, strict=True)]


def _move_mean(choice: Choice, site: Site, weights: list[Tensor]) -> Tensor | None:
    """Undo the shift of the mean output: in the bias, or in the running mean of the norm that follows."""
    if site.data is None:
        return site.bias
    layer = choice.layer
    assert choice.chain is not None
    before, after = (mean.reshape(layer.c_in, *layer.kernel) for mean in site.means)
    dense = layer.but(bias=False)
    shift = respond((dense,), [site.original], before) - respond(choice.chain, weights, after)
    if site.bias is not None:
        return (site.bias.double() + shift).to(site.bias.dtype)
    if site.norm is not None and site.norm.running_mean is not None:
        site.norm.running_mean -= shift.to(site.norm.running_mean.dtype)
    return None


def _root(family: Family, gradients: Tensor, samples: int) -> Tensor:
    """Upper triangular R (groups, out, out): an error e of the outputs counts as |R e|^2 (see `gradients`)."""
    if not family.mixes:
        gradients = torch.diag_embed(gradients.diagonal(dim1=1, dim2=2))
    lower: Tensor = torch.linalg.cholesky(regularised(gradients, samples))
    return lower.mT


def _through(root: Tensor, weight: Tensor) -> Tensor:
    """R times the outputs of every group of a weight (out, ...)."""
    grouped = weight.reshape(len(root), root.shape[1], -1).to(root.dtype)
    return (root @ grouped).reshape(weight.shape).to(weight.dtype)


def _back(chain: Chain, weights: list[Tensor], root: Tensor) -> list[Tensor]:
    """Undo `_through` in the last link that has weights."""
    last = max(index for index, one in enumerate(chain) if one.kind != "other")
    if last < len(chain) - 1:  # the outputs are put in order only afterwards, and R is diagonal
        scale = root.diagonal(dim1=1, dim2=2).flatten()[weights[-1].argsort()]
        root = torch.diag(scale)[None]
    weight = weights[last]
    grouped = weight.reshape(len(root), root.shape[1], -1).to(root.dtype)
    plain = torch.linalg.solve_triangular(root, grouped, upper=True)
    return [*weights[:last], plain.reshape(weight.shape).to(weight.dtype), *weights[last + 1 :]]


def _refuse_broken(choices: Sequence[Choice], step: str) -> None:
    for one in choices:
        if one.row.decision is Decision.BROKEN:
            raise StepFailed(
                f"{step}: the layer {one.layer.module!r} has NaN or infinite weights. "
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
        if layer.kind not in WITH_WEIGHTS or layer.module not in once:
            continue
        after = [one for one in readers.get(layer.writes, []) if one.kind == "norm" and one.module in once]
        if len(after) == len(readers.get(layer.writes, [])) == 1:
            norm = module.get_submodule(after[0].module)
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
                found[layer.module] = norm
    return found
