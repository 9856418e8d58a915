"""`wb.data(source)`: a data set from any accepted source."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from workbench.data.classes import class_names
from workbench.data.dataset import Data


def data(
    source: Any,
    *,
    name: str = "",
    classes: Sequence[str] = (),
    mean: Any = (),
    std: Any = (),
    size: int | tuple[int, int] | None = None,
) -> Data:
    """A data set, from any of these sources.

    - `"fashion-mnist"` (bundled: 8,000 train, of which 1,000 calibration; 2,000 validation; 10,000 test);
      `"fashion-scenes"`, made from it: scenes of 64 x 64 with the class of every pixel; `"tones"`: eight figures of
      tones in noise, as spectrograms.
    - A folder of pictures, as `folder/<class>/*.png` or `folder/<split>/<class>/*.png`; classes are in the order of
      their names. Without folders for splits every fifth picture of each class is the test split. Needs Pillow.
    - An `.npz` of `<split>_images` and `<split>_labels`; images are uint8 (N, H, W[, C]) or float (N, C, H, W);
      arrays `mean`, `std` and `classes` stand in for the options of these names.
    - A mapping from split name to (inputs, labels) as tensors, arrays or lists, to a torch `Dataset`, or to a
      `DataLoader`; one of these alone is the test split. Without labels, give inputs alone: what is measured then is
      agreement with the original network.

    Inputs become float32 (N, ...), whole numbers such as token ids int64 for a network that takes these. Pixels
    (uint8) are divided by 255; with `mean` and `std`, one number a channel or one for all, inputs are
    `(pixel / 255 - mean) / std`, and other numbers must lie between 0 and 1. Images of several sizes are brought to
    `size`: scaled until they cover it, and cut at the centre. Your own tensors are never changed.

    Labels are class numbers from 0, one-hot rows, or texts; -1 (or -100) says that an input has none, and it is left
    out. Other labels, values to predict or the classes of pixels, are for the study's `metric`.

    Where there is a train split but no validation, the last fifth of train becomes validation, after shuffling where
    the classes are in order; calibration is then the first 1,000 train inputs.

    Raises: `UnknownName`, `BadFile`, `BadValue`.
    """
    from workbench.data.pixels import Form  # these load torch
    from workbench.data.sources import load

    found = load(source, Form.of(mean, std, size), class_names(classes))
    if name:
        found = replace(found, name=str(name))
    for note in found.notes:
        warnings.warn(note, stacklevel=_outside())
    return found


def _outside() -> int:
    """How many calls up the user's code is: a warning points there."""
    depth = 1
    while sys._getframe(depth).f_globals.get("__name__", "").startswith("workbench"):
        depth += 1
    return depth
