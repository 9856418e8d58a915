"""Where weights must lie while they are trained."""

from __future__ import annotations

import torch
from torch import nn

WEIGHED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class KeepZeros:
    """Called after each step, puts back to zero the weights that were zero at the start (Han et al. 2015)."""

    def __init__(self, module: nn.Module) -> None:
        pairs = ((p, p.detach() == 0) for p in module.parameters() if p.dim() > 1)
        self.masks = [(p, zero) for p, zero in pairs if bool(zero.any())]

    @torch.no_grad()
    def __call__(self) -> None:
        """Put the zeros back."""
        for parameter, zero in self.masks:
            parameter.masked_fill_(zero.to(parameter.device), 0)


class LowRank:
    """Called after each epoch, lowers every singular value of each layer's matrix towards zero.

    Soft thresholding is the proximal operator of the nuclear norm (Alvarez & Salzmann 2017, eq. 7). The
    threshold is `strength` times the epoch's learning rate relative to the highest, times the layer's mean
    singular value.
    """

    def __init__(self, module: nn.Module, strength: float) -> None:
        self.strength = strength
        self.layers = [m for m in module.modules() if isinstance(m, WEIGHED) and m.weight.dim() > 1]

    @torch.no_grad()
    def __call__(self, rate: float) -> None:
        """Shrink the singular values; `rate` is the share of the highest learning rate."""
        if not self.strength:
            return
        for layer in self.layers:
            matrix = layer.weight.flatten(1)
            u, s, v = torch.linalg.svd(matrix, full_matrices=False)
            low = (s - self.strength * rate * s.mean()).clamp_min(0)
            layer.weight.copy_(((u * low) @ v).reshape(layer.weight.shape))
