"""`Coded`, what weights of one or two bits have in common: a few values times a scale for each output channel."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.quantization.codes import codable, error, replaced, stored_bits
from workbench.step import Context, Decision, Layers, Plan, Rewrite, Row, layers_setting, row, select, setting

if TYPE_CHECKING:
    from torch import nn

    from workbench.cost.weights import Weights


@dataclass(frozen=True)
class Coded(Rewrite, abstract=True):
    """A step that replaces weights by coded ones.

    No runtime here has kernels for such weights: the artefact holds them as float32 and is no faster;
    what shrinks is the compressed file. Without training much accuracy is lost; the statistics of batch
    norms, estimated anew afterwards, regain part of it.
    """

    family: ClassVar[str] = "precision"
    values: ClassVar[str]  # in words
    bits: ClassVar[float]  # a weight
    zeros: ClassVar[float] = 0.0  # the share of weights that become zero, where they are normal

    _: KW_ONLY
    keep_ends: bool = setting(True, "flag", "Leave the first and the last layer as they are; they suffer most.")
    layers: Layers = layers_setting()

    @staticmethod
    @abstractmethod
    def coded(weight: torch.Tensor) -> torch.Tensor:
        """The coded weight, (outputs, ...) as the original."""

    @property
    def brief(self) -> str:
        """The name says it all, but for a choice of layers."""
        return " ".join([type(self).__name__, *(f"{k}={v}" for k, v in self.options().items())])

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """Shapes and costs stay; the rows say the error, and the bits that the weights need once compressed."""
        every, inner = codable(network, keep_ends=False), codable(network, keep_ends=self.keep_ends)
        chosen = set(select(self.layers, every)) & set(inner)
        rows = [self._row(network.by_module[name][0], name in chosen, name in inner, weights) for name in every]
        coded = {row.layer for row in rows if row.applies}
        return Plan(network, network.with_pattern(coded, zeros=self.zeros, values=2), tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with coded weights."""
        network = trace(module, context.example)
        inner = set(codable(network, keep_ends=self.keep_ends))
        names = [name for name in select(self.layers, codable(network, keep_ends=False)) if name in inner]
        return replaced(module, names, self.coded)

    def _row(self, layer: Layer, chosen: bool, inner: bool, weights: Weights) -> Row:
        share = 1 - stored_bits(layer, self.bits) / (32 * layer.weight_elements)
        if not inner:
            return row(self.brief, layer, Decision.END_KEPT, {})
        if not chosen:
            return row(self.brief, layer, Decision.NOT_CHOSEN, {})
        found = weights.analysed(layer.module, self, lambda w: error(w, self.coded))
        line = row(self.brief, layer, Decision.CODED, {"values": self.values, "share": share})
        return line._replace(relative_error=found)
