"""`PruneNM`: of every m neighbouring weights, n stay. The pattern that some hardware can skip."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue
from workbench.pruning.sparsity import IMPORTANCES, NO_FASTER, prunable, saliency
from workbench.settings import doublings
from workbench.step import Context, Decision, Layers, Plan, Rewrite, Row, Stops, layers_setting, row, select, setting

if TYPE_CHECKING:
    from torch import nn

Tensor = torch.Tensor


@dataclass(frozen=True)
class PruneNM(Rewrite):
    """Keep the n weights that matter most of every m along the input channels; 2 of 4 as in NVIDIA's Ampere.

    The runtime here has no kernels for the pattern: like `Prune` it saves storage, not time. Source: Mishra
    et al. 2021, "Accelerating Sparse Deep Neural Networks".
    """

    title: ClassVar[str] = "Prune n of m weights"
    summary: ClassVar[str] = "Keep n of every m neighbouring weights: a pattern for sparse hardware; no faster here."
    family: ClassVar[str] = "pruning"

    n: int = setting(2, "integer", "Weights that stay of every m.", low=1, high=16)
    m: int = setting(4, "integer", "Neighbouring input channels that make a group.", low=2, high=32)
    importance: str = setting(
        "magnitude",
        "choice",
        "What makes a weight matter: its size, or its size times that of the inputs it meets.",
        choices=IMPORTANCES,
    )
    layers: Layers = layers_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n >= self.m:
            raise BadValue(f"PruneNM(n={self.n}, m={self.m}): n must be less than m, or nothing is removed.")

    def stops(self, network: Network) -> Mapping[str, Stops]:
        """Fewer stay than there are in a group."""
        return {"n": range(1, self.m), "m": tuple(m for m in doublings(2, 32) if m > self.n)}

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """Every layer keeps its shape; one whose inputs do not divide by m is left alone."""
        layers = prunable(network)
        chosen = set(select(self.layers, layers))
        rows = [self._row(layer, name in chosen) for name, layer in layers.items()]
        pruned = {one.layer for one in rows if one.applies}
        return Plan(network, network.with_pattern(pruned, zeros=1 - self.n / self.m), tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with zeros in the pattern."""
        pruned = copy.deepcopy(module)
        network = trace(module, context.example)
        rows = self.plan_on(network, Weights(module)).rows
        weights = {one.layer: pruned.get_parameter(f"{one.layer}.weight") for one in rows if one.applies}
        for name, scores in saliency(self.importance, pruned, weights, context).items():
            inputs = 0 if network.by_module[name][0].kind == "conv_transpose" else 1
            weights[name].data.mul_(self._mask(scores, inputs))
        if weights:
            context.progress.note(f"{self.brief}: {NO_FASTER}.")
        return pruned

    @property
    def brief(self) -> str:
        """As in `PruneNM 2:4`."""
        return f"PruneNM {self.n}:{self.m}"

    def _row(self, layer: Layer, chosen: bool) -> Row:
        inputs = layer.c_in // layer.groups
        if not chosen:
            return row(self.brief, layer, Decision.NOT_CHOSEN, {})
        if inputs % self.m:
            return row(self.brief, layer, Decision.UNFIT, {"why": f"its {inputs} inputs do not divide by {self.m}"})
        return row(self.brief, layer, Decision.PATTERNED, {"n": self.n, "m": self.m})

    def _mask(self, scores: Tensor, inputs: int) -> Tensor:
        """1 for the n highest scores of every m along the axis of inputs, 0 for the others."""
        groups = scores.movedim(inputs, -1).unflatten(-1, (-1, self.m))
        mask = torch.zeros_like(groups).scatter_(-1, groups.topk(self.n, dim=-1).indices, 1.0)
        return mask.flatten(-2).movedim(-1, inputs)
