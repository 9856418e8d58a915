"""What a layer reads in a network whose earlier layers were already changed, beside what it read in the original.

An asymmetric fit (Zhang et al. 2015, section 3.3) gives the original's outputs from the changed inputs, so that
errors do not add up from layer to layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.data.batches import as_split, batches
from workbench.jobs import Reporter
from workbench.lowrank.moments import RIDGE
from workbench.modules.calling import Inputs, call, copied
from workbench.statistics.moments import BATCH, Moments, Observer

Tensor = torch.Tensor


@dataclass(frozen=True)
class CrossMoments:
    """Moments of the changed inputs x', the original inputs' mean patch (groups, d), and E[x x'^T] (groups, d, d)."""

    changed: Moments
    mean: Tensor
    cross: Tensor

    def adjusted(self, weight: Tensor, *, centred: bool) -> Tensor:
        """The weight (out, in, *kernel) whose outputs of x' are nearest to those of `weight` of x.

        W' = W (E[x x'^T] + c I) (E[x' x'^T] + c I)^-1, covariances when `centred`: with a small c directions that
        were hardly seen keep the weight that they have.
        """
        cross, own = self.cross, self.changed.moment(centred=centred)
        if centred:
            cross = cross - self.mean[:, :, None] * self.changed.mean[:, None, :]
        constant = own.diagonal(dim1=1, dim2=2).mean(1) <= 0  # no fit to what does not vary
        scale = own.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(own.dtype).tiny)[:, None, None]
        ridge = RIDGE * scale * torch.eye(own.shape[-1], dtype=own.dtype)
        flat = weight.reshape(len(own), -1, own.shape[-1]).to(own.dtype)
        sound = torch.where(constant[:, None, None], torch.eye(own.shape[-1], dtype=own.dtype), own + ridge)
        fitted: Tensor = torch.linalg.solve(sound, (flat @ (cross + ridge)).mT).mT
        fitted = torch.where(constant[:, None, None], flat, fitted)
        return fitted.reshape(weight.shape).to(weight.dtype)


def collect_cross_moments(
    original: nn.Module, changed: nn.Module, layer: Layer, inputs: Any, progress: Reporter, seed: int = 0
) -> CrossMoments:
    """The moments of one layer, in two networks that both have it, at the same places of the same images.

    Raises: `StepFailed` when it reads values that are not finite; `Cancelled`.
    """
    images = as_split(inputs)
    before, after = (Observer.of(layer, len(images), seed) for _ in range(2))
    cross = torch.zeros_like(after.sums.second)
    with torch.no_grad():
        for done, batch in enumerate(batches(images, BATCH)):
            progress(done * BATCH / len(images), "Reading calibration images")
            read = [
                _read(module, layer.module, observer, batch)
                for module, observer in ((original, before), (changed, after))
            ]
            cross += (read[0].mT @ read[1]).double()
    return CrossMoments(after.sums, before.sums.mean, cross / after.sums.count)


class _Enough(Exception):
    """No error: what follows the layer need not be computed."""


def _read(module: nn.Module, name: str, observer: Observer, images: Inputs) -> Tensor:
    """The patches (groups, samples, d) that a layer reads of images."""
    found: list[Tensor] = []

    def listen(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        found.append(observer.see(args[0]))
        raise _Enough

    handle = module.get_submodule(name).register_forward_pre_hook(listen)
    was_training = module.training
    module.eval()
    try:
        call(module, copied(images))
    except _Enough:
        pass
    finally:
        handle.remove()
        module.train(was_training)
    return found[0]
