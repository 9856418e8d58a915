"""Accuracy of an artefact, taken in its runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data import Split
from workbench.data.batches import arrays, as_split, batches, some
from workbench.data.classes import check_classes
from workbench.errors import BadValue, MeasurementFailed
from workbench.estimate import Estimate, wilson
from workbench.jobs import Reporter
from workbench.runtimes import runtime

Array = npt.NDArray[Any]

#: Images at a time: their feature maps stay in the cache, which is 1.5 to 4 times faster than 1,000.
BATCH = 100


@dataclass(frozen=True)
class Evaluation:
    """What an artefact said about a split. `right` and `predictions` have one entry an input."""

    accuracy: Estimate
    predictions: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]


def evaluate(
    artefact: Path,
    split: Split,
    *,
    runtime_name: str = "onnxruntime",
    threads: int = 1,
    progress: Reporter | None = None,
) -> Evaluation:
    """Top-1 accuracy with Wilson's 95 % interval.

    Raises: `BadFile` when the runtime refuses the artefact; `BadValue` when inputs, labels and outputs do not
    fit; `MeasurementFailed` when the artefact returns NaN or infinity; `Cancelled`.
    """
    labels = np.asarray(split.labels)
    if labels.ndim != 1:
        raise BadValue(f"There are {len(split)} inputs and labels of shape {labels.shape}. Give one label each.")
    values = outputs(artefact, split, runtime_name=runtime_name, threads=threads, progress=progress)
    if values.ndim != 2:
        raise BadValue(f"The artefact returns shape {values.shape}; accuracy needs logits of shape (N, classes).")
    broken = int((~np.isfinite(values)).any(axis=1).sum())
    if broken:
        raise MeasurementFailed(
            f"The artefact returns NaN or infinity for {broken} of {len(values)} inputs, so accuracy has no meaning. "
            "A step has destroyed the network, or its numbers overflow in this precision."
        )
    check_classes(labels, values.shape[1], "the split")
    predictions = values.argmax(axis=1).astype(np.int64)
    right = predictions == labels
    return Evaluation(wilson(int(right.sum()), len(right)), predictions, right)


def outputs(
    artefact: Path,
    inputs: Any,
    *,
    runtime_name: str = "onnxruntime",
    threads: int = 1,
    progress: Reporter | None = None,
) -> npt.NDArray[np.float32]:
    """The artefact's outputs (N, ...) for a split, or inputs (N, ...), computed in batches. Raises as `evaluate`."""
    images = as_split(inputs)
    session = runtime(runtime_name).load(artefact, threads)
    return in_batches(session.run, images, progress or Reporter())


def in_batches(run: Callable[[Any], Array], images: Split, progress: Reporter) -> npt.NDArray[np.float32]:
    """`run` over the inputs of a split in batches of at most `BATCH`, reporting after each."""
    parts = []
    size, through = some(images, BATCH), progress.through("accuracy", len(images))
    for index, batch in enumerate(batches(images, size)):
        through(index * size)
        parts.append(run(arrays(batch)))
    progress(1.0, "accuracy")
    return np.concatenate(parts).astype(np.float32, copy=False)
