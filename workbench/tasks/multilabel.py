"""Any number of labels an input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from workbench.tasks.classification import finite
from workbench.tasks.library import tensors, torchmetrics
from workbench.tasks.losses import as_logits, independent, like
from workbench.tasks.metric import Metric
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]


def average_precision(outputs: Array, labels: Array) -> float:
    """The mean over the labels that occur of the area under precision and recall, of scores and labels (N, labels)."""
    finite(outputs)
    scores, wanted = _flat(outputs, labels)
    found = torchmetrics("functional.classification").multilabel_average_precision(
        as_logits(scores).sigmoid(), wanted, scores.shape[1], "none"
    )
    return float(found[(wanted > 0).any(0)].mean()) if bool((wanted > 0).any()) else 0.0


def f1(outputs: Array, labels: Array) -> Array:
    """True positives, false positives and false negatives of each input (N, 3)."""
    finite(outputs)
    scores, wanted = _flat(outputs, labels)
    said = as_logits(scores) > 0
    found = torchmetrics("functional.classification").multilabel_stat_scores(
        said[..., None].int(), wanted[..., None], scores.shape[1], average=None, multidim_average="samplewise"
    )
    parts: Array = found.sum(1)[:, [0, 1, 3]].numpy()
    return parts


def harmonic(sums: Array) -> Array:
    """F1 of sums of true positives, false positives and false negatives (..., 3)."""
    right, wrong, missed = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    found: Array = 2 * right / np.maximum(2 * right + wrong + missed, 1)
    return found


def _flat(outputs: Array, labels: Array) -> tuple[torch.Tensor, torch.Tensor]:
    scores = tensors(outputs).float().reshape(len(outputs), -1)
    return scores, like(tensors(np.asarray(labels)), scores).long()


def _loss(outputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(as_logits(outputs), like(labels, outputs), weight)


def _answers(outputs: Array) -> Array:
    logits: Array = as_logits(torch.from_numpy(outputs)).numpy() > 0
    return logits


def _fits(seen: Seen) -> bool:
    if seen.label is None or len(seen.output) > 1 or int(np.prod(seen.label)) != int(np.prod(seen.output)):
        return False
    return bool(np.isin(seen.labels, (0, 1)).all())


AVERAGE_PRECISION = Metric(
    "average_precision", average_precision, label="Mean average precision", share=True, whole=True
)
F1 = Metric("f1", f1, harmonic, label="F1", share=True, whole=True)

MULTILABEL = Task(
    name="multi-label",
    title="classification with any number of labels",
    metrics=(AVERAGE_PRECISION, F1),
    needs="outputs (labels) and a 0 or 1 for each",
    fits=_fits,
    likely=_fits,
    loss=_loss,
    taught=independent,
    answers=_answers,
)
