"""An image for an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from workbench.errors import BadValue
from workbench.tasks.library import tensors, torchmetrics
from workbench.tasks.losses import like, near
from workbench.tasks.metric import Metric
from workbench.tasks.regression import MAE, pair
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]

#: The largest signal over noise, in decibels, of a picture that is equal: 16 bits have no more.
BEST = 100.0


def signal_over_noise(outputs: Array, labels: Array) -> Array:
    """The peak signal over noise of each image (N,), in decibels. See `_range` for the peak."""
    given, wanted = pair(outputs, labels)
    found = torchmetrics("functional.image").peak_signal_noise_ratio(
        given, wanted, data_range=_range(labels), reduction="none", dim=1
    )
    decibels: Array = found.clamp_max(BEST).numpy()
    return decibels


def similarity(outputs: Array, labels: Array) -> Array:
    """The structural similarity of each image (N,) (Wang et al. 2004). Raises: `BadValue` for tiny images."""
    pair(outputs, labels)
    shape = outputs.shape if outputs.ndim > 3 else (len(outputs), 1, *outputs.shape[1:])
    least = min(shape[2:])
    if least < 3:
        raise BadValue(f"Images of {shape[2:]} are too small to have a structure. Use metric='psnr' or 'mae'.")
    size = min(11, least - 1 + least % 2)
    given, wanted = (tensors(one).float().reshape(shape) for one in (outputs, np.asarray(labels)))
    found = torchmetrics("functional.image").structural_similarity_index_measure(
        given, wanted, gaussian_kernel=False, kernel_size=size, reduction="none", data_range=_range(labels)
    )
    values: Array = found.numpy().reshape(-1)
    return values


def _range(labels: Array) -> float:
    """From the darkest to the lightest that labels can be: of 0 to 1, -1 to 1, or 0 to 255, which they lie within."""
    low, high = float(labels.min()), float(labels.max())
    if high > 1 or low < -1:
        return 255.0
    return 1.0 if low >= 0 else 2.0


def _loss(outputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    del weight
    return functional.l1_loss(outputs, like(labels, outputs))


def _fits(seen: Seen) -> bool:
    return (
        seen.label is not None
        and len(seen.output) > 1
        and seen.label in (seen.output, seen.output[-2:])
        and (int(np.prod(seen.label)) == int(np.prod(seen.output)))
    )


PSNR = Metric("psnr", signal_over_noise, unit="dB", label="Signal over noise")
SSIM = Metric("ssim", similarity, label="Structural similarity")

IMAGES = Task(
    name="images",
    title="making of images",
    metrics=(PSNR, SSIM, MAE),
    needs="an image as output and one of the same shape as label",
    fits=_fits,
    likely=lambda seen: _fits(seen) and len(seen.output) > 2,
    loss=_loss,
    taught=near,
)
