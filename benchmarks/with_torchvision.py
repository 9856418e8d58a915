"""Torchvision beside a CPU build of torch: its binary wheel expects operators that only its own library declares."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch

_KEPT: list[torch.library.Library] = []  # what is declared goes with it


def declare_operators() -> None:
    """Its operators for detection, which a build of it for another torch lacks; classifiers use none."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or hasattr(torch.ops.torchvision, "nms"):
        return
    try:  # where its own fit, a second declaration ends the process
        torch.ops.load_library(str(next(Path(spec.origin).parent.glob("_C*.so"))))
    except (OSError, StopIteration):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)


def torchvision() -> Any:
    """The package. Raises: `ImportError`, `RuntimeError`."""
    declare_operators()
    return importlib.import_module("torchvision")
