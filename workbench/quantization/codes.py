"""Weights of one or two bits: a few values and a scale for each output channel."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.cost.network import Network

Codes = Callable[[torch.Tensor], torch.Tensor]

#: Kinds whose weights are (outputs, ...), so that a scale belongs to an output channel.
KINDS = frozenset({"conv", "linear"})


def ternary(weight: torch.Tensor) -> torch.Tensor:
    """The weight (outputs, ...) as scale * {-1, 0, 1}, one scale for each output.

    Weights below 0.7 times the mean magnitude become zero; the scale is the mean magnitude of the others.
    Source: Li, Zhang & Liu 2016, "Ternary weight networks", eq. 5-6.
    """
    rows = weight.reshape(len(weight), -1)
    threshold = 0.7 * rows.abs().mean(dim=1, keepdim=True)
    kept = (rows.abs() > threshold).to(rows.dtype)
    scale = (rows.abs() * kept).sum(dim=1, keepdim=True) / kept.sum(dim=1, keepdim=True).clamp(min=1)
    return (scale * kept * rows.sign()).reshape(weight.shape)


def binary(weight: torch.Tensor) -> torch.Tensor:
    """The weight (outputs, ...) as scale * {-1, 1}; the scale, the mean magnitude, minimises the squared error.

    Source: Rastegari et al. 2016, "XNOR-Net", eq. 6, for weights alone.
    """
    rows = weight.reshape(len(weight), -1)
    signs = torch.where(rows >= 0, 1.0, -1.0).to(rows.dtype)
    return (rows.abs().mean(dim=1, keepdim=True) * signs).reshape(weight.shape)


def codable(network: Network, *, keep_ends: bool) -> list[str]:
    """Modules of convolutions and linear layers in execution order, without the first and the last where asked."""
    names = [name for name, ops in network.by_module.items() if ops[0].kind in KINDS]
    return names[1:-1] if keep_ends else names


def replaced(module: nn.Module, names: Sequence[str], codes: Codes) -> nn.Module:
    """A copy whose named layers hold coded weights."""
    result = copy.deepcopy(module)
    for name in names:
        weight = result.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)  # every convolution and linear layer has one
        weight.data = codes(weight.data)
    return result


def error(weight: torch.Tensor, codes: Codes) -> float:
    """The relative error |W - codes(W)| / |W| in the Frobenius norm."""
    return float((weight - codes(weight)).norm() / weight.norm().clamp(min=1e-12))


def stored_bits(layer: Layer, bits: float) -> int:
    """Bits that a layer's weights need: `bits` for each, and a float32 scale for each output."""
    return round(layer.params * bits) + 32 * layer.c_out
