"""A token for every place, or a text read from a longer row of places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from workbench.errors import BadValue
from workbench.tasks.classification import finite
from workbench.tasks.entropy import cross_entropy
from workbench.tasks.library import torchmetrics
from workbench.tasks.losses import softened
from workbench.tasks.metric import Metric
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]

#: The class that says "nothing new here" where texts are read from longer rows: torch's default too.
BLANK = 0
#: Where tokens become characters, so that texts can be compared.
_FIRST = 0x4E00


def right_tokens(outputs: Array, labels: Array, axis: int = -1) -> Array:
    """For each input the tokens that are right, and all that have a label: (N, 2)."""
    said = _places(outputs, labels, axis)
    known = labels >= 0
    return np.stack([((said == labels) & known).sum(axis=1), known.sum(axis=1)], axis=1)


def edits(outputs: Array, labels: Array, axis: int = -1) -> Array:
    """For each input the insertions, deletions and changes that make its tokens the label's, and the label's length."""
    said = _places(outputs, labels, axis)
    return _distances([one[true >= 0] for one, true in zip(said, labels, strict=True)], labels)


def read(outputs: Array) -> list[Array]:
    """The text of each input (N, places, classes): the best of each place, repeated ones once, without blanks."""
    best = outputs.argmax(axis=-1)
    first = np.concatenate([np.ones((len(best), 1), bool), best[:, 1:] != best[:, :-1]], axis=1)
    return [row[new & (row != BLANK)] for row, new in zip(best, first, strict=True)]


def spelled(outputs: Array, labels: Array) -> Array:
    """As `edits`, for texts that are read from longer rows."""
    finite(outputs)
    return _distances(read(outputs), labels)


def rate(sums: Array) -> Array:
    """The first of two sums (..., 2) for each of the second."""
    found: Array = sums[..., 0] / np.maximum(sums[..., 1], 1)
    return found


def _places(outputs: Array, labels: Array, axis: int) -> Array:
    finite(outputs)
    said: Array = outputs.argmax(axis=axis)
    if said.shape != labels.shape:
        raise BadValue(f"Outputs of shape {outputs.shape} give no token for each label of shape {labels.shape}.")
    return said


def _distances(said: Sequence[Array], labels: Array) -> Array:
    texts = [("".join(chr(_FIRST + int(one)) for one in row)) for row in said]
    wanted = ["".join(chr(_FIRST + int(one)) for one in row[row >= 0]) for row in labels]
    found = torchmetrics("functional.text").edit_distance(texts, wanted, reduction="none").numpy()
    return np.stack([found.reshape(-1), [len(one) for one in wanted]], axis=1).astype(np.float64)


def _tokens(seen: Seen) -> bool:
    return seen.whole and seen.label is not None and len(seen.label) == 1 and len(seen.output) == 2


def _task(axis: int) -> Task:
    """Tokens of outputs (N, places, classes), or with the classes before the places."""
    time, classes = (0, 1) if axis == -1 else (1, 0)

    def fits(seen: Seen) -> bool:
        return _tokens(seen) and seen.output[time] == seen.label[0] and seen.output[classes] > 1  # type: ignore[index]

    def loss(outputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        return cross_entropy(outputs.movedim(axis, 1), labels, weight)

    right = Metric("token_accuracy", lambda o, t: right_tokens(o, t, axis), rate, label="Token accuracy", share=True)
    wrong = Metric(
        "character_error_rate", lambda o, t: edits(o, t, axis), rate, False, label="Character error rate", share=True
    )
    return Task(
        name="sequences", title="naming of every place of a sequence", metrics=(right, wrong),
        needs="outputs (places, classes) and the number of a class for each place",
        fits=fits, likely=fits, loss=loss, taught=softened(axis),
        answers=lambda outputs: outputs.argmax(axis=axis),
    )  # fmt: skip


def _ctc(outputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Connectionist temporal classification (Graves et al. 2006)."""
    del weight
    known = labels >= 0
    sure = outputs.float().log_softmax(-1).transpose(0, 1)
    places = torch.full((len(outputs),), outputs.shape[1])
    return functional.ctc_loss(sure, labels[known], places, known.sum(1), BLANK, zero_infinity=True)


def _longer(seen: Seen) -> bool:
    return _tokens(seen) and seen.output[0] > seen.label[0] and int(seen.labels.max()) < seen.output[1]  # type: ignore[index]


SEQUENCES, CLASSES_FIRST = _task(-1), _task(1)
CTC = Task(
    name="ctc",
    title="reading of a text by CTC",
    metrics=(Metric("character_error_rate", spelled, rate, False, label="Character error rate", share=True),),
    needs=f"outputs (places, classes), of which {BLANK} is the blank, and a shorter row of class numbers, padded by -1",
    fits=lambda seen: _tokens(seen) and seen.output[0] >= seen.label[0],  # type: ignore[index]
    likely=_longer,
    loss=_ctc,
    taught=softened(-1),
    answers=lambda outputs: outputs.argmax(axis=-1),
)
