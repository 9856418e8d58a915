"""Every input and label of one split, out of tensors, arrays, lists, data sets and loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from workbench.data.labels import as_array
from workbench.data.pixels import Form, as_tensor, stack
from workbench.errors import BadValue, WorkbenchError, shown

Array = npt.NDArray[Any]
Raw = tuple[torch.Tensor, Array | None]

#: What data sets of dictionaries call their inputs and labels.
INPUT_KEYS = ("image", "images", "img", "pixel_values", "input", "inputs", "input_values", "x", "data", "features")
LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class", "fine_label")
_ABSENT = object()


def collect(split: str, value: Any, form: Form) -> Raw:
    """The inputs (N, ...) and labels (N, ...), which may be missing, of whatever was given for a split.

    Raises: `BadValue` that names the split and the offending value.
    """
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _whole(split, value, None)
    if isinstance(value, Mapping):
        return _whole(split, *_by_key(split, value))
    if _is_pair(value):
        return _whole(split, value[0], value[1])
    if isinstance(value, DataLoader):
        return _gather(split, _items(split, value), form, batch=True)
    return _gather(split, _items(split, value), form, batch=False)


def _is_pair(value: Any) -> bool:
    """(inputs, labels) for the split as a whole: a tuple of two, or a list of two arrays that are of two shapes."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    if isinstance(value, tuple):
        return True
    first, second = value
    arrays = isinstance(first, (torch.Tensor, np.ndarray)) and isinstance(second, (torch.Tensor, np.ndarray))
    return arrays and tuple(first.shape) != tuple(second.shape)


def _whole(split: str, inputs: Any, labels: Any) -> Raw:
    """A split that came as one array of inputs, or one of inputs and one of labels."""
    if isinstance(inputs, (list, tuple)):  # may hold images of several sizes
        found = stack(split, [as_tensor(x, _input(split, i), batch=False)[None] for i, x in enumerate(inputs)], Form())
    else:
        found = as_tensor(inputs, f"What split {split!r} has for inputs", batch=True)
    if found.dim() < 2:
        raise BadValue(
            f"Split {split!r} has inputs of shape {tuple(found.shape)}; expected (N, ...), such as (N, C, H, W)."
        )
    if labels is None or labels is _ABSENT:
        return found, None
    return found, _labels(split, [labels])


def _input(split: str, index: int) -> str:
    return f"Input {index} of split {split!r}"


def _items(split: str, value: Any) -> Iterator[Any]:
    """What a data set, a loader or a list yields; what goes wrong inside it is told with the place."""
    count = 0
    try:
        for item in _iterable(split, value):
            yield item
            count += 1
    except WorkbenchError:
        raise
    except Exception as error:  # a user's data set may raise anything
        advice = " Give wb.data the data set itself, and size=(height, width) for images of several sizes."
        raise BadValue(
            f"Reading split {split!r} failed at item {count}: {type(error).__name__}: {error}."
            f"{advice if isinstance(value, DataLoader) else ''}"
        ) from error


def _iterable(split: str, value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple, DataLoader)):
        return value
    if hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
        return (value[index] for index in range(len(value)))
    if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)):
        found: Iterable[Any] = value
        return found
    raise BadValue(
        f"Split {split!r} is {shown(value)}, a {type(value).__name__}. Give (inputs, labels), inputs alone, "
        "a torch Dataset with a length, or a DataLoader."
    )


def _gather(split: str, items: Iterable[Any], form: Form, *, batch: bool) -> Raw:
    """Items of (input, label) or inputs alone, one by one or in batches, put together."""
    inputs: list[torch.Tensor] = []
    labels: list[Any] = []
    for index, item in enumerate(items):
        x, y = _parted(split, index, item)
        found = as_tensor(x, _input(split, index), batch=batch)
        inputs.append(found if batch else found[None])
        if y is not _ABSENT:
            labels.append(y if batch else [y])
        if found.dim() == 0 or (batch and found.dim() < 2) or len(labels) not in {0, len(inputs)}:
            raise _misshapen(split, index, found, bool(labels))
    return stack(split, inputs, form), _labels(split, labels) if labels else None


def _misshapen(split: str, index: int, found: torch.Tensor, labelled: bool) -> BadValue:
    if found.dim() < 2:
        return BadValue(f"{_input(split, index)} has shape {tuple(found.shape)}; expected (input, label) pairs.")
    which = "no label, and those before it have" if labelled else "a label, and those before it have none"
    return BadValue(f"{_input(split, index)} has {which}. Give a label to each, or to none.")


def _parted(split: str, index: int, item: Any) -> tuple[Any, Any]:
    """An item's input and its label, which may be absent."""
    if isinstance(item, Mapping):
        return _by_key(split, item)
    if not isinstance(item, (tuple, list)) or _nested(item):
        return item, _ABSENT
    if len(item) not in {1, 2}:
        raise BadValue(
            f"{_input(split, index)} comes with {len(item)} values, such as {shown(item)}; expected an input, "
            "or an (input, label) pair. A network of several inputs cannot be given data yet."
        )
    return item[0], item[1] if len(item) == 2 else _ABSENT


def _nested(item: Any) -> bool:
    """Whether an item is an array written as lists of numbers."""
    return isinstance(item, list) and (
        all(isinstance(one, (int, float)) for one in item) or all(isinstance(one, list) for one in item)
    )


def _by_key(split: str, item: Mapping[Any, Any]) -> tuple[Any, Any]:
    inputs, labels = ([key for key in keys if key in item] for keys in (INPUT_KEYS, LABEL_KEYS))
    if len(inputs) != 1 or len(labels) > 1:
        raise BadValue(
            f"Split {split!r} holds dictionaries with the keys {shown(list(item))}, and one of them must be the "
            f"input ({', '.join(INPUT_KEYS)}), at most one the label ({', '.join(LABEL_KEYS)}). "
            "Give (input, label) pairs."
        )
    return item[inputs[0]], item[labels[0]] if labels else _ABSENT


def _labels(split: str, parts: list[Any]) -> Array:
    """Labels (n, ...) of every part, one behind the other."""
    try:
        found = [as_array(one) for one in parts]
        if len({one.dtype.kind in "biuf" for one in found}) == 1 and all(one.ndim for one in found):
            return np.concatenate(found)
    except Exception as error:  # a foreign object may raise anything when it is read
        raise BadValue(
            f"The labels of split {split!r} do not fit together: {error}. Give one kind, of one shape."
        ) from error
    raise BadValue(
        f"The labels of split {split!r} are {shown(parts[0])}, a {type(parts[0]).__name__}. "
        "Give one number, text or array an input."
    )
