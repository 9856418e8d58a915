"""The pixels that inputs were made of, where they were."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data import Preprocess
from workbench.proof import check

Array = npt.NDArray[Any]

CHANNELS = frozenset({1, 3, 4})


def pixels_of(inputs: list[list[Array]], form: Preprocess) -> Array | None:
    """Pixels (N, height, width, channels), uint8 RGB, that become these inputs (1, ...) by a preprocessing.

    They are of the network's size: how a picture was scaled and cut is not in them. None where the inputs are not
    made of pixels by it.
    """
    if len(inputs[0]) != 1 or inputs[0][0].ndim != 4 or inputs[0][0].dtype != np.float32:
        return None
    given = np.concatenate([one[0] for one in inputs])
    values = given if form.layout == "NHWC" else np.moveaxis(given, 1, -1)
    if values.shape[-1] not in CHANNELS:
        return None
    mean, std = np.asarray(form.mean or [0.0]), np.asarray(form.std or [1.0])
    values = (values.astype(np.float64) * std + mean) / form.range * 255
    values = values[..., ::-1] if form.order == "BGR" else values
    pixels = np.clip(np.round(values), 0, 255).astype(np.uint8)
    if np.abs(values - pixels).max() > 0.01 or len(np.unique(pixels)) < 3:
        return None
    return pixels if not check.other_preprocessing(pixels, given, asdict(form)) else None
