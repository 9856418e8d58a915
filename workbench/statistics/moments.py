"""Second moments of layers' input patches on calibration images, for data-aware fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from workbench.cost.layer import Layer
from workbench.data import Split
from workbench.data.batches import as_split, batches
from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.modules.calling import call

Tensor = torch.Tensor

BATCH = 100
#: Patches a dimension of the moment that are enough: more hardly change it.
SAMPLES_A_DIMENSION = 8
#: Numbers that are looked at in any case, so that small layers are known well at no cost.
SAMPLED_ELEMENTS = 1 << 24
#: A spread of this share of the mean square is what rounding leaves of inputs that do not vary.
_ROUNDING = 1e-5
#: Bytes of moments that are collected in one pass over the images; larger networks take more passes.
PASS_BYTES = 256 << 20


@dataclass
class Moments:
    """Sums over patches (groups, d), (groups, d, d) in double precision."""

    first: Tensor
    second: Tensor
    count: int = 0
    images: int = 0

    @property
    def mean(self) -> Tensor:
        """The mean patch of every group, (groups, d)."""
        return self.first / max(self.count, 1)

    def moment(self, *, centred: bool) -> Tensor:
        """E[x x^T] of every group (groups, d, d); the covariance when `centred`."""
        second = self.second / max(self.count, 1)
        if not centred:
            return second
        spread = second - self.mean[:, :, None] * self.mean[:, None, :]
        constant = _mean_square(spread) <= _ROUNDING * _mean_square(second)
        return torch.where(constant[:, None, None], torch.zeros_like(spread), spread)


def _mean_square(second: Tensor) -> Tensor:
    return second.diagonal(dim1=1, dim2=2).mean(1)


def collect(
    module: nn.Module, layers: Mapping[str, Layer], inputs: Any, progress: Reporter, seed: int = 0
) -> dict[str, Moments]:
    """Moments of the patches that each named layer of `module` reads of a split or (N, ...), in evaluation mode.

    Positions are drawn at random where a layer has more patches than its moment needs.
    Raises: `StepFailed` when a layer meets values that are not finite; `Cancelled`.
    """
    found: dict[str, Moments] = {}
    inputs = as_split(inputs)
    parts = _parts(layers)
    for index, names in enumerate(parts):
        share = progress.part(index / len(parts), (index + 1) / len(parts))
        found |= _one_pass(module, {name: layers[name] for name in names}, inputs, share, seed)
    return found


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


def _parts(layers: Mapping[str, Layer]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    used = 0
    for name, layer in layers.items():
        size = 8 * _dimension(layer) ** 2 * layer.groups
        if parts[-1] and used + size > PASS_BYTES:
            parts.append([])
            used = 0
        parts[-1].append(name)
        used += size
    return parts


def _dimension(layer: Layer) -> int:
    return layer.c_in // layer.groups * prod(layer.kernel)


def _one_pass(
    module: nn.Module, layers: Mapping[str, Layer], inputs: Split, progress: Reporter, seed: int
) -> dict[str, Moments]:
    found: dict[str, Moments] = {}
    handles = []
    for name, layer in layers.items():
        observer = Observer.of(layer, len(inputs), seed)
        found[name] = observer.sums
        handles.append(module.get_submodule(name).register_forward_pre_hook(observer))
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            for index, batch in enumerate(batches(inputs, BATCH)):
                progress(index * BATCH / len(inputs), "Reading calibration images")
                call(module, batch)
    finally:
        module.train(was_training)
        for handle in handles:
            handle.remove()
    return found


class Observer:
    """A forward pre-hook that adds a layer's patches to its moments."""

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
        zeros = torch.zeros(g, d, dtype=torch.float64), torch.zeros(g, d, d, dtype=torch.float64)
        return cls(layer, Moments(*zeros, images=images), seed)

    def __call__(self, _: nn.Module, args: Sequence[Any]) -> None:
        """As the pre-hook of the layer."""
        self.see(args[0])

    def see(self, x: Tensor) -> Tensor:
        """Add the patches of inputs (N, ...), and return them, (groups, samples, d).

        Raises: `StepFailed` for values that are not finite.
        """
        if not torch.isfinite(x.sum()):
            raise StepFailed(
                f"On calibration images the layer {self.layer.module!r} reads NaN or infinite values. "
                "Check the images' normalisation, or use data_aware=False."
            )
        positions = None
        if self.per_image < self.places:
            positions = torch.randperm(self.places, generator=self.generator)[: self.per_image]
        found = patches(self.layer, x, positions)
        split = found.reshape(len(found), self.layer.groups, -1).transpose(0, 1)
        self.sums.first += split.double().sum(1)
        self.sums.second += (split.mT @ split).double()
        self.sums.count += len(found)
        return split
