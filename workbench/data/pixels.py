"""Inputs in every form that they come in, as tensors (N, ...): pixels scaled, normalised, and of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from workbench.data.preprocess import Preprocess
from workbench.errors import BadValue, shown

Tensor = torch.Tensor

#: How many channels an axis may have to be taken for the channels of pixels.
CHANNELS = frozenset({1, 3, 4})
#: Pillow's modes without colour.
GREY = frozenset({"1", "L", "LA", "La"})
_RESIZED = 100  # images at a time: bounds the memory


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


def as_inputs(split: str, found: Tensor, form: Preprocess) -> Tensor:
    """Inputs (N, ...) of one split, contiguous: pixels (uint8) scaled and normalised, other numbers as they are.

    They are float32; other whole numbers, such as token ids, stay whole (int64 or bool), unless `mean` or `std` are
    given: what these normalise must lie between 0 and 1, see `check_scaled`. Shares memory where nothing changes.
    Raises: `BadValue` with the offending value.
    """
    if len(found) and found.numel() == 0:
        raise BadValue(f"Split {split!r} is empty: its inputs have shape {tuple(found.shape)}.")
    found = resized(split, found, form)
    if is_whole(found) and not form.mean and not form.std:
        return found.contiguous().to(torch.bool if found.dtype == torch.bool else torch.int64)
    inputs = found.contiguous().float()
    if found.dtype == torch.uint8:
        inputs = inputs.div_(255)
    if form.range != 1:
        inputs = inputs * form.range
    if form.order == "BGR" and inputs.dim() == 4:
        inputs = inputs.flip(1)
    if form.mean or form.std:
        inputs = _normalised(split, inputs, form)
    return inputs.movedim(1, -1).contiguous() if form.layout == "NHWC" and inputs.dim() == 4 else inputs


def is_whole(found: Tensor) -> bool:
    """Whether numbers are whole by their type, and no pixels (uint8)."""
    return not found.is_floating_point() and found.dtype != torch.uint8


def check_scaled(split: str, inputs: Tensor, form: Preprocess) -> None:
    """Raises: `BadValue` where `mean` or `std` are to normalise numbers that do not lie between 0 and 1."""
    if inputs.dtype == torch.uint8 or inputs.numel() == 0 or not (form.mean or form.std):
        return
    low, high = float(inputs.min()), float(inputs.max())
    if not (low >= 0 and high <= 1) and low == low:  # NaN is told later
        raise BadValue(
            f"mean= and std= normalise pixels, and the inputs of split {split!r} go from {low:.4g} to "
            f"{high:.4g}. Give uint8 pixels or floats from 0 to 1; leave mean= and std= out where it is done already."
        )


def _normalised(split: str, inputs: Tensor, form: Preprocess) -> Tensor:
    shape = (1, -1, *[1] * (inputs.dim() - 2))
    mean, std = form.mean or (0.0,), form.std or (1.0,)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in {1, inputs.shape[1]}:
            raise BadValue(
                f"{name}={shown(values)} has {len(values)} numbers, and the inputs of split {split!r} have "
                f"{inputs.shape[1]} channels. Give one a channel, or one for all."
            )
    return (inputs - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def stack(split: str, parts: Sequence[Tensor], form: Preprocess) -> Tensor:
    """Parts (n, ...) one behind the other, (N, ...); images of several sizes need `form.size`.

    Raises: `BadValue` that names two parts which do not fit together.
    """
    if not parts:
        raise BadValue(f"Split {split!r} is empty. Give at least one input, or leave the split out.")
    if len({one.dtype == torch.uint8 for one in parts}) > 1:
        raise BadValue(f"Split {split!r} holds pixels (uint8) and inputs of other types. Give all in one type.")
    if form.size is not None:
        parts = [resized(split, one, form) for one in parts]
    for index, one in enumerate(parts):
        if one.shape[1:] != parts[0].shape[1:]:
            raise BadValue(
                f"The inputs of split {split!r} have several shapes: {tuple(parts[0].shape[1:])} at index 0, and at "
                f"index {index} {tuple(one.shape[1:])}. Give wb.data size=(height, width), or inputs of one shape."
            )
    return torch.cat(list(parts))


def resized(split: str, images: Tensor, form: Preprocess) -> Tensor:
    """Images (N, C, H, W) at the size of `form`; as they are where it says none or theirs. Raises: `BadValue`."""
    size = form.size
    if size is None or (images.dim() == 4 and tuple(images.shape[-2:]) == size):
        return images
    if images.dim() != 4:
        raise BadValue(
            f"size={size} resizes images (channels, height, width), and the inputs of split {split!r} have shape "
            f"{tuple(images.shape[1:])}. Leave size= out."
        )
    return torch.cat([resize(part, form) for part in images.split(_RESIZED)])


def placed(old: tuple[int, int], form: Preprocess) -> tuple[tuple[int, int], tuple[int, int]]:
    """What images of a size (height, width) are scaled to, and where (top, left) they are cut out of that."""
    size = form.size or old
    factor = max(size[0] / old[0], size[1] / old[1]) / form.crop
    scaled = (max(size[0], round(old[0] * factor)), max(size[1], round(old[1] * factor)))
    return scaled, ((scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2)


def resize(images: Tensor, form: Preprocess) -> Tensor:
    """Images (n, C, H, W) scaled until they cover the size of `form`, antialiased, and cut at the centre."""
    assert form.size is not None
    scaled, (top, left) = placed((images.shape[-2], images.shape[-1]), form)
    smooth = {} if form.interpolation == "nearest" else {"antialias": True, "align_corners": False}
    found = functional.interpolate(images.float(), scaled, mode=form.interpolation, **smooth)
    cut = found[..., top : top + form.size[0], left : left + form.size[1]]
    if images.is_floating_point():
        return cut.to(images.dtype)
    return cut.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else cut.round().to(images.dtype)
