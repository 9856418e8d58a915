"""What the labels of an image say about its places, drawn over it: regions in colours, boxes as frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.tasks import Task
from workbench.tasks.detection import wanted

Array = npt.NDArray[Any]

#: Okabe and Ito's colours, which readers with any sight tell apart; the first class, mostly background, has none.
COLOURS = np.array(
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]], float
)
_SHARE = 0.5  # of the colour in a region


def overlaid(image: Array, label: Any, task: Task | None) -> Array:
    """An image (1 or 3, H, W) in its own range with its label over it (3, H, W); as it is for labels without places."""
    if task is None or task.name not in {"segmentation", "detection"}:
        return image
    low, high = float(image.min()), float(image.max())
    drawn = np.broadcast_to(image, (3, *image.shape[1:])).astype(float)
    colours = low + COLOURS / 255 * ((high - low) or 1.0)
    if task.name == "segmentation":
        return _regions(drawn, np.asarray(label).reshape(image.shape[1:]), colours)
    return _frames(drawn, label, colours)


def _regions(image: Array, mask: Array, colours: Array) -> Array:
    for one in np.unique(mask[(mask > 0) & (mask < 255)]):
        image[:, mask == one] *= 1 - _SHARE
        image[:, mask == one] += _SHARE * colours[int(one - 1) % len(colours)][:, None]
    return image


def _frames(image: Array, label: Any, colours: Array) -> Array:
    (things,) = wanted([label] if isinstance(label, Mapping) else np.asarray(label)[None])
    height, width = image.shape[1:]
    for box, kind in zip(things["boxes"].tolist(), things["labels"].tolist(), strict=True):
        left, top, right, bottom = (round(one) for one in box)
        rows, columns = slice(max(top, 0), max(bottom, 0) + 1), slice(max(left, 0), max(right, 0) + 1)
        colour = colours[int(kind) % len(colours)][:, None]
        for row in {max(top, 0), min(bottom, height - 1)}:
            image[:, min(row, height - 1), columns] = colour
        for column in {max(left, 0), min(right, width - 1)}:
            image[:, rows, min(column, width - 1)] = colour
    return image
