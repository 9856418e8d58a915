"""Batch norms folded into the layers before them, as a runtime does: what is then in the layer is what ships."""

from __future__ import annotations

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.weights import tied_weights
from workbench.pruning.importance import norms_after


def folded(network: Network, module: nn.Module) -> Network:
    """The network without the norms that can be folded; the layers before them have a bias."""
    names = _pairs(network, module)
    alias = {layer.writes: layer.reads[0] for layer in network.layers if layer.module in names.values()}
    results = {alias[layer.writes] for layer in network.layers if layer.result and layer.writes in alias}
    layers = []
    for layer in network.layers:
        if layer.module in names.values():
            continue
        reads = tuple(alias.get(tensor, tensor) for tensor in layer.reads)
        new = layer.but(reads=reads, result=layer.result or layer.writes in results)
        layers.append(_with_bias(new) if layer.module in names else new)
    return Network(tuple(layers))


@torch.no_grad()
def fold(module: nn.Module, network: Network) -> nn.Module:
    """Fold the norms of `module` in place (its network is `network`); they become `nn.Identity`."""
    for name, norm_name in _pairs(network, module).items():
        layer, norm = module.get_submodule(name), module.get_submodule(norm_name)
        assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight
        weight = module.get_parameter(f"{name}.weight")
        bias = layer.bias if isinstance(layer.bias, torch.Tensor) else torch.zeros(len(scale))
        shift = (bias - norm.running_mean) * scale + (0 if norm.bias is None else norm.bias)
        weight.mul_(scale.reshape(-1, *[1] * (weight.dim() - 1)))
        layer.bias = nn.Parameter(shift.detach().clone())
        module.set_submodule(norm_name, nn.Identity())
    return module


def _pairs(network: Network, module: nn.Module) -> dict[str, str]:
    """Layers and the norm behind each, by path; neither may have another use, or share its weight."""
    paths = {m: name for name, m in module.named_modules()}
    tied = tied_weights(module)
    once = {name for name, ops in network.by_module.items() if len(ops) == 1 and name not in tied}
    found = norms_after(network, module, depthwise_too=True)
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    return {
        name: paths[norm] for name, norm in found.items()
        if {name, paths[norm]} <= once and norm.track_running_stats
        and isinstance(_submodule(module, name), (*kinds, type(None)))
    }  # fmt: skip


def _submodule(module: nn.Module, name: str) -> nn.Module | None:
    """The module at a path; None for one that an earlier step will make."""
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def _with_bias(layer: Layer) -> Layer:
    if layer.bias:
        return layer
    new = layer.but(bias=True)
    return new.but(weights=new.weight_elements)
