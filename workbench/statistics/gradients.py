"""What errors of layers' outputs do to the outputs of the network, for data-aware fits."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, cast

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.data.batches import as_split
from workbench.jobs import Reporter
from workbench.modules.calling import Inputs, answer, tensors_map
from workbench.statistics.collector import MOST, Feed, hooked, private

Tensor = torch.Tensor

#: Images that are enough: more hardly change the second moments.
IMAGES = 500
#: Values that one batch may keep for the way back, 4 bytes each.
KEPT = 1 << 26


def sensitivities(
    module: nn.Module, network: Network, layers: Mapping[str, Layer], inputs: Any, progress: Reporter, seed: int = 0
) -> dict[str, Tensor]:
    """Second moments (groups, out, out) of the gradients of the network's outputs at each named layer's outputs.

    They say what a small error dy of a layer's output costs behind it: E|J dy|^2 = tr(E[dy dy^T] G), positions
    taken for independent, as in K-FAC (Martens & Grosse 2015). One backward pass along a random direction of
    the outputs gives J^T J without bias (Hutchinson 1990). A layer that no finite gradient reaches is missing.
    Raises: `Cancelled`.
    """
    found: dict[str, Tensor] = {}
    module = private(module)
    generator = torch.Generator().manual_seed(seed)
    kept = sum(prod(one.output) for one in network.layers)
    feed = Feed(as_split(inputs).first(IMAGES), max(1, min(MOST, KEPT // max(1, kept))))
    gives = {name: _Listener(name, layer, found) for name, layer in layers.items()}
    with torch.enable_grad(), hooked(module, gives=gives):
        for part in feed.reported(progress, "Finding out what matters to the outputs"):
            # A leaf cannot be written into, its copy can.
            outputs = answer(module, cast("Inputs", tensors_map(_followed, part)))
            if outputs.requires_grad:
                outputs.backward(torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype))
    return found


def _followed(part: Tensor) -> Tensor:
    return part.requires_grad_(part.is_floating_point()).clone()


class _Listener:
    """Adds the gradients of a layer's outputs to its second moment on the way back."""

    def __init__(self, name: str, layer: Layer, found: dict[str, Tensor]) -> None:
        self.name, self.layer, self.found = name, layer, found

    def __call__(self, output: Tensor) -> Tensor:
        if not output.requires_grad:  # something before it lets no gradient through
            output = output.detach().requires_grad_().clone()
        output.register_hook(self._add)
        return output

    def _add(self, gradient: Tensor) -> None:
        channels = gradient.movedim(-1 if self.layer.kind == "linear" else 1, 0)
        rows = channels.reshape(self.layer.groups, channels.shape[0] // self.layer.groups, -1)
        moment = (rows @ rows.mT).double()
        if bool(torch.isfinite(moment).all()):  # a root at zero has no slope
            self.found[self.name] = self.found[self.name] + moment if self.name in self.found else moment
