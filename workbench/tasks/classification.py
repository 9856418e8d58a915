"""One class an input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.classes import check_classes
from workbench.errors import BadValue, MeasurementFailed
from workbench.tasks.entropy import cross_entropy
from workbench.tasks.library import tensors, torchmetrics
from workbench.tasks.losses import softened
from workbench.tasks.metric import Metric
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]

#: Times as many inputs in the largest class as in the smallest from which the mean over classes is worth a look.
IMBALANCE = 3.0


def top1(outputs: Array, labels: Array) -> Array:
    """1 where the largest output is the label's, 0 elsewhere (N,). Raises: `BadValue`, `MeasurementFailed`."""
    return _among(outputs, labels, 1)


def top5(outputs: Array, labels: Array) -> Array:
    """1 where the label is among the five largest outputs (N,). Raises: `BadValue` for five classes or fewer."""
    _check(outputs, labels)
    if outputs.shape[1] <= 5:
        raise BadValue(f"With {outputs.shape[1]} classes the label is always among the top five. Use 'accuracy'.")
    return _among(outputs, labels, 5)


def by_class(outputs: Array, labels: Array) -> Array:
    """Whether each input is right, in the column of its class, then 1 there behind: (N, 2 * classes)."""
    right, classes = top1(outputs, labels), outputs.shape[1]
    found = np.zeros((len(labels), 2 * classes), np.float32)
    every = np.arange(len(labels))
    found[every, labels] = right
    found[every, classes + labels] = 1
    return found


def mean_of_classes(sums: Array) -> Array:
    """The mean over the classes that occur of the share that is right; `sums` (..., 2 * classes)."""
    right, count = np.split(np.asarray(sums, np.float64), 2, axis=-1)
    share = np.divide(right, count, out=np.zeros_like(right), where=count > 0)
    mean: Array = share.sum(axis=-1) / np.maximum((count > 0).sum(axis=-1), 1)
    return mean


def finite(outputs: Array) -> None:
    """Raises: `MeasurementFailed` for outputs (N, ...) that are not."""
    broken = int((~np.isfinite(outputs)).reshape(len(outputs), -1).any(axis=1).sum())
    if broken:
        raise MeasurementFailed(
            f"The artefact returns NaN or infinity for {broken} of {len(outputs)} inputs, so it gives no answers "
            "there. A step has destroyed the network, or its numbers overflow in this precision."
        )


def _among(outputs: Array, labels: Array, most: int) -> Array:
    _check(outputs, labels)
    finite(outputs)
    check_classes(labels, outputs.shape[1], "the split")
    given, wanted = tensors(outputs)[..., None], tensors(np.asarray(labels, np.int64))[:, None]
    found = torchmetrics("functional.classification").multiclass_accuracy(
        given, wanted, outputs.shape[1], "micro", most, "samplewise", validate_args=False
    )
    marks: Array = found.numpy().astype(bool)
    return marks


def _check(outputs: Array, labels: Array) -> None:
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1]:
        raise BadValue(
            f"Outputs of shape {outputs.shape} and labels of shape {labels.shape} are not a classification: "
            "it has outputs (N, classes) and labels (N,). Use metric='miou' for segmentation, or a function."
        )


def _fits(seen: Seen) -> bool:
    return len(seen.output) == 1 and seen.output[0] > 1 and seen.whole and seen.label == ()


ACCURACY = Metric("accuracy", top1, label="Accuracy", share=True)
TOP5 = Metric("top5", top5, label="Top-5 accuracy", share=True)
BALANCED = Metric("balanced_accuracy", by_class, mean_of_classes, label="Balanced accuracy", share=True)

CLASSIFICATION = Task(
    name="classification",
    title="classification",
    metrics=(ACCURACY,),
    needs="outputs (classes) and one class number an input",
    fits=_fits,
    likely=_fits,
    loss=cross_entropy,
    taught=softened(1),
    answers=lambda outputs: outputs.argmax(axis=1),
    classes=True,
)
#: The same where some classes are rare: what is right of each class is reported beside what is right of all.
IMBALANCED = replace(CLASSIFICATION, metrics=(ACCURACY, BALANCED))


def is_imbalanced(labels: Array) -> bool:
    """Whether the largest class of labels (N,) has three times as many inputs as the smallest, or more."""
    present = np.unique(labels[labels >= 0], return_counts=True)[1]  # a wrong label may be of any size
    return len(present) > 1 and bool(present.max() >= IMBALANCE * present.min())
