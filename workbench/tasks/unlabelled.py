"""No labels: what the original answers is what is wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.tasks.losses import closest
from workbench.tasks.metric import Metric
from workbench.tasks.task import Task

Array = npt.NDArray[Any]


def agreement(outputs: Array, wanted: Array) -> Array:
    """The share of each input's answers that are the original's (N,); over pixels where there are any."""
    same: Array = (outputs.argmax(axis=1) == wanted.argmax(axis=1)).reshape(len(outputs), -1).mean(axis=1)
    return same


def squares(outputs: Array, wanted: Array) -> Array:
    """The squared difference of each input's outputs from the original's, and the square of these: (N, 2)."""
    n = len(outputs)
    given, true = (one.astype(np.float64).reshape(n, -1) for one in (outputs, wanted))
    return np.stack([np.square(given - true).sum(axis=1), np.square(true).sum(axis=1)], axis=1)


def relative(sums: Array) -> Array:
    """Root mean square of the difference over that of the original; `sums` (..., 2)."""
    found: Array = np.sqrt(sums[..., 0] / np.maximum(sums[..., 1], 1e-300))
    return found


def nearness(outputs: Array, wanted: Array) -> Array:
    """1 less the size of the difference over that of the original's output, at least 0, for each input (N,)."""
    n = len(outputs)
    found, expected = (one.astype(np.float64).reshape(n, -1) for one in (outputs, wanted))
    off = np.linalg.norm(found - expected, axis=1) / np.maximum(np.linalg.norm(expected, axis=1), 1e-300)
    near: Array = 1 - np.minimum(np.where(np.isfinite(off), off, 1.0), 1.0)
    return near


AGREEMENT = Metric("agreement", agreement, label="Agreement with the original", share=True)
ERROR = Metric("logit_error", squares, relative, False, label="Error of the outputs", share=True)
#: Of single inputs, where `ERROR` is of all together.
NEARNESS = Metric("nearness", nearness, label="Nearness to the original", share=True)
#: Figures that compare with the original themselves.
APART = frozenset({AGREEMENT.name, "kl_divergence", ERROR.name})


def _task(metrics: tuple[Metric, ...], classes: bool) -> Task:
    return Task(
        name="none",
        title="agreement with the original" if classes else "nearness to the original",
        metrics=metrics,
        needs="data without labels",
        fits=lambda seen: seen.labels is None,
        likely=lambda seen: seen.labels is None and (bool(seen.output) and seen.output[0] > 1) is classes,
        loss=None,
        taught=closest,
        answers=(lambda outputs: outputs.argmax(axis=1)) if classes else None,
    )


#: Outputs (N, classes, ...): whether the largest is the same. Of one value, or one map, there is no largest.
UNLABELLED, VALUES = _task((AGREEMENT, ERROR), True), _task((ERROR,), False)
