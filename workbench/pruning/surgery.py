"""Cut channels out of torch layers for real: smaller weights, not masks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from workbench.errors import StepFailed
from workbench.pruning.axes import Axes, Mask, Spread, Units
from workbench.pruning.channels import Channels
from workbench.pruning.makers import depthwise
from workbench.pruning.resizing import module_for, resized

Tensor = torch.Tensor


def cut(module: nn.Module, channels: Channels, kept: Mask) -> nn.Module:
    """A copy of `module` without the units that are False in `kept`. Raises: `StepFailed` for a layer it cannot cut."""
    module = copy.deepcopy(module)
    assert isinstance(module, fx.GraphModule)
    kept = _whole(channels, kept)
    for name, own_depthwise, reads, writes in _touched(channels, kept):
        _cut_layer(name, module.get_submodule(name), own_depthwise, (reads, writes))
    for name, units in channels.parameters.items():
        if not kept[units].all():
            _cut_parameters(module.get_submodule(name), kept[units])
    for path, axes in channels.constants.items():
        _cut_constant(module, path, axes, kept)
    _resize(module, channels.facts, kept)
    return module


def _whole(channels: Channels, kept: Mask) -> Mask:
    """A mask for every unit: those of constants alone are above the units of layers."""
    axes = [units for one in channels.constants.values() for units in one.values()]
    axes += [units for fact in channels.facts.values() for units in _units(fact)]
    most = max((int(units.max()) + 1 for units in axes if len(units)), default=0)
    return np.concatenate([kept, np.ones(max(0, most - len(kept)), dtype=bool)])


def _units(fact: Any) -> Iterator[Units]:
    if isinstance(fact, Spread):
        yield from fact.axes.values()
    elif isinstance(fact, (tuple, list)):
        for one in fact:
            yield from _units(one)


def _touched(channels: Channels, kept: Mask) -> Iterator[tuple[str, bool, Tensor, Tensor]]:
    """Layers with weights that lose channels: path, depthwise, indices kept of the inputs and of the outputs."""
    for place in channels.places:
        layer, reads, writes = place.layer, place.taken, place.made
        if layer.module and len(writes) and not (kept[reads].all() and kept[writes].all()):
            stay = [torch.from_numpy(kept[units]).nonzero()[:, 0] for units in (reads, writes)]
            yield layer.module, depthwise(layer), stay[0], stay[1]


def _cut_layer(name: str, layer: nn.Module, own_depthwise: bool, stay: tuple[Tensor, Tensor]) -> None:
    reads, writes = stay
    if isinstance(layer, nn.Linear):
        _assign(layer, layer.weight[writes][:, reads], writes)
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _ConvNd):
        _cut_conv(layer, own_depthwise, reads, writes)
    else:
        raise StepFailed(f"{name!r} is a {type(layer).__name__}, whose channels cannot be cut. Leave it out.")


def _cut_conv(conv: Any, is_depthwise: bool, reads: Tensor, writes: Tensor) -> None:
    transposed = isinstance(conv, _ConvTransposeNd)
    inside = writes if transposed else reads
    inside = inside[: len(inside) // conv.groups]  # every group has the same places of its own
    if is_depthwise and transposed:
        _assign(conv, conv.weight[reads], writes)
    elif is_depthwise:
        _assign(conv, conv.weight[writes], writes)
    elif transposed:
        _assign(conv, conv.weight[reads][:, inside], writes)
    else:
        _assign(conv, conv.weight[writes][:, inside], writes)
    conv.groups = len(reads) if is_depthwise else conv.groups
    conv.in_channels, conv.out_channels = len(reads), len(writes)


def _assign(layer: Any, weight: Tensor, writes: Tensor) -> None:
    layer.weight = nn.Parameter(weight.detach().clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[writes].clone())


def _cut_parameters(layer: Any, mask: Mask) -> None:
    """A layer with numbers for each channel: a norm, slopes, or features of tokens."""
    kept, whole = torch.from_numpy(mask.nonzero()[0]), len(mask)
    axis = 1 if isinstance(layer, nn.Embedding) else 0
    for name, value in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        if value.dim() > axis and value.shape[axis] == whole:
            new = value.detach().index_select(axis, kept).clone()
            setattr(layer, name, nn.Parameter(new) if isinstance(value, nn.Parameter) else new)
    if isinstance(layer, nn.GroupNorm):
        layer.num_groups = layer.num_groups * len(kept) // whole
    for name in ("num_features", "num_channels", "num_parameters", "embedding_dim"):
        if hasattr(layer, name):
            setattr(layer, name, len(kept))


def _cut_constant(module: nn.Module, path: str, axes: Axes, kept: Mask) -> None:
    parent, _, leaf = path.rpartition(".")
    owner = module.get_submodule(parent)
    held = getattr(owner, leaf)
    new = Spread(tuple(held.shape), axes).narrowed(held.detach(), kept)
    if new.shape != held.shape:
        setattr(owner, leaf, nn.Parameter(new.clone()) if isinstance(held, nn.Parameter) else new.clone())


def _resize(module: fx.GraphModule, facts: Mapping[str, Any], kept: Mask) -> None:
    """Sizes that are written out, such as those of `x.view(-1, 512)`, become those of fewer channels."""
    known = {node: facts.get(node.name) for node in module.graph.nodes}
    for node in module.graph.nodes:
        if node.op == "call_module":
            part = module.get_submodule(str(node.target))
            new = module_for(part, known[node], kept)
            if new is not part:
                module.set_submodule(str(node.target), new)
        elif node.op in {"call_function", "call_method"} and not all(
            kept[units].all() for units in _around(node, known)
        ):
            node.target, node.args, node.kwargs = resized(node, known, kept)
    module.recompile()


def _around(node: fx.Node, facts: Mapping[fx.Node, Any]) -> Iterator[Units]:
    for one in (node, *node.all_input_nodes):
        yield from _units(facts.get(one))
