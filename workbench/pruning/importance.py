"""How much each channel matters, by its weights, its batch norm, its gradients or its readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.data import Split
from workbench.jobs import Reporter
from workbench.lowrank.moments import factored
from workbench.modules.calling import call
from workbench.pruning.axes import Units
from workbench.pruning.channels import MAKERS, Channels, Group, Mask, makes
from workbench.pruning.widths import Scores
from workbench.statistics.collector import Feed, hooked, private
from workbench.statistics.moments import Moments

if TYPE_CHECKING:
    from workbench.cost.layer import Layer
    from workbench.cost.network import Network

Tensor = torch.Tensor

KINDS = ("magnitude", "bn-scale", "taylor", "activation")
#: Kinds that need nothing but the weights.
FROM_WEIGHTS = ("magnitude", "bn-scale")


def from_weights(kind: str, module: nn.Module, channels: Channels, groups: Sequence[Group]) -> list[Scores]:
    """Scores of every group's units: the norm of the filters (Li et al. 2017) or |gamma| (Liu et al. 2017).

    Relative to the layer's mean, averaged over the layers of a group. Where a layer has no batch norm,
    "bn-scale" falls back on the norm of its filters.
    """
    norms = norms_after(channels.network, module) if kind == "bn-scale" else {}
    values = {}
    for name in {name for group in groups for name in group.layers}:
        norm = norms.get(name)
        scale = norm.weight.detach().abs() if norm is not None and norm.weight is not None else _filters(module, name)
        values[name] = (scale / scale.mean().clamp_min(1e-12)).double().numpy()
    return [_by_unit(group, channels, values) for group in groups]


def by_gradient(
    module: nn.Module,
    channels: Channels,
    groups: Sequence[Group],
    images: Split,
    loss: Callable[[Any, Any], Tensor],
    report: Reporter,
) -> list[Scores]:
    """The mean squared first-order change of the loss when a channel becomes zero (Molchanov et al. 2017, eq. 8).

    `loss` takes outputs and labels of a batch of `images`. A channel's activation times its gradient is summed over its
    positions for each image, over the layers of a group, and squared.
    """
    module = private(module)
    norms = norms_after(channels.network, module)
    paths = {m: n for n, m in module.named_modules()}
    places = {name: paths[norms[name]] if name in norms else name for group in groups for name in group.layers}
    found: dict[str, list[Tensor]] = {name: [] for name in places}
    feed = Feed.of(images, channels.network)
    seen: dict[str, Tensor] = {}
    with torch.enable_grad(), hooked(module, gives={place: _noting(seen, name) for name, place in places.items()}):
        for batch, labels in feed.labelled(report, "Reading gradients"):
            grads = torch.autograd.grad(loss(call(module, batch), labels), [seen[name] for name in places])
            for name, grad in zip(places, grads, strict=True):
                product = seen.pop(name).detach() * grad
                linear = isinstance(module.get_submodule(name), nn.Linear)  # its channels are last, others' are second
                product = product if linear else product.movedim(1, -1)
                found[name].append(product.reshape(len(labels), -1, product.shape[-1]).sum(1))
    effect = {name: torch.cat(parts).double().numpy() for name, parts in found.items()}
    return [_squared_by_unit(group, channels, effect) for group in groups]


def _noting(seen: dict[str, Tensor], name: str) -> Callable[[Tensor], Tensor]:
    """Keeps an output, of which gradients are wanted; the network goes on with a copy, which it may write into."""

    def note(out: Tensor) -> Tensor:
        seen[name] = out.requires_grad_()
        return out.clone()

    return note


@dataclass(frozen=True)
class Reader:
    """What is known of a layer that reads channels, from its inputs' moment S: all that scores and fits need."""

    mean: Tensor  # the mean patch (d,)
    #: S^-1, regularised (d, d), in the precision that S was summed in. Layers of many columns have few samples for each
    #: of them, so the ridge is at least 0.7 % of the mean eigenvalue, which single precision inverts well.
    inverse: Tensor
    energy: Tensor  # w S w^T of each output's weights, counted by what the norm behind lets through

    def narrowed(self, reads: Tensor, writes: Tensor) -> Reader:
        """The same of the inputs (d,) and outputs that are True.

        The inverse of a part of S is a Schur complement in S^-1, so that the images need not be looked at again.
        """
        if bool(reads.all()):
            return replace(self, energy=self.energy[writes])
        rows = self.inverse[reads]
        across, corner = rows[:, ~reads], self.inverse[~reads][:, ~reads]
        gone = torch.linalg.solve(corner.double(), across.mT.double()).to(rows.dtype)
        return Reader(self.mean[reads], torch.addmm(rows[:, reads], across, gone, alpha=-1), self.energy[writes])


def readers(module: nn.Module, channels: Channels, moments: dict[str, Moments], report: Reporter) -> dict[str, Reader]:
    """The layers of `moments` by path, which is emptied on the way: an inverse takes the memory of its moment."""
    norms, found = norms_after(channels.network, module), {}
    for index, layer in enumerate(channels.network.layers):
        data = moments.pop(layer.module, None)
        if data is None or not data.count or not _fits(layer):
            continue
        report(index / len(channels.network.layers), "Finding the channels that are missed least")
        norm = norms.get(layer.module)
        # A shift of the mean output can be undone in a bias, or in the norm behind: then only what varies is lost.
        centred = norm is not None or getattr(module.get_submodule(layer.module), "bias", None) is not None
        found[layer.module] = _reader(_scaled(module, layer, norm), data, centred=centred)
    return found


def narrowed(known: dict[str, Reader], channels: Channels, kept: Mask) -> dict[str, Reader]:
    """What is known of layers once the units that are False in `kept` have gone, and the layers were fitted anew.

    `known` is emptied on the way: large networks' inverses take half a gigabyte.
    """
    found = {}
    for place in channels.places:
        one = known.pop(place.layer.module, None)
        if one is not None and len(place.made):
            reads, writes = (torch.from_numpy(kept[units]) for units in (place.taken, place.made))
            found[place.layer.module] = one.narrowed(reads.repeat_interleave(len(one.mean) // len(reads)), writes)
    return found


def _reader(weight: Tensor, data: Moments, *, centred: bool) -> Reader:
    moment, lower = factored(data.moment(centred=centred, kind=data.second.dtype)[0], data.count)
    weight = weight.to(moment.dtype)
    energy = ((weight @ moment) * weight).sum(1).double()
    return Reader(data.mean[0], torch.cholesky_inverse(lower), energy)


def _fits(layer: Layer) -> bool:
    return makes(layer) and layer.groups == 1 and layer.kind != "conv_transpose"


def _scaled(module: nn.Module, layer: Layer, norm: _BatchNorm | None) -> Tensor:
    """A layer's weight (outputs, d), each output multiplied by what the norm behind makes of it."""
    weight, factor = flat_weight(module, layer), gain(norm)
    return weight if factor is None else weight * factor.double()[:, None]


def by_readers(
    module: nn.Module, channels: Channels, groups: Sequence[Group], known: Mapping[str, Reader]
) -> list[Scores]:
    """What the layers that read a channel lose when it goes and the other channels stand in for it.

    For a reader with weight W and input moment S, removing the columns j costs tr(W_j (S^-1_jj)^-1 W_j^T) of
    the output's energy tr(W S W^T) once the rest is refitted: the layer-wise optimal brain surgeon
    (Hassibi & Stork 1993), for whole channels. Outputs count as much as the norm behind them lets through.
    """
    total = np.zeros(channels.count)
    norms = norms_after(channels.network, module)
    for layer, reads in zip(channels.network.layers, channels.reads, strict=True):
        if layer.module in known and _fits(layer):
            _add_reader(total, _scaled(module, layer, norms.get(layer.module)), reads, known[layer.module])
    return [total[group.units] for group in groups]


def norms_after(network: Network, module: nn.Module, *, depthwise_too: bool = False) -> dict[str, _BatchNorm]:
    """The batch norm that alone reads a layer's output, by the layer's path."""
    readers: dict[int, list[Layer]] = {}
    for layer in network.layers:
        for tensor in set(layer.reads):
            readers.setdefault(tensor, []).append(layer)
    found = {}
    for layer in network.layers:
        after = readers.get(layer.writes, [])
        wanted = layer.kind in MAKERS if depthwise_too else makes(layer)
        if wanted and layer.module and len(after) == 1 and after[0].kind == "norm" and after[0].module:
            norm = module.get_submodule(after[0].module)
            if isinstance(norm, _BatchNorm):
                found[layer.module] = norm
    return found


def gain(norm: _BatchNorm | None) -> Tensor | None:
    """What a norm multiplies each channel by; None where there is none."""
    if norm is None or norm.running_var is None:
        return None
    scale = (norm.running_var + norm.eps).rsqrt()
    return scale if norm.weight is None else scale * norm.weight.detach().abs()


def flat_weight(module: nn.Module, layer: Layer) -> Tensor:
    """A layer's weight as (outputs, inputs * taps), in double precision."""
    weight: Tensor = module.get_parameter(f"{layer.module}.weight").detach()
    return weight.flatten(1).double()


def _add_reader(total: Scores, weight: Tensor, reads: Units, known: Reader) -> None:
    columns = torch.from_numpy(reads).repeat_interleave(weight.shape[1] // len(reads))
    order = columns.argsort(stable=True)
    units, counts = columns[order].unique_consecutive(return_counts=True)
    for size in counts.unique().tolist():  # units that read equally many columns are handled together
        chosen = counts == size
        starts = (counts.cumsum(0) - counts)[chosen]
        places = order[starts[:, None] + torch.arange(size)]  # (units, size)
        blocks = torch.linalg.inv(known.inverse[places[:, :, None], places[:, None, :]].double())
        parts = weight[:, places].permute(1, 0, 2)  # (units, outputs, size)
        cost = ((parts @ blocks) * parts).sum((1, 2)) / known.energy.sum().clamp_min(1e-30)
        np.add.at(total, units[chosen].numpy(), cost.numpy())


def _filters(module: nn.Module, name: str) -> Tensor:
    weight: Tensor = module.get_parameter(f"{name}.weight").detach()
    if isinstance(module.get_submodule(name), nn.modules.conv._ConvTransposeNd):
        weight = weight.transpose(0, 1)
    norms: Tensor = torch.linalg.vector_norm(weight.flatten(1), dim=1)
    return norms


def _by_unit(group: Group, channels: Channels, values: Mapping[str, Scores]) -> Scores:
    """The mean over all channels of each unit."""
    score, count = np.zeros(len(group.units)), np.zeros(len(group.units))
    for name in group.layers:
        own = channels.made[name]
        inside = np.isin(own, group.units)
        place = np.searchsorted(group.units, own[inside])
        np.add.at(score, place, values[name][inside])
        np.add.at(count, place, 1)
    return score / np.maximum(count, 1)


def _squared_by_unit(group: Group, channels: Channels, effect: Mapping[str, Scores]) -> Scores:
    """The sums (images, channels) of every layer added up by unit, squared, and averaged over the images."""
    images = len(effect[group.layers[0]])
    total = np.zeros((len(group.units), images))
    for name in group.layers:
        own = channels.made[name]
        inside = np.isin(own, group.units)
        np.add.at(total, np.searchsorted(group.units, own[inside]), effect[name].T[inside])
    return np.asarray(np.square(total).mean(1))
