"""The cross entropy of answers and labels: one for every step that trains on labels or scores by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from workbench.data.classes import check_classes
from workbench.errors import BadValue

Tensor = torch.Tensor

#: What torch's losses leave out.
_LEFT_OUT = -100


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Cross entropy of logits (N, classes, ...) and class numbers (N, ...), with a weight for each class.

    Pixels whose label is no class, such as 255 in a segmentation, are left out.
    Raises: `BadValue` for an input's label that is no class of the network, and for labels of other kinds.
    """
    known = known_labels(logits.shape, labels)
    if not bool((known != _LEFT_OUT).any()):  # a mean over nothing would be NaN
        return logits.sum() * 0
    return functional.cross_entropy(logits, known, weight, reduction=reduction, ignore_index=_LEFT_OUT)


def known_labels(outputs: Sequence[int], labels: Tensor, of: str = "a split that is trained on or scored") -> Tensor:
    """Labels for outputs of shape (N, classes, ...), with one negative mark for pixels whose label is no class.

    Raises: as `cross_entropy`; `of` says whose labels they are.
    """
    if labels.is_floating_point() or len(outputs) < 2 or tuple(labels.shape) != (outputs[0], *outputs[2:]):
        raise BadValue(
            f"The network gives {tuple(outputs[1:])} for an input, and the labels of {of} are "
            f"{str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape[1:])} for each. Training needs "
            "one class number an answer, from outputs (N, classes) or (N, classes, H, W)."
        )
    if labels.dim() == 1:
        check_classes(labels, outputs[1], of)
        return labels
    return torch.where((labels >= 0) & (labels < outputs[1]), labels, _LEFT_OUT)
