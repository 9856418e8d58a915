"""Cut channels out of torch layers for real: smaller weights, not masks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from workbench.errors import StepFailed
from workbench.pruning.channels import Channels, Mask, depthwise

Tensor = torch.Tensor


def cut(module: nn.Module, channels: Channels, kept: Mask) -> nn.Module:
    """A copy of `module` without the units that are False in `kept`. Raises: `StepFailed` for a layer it cannot cut."""
    module = copy.deepcopy(module)
    for name, own_depthwise, reads, writes in _touched(channels, kept):
        layer = module.get_submodule(name)
        if isinstance(layer, _BatchNorm):
            _cut_norm(layer, writes)
        elif isinstance(layer, nn.Linear):
            _assign(layer, layer.weight[writes][:, reads], writes)
            layer.out_features, layer.in_features = layer.weight.shape
        elif isinstance(layer, _ConvNd):
            _cut_conv(layer, own_depthwise, reads, writes)
        else:
            raise StepFailed(f"{name!r} is a {type(layer).__name__}, whose channels cannot be cut. Leave it out.")
    return module


def _touched(channels: Channels, kept: Mask) -> Iterator[tuple[str, bool, Tensor, Tensor]]:
    """Layers with weights that lose channels: path, depthwise, indices kept of the inputs and of the outputs."""
    for layer, reads, writes in zip(channels.network.layers, channels.reads, channels.writes, strict=True):
        if layer.module and not (kept[reads].all() and kept[writes].all()):
            stay = [torch.from_numpy(kept[units]).nonzero()[:, 0] for units in (reads, writes)]
            yield layer.module, depthwise(layer), stay[0], stay[1]


def _cut_norm(norm: _BatchNorm, kept: Tensor) -> None:
    for name in ("weight", "bias"):
        value = getattr(norm, name)
        if value is not None:
            setattr(norm, name, nn.Parameter(value.detach()[kept].clone()))
    for name in ("running_mean", "running_var"):
        value = getattr(norm, name)
        if value is not None:
            setattr(norm, name, value[kept].clone())
    norm.num_features = len(kept)


def _cut_conv(conv: Any, is_depthwise: bool, reads: Tensor, writes: Tensor) -> None:
    if is_depthwise:
        _assign(conv, conv.weight[writes], writes)
        conv.groups = len(reads)
    elif isinstance(conv, _ConvTransposeNd):
        _assign(conv, conv.weight[reads][:, writes], writes)
    else:
        inside = reads[: len(reads) // conv.groups]  # every group reads the same places of its own inputs
        _assign(conv, conv.weight[writes][:, inside], writes)
    conv.in_channels, conv.out_channels = len(reads), len(writes)


def _assign(layer: Any, weight: Tensor, writes: Tensor) -> None:
    layer.weight = nn.Parameter(weight.detach().clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[writes].clone())
