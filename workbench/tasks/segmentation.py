"""One class a pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from workbench.errors import BadValue
from workbench.tasks.classification import finite
from workbench.tasks.entropy import cross_entropy
from workbench.tasks.library import tensors, torchmetrics
from workbench.tasks.losses import as_logits, independent, like, softened
from workbench.tasks.metric import Metric
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]


def counts(outputs: Array, labels: Array) -> Array:
    """Pixels that are right, wrongly said, and missed, of each class: (N, 3 * classes).

    `outputs` (N, classes, ...) hold a score for every pixel, `labels` (N, ...) its class; labels that are
    no class, such as 255, are left out. Raises: `BadValue` for other shapes.
    """
    if outputs.ndim < 3 or labels.shape != (outputs.shape[0], *outputs.shape[2:]):
        raise BadValue(
            f"Outputs of shape {outputs.shape} and labels of shape {labels.shape} are not a segmentation: "
            "it has outputs (N, classes, H, W) and labels (N, H, W)."
        )
    finite(outputs)
    n, classes = outputs.shape[:2]
    known = np.where((labels >= 0) & (labels < classes), labels, -1).astype(np.int64).reshape(n, -1)
    said = tensors(np.ascontiguousarray(outputs.argmax(axis=1).reshape(n, -1)))
    found = torchmetrics("functional.classification").multiclass_stat_scores(
        said, tensors(known), classes, average=None, multidim_average="samplewise", ignore_index=-1, validate_args=False
    )
    parts: Array = found[..., [0, 1, 3]].transpose(1, 2).flatten(1).numpy()
    return parts


def mean_iou(sums: Array) -> Array:
    """Intersection over union, averaged over the classes that occur; `sums` (..., 3 * classes)."""
    right, wrong, missed = np.split(np.asarray(sums, np.float64), 3, axis=-1)
    either = right + wrong + missed
    share = np.divide(right, either, out=np.zeros_like(right), where=either > 0)
    mean: Array = share.sum(axis=-1) / np.maximum((either > 0).sum(axis=-1), 1)
    return mean


def right_pixels(sums: Array) -> Array:
    """The share of pixels that are right; `sums` (..., 3 * classes)."""
    right, _, missed = (one.sum(axis=-1) for one in np.split(np.asarray(sums, np.float64), 3, axis=-1))
    share: Array = right / np.maximum(right + missed, 1)
    return share


def binary(outputs: Array, labels: Array) -> Array:
    """As `counts`, for one logit a pixel: outputs (N, 1, ...), labels (N, ...) or (N, 1, ...)."""
    wanted = labels.reshape(len(labels), *outputs.shape[2:]) if labels.size == outputs.size else labels
    logits = as_logits(torch.from_numpy(outputs)).numpy()
    return counts(np.concatenate([-logits, logits], axis=1), wanted)


def _binary_loss(outputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    del weight
    logits, wanted = as_logits(outputs), like(labels, outputs)
    known = ((wanted == 0) | (wanted == 1)).to(logits.dtype)
    every = functional.binary_cross_entropy_with_logits(logits, wanted.clamp(0, 1), reduction="none")
    return (every * known).sum() / known.sum().clamp_min(1)


def _binary(seen: Seen) -> bool:
    alone = len(seen.output) > 2 and seen.output[0] == 1 and seen.label in (seen.output, seen.output[1:])
    return alone and bool(np.isin(seen.labels, (0, 1, -1, 255)).all())


def _answers(outputs: Array) -> Array:
    said: Array = as_logits(torch.from_numpy(outputs)).numpy()[:, 0] > 0
    return said


def _fits(seen: Seen) -> bool:
    return len(seen.output) > 1 and seen.output[0] > 1 and seen.whole and seen.label == seen.output[1:]


MEAN_IOU = Metric("miou", counts, mean_iou, label="Mean IoU", share=True)
PIXEL_ACCURACY = Metric("pixel_accuracy", counts, right_pixels, label="Pixel accuracy", share=True)

SEGMENTATION = Task(
    name="segmentation",
    title="segmentation",
    metrics=(MEAN_IOU, PIXEL_ACCURACY),
    needs="outputs (classes, H, W) and the number of a class for each pixel (H, W)",
    fits=_fits,
    likely=lambda seen: _fits(seen) and len(seen.output) > 2,
    loss=cross_entropy,
    taught=softened(1),
    answers=lambda outputs: outputs.argmax(axis=1),
    classes=True,
)
#: One logit a pixel: in or out.
BINARY = replace(
    SEGMENTATION,
    metrics=(replace(MEAN_IOU, function=binary), replace(PIXEL_ACCURACY, function=binary)),
    fits=_binary, likely=_binary, loss=_binary_loss, taught=independent, answers=_answers, classes=False,
)  # fmt: skip
