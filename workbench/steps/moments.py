"""Second moments of layers' input patches on calibration images, for data-aware fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from workbench.cost.network import Layer
from workbench.errors import StepFailed
from workbench.jobs import Reporter

Tensor = torch.Tensor

BATCH = 100
#: Patches a dimension of the moment that are enough: more hardly change it.
SAMPLES_A_DIMENSION = 8
#: Bytes of moments that are collected in one pass over the images; larger networks take more passes.
PASS_BYTES = 256 << 20


@dataclass
class Moments:
    """Sums over patches (groups, d), (groups, d, d) in double precision."""

    first: Tensor
    second: Tensor
    count: int = 0

    @property
    def mean(self) -> Tensor:
        """The mean patch of every group, (groups, d)."""
        return self.first / max(self.count, 1)

    def moment(self, *, centred: bool) -> Tensor:
        """E[x x^T] of every group (groups, d, d); the covariance when `centred`."""
        second = self.second / max(self.count, 1)
        return second - self.mean[:, :, None] * self.mean[:, None, :] if centred else second


def collect(
    module: nn.Module, layers: Mapping[str, Layer], inputs: Tensor, progress: Reporter, seed: int = 0
) -> dict[str, Moments]:
    """Moments of the patches that each named layer of `module` reads, in evaluation mode.

    Positions are drawn at random where a layer has more patches than its moment needs.
    Raises: `StepFailed` when a layer meets values that are not finite; `Cancelled`.
    """
    found: dict[str, Moments] = {}
    parts = _parts(layers)
    for index, names in enumerate(parts):
        share = progress.part(index / len(parts), (index + 1) / len(parts))
        found |= _one_pass(module, {name: layers[name] for name in names}, inputs, share, seed)
    return found


def patches(layer: Layer, x: Tensor) -> Tensor:
    """The patches that a layer reads of inputs (N, ...): (samples, c_in * taps), channel by channel."""
    if layer.kind == "linear":
        return x.reshape(-1, x.shape[-1])
    one_dimensional = len(layer.kernel) == 1
    kernel, dilation, padding, stride = (
        (1, *part) if one_dimensional else part for part in (layer.kernel, layer.dilation, layer.padding, layer.stride)
    )
    x = x.unsqueeze(2) if one_dimensional else x
    padding = (0, *layer.padding) if one_dimensional else padding
    columns = functional.unfold(x, kernel, dilation, padding, stride)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


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
    taps = 1
    for k in layer.kernel:
        taps *= k
    return layer.c_in // layer.groups * taps


def _one_pass(
    module: nn.Module, layers: Mapping[str, Layer], inputs: Tensor, progress: Reporter, seed: int
) -> dict[str, Moments]:
    found: dict[str, Moments] = {}
    handles = []
    for name, layer in layers.items():
        d, g = _dimension(layer), layer.groups
        found[name] = Moments(torch.zeros(g, d, dtype=torch.float64), torch.zeros(g, d, d, dtype=torch.float64))
        observer = _Observer(name, layer, found[name], len(inputs), seed)
        handles.append(module.get_submodule(name).register_forward_pre_hook(observer))
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            for done in range(0, len(inputs), BATCH):
                progress(done / len(inputs), "Reading calibration images")
                module(inputs[done : done + BATCH])
    finally:
        module.train(was_training)
        for handle in handles:
            handle.remove()
    return found


class _Observer:
    """A forward pre-hook that adds a layer's patches to its moments."""

    def __init__(self, name: str, layer: Layer, sums: Moments, images: int, seed: int) -> None:
        self.name, self.layer, self.sums = name, layer, sums
        wanted = SAMPLES_A_DIMENSION * _dimension(layer) + 2048
        self.per_image = -(-wanted // images)
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, _: nn.Module, args: Sequence[Any]) -> None:
        x = args[0]
        if not torch.isfinite(x).all():
            raise StepFailed(
                f"On calibration images the layer {self.name!r} reads NaN or infinite values. "
                "Check the images' normalisation, or use data_aware=False."
            )
        found = patches(self.layer, x)
        limit = self.per_image * len(x)
        if len(found) > limit:
            found = found[torch.randint(len(found), (limit,), generator=self.generator)]
        split = found.reshape(len(found), self.layer.groups, -1).transpose(0, 1)
        self.sums.first += split.double().sum(1)
        self.sums.second += (split.mT @ split).double()
        self.sums.count += len(found)
