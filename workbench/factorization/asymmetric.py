"""What a layer reads in a network whose earlier layers were already changed, beside what it read in the original.

An asymmetric fit (Zhang et al. 2015, section 3.3) gives the original's outputs from the changed inputs, so that
errors do not add up from layer to layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.jobs import Reporter
from workbench.lowrank.moments import RIDGE
from workbench.modules.calling import copied
from workbench.statistics.collector import READING, Feed, Reads, private
from workbench.statistics.moments import Moments, Observer

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
    original: nn.Module, changed: nn.Module, layer: Layer, feed: Feed, progress: Reporter, seed: int = 0
) -> CrossMoments:
    """The moments of one layer, in two networks that both have it, at the same places of the same images.

    Raises: `StepFailed` when it reads values that are not finite; `Cancelled`.
    """
    before, after = (Observer.of(layer, len(feed), seed) for _ in range(2))
    cross = torch.zeros(after.sums.second.shape, dtype=torch.float64)
    first, second = (Reads(private(module), layer.module) for module in (original, changed))
    for batch in feed.reported(progress, READING):
        # Both draw the same places, of as many inputs of the layer as it has runs.
        pairs = zip(first.of(copied(batch)), second.of(batch), strict=True)
        for old, new in [(before.patches(one), after.patches(other)) for one, other in pairs]:
            before.sums.first += old.sum(1, dtype=torch.float64)
            before.sums.count += old.shape[1]
            after.add(new)
            cross += old.mT @ new
    return CrossMoments(after.done(), before.sums.mean, cross / after.sums.count)
