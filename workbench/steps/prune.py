"""`Prune`: single weights set to zero by magnitude (Han et al. 2015). Saves storage, not time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from workbench.cost.network import Layer, Network
from workbench.cost.weights import Weights
from workbench.steps.base import Context, Layers, Rewrite, Row, Sketch, layers_setting, select, setting

if TYPE_CHECKING:
    from torch import nn

PRUNABLE = frozenset({"conv", "conv_transpose", "linear"})


@dataclass(frozen=True)
class Prune(Rewrite):
    """Set the smallest weights to zero, over all chosen layers together or layer by layer.

    The shapes stay, so MACs and latency stay: dense kernels multiply by the zeros. What shrinks is
    the compressed file. Source: Han et al. 2015, "Learning both Weights and Connections".
    """

    title: ClassVar[str] = "Prune weights"
    summary: ClassVar[str] = "Set the smallest weights to zero: a smaller compressed file, the same latency."
    family: ClassVar[str] = "pruning"
    keeps_shapes: ClassVar[bool] = True

    ratio: float = setting(0.5, "fraction", "Share of the weights that become zero.", low=0.0, high=0.99)
    scope: str = setting(
        "global",
        "choice",
        "One threshold over all layers, or the same share in every layer.",
        choices=("global", "layer"),
    )
    layers: Layers = layers_setting()

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """Every convolution and linear layer keeps its shape; the rows say what share becomes zero."""
        prunable = {name: ops[0] for name, ops in network.by_module.items() if ops[0].kind in PRUNABLE}
        chosen = set(select(self.layers, prunable))
        rows = tuple(self._row(layer, name in chosen) for name, layer in prunable.items())
        return Sketch(network, rows)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with zeros. At a ratio of 0 nothing changes."""
        pruned = copy.deepcopy(module)
        named = {n: m for n, m in pruned.named_modules() if isinstance(getattr(m, "weight", None), torch.Tensor)}
        names = select(self.layers, [n for n, m in named.items() if m.weight.dim() > 1])
        tensors = [named[name].weight.data for name in names]
        groups = [tensors] if self.scope == "global" else [[t] for t in tensors]
        for group in groups:
            _zero_smallest(group, self.ratio)
        return pruned

    def _row(self, layer: Layer, chosen: bool) -> Row:
        of = "all chosen layers' weights together" if self.scope == "global" else "its weights"
        action = f"{self.ratio:.0%} of {of} become zero; the shape stays" if chosen else "not among the chosen layers"
        return Row(
            step=self.brief,
            layer=layer.module,
            kind=layer.kind,
            applies=chosen and self.ratio > 0,
            action=action,
            macs=layer.macs,
            macs_after=layer.macs,
            params=layer.params,
            params_after=layer.params,
        )


def _zero_smallest(tensors: list[torch.Tensor], ratio: float) -> None:
    """Zero the `ratio` smallest magnitudes among all tensors together, in place; exact also with ties."""
    magnitudes = torch.cat([t.abs().flatten() for t in tensors])
    count = round(ratio * magnitudes.numel())
    if count == 0:
        return
    mask = torch.ones_like(magnitudes)
    mask[magnitudes.topk(count, largest=False).indices] = 0
    for tensor, part in zip(tensors, mask.split([t.numel() for t in tensors]), strict=True):
        tensor.mul_(part.view_as(tensor))
