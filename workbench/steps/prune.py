"""`Prune`: single weights set to zero. Saves storage, not time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.pruning.sparsity import IMPORTANCES, NO_FASTER, chosen_weights, prunable, saliency
from workbench.step import Context, Decision, Layers, Plan, Rewrite, layers_setting, row, select, setting

if TYPE_CHECKING:
    from torch import nn

Tensor = torch.Tensor


@dataclass(frozen=True)
class Prune(Rewrite):
    """Set the weights that matter least to zero, over all chosen layers together or layer by layer.

    The shapes stay, so MACs and latency stay: dense kernels multiply by the zeros. What shrinks is
    the compressed file. Sources: Han et al. 2015, "Learning both Weights and Connections"; Sun et al.
    2024, "A Simple and Effective Pruning Approach" (Wanda) for `importance="activation"`.
    """

    title: ClassVar[str] = "Prune weights"
    summary: ClassVar[str] = "Set the smallest weights to zero: a smaller compressed file, the same latency."
    family: ClassVar[str] = "pruning"

    ratio: float = setting(0.5, "fraction", "Share of the weights that become zero.", low=0.0, high=0.99)
    scope: str = setting(
        "global",
        "choice",
        "One threshold over all layers, or the same share in every layer.",
        choices=("global", "layer"),
    )
    importance: str = setting(
        "magnitude",
        "choice",
        "What makes a weight matter: its size, or its size times that of the inputs it meets.",
        choices=IMPORTANCES,
    )
    layers: Layers = layers_setting()

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """Every convolution and linear layer keeps its shape; the rows say what share becomes zero."""
        layers = prunable(network)
        chosen = set(select(self.layers, layers))
        of = "all chosen layers' weights together" if self.scope == "global" else "its weights"
        zeroed = Decision.ZEROED if self.ratio > 0 else Decision.NO_ZEROS
        rows = (
            row(self.brief, layer, zeroed, {"share": self.ratio, "of": of})
            if name in chosen
            else row(self.brief, layer, Decision.NOT_CHOSEN, {})
            for name, layer in layers.items()
        )
        return Plan(network, network.with_pattern(chosen, zeros=self.ratio), tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with zeros. At a ratio of 0 nothing changes."""
        pruned = copy.deepcopy(module)
        weights = chosen_weights(pruned, self.layers, context.example)
        scores = saliency(self.importance, pruned, weights, context)
        pairs = [(weights[name].data, scores[name]) for name in weights]
        for part in [pairs] if self.scope == "global" else [[pair] for pair in pairs]:
            _zero_least(part, self.ratio)
        if self.ratio > 0:
            context.progress.note(f"{self.brief}: {NO_FASTER}.")
        return pruned


def _zero_least(pairs: Sequence[tuple[Tensor, Tensor]], ratio: float) -> None:
    """Zero the `ratio` weights of the lowest scores among all pairs (weight, score), in place; exact also with ties."""
    if not pairs:
        return
    scores = torch.cat([score.flatten() for _, score in pairs])
    count = round(ratio * scores.numel())
    if count == 0:
        return
    mask = torch.ones_like(scores)
    mask[scores.topk(count, largest=False).indices] = 0
    for (weight, _), part in zip(pairs, mask.split([weight.numel() for weight, _ in pairs]), strict=True):
        weight.mul_(part.view_as(weight))
