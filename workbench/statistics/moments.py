"""Second moments of layers' input patches on calibration images, for data-aware fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

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
    kernel, dilation, padding, stride, out = (
        (*empty, *part)
        for empty, part in (
            (_missing(layer, 1), layer.kernel),
            (_missing(layer, 1), layer.dilation),
            (_missing(layer, 0), layer.padding),
            (_missing(layer, 1), layer.stride),
            (_missing(layer, 1), layer.output[1:]),
        )
    )
    x = functional.pad(
        x.unsqueeze(2) if len(layer.kernel) == 1 else x, (padding[1], padding[1], padding[0], padding[0])
    )
    place = torch.arange(out[0] * out[1]) if positions is None else positions
    rows, columns = place // out[1] * stride[0], place % out[1] * stride[1]
    down = rows[:, None, None] + torch.arange(kernel[0])[None, :, None] * dilation[0]
    across = columns[:, None, None] + torch.arange(kernel[1])[None, None, :] * dilation[1]
    seen = x.permute(0, 2, 3, 1)[:, down, across]  # (N, positions, k_h, k_w, c_in)
    return seen.permute(0, 1, 4, 2, 3).reshape(len(x) * len(place), -1)


def _missing(layer: Layer, value: int) -> tuple[int, ...]:
    """What a one-dimensional convolution lacks to be a two-dimensional one."""
    return (value,) if len(layer.kernel) == 1 else ()


def _dimension(layer: Layer) -> int:
    return layer.c_in // layer.groups * prod(layer.kernel)


def _precision(layer: Layer) -> torch.dtype:
    return torch.float64 if _dimension(layer) <= _SINGLE else torch.float32


class Observer:
    """A reducer that adds a layer's patches to its moments."""

    def __init__(self, layer: Layer, sums: Moments, seed: int) -> None:
        self.layer, self.sums = layer, sums
        self.places = prod(layer.output[1:]) if layer.kind == "conv" else prod(layer.output[:-1])
        wanted = max(SAMPLES_A_DIMENSION * _dimension(layer), SAMPLED_ELEMENTS // _dimension(layer))
        self.per_image = min(-(-wanted // sums.images), self.places)
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
        positions = None
        if self.per_image < self.places:
            positions = torch.randperm(self.places, generator=self.generator)[: self.per_image]
        found = patches(self.layer, x, positions)
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
