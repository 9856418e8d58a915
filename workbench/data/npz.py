"""Data sets in an `.npz` of plain arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import BadFile

Arrays = dict[str, "np.ndarray[Any, Any]"]


def read_npz(path: Path) -> Arrays:
    """The arrays of a file; objects (pickles) are refused. Raises: `BadFile`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise BadFile(f"There is no file {path}.") from error
    except (
        OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, AttributeError, KeyError, TypeError,
        NotImplementedError, RuntimeError, SyntaxError, MemoryError,
    ) as error:  # fmt: skip
        raise BadFile(
            f"{path} is not a readable .npz of plain arrays: {error}. Write it with numpy.savez_compressed."
        ) from error


def check_images(path: Path, name: str, images: np.ndarray[Any, Any]) -> None:
    """Raises: `BadFile` for what is neither pixels nor normalised images."""
    if images.dtype == np.uint8 and images.ndim in {3, 4}:
        return
    if images.ndim != 4 or images.dtype.kind != "f":
        raise BadFile(
            f"{path}: {name} is {images.dtype} of shape {images.shape}; "
            "expected uint8 (N, H, W[, C]) or float (N, C, H, W)."
        )
