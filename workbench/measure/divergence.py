"""How far a variant's outputs are from the original's: what can be told without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.batches import arrays, as_split, batches, some
from workbench.errors import BadValue, MeasurementFailed
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.accuracy import BATCH
from workbench.measure.paired import Sample, resample
from workbench.runtimes import runtime

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Divergence:
    """Against the original on the same inputs.

    `agreement`: share of equal top-1 answers. `kl_divergence`: mean Kullback-Leibler divergence of the
    variant's class probabilities from the original's, in nats. `logit_error`: root-mean-square difference
    of the outputs over the root mean square of the original's.
    """

    agreement: Estimate
    kl_divergence: Estimate
    logit_error: Estimate


def diverge(original: Path, artefact: Path, inputs: Any, progress: Reporter | None = None) -> Divergence:
    """Run two artefacts side by side over a split, or inputs (N, ...). Raises: as `side_by_side`."""
    return summarise(side_by_side(original, artefact, inputs, progress))


def side_by_side(original: Path, artefact: Path, inputs: Any, progress: Reporter | None = None) -> Array:
    """The rows of `apart` (N, 4) for all inputs of a split, or (N, ...).

    Raises: `BadFile` when the runtime refuses one, `BadValue` when their outputs differ in shape,
    `MeasurementFailed` when one returns NaN or infinity, `Cancelled`.
    """
    report = progress or Reporter()
    first, second = (runtime().load(Path(one)) for one in (original, artefact))
    parts = []
    images = as_split(inputs)
    size, through = some(images, BATCH), report.through("agreement", len(images))
    for index, batch in enumerate(map(arrays, batches(images, size))):
        through(index * size)
        parts.append(apart(first.run(batch), second.run(batch)))
    report(1.0, "agreement")
    return np.concatenate(parts)


def apart(original: Array, variant: Array) -> Array:
    """For outputs (N, classes, ...): agreement, divergence, squared difference, squared original; (N, 4)."""
    if original.ndim == 1 and original.shape == variant.shape:  # one value an input
        original, variant = original[:, None], variant[:, None]
    if original.shape != variant.shape or original.ndim < 2:
        raise BadValue(f"Outputs of shape {variant.shape} cannot be compared with the original's {original.shape}.")
    if not (np.isfinite(original).all() and np.isfinite(variant).all()):
        raise MeasurementFailed("An artefact returns NaN or infinity, so there is nothing to compare.")
    n = len(original)
    expected, found = original.astype(np.float64), variant.astype(np.float64)
    same = (expected.argmax(1) == found.argmax(1)).reshape(n, -1).mean(axis=1)  # over the pixels, where there are any
    sure, said = log_softmax(expected), log_softmax(found)
    divergence = (np.exp(sure) * (sure - said)).sum(axis=1).reshape(n, -1).mean(axis=1)
    squares = [np.square(one).reshape(n, -1).sum(axis=1) for one in (found - expected, expected)]
    return np.stack([same, np.maximum(divergence, 0.0), *squares], axis=1)


def summarise(parts: Array) -> Divergence:
    """The estimates from the rows of `apart`."""
    return Divergence(**{name: one.estimate for name, one in samples(parts).items()})


def samples(parts: Array) -> dict[str, Sample]:
    """Each figure of a `Divergence` by its name, from the rows of `apart`."""
    n, same = len(parts), parts[:, 0]
    whole = bool(np.isin(same, (0, 1)).all())  # not where it is a share of an image's pixels
    return {
        "agreement": Sample.of_marks(same) if whole else resample(parts[:, :1], lambda sums: sums[..., 0] / n),
        "kl_divergence": resample(parts[:, 1:2], lambda sums: sums[..., 0] / n, "nats"),
        "logit_error": resample(parts[:, 2:], lambda sums: np.sqrt(sums[..., 0] / np.maximum(sums[..., 1], 1e-300))),
    }


def log_softmax(values: Array) -> Array:
    """Over axis 1."""
    shifted = values - values.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
