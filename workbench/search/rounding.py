"""A network that computes about as its int8 artefact will, so that options are tried with the rounding that follows.

Some chains lose little by themselves and much in int8: their parts hold large numbers that cancel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

#: Whole steps of a byte, and of a weight on either side of zero.
STEPS, LARGEST = 255, 127


def round_off(module: nn.Module, layers: Iterable[str]) -> nn.Module:
    """Round the weights of the named layers, for each output channel alone, and what they read, batch by batch.

    In place, on the caller's own copy: its weights are replaced, no memory that they share is written to.
    """
    for name in layers:
        layer = module.get_submodule(name)
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor):
            continue  # it has no weights of its own
        layer.weight = nn.Parameter(rounded_weight(weight.detach(), _outputs(layer)), requires_grad=False)
        layer.register_forward_pre_hook(_rounds_input, with_kwargs=True)
    return module


def rounded_weight(weight: Tensor, outputs: int) -> Tensor:
    """To the nearest of 255 steps that are symmetric about zero, of each output channel (along this axis)."""
    rest = [axis for axis in range(weight.dim()) if axis != outputs]
    scale = weight.abs().amax(rest, keepdim=True).clamp_min(1e-12) / LARGEST
    return (weight / scale).round() * scale


def rounded_values(x: Tensor) -> Tensor:
    """To the nearest of 256 steps between the least and the most, zero among them."""
    low, high = (float(one) for one in x.aminmax())
    low, high = min(low, 0.0), max(high, 0.0)
    if not high > low:
        return x
    scale = (high - low) / STEPS
    shift = round(-low / scale)
    return ((x / scale).round() + shift).clamp(0, STEPS).sub(shift).mul(scale)


def _rounds_input(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args and isinstance(args[0], Tensor) and args[0].is_floating_point():
        return (rounded_values(args[0]), *args[1:]), named
    return args, named


def _outputs(layer: nn.Module) -> int:
    """The axis of a weight that its outputs lie along; a transposed convolution has them second."""
    return 1 if getattr(layer, "transposed", False) else 0
