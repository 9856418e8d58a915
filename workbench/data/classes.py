"""Names and numbers of classes, and the check that a network knows these classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from workbench.errors import BadValue, shown

if TYPE_CHECKING:
    import torch


def class_names(classes: Any) -> tuple[str, ...]:
    """The names as a tuple. Raises: `BadValue` for what is no list of different names."""
    if isinstance(classes, (str, bytes)) or not hasattr(classes, "__iter__"):
        raise BadValue(f"classes={shown(classes)}: give a list of names, in the order of their numbers.")
    found = tuple(str(one) for one in classes)
    if len(set(found)) < len(found):
        twice = next(one for one in found if found.count(one) > 1)
        raise BadValue(f"classes= names {twice!r} twice. Give each class a name of its own.")
    return found


def is_class_numbers(labels: Any) -> bool:
    """Whether labels (N, ...) are class numbers, one an input; no list of objects is."""
    return not isinstance(labels, list) and labels.dim() == 1 and not labels.is_floating_point()


def check_classes(labels: torch.Tensor | npt.NDArray[Any], outputs: int, of: str) -> None:
    """Refuse class numbers (N,) that a network with so many outputs cannot give; `of` says whose they are.

    Raises: `BadValue` with the offending label.
    """
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if low >= 0 and high < outputs:
        return
    fix = "Labels that count from 1 need `labels - 1`." if low == 1 and high == outputs else ""
    raise BadValue(
        f"The labels of {of} go from {low} to {high}, and the network tells {outputs} classes apart, numbered from 0 "
        f"to {outputs - 1}. {fix or 'Give class numbers in that range, or a network with an output for each class.'}"
    )
