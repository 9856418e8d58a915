"""What a variant was made from and with, so that it can be made again."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import workbench

PACKAGES = ("nn-workbench", "torch", "onnx", "onnxruntime", "numpy", "scipy", "tensorly")
#: What a row, and a manifest, keep it under.
MADE = "made"


def versions() -> dict[str, str]:
    """Of Python and the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source folder that is not installed
            continue
    return found


@functools.cache
def package_hash() -> str:
    """A digest of the workbench's own code (16 hex digits)."""
    root, found = Path(workbench.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        found.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    return found.hexdigest()[:16]


def provenance(hashes: dict[str, str], **settings: Any) -> dict[str, Any]:
    """What a study notes of a variant it makes: `hashes` of model and data, and the settings that it was made with.

    Every technique draws its random numbers from one seed, 0; sums depend on the number of threads.
    """
    import torch

    about = {"package": package_hash(), "versions": versions(), "seed": 0, "threads": torch.get_num_threads()}
    return hashes | about | settings
