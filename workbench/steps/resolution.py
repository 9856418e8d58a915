"""`Resolution`: the network sees smaller images. The cheapest lever of all."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from workbench.cost.layer import Layer, Shape
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue
from workbench.models.own_layers import Resize
from workbench.step import Context, Decision, Plan, Rewrite, Row, Stops, row, setting


class Misfit(Exception):
    """A layer does not take maps of the new size."""


@dataclass(frozen=True)
class Resolution(Rewrite):
    """Resize the images inside the network, before its first layer: MACs fall with the square of the side.

    The exported file still takes images of the old size, so what is measured includes the resizing.
    Fine-tuning should follow. Sources: Howard et al. 2017 (MobileNets), section 3.4; Touvron et al. 2019.
    """

    title: ClassVar[str] = "Resolution"
    summary: ClassVar[str] = "Let the network see smaller images: MACs fall with the square of the side."
    family: ClassVar[str] = "rewrite"

    size: int = setting(20, "integer", "Height of the images inside the network.", low=4, high=1024, unit="pixels")

    def stops(self, network: Network) -> Mapping[str, Stops]:
        """Smaller images than the network is given now."""
        image = network.layers[0].input
        return {"size": range(4, image[1])} if len(image) == 3 else {}

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """Every map's new size; a head that takes maps of one size alone rules it out."""
        first, why = self._entrance(network)
        after = network
        if not why:
            try:
                after = resized(network, first, self._size(first.input))
            except Misfit as misfit:
                why = str(misfit)
        if why:
            return Plan(network, network, (row(self.brief, first, Decision.UNFIT, {"why": why}),))
        if not weights.changed:  # then how every pooling rounds can be known exactly
            image = torch.zeros(1, *first.input)
            try:
                after = trace(self._with_resize(_sharing_tensors(weights.module), first), image)
            except BadValue:
                why = f"with images of {self.size} pixels the network does not run"
                return Plan(network, network, (row(self.brief, first, Decision.UNFIT, {"why": why}),))
        new = {layer.module: layer for layer in after.layers if layer.module}
        new[first.module] = new.get(first.module, new.get(f"{first.module}.1", first))
        height, width = self._size(first.input)
        rows = [
            Row(self.brief, x.module, x.kind, Decision.RESIZED, {"height": height, "width": width},
                x.macs, new[x.module].macs, x.params, x.params)
            for x in network.layers if x.module and x.macs
        ]  # fmt: skip
        return Plan(network, after, tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy that resizes its input; as it was where the plan says so."""
        network = trace(module, context.example)
        module = copy.deepcopy(module)
        if not self.plan_on(network, Weights(module)).changes:
            return module
        return self._with_resize(module, self._entrance(network)[0]).eval()

    def _with_resize(self, module: nn.Module, first: Layer) -> nn.Module:
        own = module.get_submodule(first.module)
        module.set_submodule(first.module, nn.Sequential(Resize(self._size(first.input)), own))
        return module

    def _size(self, image: Shape) -> tuple[int, int]:
        return self.size, max(1, round(self.size * image[2] / image[1]))

    def _entrance(self, network: Network) -> tuple[Layer, str]:
        """The layer that reads the images, and why it cannot read smaller ones, or ""."""
        first = network.layers[0]
        readers = [layer for layer in network.layers if first.reads[0] in layer.reads]
        if first.kind != "conv" or len(readers) > 1 or not first.module or len(first.input) != 3:
            return first, "left alone: the images are not read by one convolution alone"
        if self.size >= first.input[1]:
            return first, f"left alone: the images have a height of {first.input[1]} already"
        return first, ""


def _sharing_tensors(module: nn.Module) -> nn.Module:
    """A copy of the structure whose weights are the same tensors: cheap, and nobody else's modules change."""
    tensors = (*module.parameters(), *module.buffers())
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def resized(network: Network, first: Layer, size: tuple[int, int]) -> Network:
    """The network when its first layer reads images of another size. Raises: `Misfit`.

    Of poolings only the sizes are known here; where these do not divide, they count as rounding down.
    """
    image, fresh = first.input, 1 + max(layer.writes for layer in network.layers)
    small = (image[0], *size)
    resize = Layer(
        f"{first.name}.0", "elementwise", image, small,
        reads=first.reads, writes=fresh, op="upsample_bilinear2d", bits=first.bits,
    )  # fmt: skip
    shapes: dict[int, tuple[Shape, Shape]] = {fresh: (image, small)}
    layers = [resize]
    for layer in network.layers:
        if layer is first:
            layer = layer.but(reads=(fresh,))
        new = _layer_at(layer, shapes)
        shapes[layer.writes] = (layer.output, new.output)
        layers.append(new)
    return Network(tuple(layers))


def _layer_at(layer: Layer, shapes: dict[int, tuple[Shape, Shape]]) -> Layer:
    old, new = shapes.get(layer.reads[0], (layer.input, layer.input)) if layer.reads else (layer.input, layer.input)
    before = new if old == layer.input else layer.input
    if layer.kind == "linear" and before != layer.input:
        raise Misfit(
            f"{layer.name!r} takes {layer.input[-1]} inputs, and would get {before[-1]}. "
            "GlobalPool() before this step makes a classifier's head take maps of any size"
        )
    if before != layer.input and layer.kind in {"add", "elementwise"} and layer.fixed > layer.input[0]:
        raise Misfit(f"{layer.name!r} has numbers of its own for every place of a map of this size")
    sizes = [shapes[tensor] for tensor in layer.reads if tensor in shapes]
    others = sum(_elements(size[1]) for size in sizes[1:]) if layer.others else 0
    after = next((size[1] for size in sizes if layer.kind == "add" and size[0] == layer.output), None)
    return layer.but(input=before, output=after or _output(layer, before), others=others or layer.others)


def _output(layer: Layer, before: Shape) -> Shape:
    if before == layer.input:
        return layer.output
    if layer.kind == "conv":
        sides = zip(before[1:], layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True)
        after = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides]
        if min(after) < 1:
            raise Misfit(f"the kernel of {layer.name!r} is larger than the map that it would get")
        return (layer.output[0], *after)
    if len(layer.output) == 1:
        flat = layer.kind == "reshape"
        return (_elements(before),) if flat else layer.output
    if layer.kind == "pool":
        if "adaptive" in layer.op or layer.op == "mean":
            return layer.output
        pooled = zip(before[1:], layer.input[1:], layer.output[1:], strict=True)
        return (layer.output[0], *(max(1, new // max(1, round(old / out))) for new, old, out in pooled))
    if layer.input[1:] == layer.output[1:] and len(layer.output) == 3:
        return (layer.output[0], *before[1:])
    raise Misfit(f"{layer.name!r} changes the size of its map in a way that is not followed")


def _elements(shape: Shape) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
