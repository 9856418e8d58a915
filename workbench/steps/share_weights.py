"""`ShareWeights`: every layer's weights take one of few values, found by k-means and then trained."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from workbench.coding.kmeans import kmeans
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import StepFailed
from workbench.pruning.folding import fold, folded
from workbench.pruning.sparsity import prunable
from workbench.settings import decades
from workbench.step import Context, Decision, Layers, Plan, Rewrite, Row, layers_setting, row, select, setting
from workbench.steps.finetune import Finetune

if TYPE_CHECKING:
    from workbench.cost.layer import Layer

Tensor = torch.Tensor

#: A codebook pays from so many weights an entry on.
WEIGHTS_AN_ENTRY = 4


@dataclass(frozen=True)
class ShareWeights(Rewrite):
    """Give the weights of a layer at most 2^bits different values; zeros stay zero and need no entry.

    Batch norms are folded first, so that the shared values are those of the file that ships. The values are
    found by k-means from a linear start, and then trained: all weights of one value move together. What
    shrinks is the compressed bundle (`huffman_bytes`), where a weight costs an index into a codebook.
    Source: Han et al. 2016, "Deep Compression", sections 3 and 3.3.
    """

    title: ClassVar[str] = "Share weights"
    summary: ClassVar[str] = "Few different weights in every layer: a far smaller compressed file, the same latency."
    family: ClassVar[str] = "storage"
    settles_norms: ClassVar[bool] = True

    bits: int = setting(5, "integer", "A layer has at most 2^bits different weights.", low=1, high=10, unit="bits")
    epochs: int = setting(
        1, "integer", "Passes over the training images that train the values; 0: none.", low=0, high=50, stops=range(11)
    )
    lr: float = setting(
        1e-4, "number", "Learning rate of the values, of Adam.", low=1e-6, high=0.1, stops=decades(1e-6, 0.1)
    )
    layers: Layers = layers_setting()

    @property
    def effort(self) -> float:
        """That of its epochs, and of k-means."""
        return 4.0 + 30.0 * self.epochs

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """Batch norms are folded; no other shape changes. Layers with few weights are left alone."""
        after = folded(network, weights.module)
        layers = prunable(network)
        chosen = set(select(self.layers, layers))
        rows = [self._row(layer, name in chosen) for name, layer in layers.items()]
        shared = {one.layer for one in rows if one.applies}
        return Plan(network, after.with_pattern(shared, values=1 << self.bits), tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with shared weights. Raises: `StepFailed` when it cannot train, `Cancelled`."""
        module = copy.deepcopy(module)
        network = trace(module, context.example)
        layers = prunable(network)
        chosen = [name for name in select(self.layers, layers) if self._pays(layers[name])]
        fold(module, network)
        for index, name in enumerate(chosen):
            context.progress(0.2 * index / len(chosen), f"{self.title} {name}")
            _share(_holders(module, name), self.bits)
        if self.epochs and chosen:
            module = self._trained(module, context)
        for name in chosen:
            _settle(_holders(module, name, f"{name}.parametrizations.weight.original"))
        return module.eval()

    def _trained(self, module: nn.Module, context: Context) -> nn.Module:
        if context.train is None:
            raise StepFailed(f"{self.expression()} trains the values, and there is no split 'train'. Use epochs=0.")
        distill = "none" if context.original is None else "soft"
        training = Finetune(
            epochs=self.epochs, lr=self.lr, optimizer="adam", schedule="cosine", distill=distill, weight_decay=0.0
        )
        # A network in the middle of sharing cannot be stored, so there is nothing to keep of a run that fails.
        return training.apply(module, replace(context, keep=None, progress=context.progress.part(0.2, 1.0)))

    def _pays(self, layer: Layer) -> bool:
        return layer.params >= WEIGHTS_AN_ENTRY << self.bits

    def _row(self, layer: Layer, chosen: bool) -> Row:
        if not chosen:
            return row(self.brief, layer, Decision.NOT_CHOSEN, {})
        if not self._pays(layer):
            why = f"a codebook of {1 << self.bits} entries for {layer.params} weights saves nothing"
            return row(self.brief, layer, Decision.UNFIT, {"why": why})
        trained = f", trained for {self.epochs} epoch{'s' * (self.epochs > 1)}" if self.epochs else ""
        return row(self.brief, layer, Decision.SHARED, {"values": 1 << self.bits, "trained": trained})


class _Shared(nn.Module):
    """A weight that is made of a codebook: zero where `places` do not reach."""

    def __init__(self, shape: torch.Size, places: Tensor, indexes: Tensor, book: Tensor) -> None:
        super().__init__()
        self.shape, self.book = shape, book
        self.register_buffer("places", places)
        self.register_buffer("indexes", indexes)

    def forward(self, book: Tensor) -> Tensor:
        """The weight of a codebook (entries,)."""
        flat = book.new_zeros(self.shape.numel())
        return flat.index_copy(0, self.places, book.gather(0, self.indexes)).view(self.shape)  # type: ignore[arg-type]

    def right_inverse(self, _: Tensor) -> Tensor:
        """The codebook at the start."""
        return self.book


def _holders(module: nn.Module, name: str, parameter: str = "") -> list[nn.Module]:
    """The layer of this name, and behind it all others that share its weight, or another `parameter`."""
    path = parameter or f"{name}.weight"
    tail, held = path.removeprefix(name), module.get_parameter(path)
    sharing = [
        other.removesuffix(tail) for other, one in module.named_parameters(remove_duplicate=False) if one is held
    ]
    return [module.get_submodule(one) for one in dict.fromkeys([name, *sharing])]


def _share(layers: list[nn.Module], bits: int) -> None:
    """Make a weight, which these layers share, a function of one codebook, which becomes their parameter."""
    weight: Tensor = layers[0].weight.detach()  # type: ignore[operator]  # layers have one
    flat = weight.flatten()
    places = flat.nonzero()[:, 0]
    book, indexes = kmeans(flat[places], 1 << bits)
    made = _Shared(weight.shape, places, indexes, book)
    for layer in layers:
        layer.weight = nn.Parameter(weight.clone())  # torch writes the codebook into the parameter that it finds
        parametrize.register_parametrization(layer, "weight", made, unsafe=True)
        _list(layer).original = _list(layers[0]).original


def _settle(layers: list[nn.Module]) -> None:
    """Make the weight that these layers share a parameter of its own again."""
    weight = nn.Parameter(layers[0].weight.detach().clone())  # type: ignore[operator]
    for layer in layers:
        _list(layer).original = nn.Parameter(_list(layer).original.detach().clone())  # torch writes into it
        parametrize.remove_parametrizations(layer, "weight")
        layer.weight = weight


def _list(layer: nn.Module) -> Any:
    """What makes a layer's weight; its `original` is the codebook."""
    return layer.parametrizations.weight  # type: ignore[union-attr]
