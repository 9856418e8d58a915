"""Data sets in an `.npz` of plain arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import BadFile
from workbench.untrusted import read_npz

__all__ = ["check_images", "read_npz"]


def check_images(path: Path, name: str, images: np.ndarray[Any, Any]) -> None:
    """Raises: `BadFile` for what is neither pixels nor normalised images."""
    if images.dtype == np.uint8 and images.ndim in {3, 4}:
        return
    if images.ndim != 4 or images.dtype.kind != "f":
        raise BadFile(
            f"{path}: {name} is {images.dtype} of shape {images.shape}; "
            "expected uint8 (N, H, W[, C]) or float (N, C, H, W)."
        )
