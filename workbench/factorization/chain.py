"""Chains of layers that take the place of one: their shapes as values, and the torch modules made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from workbench.cost.layer import Layer, Shape
from workbench.cost.links import Links
from workbench.models.lifted import CONVOLUTIONS
from workbench.models.own_layers import Reorder

Chain = tuple[Layer, ...]


def link(layer: Layer, before: Shape, c_out: int, axes: Sequence[bool], groups: int = 1, bias: bool = False) -> Layer:
    """A convolution on a map of shape `before` that takes over the taps of `layer` along the chosen axes.

    Along the others it is pointwise: kernel, stride and dilation 1, no padding. It is transposed where `layer` is.
    """
    if not any(axes):
        return pointwise(layer, before, c_out, groups, bias)
    key = (link, tuple(axes), before[1:])
    after, same = layer.memo.get(key) or layer.remembered(key, lambda one: _along(one, before[1:], tuple(axes)))
    return Layer.made(**same, input=before, output=(c_out, *after), groups=groups, bias=bias)


def _along(layer: Layer, size: Shape, axes: tuple[bool, ...]) -> tuple[Shape, dict[str, Any]]:
    """Sizes after taps along the chosen axes, and what is the same at every rank."""
    taps_of = zip(layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True)
    chosen = [one if own else (1, 1, 0, 1) for own, one in zip(axes, taps_of, strict=True)]
    after = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, (k, s, p, d) in zip(size, chosen, strict=True)]
    if layer.kind == "conv_transpose":  # its sizes do not follow from its settings alone
        after = [new if own else old for own, new, old in zip(axes, layer.output[1:], size, strict=True)]
    names = ("kernel", "stride", "padding", "dilation")
    return tuple(after), {**_own(layer), **dict(zip(names, zip(*chosen, strict=True), strict=True))}


def _own(layer: Layer) -> dict[str, Any]:
    names = ("name", "kind", "module", "bits", "stored_bits")
    return {name: getattr(layer, name) for name in names}


def pointwise(layer: Layer, before: Shape, c_out: int, groups: int = 1, bias: bool = False) -> Layer:
    """A 1 x 1 convolution, or a linear layer where `layer` is one."""
    same = layer.memo.get(pointwise) or layer.remembered(pointwise, _pointwise)
    if layer.kind == "linear":
        return Layer.made(**same, input=before, output=(*before[:-1], c_out), bias=bias)
    return Layer.made(**same, input=before, output=(c_out, *before[1:]), groups=groups, bias=bias)


def _pointwise(layer: Layer) -> dict[str, Any]:
    """What is the same at every rank."""
    if layer.kind == "linear":
        return _own(layer)
    ones, zeros = (1,) * len(layer.kernel), (0,) * len(layer.kernel)
    return {**_own(layer), "kind": "conv", "kernel": ones, "stride": ones, "padding": zeros, "dilation": ones}


def reorder(layer: Layer, before: Shape) -> Layer:
    """A change of the order of channels: no arithmetic, one pass over the map."""
    return Layer.made(name=layer.name, kind="other", input=before, output=before, module=layer.module, bits=layer.bits)


def spatial(layer: Layer) -> list[bool]:
    """All spatial axes of a convolution; none of a linear layer."""
    return [True] * len(layer.kernel)


class Priced(NamedTuple):
    """A chain, its multiply-accumulates and its parameters."""

    chain: Chain
    macs: int
    params: int


def priced(chain: Chain) -> Priced:
    """A chain with its costs."""
    macs, params = sum([one.macs for one in chain]), sum([one.params for one in chain])
    return Priced(Links(chain), macs, params)


def build(chain: Chain, weights: Sequence[torch.Tensor], bias: torch.Tensor | None) -> nn.Sequential:
    """The torch layers of a chain; `weights` holds one a link (an order for a `Reorder`), `bias` is the last one's."""
    if chain[-1].kind == "other" and bias is not None:
        bias = bias[weights[-1].argsort()]  # added before the channels are put in order
    layers: list[nn.Module] = []
    for one, weight in zip(chain, weights, strict=True):
        if one.kind == "other":
            layers.append(Reorder(weight.tolist()))
            continue
        layer = _empty(one)
        layer.weight = _parameter(back(one, weight))
        if one.bias:
            layer.bias = _parameter(torch.zeros(one.c_out) if bias is None else bias)
        layers.append(layer)
    return nn.Sequential(*layers)


def respond(chain: Chain, weights: Sequence[torch.Tensor], patch: torch.Tensor) -> torch.Tensor:
    """What a chain without its bias answers to one input patch (c_in, *kernel) or vector: (c_out,)."""
    x = patch[None]
    for one, weight in zip(chain, weights, strict=True):
        weight = weight.to(patch.dtype) if weight.is_floating_point() else weight
        if one.kind == "linear":
            x = functional.linear(x, weight)
        elif one.kind == "other":
            x = x.index_select(1, weight)
        else:
            x = _CONVOLVE[len(one.kernel)](x, shaped(one, weight), groups=one.groups)
    return x.reshape(-1)


_CONVOLVE: dict[int, Callable[..., torch.Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def oriented(layer: Layer, weight: torch.Tensor) -> torch.Tensor:
    """A layer's weight as numerics take it: (out, in / groups, *kernel), of three axes the last two as one.

    A transposed convolution has that of the convolution that does the same with zeros between the inputs.
    """
    weight = _turned(layer, weight)
    return weight.flatten(3) if weight.dim() > 4 else weight


def back(layer: Layer, weight: torch.Tensor) -> torch.Tensor:
    """The weight as torch's layer has it, of one as numerics give it."""
    return weight if layer.kind == "linear" else _turned(layer, shaped(layer, weight))


def shaped(layer: Layer, weight: torch.Tensor) -> torch.Tensor:
    """The weight (out, in / groups, *kernel) of a convolution, with all its axes."""
    return weight.reshape(layer.output[0], layer.input[0] // layer.groups, *layer.kernel)


def _turned(layer: Layer, weight: torch.Tensor) -> torch.Tensor:
    """A transposed convolution's weight between (in, out / groups, *kernel) and (out, in / groups, *flipped kernel)."""
    if layer.kind != "conv_transpose":
        return weight
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
    return grouped.transpose(1, 2).flatten(0, 1).flip(tuple(range(2, weight.dim())))


def _empty(one: Layer) -> nn.Module:
    """The layer on the meta device: no time goes into values that are replaced at once."""
    if one.kind == "linear":
        return nn.Linear(one.c_in, one.c_out, bias=one.bias, device="meta")
    more: dict[str, Any] = {"output_padding": _further(one)} if one.kind == "conv_transpose" else {}
    kind: Callable[..., nn.Module] = CONVOLUTIONS[len(one.kernel), one.kind == "conv_transpose"]
    return kind(
        one.c_in, one.c_out, one.kernel, stride=one.stride, padding=one.padding, dilation=one.dilation,
        groups=one.groups, bias=one.bias, device="meta", **more,
    )  # fmt: skip


def _further(one: Layer) -> Shape:
    """What a transposed convolution adds at the ends of its output: `output_padding`."""
    axes = zip(one.input[1:], one.output[1:], one.kernel, one.stride, one.padding, one.dilation, strict=True)
    return tuple(after - ((n - 1) * s - 2 * p + d * (k - 1) + 1) for n, after, k, s, p, d in axes)


def _parameter(values: torch.Tensor) -> nn.Parameter:
    """A copy in float32: the values may be a view of something large."""
    return nn.Parameter(values.detach().to(torch.float32, memory_format=torch.contiguous_format, copy=True))


def taps(layer: Layer) -> int:
    """Positions of the kernel; 1 for a linear layer."""
    return prod(layer.kernel)


def no_taps(layer: Layer) -> str:
    """Why a family that works on taps leaves a layer with one alone."""
    what = "linear layer" if layer.kind == "linear" else "1x1 convolution"
    return f"a {what} has no taps, use SVD"
