"""`Shift`: a k x k convolution becomes shifted channels and a 1 x 1 convolution."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import nn

from workbench.cost.layer import SHIFT, Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.lowrank.moments import regularised, solve
from workbench.models.own_layers import ShiftChannels, dealt
from workbench.statistics.collector import Feed
from workbench.statistics.moments import Moments, collect
from workbench.step import Context, Decision, Layers, Plan, Rewrite, layers_setting, row, select


@dataclass(frozen=True)
class Shift(Rewrite):
    """Replace k x k convolutions by a shift of their input channels and a 1 x 1 convolution: k^2 times fewer MACs.

    The 1 x 1 weights are fitted to the layer's outputs on calibration images by least squares, and
    fine-tuning with distillation should follow. Moving channels costs memory access, not MACs. Source: Wu
    et al. 2018, "Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions".
    """

    title: ClassVar[str] = "Shift"
    summary: ClassVar[str] = "k x k convolutions become shifted channels and a 1 x 1 convolution; needs fine-tuning."
    of_recurrent: ClassVar[str] = "a recurrent layer has no taps"
    family: ClassVar[str] = "rewrite"
    treats: ClassVar[str] = "convolution"

    layers: Layers = layers_setting()

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """A row for each convolution."""
        convs = {name: ops[0] for name, ops in network.by_module.items() if ops[0].kind == "conv"}
        chosen = set(select(self.layers, network.by_module))
        rows, chains = [], {}
        for name, layer in convs.items():
            if name not in chosen:
                rows.append(row(self.brief, layer, Decision.NOT_CHOSEN, {}))
            elif why := _unfit(layer, len(network.by_module[name]), weights.tied.get(name, "")):
                rows.append(row(self.brief, layer, Decision.UNFIT, {"why": why}))
            else:
                chains[name] = _chain(layer)
                rows.append(row(self.brief, layer, Decision.SHIFTED, {"channels": layer.c_in}, chains[name][-1]))
        return Plan(network, network.replace(chains), tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with shifts in place. Raises: `Cancelled`."""
        network = trace(module, context.example)
        todo = {
            one.layer: network.by_module[one.layer][0]
            for one in self.plan_on(network, Weights(module)).rows
            if one.applies
        }
        module = copy.deepcopy(module)
        moments: Mapping[str, Moments] = {}
        if context.calibration is not None and todo:
            moments = collect(module, todo, Feed.of(context.calibration, network), context.progress, context.seed)
        for name, layer in todo.items():
            module.set_submodule(name, _shifted(module.get_submodule(name), layer, moments.get(name)))
        return module.eval()


def _unfit(layer: Layer, uses: int, tied: str) -> str:
    if prod(layer.kernel) == 1:
        return "it has a single tap already"
    if len(layer.kernel) != 2:
        return f"its inputs have {len(layer.kernel)} axes, and channels are shifted along two"
    if layer.groups > 1:
        return f"it has {layer.groups} groups"
    if tied:
        return f"it shares its weight with {tied!r}"
    if uses > 1:
        return f"it is used {uses} times"
    if layer.c_in < prod(layer.kernel):
        return f"{layer.c_in} input channels are fewer than its {prod(layer.kernel)} taps"
    return ""


def _chain(layer: Layer) -> tuple[Layer, Layer]:
    moved = (layer.c_in, *layer.output[1:])
    high, wide = (side + 2 * pad for side, pad in zip(layer.input[1:], layer.padding, strict=True))
    # Padding, three slices for each offset, and the concatenation each read and write what they make.
    elements = 2 * layer.c_in * (2 * high * wide + moved[1] * wide + 2 * moved[1] * moved[2])
    others = elements - prod(layer.input) - prod(moved)
    shift = Layer(layer.name, "copy", layer.input, moved, op=SHIFT, bits=layer.bits, others=others)
    one = (1,) * len(layer.kernel)
    pointwise = layer.but(
        input=moved, kernel=one, stride=one, dilation=one, padding=(0,) * len(layer.kernel), fused=False
    )
    return shift, pointwise.but(weights=pointwise.weight_elements)


@torch.no_grad()
def _shifted(conv: nn.Module, layer: Layer, data: Moments | None) -> nn.Sequential:
    """The pair of layers; its weights are the convolution's at each channel's offset, or fitted to the data."""
    assert isinstance(conv, nn.Conv2d)
    taps = prod(layer.kernel)
    offsets = torch.tensor([i for i, (start, end) in enumerate(dealt(layer.c_in, taps)) for _ in range(start, end)])
    seen = torch.arange(layer.c_in) * taps + offsets  # the places of a patch that the shift keeps
    weight = conv.weight.detach().flatten(1).double()
    bias = None if conv.bias is None else conv.bias.detach().double()
    fitted = weight[:, seen]
    if data is not None and data.count:
        moment = regularised(data.moment(centred=bias is not None), data.count)[0]
        fitted = solve(moment[seen][:, seen], moment[seen] @ weight.T).T
        if bias is not None:
            bias = bias + weight @ data.mean[0] - fitted @ data.mean[0][seen]
    pointwise = nn.Conv2d(layer.c_in, layer.c_out, 1, bias=bias is not None)
    pointwise.weight.copy_(fitted.reshape(pointwise.weight.shape))
    if bias is not None and pointwise.bias is not None:
        pointwise.bias.copy_(bias)
    shift = ShiftChannels(layer.c_in, layer.kernel, layer.stride, layer.padding, layer.dilation)
    return nn.Sequential(shift, pointwise)
