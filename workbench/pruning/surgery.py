"""Cut channels out of torch layers for real: smaller weights, not masks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from workbench.errors import StepFailed
from workbench.pruning.channels import Channels, Mask, depthwise

Tensor = torch.Tensor

#: Operations whose sizes may be written out.
VIEWS = frozenset({"view", "reshape", "_unsafe_view"})


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
        elif isinstance(layer, nn.PReLU):
            layer.weight = nn.Parameter(layer.weight.detach()[writes].clone())
            layer.num_parameters = len(writes)
        elif isinstance(layer, _ConvNd):
            _cut_conv(layer, own_depthwise, reads, writes)
        else:
            raise StepFailed(f"{name!r} is a {type(layer).__name__}, whose channels cannot be cut. Leave it out.")
    if isinstance(module, fx.GraphModule):
        _resize_views(module, channels, kept)
    return module


def _resize_views(module: fx.GraphModule, channels: Channels, kept: Mask) -> None:
    """Views with sizes written out, such as `x.view(-1, 512)`, get those of fewer channels."""
    nodes = {node.name: node for node in module.graph.nodes}
    sides = zip(channels.network.layers, channels.writes, channels.axes, strict=True)
    for layer, writes, (_, axis) in sides:
        node = nodes.get(layer.node)
        if layer.kind == "reshape" and node is not None and len(writes) and not kept[writes].all():
            _resize(module, node, axis - len(layer.output), int(kept[writes].sum()))
    module.recompile()


def _resize(module: fx.GraphModule, node: fx.Node, place: int, size: int) -> None:
    """Set the size at `place`, counted from the end, where it is written as a number."""
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, nn.Unflatten) and isinstance(layer.unflattened_size, tuple):
            layer.unflattened_size = _with(layer.unflattened_size, place, size)
        return
    if _name(node) not in VIEWS or len(node.args) < 2:
        return
    sizes = node.args[1] if isinstance(node.args[1], (list, tuple)) else node.args[1:]
    new = _with(tuple(sizes), place, size)
    node.args = (node.args[0], list(new)) if isinstance(node.args[1], (list, tuple)) else (node.args[0], *new)


def _with(sizes: tuple[Any, ...], place: int, size: int) -> tuple[Any, ...]:
    if len(sizes) < -place or not isinstance(sizes[place], int) or sizes[place] < 0:
        return sizes
    return (*sizes[:place], size, *sizes[len(sizes) + place + 1 :])


def _name(node: fx.Node) -> str:
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return str(getattr(node.target, "__name__", node.target))


def _touched(channels: Channels, kept: Mask) -> Iterator[tuple[str, bool, Tensor, Tensor]]:
    """Layers with weights that lose channels: path, depthwise, indices kept of the inputs and of the outputs."""
    for layer, reads, writes in zip(channels.network.layers, channels.reads, channels.writes, strict=True):
        path = layer.module or (layer.name if layer.fixed else "")  # of a PReLU the name alone tells where it is
        if path and not (kept[reads].all() and kept[writes].all()):
            stay = [torch.from_numpy(kept[units]).nonzero()[:, 0] for units in (reads, writes)]
            yield path, depthwise(layer), stay[0], stay[1]


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
