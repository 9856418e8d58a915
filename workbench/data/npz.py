"""Data sets in an `.npz` of plain arrays; large ones that are not packed are read as they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.data.pixels import as_tensor
from workbench.data.preprocess import Preprocess
from workbench.data.source import Held, Source
from workbench.errors import BadFile
from workbench.modules.calling import Inputs
from workbench.untrusted import Unread, open_npz, read_npz

__all__ = ["Rows", "check_images", "open_npz", "read_npz"]


class Rows(Source):
    """The inputs of a split in an array that is not packed: its rows, read from the file when they are asked for."""

    def __init__(self, split: str, array: Unread, form: Preprocess) -> None:
        self.split, self.array, self.form = split, array, form

    def __len__(self) -> int:
        return len(self.array)

    @property
    def labels(self) -> None:
        """They are an array of their own."""

    def read(self, places: torch.Tensor) -> Inputs:
        """As `Source.read`. Raises: `BadFile` where the file was changed meanwhile."""
        rows = as_tensor(self.array.rows(places.numpy()), f"What split {self.split!r} has for inputs", batch=True)
        return Held(self.split, rows, None, self.form).read(torch.arange(len(rows)))


def check_images(path: Path, name: str, images: np.ndarray[Any, Any] | Unread) -> None:
    """Raises: `BadFile` for what is neither pixels nor normalised images."""
    if images.dtype == np.uint8 and images.ndim in {3, 4}:
        return
    if images.ndim != 4 or images.dtype.kind != "f":
        raise BadFile(
            f"{path}: {name} is {images.dtype} of shape {images.shape}; "
            "expected uint8 (N, H, W[, C]) or float (N, C, H, W)."
        )
