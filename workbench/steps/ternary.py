"""`Ternary`: weights of -1, 0 and 1 with one scale for each output channel. For teaching and storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workbench.cost.network import Layer, Network
from workbench.cost.trace import trace
from workbench.quantization.codes import codable, error, replaced, stored_bits, ternary
from workbench.steps.base import Context, Layers, Rewrite, Row, Sketch, layers_setting, select, setting

if TYPE_CHECKING:
    from torch import nn

    from workbench.cost.weights import Weights

BITS = 1.58


@dataclass(frozen=True)
class Ternary(Rewrite):
    """Replace weights by -1, 0 and 1 times one scale for each output channel.

    No runtime here has kernels for such weights: the artefact holds them as float32 and is no faster;
    what shrinks is the compressed file. Without training much accuracy is lost; the statistics of batch
    norms, estimated anew afterwards, regain part of it. Source: Li, Zhang & Liu 2016, "Ternary weight networks".
    """

    title: ClassVar[str] = "Ternary weights"
    summary: ClassVar[str] = "Weights of -1, 0 and 1 with one scale a channel: stored in a twentieth, no faster."
    family: ClassVar[str] = "precision"
    keeps_shapes: ClassVar[bool] = True

    keep_ends: bool = setting(True, "flag", "Leave the first and the last layer as they are; they suffer most.")
    layers: Layers = layers_setting()

    @property
    def brief(self) -> str:
        """The name says it all, but for a choice of layers."""
        return " ".join(["Ternary", *(f"{k}={v}" for k, v in self.options().items())])

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """Shapes and costs stay; the rows say the error, and the bits that the weights need once compressed."""
        every, inner = codable(network, keep_ends=False), codable(network, keep_ends=self.keep_ends)
        chosen = set(select(self.layers, every)) & set(inner)
        rows = [self._row(network.by_module[name][0], name in chosen, name in inner, weights) for name in every]
        return Sketch(network, tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with coded weights."""
        network = trace(module, context.example)
        inner = set(codable(network, keep_ends=self.keep_ends))
        names = [name for name in select(self.layers, codable(network, keep_ends=False)) if name in inner]
        return replaced(module, names, ternary)

    def _row(self, layer: Layer, chosen: bool, inner: bool, weights: Weights) -> Row:
        share = 1 - stored_bits(layer, BITS) / (32 * layer.params)
        why = "not among the chosen layers" if inner else "the first and the last layer are kept"
        return Row(
            step=self.brief,
            layer=layer.module,
            kind=layer.kind,
            applies=chosen,
            action=f"weights of -1, 0 and 1: {share:.0%} less to store, the same speed" if chosen else why,
            macs=layer.macs,
            macs_after=layer.macs,
            params=layer.params,
            params_after=layer.params,
            relative_error=weights.analysed(layer.module, "ternary error", lambda w: error(w, ternary))
            if chosen
            else None,
        )
