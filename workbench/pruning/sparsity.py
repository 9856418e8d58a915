"""What the steps that set single weights to zero have in common: which layers, how much each weight matters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from workbench.cost.layer import WITH_WEIGHTS, Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.jobs import Reporter
from workbench.modules.calling import Inputs
from workbench.pruning.importance import gain, norms_after
from workbench.statistics.collector import READING, Feed, observe, private
from workbench.step import Context, Layers, select

Tensor = torch.Tensor

IMPORTANCES = ("magnitude", "activation")
#: Images whose activations are looked at.
IMAGES = 500
#: The truth about zeros on this runtime, told with every variant that has them.
NO_FASTER = "zeros make the compressed file smaller; dense kernels multiply by them all the same, so latency stays"


def prunable(network: Network) -> dict[str, Layer]:
    """The first operation of every layer whose single weights can be removed, by its path."""
    return {name: ops[0] for name, ops in network.by_module.items() if ops[0].kind in WITH_WEIGHTS}


def chosen_weights(module: nn.Module, layers: Layers, example: Inputs) -> dict[str, nn.Parameter]:
    """The weights of the chosen layers by path: of those that `prunable` finds."""
    names = select(layers, prunable(trace(module, example)))
    return {name: module.get_parameter(f"{name}.weight") for name in names}


def saliency(kind: str, module: nn.Module, weights: Mapping[str, Tensor], context: Context) -> dict[str, Tensor]:
    """How much every weight matters, in the shape of the weights.

    "magnitude" is |w| (Han et al. 2015); "activation" is |w| times the root mean square of the input that it
    meets (Wanda, Sun et al. 2024, eq. 1), times what the batch norm behind makes of the output. Without
    calibration images "activation" is "magnitude".
    """
    sizes = {name: weight.detach().abs() for name, weight in weights.items()}
    if kind == "magnitude" or context.calibration is None:
        return sizes
    network = trace(module, context.example)
    spread = _input_sizes(module, sizes, Feed.of(context.calibration.first(IMAGES), network), context.progress)
    norms = norms_after(network, module)
    for name, size in sizes.items():
        if name in spread:
            size.mul_(_along_inputs(module.get_submodule(name), spread[name], size.dim()))
        factor = gain(norms.get(name))
        if factor is not None:
            size.mul_(factor.reshape(-1, *[1] * (size.dim() - 1)))
    return sizes


def _input_sizes(module: nn.Module, names: Iterable[str], feed: Feed, report: Reporter) -> dict[str, Tensor]:
    """The root mean square of each layer's input by channel, on calibration images."""
    squares = {name: _Squares(isinstance(module.get_submodule(name), nn.Linear)) for name in names}
    observe(private(module), {name: one.add for name, one in squares.items()}, feed, report, READING)
    return {name: (one.total / one.count).sqrt().float() for name, one in squares.items() if one.count}


class _Squares:
    """The sum of squares of each channel, of inputs whose channels are last (linear layers) or second."""

    def __init__(self, last: bool) -> None:
        self.last, self.total, self.count = last, torch.zeros(()), 0

    def add(self, x: Tensor) -> None:
        rows = x if self.last else x.movedim(1, -1)
        axes = list(range(x.dim() - 1))
        self.total = self.total + torch.linalg.vector_norm(rows, dim=axes).double().square()
        self.count += x.numel() // rows.shape[-1]


def _along_inputs(layer: nn.Module, spread: Tensor, axes: int) -> Tensor:
    """The inputs' sizes, shaped to meet a layer's weight."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return spread.reshape(-1, *[1] * (axes - 1))
    groups: int = getattr(layer, "groups", 1)
    if groups == 1:
        return spread.reshape(1, -1, *[1] * (axes - 2))
    outputs: int = layer.get_parameter("weight").shape[0]
    each = spread.reshape(groups, -1).repeat_interleave(outputs // groups, 0)
    return each.reshape(outputs, -1, *[1] * (axes - 2))
