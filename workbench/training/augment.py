"""Mild augmentation of image batches: small shifts and mirrored copies, drawn from a generator of their own."""

from __future__ import annotations

from typing import Any

import torch

from workbench.modules.calling import Inputs

Tensor = torch.Tensor

AUGMENTATIONS = ("none", "shift", "shift+flip")
#: The largest shift, as a share of the image's side.
LARGEST_SHIFT = 0.07


def augment(x: Inputs, kind: str, generator: torch.Generator) -> Inputs:
    """A batch (N, C, H, W) with every image shifted by up to 7 % of its side and mirrored half of the time.

    Edges are repeated. Inputs that are not images, or several, stay as they are.
    """
    return augmented(x, None, kind, generator)[0]


def augmented(x: Inputs, labels: Any, kind: str, generator: torch.Generator) -> tuple[Inputs, Any]:
    """As `augment`, with the classes of pixels (N, H, W) moved as their images are.

    Other labels that say where something is would not fit any more, so that these images stay as they are.
    """
    if kind == "none" or not isinstance(x, Tensor) or x.dim() != 4:
        return x, labels
    pixels = isinstance(labels, Tensor) and labels.shape[1:] == x.shape[2:]
    if not (labels is None or pixels or (isinstance(labels, Tensor) and labels.dim() <= 2)):
        return x, labels
    rows, columns = (_moved(len(x), side, generator) for side in x.shape[2:])
    if kind == "shift+flip":
        mirrored = torch.rand(len(x), 1, generator=generator) < 0.5
        columns = torch.where(mirrored, x.shape[3] - 1 - columns, columns)
    image = torch.arange(len(x))[:, None, None]
    moved = x[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return moved, labels[image, rows[:, :, None], columns[:, None, :]] if pixels else labels


def _moved(count: int, side: int, generator: torch.Generator) -> Tensor:
    """For each image the places (count, side) that its rows or columns are read from."""
    most = round(LARGEST_SHIFT * side)
    shifts = torch.randint(-most, most + 1, (count, 1), generator=generator)
    return (torch.arange(side) + shifts).clamp(0, side - 1)
