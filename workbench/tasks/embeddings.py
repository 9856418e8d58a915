"""A vector an input, near to those of its like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from workbench.errors import BadValue
from workbench.tasks.classification import finite
from workbench.tasks.library import tensors, torchmetrics
from workbench.tasks.metric import Metric
from workbench.tasks.sequences import rate
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]

TEMPERATURE = 0.1  # of the contrastive loss, as in its source


def recall_at_1(outputs: Array, labels: Array) -> Array:
    """For each input whether its nearest among the others is its like, and 1 where it has any: (N, 2)."""
    hit = torchmetrics("functional.retrieval").retrieval_hit_rate
    return _queries(outputs, labels, partial(hit, top_k=1))


def average_precision(outputs: Array, labels: Array) -> Array:
    """For each input the precision of its like among the others by nearness, and 1 where it has any: (N, 2)."""
    return _queries(outputs, labels, torchmetrics("functional.retrieval").retrieval_average_precision)


def _queries(outputs: Array, labels: Array, judge: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Array:
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1]:
        raise BadValue(f"Outputs {outputs.shape} and labels {labels.shape} are no vectors (N, D) of things (N,).")
    finite(outputs)
    found = [(judge(near, same), 1.0) if bool(same.any()) else (0.0, 0.0) for near, same in _near(outputs, labels)]
    return np.array(found, np.float64)


def _near(outputs: Array, labels: Array) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each input how near the others are, by the cosine, and which are its like."""
    vectors, things = functional.normalize(tensors(outputs).float()), tensors(np.asarray(labels))
    others = torch.ones(len(vectors), dtype=torch.bool)
    for index, vector in enumerate(vectors):
        others[index] = False
        yield (vectors @ vector)[others], (things == things[index])[others]
        others[index] = True


def contrastive(outputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """The supervised contrastive loss of a batch (Khosla et al. 2020, eq. 2)."""
    del weight
    vectors = functional.normalize(outputs.float())
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    sure = (vectors @ vectors.T / TEMPERATURE).masked_fill(itself, -1e9).log_softmax(1)
    like = (labels[:, None] == labels[None]) & ~itself
    count = like.sum(1)
    if not bool(count.any()):
        return outputs.sum() * 0
    return -((sure * like).sum(1) / count.clamp_min(1))[count > 0].mean()


def _taught(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """One less the cosine to the original's vector."""
    del temperature
    return 1 - functional.cosine_similarity(student, teacher).mean()


def _fits(seen: Seen) -> bool:
    return len(seen.output) == 1 and seen.output[0] > 1 and seen.whole and seen.label == ()


RECALL = Metric("recall_at_1", recall_at_1, rate, label="Recall at 1", share=True, whole=True)
RETRIEVAL = Metric("retrieval_map", average_precision, rate, label="Retrieval mAP", share=True, whole=True)

EMBEDDINGS = Task(
    name="embeddings",
    title="finding of like things",
    metrics=(RECALL, RETRIEVAL),
    needs="outputs (numbers) and the number of the thing that each input shows",
    fits=_fits,
    likely=lambda _: False,  # class numbers and scores look the same
    loss=contrastive,
    taught=_taught,
)
