"""Labels in every form that they come in, as class numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from workbench.data.classes import is_class_numbers
from workbench.errors import BadValue, shown

Array = npt.NDArray[Any]
Tensor = torch.Tensor

#: Class numbers that say "no label": the usual one, and the one that torch's losses leave out by themselves.
NO_LABEL = (-1, -100)
#: What each of them becomes.
IGNORED = -1


def as_array(value: Any) -> Array:
    """Labels of one input or of many as an array: a number, text, a tensor, an array or a list of these."""
    if isinstance(value, torch.Tensor):
        found = value.detach().cpu()
        return np.asarray(found.float() if found.dtype == torch.bfloat16 else found)
    if isinstance(value, (list, tuple)) and any(isinstance(one, torch.Tensor) for one in value):
        return np.asarray([as_array(one) for one in value])
    return np.asarray(value)


def numbered(
    found: Mapping[str, Array | None], classes: Sequence[str]
) -> tuple[dict[str, Tensor | None], tuple[str, ...]]:
    """The labels of all splits as tensors, and the class names.

    Texts become the numbers of their class: its place in `classes`, or in the sorted texts of all splits. Class
    numbers (N,) or (N, 1), whole floats, booleans and one-hot rows (N, classes) become int64 (N,), -1 where
    there is no label. Other labels, such as values to predict or the classes of pixels, keep their shape.

    Raises: `BadValue` with the offending label.
    """
    texts = {split: _texts(split, one) for split, one in found.items() if one is not None}
    named = {split: text for split, text in texts.items() if text is not None}
    if not named:
        tensors = {split: None if one is None else _number(split, one) for split, one in found.items()}
        for split, labels in tensors.items():
            _check_named(split, labels, classes)
        return tensors, tuple(classes)
    for split in texts:
        if split not in named:
            raise BadValue(f"Labels are texts in split {next(iter(named))!r}, and numbers in {split!r}. Give one kind.")
    names = tuple(classes) or tuple(sorted({one for text in named.values() for one in text}))
    return {split: _places(split, named[split], names) if split in named else None for split in found}, names


def _texts(split: str, labels: Array) -> list[str] | None:
    """Labels that are texts; None where they are numbers. Raises: `BadValue` for anything else."""
    if labels.dtype.kind in "biuf":
        return None
    flat: list[Any] = labels.reshape(-1).tolist() if labels.ndim == 1 or labels.shape[1:] == (1,) else [labels]
    odd = [index for index, one in enumerate(flat) if not isinstance(one, (str, bytes))]
    if odd:
        index = next((i for i in odd if not isinstance(flat[i], (int, float))), odd[0])
        label, kind = shown(flat[index]), type(flat[index]).__name__
        raise BadValue(
            f"Split {split!r} has the label {label} at index {index}, a {kind}. Labels are class numbers, names of "
            "classes, or arrays of numbers of one shape."
        )
    return [one.decode(errors="replace") if isinstance(one, bytes) else one for one in flat]


def _places(split: str, texts: Sequence[str], names: Sequence[str]) -> Tensor:
    place = {name: index for index, name in enumerate(names)}
    for index, text in enumerate(texts):
        if text not in place:
            raise BadValue(
                f"Split {split!r} has the label {text!r} at index {index}, and the classes are "
                f"{shown(list(names))}. Name every class in classes=."
            )
    return torch.tensor([place[text] for text in texts], dtype=torch.int64)


def _number(split: str, labels: Array) -> Tensor:
    if labels.ndim == 0:
        raise BadValue(f"Split {split!r} has the single label {labels}. Give one label an input, (N, ...).")
    if labels.dtype.kind == "f":
        return _whole(split, labels)
    if labels.dtype.kind == "u" and labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise BadValue(f"Split {split!r} has the label {labels.max()}, which is no class number.")
    column = labels.reshape(-1) if labels.shape[1:] == (1,) else labels
    return _marked(split, _from_one_hot(column.astype(np.int64)))


def _whole(split: str, labels: Array) -> Tensor:
    """Floats: class numbers where all are whole and none is negative, one-hot rows, or values as they are."""
    broken = ~np.isfinite(labels)
    if broken.any():
        index = int(np.argwhere(broken)[0][0])
        raise BadValue(
            f"Split {split!r} has the label {labels[broken][0]} at index {index}. "
            "Leave such inputs out, or give them the class number -1, which says that there is no label."
        )
    known = _from_one_hot(labels)
    if known.ndim == 1 and bool((known >= 0).all() and (known == np.round(known)).all() and (known < 2**53).all()):
        return torch.from_numpy(known.astype(np.int64))
    return torch.from_numpy(known.astype(np.float32))


def _from_one_hot(labels: Array) -> Array:
    """Rows (N, classes) of one 1 and else 0 as class numbers (N,); anything else as it is."""
    if labels.ndim != 2 or labels.shape[1] < 2 or not len(labels):
        return labels
    hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
    found: Array = labels.argmax(axis=1) if hot else labels
    return found


def _marked(split: str, labels: Array) -> Tensor:
    """Whole numbers, with one mark where there is no label; as float32 values where they cannot be class numbers."""
    negative = labels < 0
    if not negative.any():
        return torch.from_numpy(labels)
    if not np.isin(labels[negative], NO_LABEL).all():
        return torch.from_numpy(labels.astype(np.float32))
    if labels.ndim == 1 and set(np.unique(labels)) == {-1, 1}:
        raise BadValue(
            f"Split {split!r} has the labels -1 and 1 alone, and -1 says that an input has no label. "
            "Give two classes the numbers 0 and 1."
        )
    return torch.from_numpy(np.where(negative, IGNORED, labels))


def _check_named(split: str, labels: Tensor | None, classes: Sequence[str]) -> None:
    if labels is None or not classes or not is_class_numbers(labels) or not len(labels):
        return
    if int(labels.max()) >= len(classes):
        raise BadValue(
            f"Split {split!r} has the label {int(labels.max())}, and classes= names {len(classes)}, from 0 to "
            f"{len(classes) - 1}. Name every class, or number them from 0."
        )


def unlabelled(split: str, labels: Tensor | None) -> tuple[Tensor | None, str]:
    """Which inputs (N,) have a label where some have none, else None; and a sentence on those that have none.

    Where none has one all are False. Calibration looks at inputs alone, so nothing is said of it.
    """
    if labels is None or not is_class_numbers(labels) or not bool((labels == IGNORED).any()):
        return None, ""
    known = labels != IGNORED
    if not bool(known.any()):
        return known, f"Split {split!r} has no labels: every one is {IGNORED}."
    left = len(labels) - int(known.sum())
    said = (
        f"{left} of the {len(labels)} inputs of split {split!r} have the label {IGNORED}, which says that they have "
        "none: they are left out."
    )
    return known, "" if split == "calibration" else said
