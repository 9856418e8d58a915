"""Second moments of layers' input patches on calibration images, for data-aware fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from workbench.cost.layer import Layer
from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.statistics.collector import READING, Feed, observe, private

Tensor = torch.Tensor

#: Patches a dimension of the moment that are enough: more hardly change it.
SAMPLES_A_DIMENSION = 8
#: Numbers that are looked at in any case, so that small layers are known well at no cost.
SAMPLED_ELEMENTS = 1 << 23
#: A spread of this share of the mean square is what rounding leaves of inputs that do not vary.
_ROUNDING = 1e-5
#: Columns of a moment above which it is summed in single precision: half the memory, and an error of 1e-6, which is
#: far below what a sample of images leaves open.
_SINGLE = 1024
#: Rows of a moment that are multiplied at once. Only what lies right of them is computed: the rest mirrors it.
_ROWS = 512


@dataclass
class Moments:
    """Sums over patches: (groups, d) in double precision, (groups, d, d) in double or, for large d, single."""

    first: Tensor
    second: Tensor
    count: int = 0
    images: int = 0

    @property
    def mean(self) -> Tensor:
        """The mean patch of every group, (groups, d)."""
        return self.first / max(self.count, 1)

    def moment(self, *, centred: bool, kind: torch.dtype = torch.float64) -> Tensor:
        """E[x x^T] of every group (groups, d, d) in a precision; the covariance when `centred`."""
        found = self.second.to(kind, copy=True).div_(max(self.count, 1))
        if not centred:
            return found
        whole, mean = _mean_square(found), self.mean.to(kind)
        found.baddbmm_(mean[:, :, None], mean[:, None, :], alpha=-1)
        found[_mean_square(found) <= _ROUNDING * whole] = 0.0
        return found


def _mean_square(second: Tensor) -> Tensor:
    return second.diagonal(dim1=1, dim2=2).mean(1)


def collect(
    module: nn.Module, layers: Mapping[str, Layer], feed: Feed, progress: Reporter, seed: int = 0
) -> dict[str, Moments]:
    """Moments of the patches that each named layer of `module` reads, in evaluation mode.

    Where a layer has far more patches than its moment has columns, a sample of the positions is looked at, drawn with
    `seed`: `SAMPLES_A_DIMENSION` patches a column over all images, more for small layers. All layers share one pass.
    Raises: `StepFailed` when a layer meets values that are not finite; `Cancelled`.
    """
    observers = {name: Observer.of(layer, len(feed), seed) for name, layer in layers.items()}
    observe(private(module), {name: one.see for name, one in observers.items()}, feed, progress, READING)
    return {name: one.done() for name, one in observers.items()}


def patches(layer: Layer, x: Tensor, positions: Tensor | None = None) -> Tensor:
    """The patches that a layer reads of inputs (N, ...): (samples, c_in * taps), channel by channel.

    `positions` are flat indices into the output map (or the tokens); None takes all of them.
    """
    if layer.kind == "linear":
        rows = x.reshape(-1, prod(layer.input[:-1]), x.shape[-1])  # windows and heads may be part of the batch
        return (rows if positions is None else rows[:, positions]).reshape(-1, x.shape[-1])
    if layer.kind == "conv_transpose":
        x, stride, padding = _spread(layer, x)
    else:
        stride, padding = layer.stride, [(pad, pad) for pad in layer.padding]
    x = functional.pad(x, [side for both in reversed(padding) for side in both])
    place = torch.arange(prod(layer.output[1:])) if positions is None else positions
    at: list[Any] = [slice(None)]
    for axis, starts in enumerate(torch.unravel_index(place, layer.output[1:])):
        taps = torch.arange(layer.kernel[axis]) * layer.dilation[axis]
        rest = len(layer.kernel) - axis - 1
        at.append((starts * stride[axis]).reshape(-1, *[1] * (axis + 1 + rest)) + taps.reshape(-1, *[1] * rest))
    seen = x.movedim(1, -1)[tuple(at)]  # (N, positions, *kernel, c_in)
    return seen.movedim(-1, 2).reshape(len(x) * len(place), -1)


def _spread(layer: Layer, x: Tensor) -> tuple[Tensor, tuple[int, ...], list[tuple[int, int]]]:
    """What a transposed convolution reads as a convolution, zeros between its inputs; its stride and padding as one."""
    wide = x.new_zeros(*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], layer.stride, strict=True)))
    every: list[Any] = [slice(None, None, step) for step in layer.stride]
    wide[(..., *every)] = x
    sizes = zip(wide.shape[2:], layer.output[1:], layer.kernel, layer.dilation, layer.padding, strict=True)
    ends = [(d * (k - 1) - p, after - n + p) for n, after, k, d, p in sizes]
    return wide, (1,) * len(layer.kernel), ends


def _places(layer: Layer) -> int:
    """How many patches it reads of one input."""
    return prod(layer.output[:-1]) if layer.kind == "linear" else prod(layer.output[1:])


def _meeting(layer: Layer, x: Tensor) -> Layer:
    """The layer as it meets inputs (N, ...), which may be of another shape than those that it was seen with."""
    shape = tuple(x.shape[1:])
    if layer.kind == "linear":  # windows and heads may be part of the batch
        return layer.but(input=shape, output=(*shape[:-1], layer.c_out)) if x.numel() % prod(layer.input) else layer
    if shape == layer.input:
        return layer
    axes = zip(shape[1:], layer.input[1:], layer.output[1:], layer.stride, strict=True)
    if layer.kind == "conv_transpose":
        return layer.but(input=shape, output=(layer.c_out, *(out + (n - old) * s for n, old, out, s in axes)))
    reach = zip(shape[1:], layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True)
    after = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in reach)
    return layer.but(input=shape, output=(layer.c_out, *after))


def _dimension(layer: Layer) -> int:
    return layer.c_in // layer.groups * prod(layer.kernel)


def _precision(layer: Layer) -> torch.dtype:
    return torch.float64 if _dimension(layer) <= _SINGLE else torch.float32


class Observer:
    """A reducer that adds a layer's patches to its moments."""

    def __init__(self, layer: Layer, sums: Moments, seed: int) -> None:
        self.layer, self.sums = layer, sums
        wanted = max(SAMPLES_A_DIMENSION * _dimension(layer), SAMPLED_ELEMENTS // _dimension(layer))
        self.per_image = min(-(-wanted // sums.images), _places(layer))
        self.generator = torch.Generator().manual_seed(seed)

    @classmethod
    def of(cls, layer: Layer, images: int, seed: int) -> Observer:
        """An observer that has seen nothing yet, of so many images."""
        d, g = _dimension(layer), layer.groups
        zeros = torch.zeros(g, d, dtype=torch.float64), torch.zeros(g, d, d, dtype=_precision(layer))
        return cls(layer, Moments(*zeros, images=images), seed)

    def see(self, x: Tensor) -> None:
        """Add the patches of inputs (N, ...). Raises: `StepFailed` for values that are not finite."""
        self.add(self.patches(x))

    def patches(self, x: Tensor) -> Tensor:
        """Those patches of inputs (N, ...) that count, (groups, samples, d). Raises: as `see`."""
        if not torch.isfinite(x.sum()):
            raise StepFailed(
                f"On calibration images the layer {self.layer.module!r} reads NaN or infinite values. "
                "Check the images' normalisation, or use data_aware=False."
            )
        layer = _meeting(self.layer, x)
        positions, places = None, _places(layer)
        if self.per_image < places:
            positions = torch.randperm(places, generator=self.generator)[: self.per_image]
        found = patches(layer, x, positions)
        return found.reshape(len(found), self.layer.groups, -1).transpose(0, 1)

    def add(self, split: Tensor) -> None:
        """Add patches (groups, samples, d); of the second moment what lies on the diagonal and right of it."""
        self.sums.first += split.sum(1).double()
        for start in range(0, split.shape[2], _ROWS):
            rows, rest = split[:, :, start : start + _ROWS].mT, split[:, :, start:]
            block = self.sums.second[:, start : start + _ROWS, start:]
            if block.dtype == split.dtype:
                block.baddbmm_(rows, rest)
            else:
                block += rows @ rest
        self.sums.count += split.shape[1]

    def done(self) -> Moments:
        """The moments of all that was seen."""
        second = self.sums.second
        for start in range(_ROWS, second.shape[2], _ROWS):
            second[:, start:, start - _ROWS : start] = second[:, start - _ROWS : start, start:].mT
        return self.sums
