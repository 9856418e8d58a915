"""Every input and label of one split, out of tensors, arrays, lists, data sets and loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from workbench.data.labels import as_array
from workbench.data.pixels import as_tensor, stack
from workbench.data.preprocess import PLAIN, Preprocess
from workbench.data.source import INPUT_KEYS, Held, Source, check_lengths, keys, leaves
from workbench.errors import BadValue, WorkbenchError, shown
from workbench.modules.calling import Inputs, tensors_map

Array = npt.NDArray[Any]
Raw = tuple[Inputs | Source, Array | None]

#: What data sets of dictionaries call their labels.
LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class", "fine_label")
_ABSENT = object()
#: Bytes of inputs, as they come, that are read at once and held; what is larger is read when it is asked for.
LIMIT = 512 << 20
_FEW = 100


def collect(split: str, value: Any, form: Preprocess) -> Raw:
    """The inputs (N, ...) and labels (N, ...), which may be missing, of whatever was given for a split.

    Raises: `BadValue` that names the split and the offending value.
    """
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _whole(split, value, None)
    if isinstance(value, Mapping):
        return _whole(split, *_by_key(split, value, batch=True))
    if _is_pair(value):
        return _whole(split, value[0], value[1])
    if is_large(split, value, form):
        return Items(split, value, form), _labels_of(split, value)
    if isinstance(value, DataLoader):
        return _gather(split, _items(split, value), form, batch=True)
    return _gather(split, _items(split, value), form, batch=False)


class Items(Source):
    """A data set with `[index]`, whose items are read when they are asked for."""

    def __init__(self, split: str, value: Any, form: Preprocess) -> None:
        self.split, self.value, self.form = split, value, form

    def __len__(self) -> int:
        return len(self.value)

    @property
    def labels(self) -> None:
        """They are read apart from the inputs."""

    def read(self, places: torch.Tensor) -> Inputs:
        """As `Source.read`. Raises: `BadValue` for items that do not fit together."""
        items = _items(self.split, [int(one) for one in places], lambda index: self.value[index])
        found, _ = _gather(self.split, items, self.form, batch=False)
        count = len(next(leaves(found))[1])
        return Held(self.split, cast("Inputs", found), None, self.form).read(torch.arange(count))


def is_rows(value: Any) -> bool:
    """Whether it is a data set of Hugging Face's, or looks like one: rows by index, columns by name."""
    return all(hasattr(value, name) for name in ("__getitem__", "__len__", "features", "column_names"))


def names_of(value: Any) -> tuple[str, ...]:
    """The names of classes that a data set notes: of Hugging Face's column of labels, or torchvision's `classes`."""
    found = getattr(value, "classes", None)
    if is_rows(value):
        known = [key for key in LABEL_KEYS if key in value.column_names]
        found = getattr(value.features[known[0]], "names", None) if known else None
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
        return ()
    return tuple(found) if len(set(found)) == len(found) else ()


def is_large(split: str, value: Any, form: Preprocess) -> bool:
    """Whether the inputs of a data set with `[index]` would take more than `LIMIT` bytes, going by the first."""
    if isinstance(value, (list, tuple, DataLoader)) or not (
        hasattr(value, "__getitem__") and hasattr(value, "__len__")
    ):
        return False
    if not hasattr(type(value), "__len__") or len(value) <= _FEW:
        return False
    first, _ = _gather(split, _items(split, [0], lambda index: value[index]), form, batch=False)
    return len(value) * sum(one.nbytes for _, one in leaves(first)) > LIMIT


def _labels_of(split: str, value: Any) -> Array | None:
    """The labels (N, ...) of a data set with `[index]`: of its column, of its `targets`, or item by item."""
    _, first = _parted(split, 0, value[0], False)
    if first is _ABSENT:
        return None
    if is_rows(value):
        key = next(one for one in LABEL_KEYS if one in value.column_names)
        return _labels(split, [value[key]])
    known = getattr(value, "targets", None)
    if known is not None and len(known) == len(value) and np.array_equal(as_array(known[0]), as_array(first)):
        return _labels(split, [known])
    items = _items(split, range(len(value)), lambda index: _parted(split, index, value[index], False)[1])
    return _labels(split, [[one] for one in items])


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
    if isinstance(inputs, Source):  # read from a file as they are used, to whose rows the labels belong
        known = None if labels is None else _labels(split, [labels])
        check_lengths(split, len(inputs), len(inputs) if known is None else len(known))
        return inputs, known
    count = len(labels) if labels is not None and labels is not _ABSENT and hasattr(labels, "__len__") else -1
    found: Inputs
    if isinstance(inputs, Mapping) or (isinstance(inputs, tuple) and _are_arrays(inputs, count)):
        found = _several(inputs, f"What split {split!r} has for inputs", batch=True)
    elif isinstance(inputs, (list, tuple)):  # may hold images of several sizes
        found = stack(split, [as_tensor(x, _input(split, i), batch=False)[None] for i, x in enumerate(inputs)], PLAIN)
    else:
        found = as_tensor(inputs, f"What split {split!r} has for inputs", batch=True)
    short = next((one for _, one in leaves(found) if one.dim() < 2), None)
    if short is not None:
        raise BadValue(
            f"Split {split!r} has inputs of shape {tuple(short.shape)}; expected (N, ...), such as (N, C, H, W)."
        )
    if labels is None or labels is _ABSENT:
        return found, None
    return found, _labels(split, [labels])


def _are_arrays(values: Sequence[Any], count: int) -> bool:
    """Whether these are the several inputs of a network, `count` of each, and not so many images."""
    arrays = bool(values) and all(isinstance(one, (torch.Tensor, np.ndarray)) and one.ndim for one in values)
    return arrays and (len(values) != count or all(len(one) == count for one in values))


def _several(given: Any, of: str, *, batch: bool) -> Inputs:
    """The inputs of a network that takes several: a tuple, or a dictionary by name; or its one input."""
    if isinstance(given, Mapping):
        return {str(name): as_tensor(one, f"{of} ({name})", batch=batch) for name, one in given.items()}
    if isinstance(given, (tuple, list)) and any(isinstance(one, (torch.Tensor, np.ndarray)) for one in given):
        return tuple(as_tensor(one, f"{of} ({index + 1})", batch=batch) for index, one in enumerate(given))
    return as_tensor(given, of, batch=batch)


def _joined(split: str, parts: list[Inputs], form: Preprocess) -> Inputs:
    """Parts (n, ...) one behind the other, each input for itself. Raises: `BadValue` for parts that differ in kind."""
    first = parts[0] if parts else torch.empty(0)
    for index, part in enumerate(parts):
        if keys(part) != keys(first) or type(part) is not type(first):
            raise BadValue(
                f"{_input(split, index)} has the inputs {_named(part)}, and those before it {_named(first)}. "
                "Give the same ones to each."
            )
    if isinstance(first, torch.Tensor):
        return stack(split, cast("list[torch.Tensor]", parts), form)
    made = {key: stack(split, [cast("Any", one)[key] for one in parts], PLAIN) for key in keys(first)}
    return made if isinstance(first, Mapping) else tuple(made.values())


def _named(inputs: Inputs) -> str:
    return "one tensor" if isinstance(inputs, torch.Tensor) else shown(keys(inputs))


def _input(split: str, index: int) -> str:
    return f"Input {index} of split {split!r}"


def _items(split: str, value: Any, read: Callable[[Any], Any] = lambda item: item) -> Iterator[Any]:
    """`read` of what a data set, a loader or a list yields; what goes wrong inside it is told with the place."""
    count = 0
    try:
        for item in _iterable(split, value):
            yield read(item)
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
    if isinstance(value, (list, tuple, range, DataLoader)):
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


def _gather(split: str, items: Iterable[Any], form: Preprocess, *, batch: bool) -> Raw:
    """Items of (input, label) or inputs alone, one by one or in batches, put together."""
    inputs: list[Inputs] = []
    labels: list[Any] = []
    for index, item in enumerate(items):
        x, y = _parted(split, index, item, batch)
        found = _several(x, _input(split, index), batch=batch)
        inputs.append(found if batch else cast("Inputs", tensors_map(lambda one: one[None], found)))
        if y is not _ABSENT:
            labels.append(y if batch else [y])
        short = next((one for _, one in leaves(found) if one.dim() < 1 + batch), None)
        if short is not None or len(labels) not in {0, len(inputs)}:
            raise _misshapen(split, index, short, bool(labels))
    return _joined(split, inputs, form), _labels(split, labels) if labels else None


def _misshapen(split: str, index: int, found: torch.Tensor | None, labelled: bool) -> BadValue:
    if found is not None:
        return BadValue(f"{_input(split, index)} has shape {tuple(found.shape)}; expected (input, label) pairs.")
    which = "no label, and those before it have" if labelled else "a label, and those before it have none"
    return BadValue(f"{_input(split, index)} has {which}. Give a label to each, or to none.")


def _parted(split: str, index: int, item: Any, batch: bool) -> tuple[Any, Any]:
    """An item's input and its label, which may be absent."""
    if isinstance(item, Mapping):
        return _by_key(split, item, batch)
    if not isinstance(item, (tuple, list)) or _nested(item):
        return item, _ABSENT
    if len(item) not in {1, 2}:
        raise BadValue(
            f"{_input(split, index)} comes with {len(item)} values, such as {shown(item)}; expected an input, "
            "or an (input, label) pair; for a network of several inputs ((input_1, input_2), label)."
        )
    return item[0], item[1] if len(item) == 2 else _ABSENT


def _nested(item: Any) -> bool:
    """Whether an item is an array written as lists of numbers."""
    return isinstance(item, list) and (
        all(isinstance(one, (int, float)) for one in item) or all(isinstance(one, list) for one in item)
    )


def _by_key(split: str, item: Mapping[Any, Any], batch: bool) -> tuple[Any, Any]:
    """The input of a dictionary, or all of them by name; and its label."""
    labels = [key for key in LABEL_KEYS if key in item]
    arrays = [key for key in item if key not in LABEL_KEYS and _is_array(item[key], batch)]
    known = [key for key in INPUT_KEYS if key in item]
    if len(labels) > 1 or (len(known) != 1 and len(arrays) < 2):
        raise BadValue(
            f"Split {split!r} holds dictionaries with the keys {shown(list(item))}, and one of them must be the "
            f"input ({', '.join(INPUT_KEYS)}) or several arrays, at most one the label ({', '.join(LABEL_KEYS)}). "
            "Give (input, label) pairs."
        )
    one = known[0] if len(known) == 1 and not set(arrays) - {known[0]} else None
    return {key: item[key] for key in arrays} if one is None else item[one], item[labels[0]] if labels else _ABSENT


def _is_array(value: Any, batch: bool) -> bool:
    """Whether a value of a dictionary is what a network reads: numbers with an axis, beside that of a batch."""
    if not isinstance(value, (torch.Tensor, np.ndarray)):
        value = np.asarray(value) if isinstance(value, list) and value and _nested(value) else np.zeros(())
    return value.ndim > batch and (isinstance(value, torch.Tensor) or value.dtype.kind in "biuf")


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
