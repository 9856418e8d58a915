"""Inputs in every form that they come in, as tensors (N, ...): pixels scaled, normalised, and of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from workbench.errors import BadValue, shown

Tensor = torch.Tensor

#: How many channels an axis may have to be taken for the channels of pixels.
CHANNELS = frozenset({1, 3, 4})
#: Pillow's modes without colour.
GREY = frozenset({"1", "L", "LA", "La"})
_RESIZED = 100  # images at a time: bounds the memory


@dataclass(frozen=True)
class Form:
    """How pixels become inputs: `(pixel / 255 - mean) / std`, at one size (height, width) where it is given.

    Raises: `BadValue` with the offending value.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, mean: Any, std: Any, size: Any) -> Form:
        """From numbers, lists, arrays or tensors."""
        return cls(_numbers("mean", mean), _numbers("std", std, positive=True), _size(size))


def _numbers(name: str, value: Any, positive: bool = False) -> tuple[float, ...]:
    """One number a channel, or one for all."""
    try:
        found = tuple(float(one) for one in np.asarray(value, np.float64).reshape(-1))
    except (TypeError, ValueError, RuntimeError):
        found = (np.nan,)
    if any(not np.isfinite(one) or (positive and one <= 0) for one in found):
        kind = "positive numbers" if positive else "numbers"
        raise BadValue(f"{name}={shown(value)}: give {kind}, one a channel or one for all.")
    return found


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    found = value if isinstance(value, (tuple, list)) else (value, value)
    if len(found) != 2 or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in found):
        raise BadValue(f"size={shown(value)}: give one positive whole number, or (height, width).")
    return found[0], found[1]


def as_tensor(value: Any, of: str, *, batch: bool) -> Tensor:
    """One input, or a batch of them (n, ...), as a tensor on the processor, apart from any gradient.

    The memory is shared with the array where torch can. Pixels (uint8) come back with their channels first.
    `of` says what it is in errors. Raises: `BadValue` for what is no array of numbers.
    """
    if isinstance(value, torch.Tensor):
        return _channels_first(_plain(value, of), batch, last=False)
    if isinstance(value, (tuple, list)) and any(isinstance(one, torch.Tensor) for one in value):
        raise BadValue(
            f"{of} is a {type(value).__name__} of {len(value)}: {shown(value)}. "
            "Give one tensor an input; a network of several inputs cannot be given data yet."
        )
    try:
        found = picture(value) if hasattr(value, "getbands") else np.asarray(value)
    except Exception as error:  # a foreign object may raise anything when it is read
        raise BadValue(f"{of} cannot be read as an array: {error}.") from error
    if found.dtype.kind not in "biuf":
        raise BadValue(f"{of} is {shown(value)}, a {type(value).__name__}. Give a tensor or an array of numbers.")
    return _channels_first(torch.from_numpy(_native(found)), batch, last=True)


def picture(value: Any) -> np.ndarray[Any, Any]:
    """A picture of Pillow as uint8: grey (H, W), or with its colours (H, W, 3)."""
    if value.mode.startswith("I;16"):
        return (np.asarray(value) >> 8).astype(np.uint8)
    return np.asarray(value.convert("L" if value.mode in GREY else "RGB"), np.uint8)


def _plain(value: Tensor, of: str) -> Tensor:
    try:
        found = value.detach()
        found = found.dequantize() if found.is_quantized else found
        found = found if found.layout is torch.strided else found.to_dense()
        found = found.as_subclass(torch.Tensor).cpu()
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise BadValue(f"{of} is a tensor that cannot be read: {error}.") from error
    if found.is_complex():
        raise BadValue(f"{of} is a tensor of {found.dtype}. Give real numbers.")
    return found


def _native(found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array that torch can read without a copy: of its types, in the machine's byte order, and writable."""
    kind = found.dtype
    if kind.kind == "f":
        kind = np.dtype(np.float32)
    elif kind.kind in "iu" and kind != np.uint8:
        kind = np.dtype(np.int64)
    with np.errstate(over="ignore"):  # what is too large for float32 is told as infinite
        plain = np.asarray(found, kind, order="C")
    return plain if plain.flags.writeable else plain.copy()


def _channels_first(found: Tensor, batch: bool, last: bool) -> Tensor:
    """Pixels (..., H, W) or (..., H, W, C) as (..., C, H, W).

    An axis that alone can be the channels decides which they are, and `last` where both can or none.
    """
    axes = found.dim() - batch
    if found.dtype != torch.uint8 or axes not in {2, 3}:
        return found
    if axes == 2:
        return found.unsqueeze(-3)
    first_fits, last_fits = found.shape[-3] in CHANNELS, found.shape[-1] in CHANNELS
    return found.movedim(-1, -3) if (last_fits >= first_fits if last else last_fits > first_fits) else found


def as_inputs(split: str, found: Tensor, form: Form) -> Tensor:
    """Inputs (N, ...) of one split, contiguous: pixels (uint8) scaled and normalised, other numbers as they are.

    They are float32; other whole numbers, such as token ids, stay whole (int64 or bool), unless `mean` or `std` are
    given: what these normalise must lie between 0 and 1, see `check_scaled`. Shares memory where nothing changes.
    Raises: `BadValue` with the offending value.
    """
    if len(found) and found.numel() == 0:
        raise BadValue(f"Split {split!r} is empty: its inputs have shape {tuple(found.shape)}.")
    found = resized(split, found, form.size)
    pixels = found.dtype == torch.uint8
    if is_whole(found) and not form.mean and not form.std:
        return found.contiguous().to(torch.bool if found.dtype == torch.bool else torch.int64)
    inputs = found.contiguous().float()
    if pixels:
        inputs = inputs.div_(255)
    if not form.mean and not form.std:
        return inputs
    return _normalised(split, inputs, form)


def is_whole(found: Tensor) -> bool:
    """Whether numbers are whole by their type, and no pixels (uint8)."""
    return not found.is_floating_point() and found.dtype != torch.uint8


def check_scaled(split: str, inputs: Tensor, form: Form) -> None:
    """Raises: `BadValue` where `mean` or `std` are to normalise numbers that do not lie between 0 and 1."""
    if inputs.dtype == torch.uint8 or inputs.numel() == 0 or not (form.mean or form.std):
        return
    low, high = float(inputs.min()), float(inputs.max())
    if not (low >= 0 and high <= 1) and low == low:  # NaN is told later
        raise BadValue(
            f"mean= and std= normalise pixels, and the inputs of split {split!r} go from {low:.4g} to "
            f"{high:.4g}. Give uint8 pixels or floats from 0 to 1; leave mean= and std= out where it is done already."
        )


def _normalised(split: str, inputs: Tensor, form: Form) -> Tensor:
    shape = (1, -1, *[1] * (inputs.dim() - 2))
    mean, std = form.mean or (0.0,), form.std or (1.0,)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in {1, inputs.shape[1]}:
            raise BadValue(
                f"{name}={shown(values)} has {len(values)} numbers, and the inputs of split {split!r} have "
                f"{inputs.shape[1]} channels. Give one a channel, or one for all."
            )
    return (inputs - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def stack(split: str, parts: Sequence[Tensor], form: Form) -> Tensor:
    """Parts (n, ...) one behind the other, (N, ...); images of several sizes need `form.size`.

    Raises: `BadValue` that names two parts which do not fit together.
    """
    if not parts:
        raise BadValue(f"Split {split!r} is empty. Give at least one input, or leave the split out.")
    if len({one.dtype == torch.uint8 for one in parts}) > 1:
        raise BadValue(f"Split {split!r} holds pixels (uint8) and inputs of other types. Give all in one type.")
    if form.size is not None:
        parts = [resized(split, one, form.size) for one in parts]
    for index, one in enumerate(parts):
        if one.shape[1:] != parts[0].shape[1:]:
            raise BadValue(
                f"The inputs of split {split!r} have several shapes: {tuple(parts[0].shape[1:])} at index 0, and at "
                f"index {index} {tuple(one.shape[1:])}. Give wb.data size=(height, width), or inputs of one shape."
            )
    return torch.cat(list(parts))


def resized(split: str, images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Images (N, C, H, W) at a size (height, width); as they are where it is None or theirs. Raises: `BadValue`."""
    if size is None or (images.dim() == 4 and tuple(images.shape[-2:]) == size):
        return images
    if images.dim() != 4:
        raise BadValue(
            f"size={size} resizes images (channels, height, width), and the inputs of split {split!r} have shape "
            f"{tuple(images.shape[1:])}. Leave size= out."
        )
    return torch.cat([resize(part, size) for part in images.split(_RESIZED)])


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (n, C, H, W) scaled until they cover `size` (height, width), antialiased, and cut at the centre."""
    height, width = images.shape[-2:]
    factor = max(size[0] / height, size[1] / width)
    scaled = (max(size[0], round(height * factor)), max(size[1], round(width * factor)))
    found = functional.interpolate(images.float(), scaled, mode="bilinear", antialias=True, align_corners=False)
    top, left = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    cut = found[..., top : top + size[0], left : left + size[1]]
    if images.is_floating_point():
        return cut.to(images.dtype)
    return cut.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else cut.round().to(images.dtype)
