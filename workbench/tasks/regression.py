"""Values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from workbench.tasks.classification import finite
from workbench.tasks.library import tensors, torchmetrics
from workbench.tasks.losses import like, near
from workbench.tasks.metric import Metric
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]


def absolute(outputs: Array, labels: Array) -> Array:
    """The mean absolute error of each input (N,)."""
    given, wanted = pair(outputs, labels)
    error: Array = torchmetrics("functional").mean_absolute_error(given.T, wanted.T, num_outputs=len(given)).numpy()
    return error.reshape(-1)


def squares(outputs: Array, labels: Array) -> Array:
    """For each input and each of k values: 1, the label, its square, the squared error; (N, 4 * k)."""
    given, wanted = (one.double() for one in pair(outputs, labels))
    found: Array = torch.cat([torch.ones_like(wanted), wanted, wanted.square(), (given - wanted).square()], 1).numpy()
    return found


def explained(sums: Array) -> Array:
    """The share of the labels' variance that is explained, R2, averaged over the values; `sums` (..., 4 * k)."""
    count, total, square, error = np.split(np.asarray(sums, np.float64), 4, axis=-1)
    spread = square - total**2 / np.maximum(count, 1)
    found = 1 - np.divide(error, spread, out=np.full_like(error, np.nan), where=spread > 0)
    varying = spread > 0
    mean: Array = np.where(varying, found, 0.0).sum(axis=-1) / np.maximum(varying.sum(axis=-1), 1)
    return mean


def pair(outputs: Array, labels: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and labels as two tensors (N, k). Raises: `BadValue`, `MeasurementFailed`."""
    finite(outputs)
    given = tensors(outputs).float().reshape(len(outputs), -1)
    return given, like(tensors(np.asarray(labels)), given)


def loss(outputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """The mean squared error; values have no classes to weigh."""
    del weight
    return functional.mse_loss(outputs, like(labels, outputs))


def _fits(seen: Seen) -> bool:
    return seen.label is not None and int(np.prod(seen.label)) == int(np.prod(seen.output))


def _likely(seen: Seen) -> bool:
    return _fits(seen) and len(seen.output) < 3 and not bool(np.isin(seen.labels, (0, 1)).all())


MAE = Metric("mae", absolute, more_is_better=False, label="Mean absolute error")
R2 = Metric("r2", squares, explained, label="R²")

REGRESSION = Task(
    name="regression",
    title="regression",
    metrics=(MAE, R2),
    needs="as many values an output as a label",
    fits=_fits,
    likely=_likely,
    loss=loss,
    taught=near,
)
