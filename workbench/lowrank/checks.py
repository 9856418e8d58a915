"""What every decomposition checks of its input before it computes anything."""

from __future__ import annotations

import torch

from workbench.errors import BadValue


def checked(weight: torch.Tensor, what: str, dims: tuple[int, ...]) -> torch.Tensor:
    """The detached weight as floats of at least 32 bits.

    Raises: `BadValue` when it has another number of dimensions, no elements, or values that are not finite.
    """
    if weight.dim() not in dims or weight.numel() == 0:
        wanted = " or ".join(map(str, dims))
        raise BadValue(f"{what} needs a non-empty tensor of {wanted} dimensions, got shape {tuple(weight.shape)}.")
    weight = weight.detach()
    weight = weight if weight.dtype == torch.float64 else weight.float()
    if not torch.isfinite(weight).all():
        bad = int((~torch.isfinite(weight)).sum())
        raise BadValue(
            f"{what} got a tensor with {bad} of {weight.numel()} values NaN or infinite. "
            "Such a layer cannot be approximated; load the weights again or train with a lower learning rate."
        )
    return weight


def checked_rank(rank: int, full: int, what: str) -> int:
    """The rank itself. Raises: `BadValue` unless it is a whole number in 1..full."""
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= full:
        raise BadValue(f"{what}: rank must be a whole number from 1 to the full rank {full}, got {rank!r}.")
    return rank


def relative(residual: float, total: float) -> float:
    """sqrt(residual / total) of two squared norms; 0 for a tensor of zeros, whose approximation is exact."""
    return (max(residual, 0.0) / total) ** 0.5 if total > 0 else 0.0
