"""What a file takes: its inputs, which of them carry the batch, and an example of the shapes that it works with."""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch

from workbench.errors import BadFile, BadValue
from workbench.models.from_onnx.sizes import numpy_type
from workbench.modules.calling import arguments, as_example

Array = np.ndarray[Any, Any]
#: Sizes that are tried, in turn, for axes that a file leaves open: of pictures, and of anything else.
PICTURES = (224, 320, 48, 64, 32, 128, 416, 640)
LENGTHS = (16, 128, 512, 64, 1024, 256, 16000, 100)
#: At most so many combinations of sizes are tried.
TRIES = 40


@dataclass(frozen=True)
class Entry:
    """An input: its name in the file and in Python, its type, and its axes: a size, a symbol, or None."""

    name: str
    key: str
    kind: Any
    axes: tuple[int | str | None, ...]

    @property
    def open(self) -> bool:
        """Whether the first axis is of any size."""
        return bool(self.axes) and not isinstance(self.axes[0], int)

    @property
    def batched(self) -> bool:
        """Whether the first axis can be that of the batch."""
        return len(self.axes) > 1 and (self.open or self.axes[0] == 1)


def entries(model: onnx.ModelProto) -> list[Entry]:
    """The inputs of a file without its initializers. Raises: `BadFile` for what are no tensors of numbers."""
    weights = {one.name for one in model.graph.initializer}
    found: list[Entry] = []
    for one in model.graph.input:
        if one.name in weights:
            continue
        tensor = one.type.tensor_type
        if not one.type.HasField("tensor_type") or tensor.elem_type in (0, onnx.TensorProto.STRING):
            raise BadFile(f"The input {one.name!r} is no tensor of numbers. Cut what makes numbers of it off first.")
        axes = [axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else axis.dim_param or None
                for axis in tensor.shape.dim]  # fmt: skip
        symbols = tuple(axis if isinstance(axis, int) or (axis and axis != "?") else None for axis in axes)
        found.append(Entry(one.name, _key(one.name, found), numpy_type(tensor.elem_type), symbols))
    if not found:
        raise BadFile("The file takes no input: it computes a constant.")
    return found


def _key(name: str, taken: list[Entry]) -> str:
    """The name as a Python name."""
    key = re.sub(r"\W+", "_", name).strip("_") or "input"
    key = f"input_{key}" if keyword.iskeyword(key) or not key.isidentifier() or key in {"self", "given"} else key
    known = {one.key for one in taken}
    return next(one for one in itertools.chain([key], (f"{key}_{i}" for i in itertools.count(2))) if one not in known)


def carriers(found: list[Entry]) -> list[Entry]:
    """The inputs that carry the batch; the others are held at one value."""
    free = [one for one in found if one.open and len(one.axes) > 1]
    chosen = free or [one for one in found if one.batched]
    if not chosen:
        shapes = ", ".join(f"{one.name} {list(one.axes)}" for one in found)
        raise BadFile(f"No input of the file has a batch of 1 in front: {shapes}. The workbench runs batches.")
    return chosen


def candidates(found: list[Entry], carried: list[Entry]) -> Iterator[dict[str, tuple[int, ...]]]:
    """Shapes to try, by input: what is open gets usual sizes, the same symbol the same one."""
    unknown: dict[Any, tuple[int, ...]] = {}
    batch = {one.axes[0] for one in carried if isinstance(one.axes[0], str)}
    for one in found:
        for index, axis in enumerate(one.axes):
            if not isinstance(axis, int) and (index or one not in carried) and axis not in batch:
                picture = len(one.axes) == 4 and index > 0
                usual = PICTURES if picture else LENGTHS if one in carried and index else (1, *LENGTHS)
                unknown.setdefault(axis or (one.name, index), usual)
    for sizes in itertools.islice(_product(list(unknown.values())), TRIES):
        known = dict(zip(unknown, sizes, strict=True)) | dict.fromkeys(batch, 1)
        yield {one.name: _shape(one, known, carried=one in carried) for one in found}


def _shape(entry: Entry, known: Mapping[Any, int], *, carried: bool) -> tuple[int, ...]:
    return tuple(
        axis if isinstance(axis, int) else 1 if index == 0 and carried else known[axis or (entry.name, index)]
        for index, axis in enumerate(entry.axes)
    )


def _product(choices: list[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Every combination: those first where all axes have the same size, then those of early choices."""
    same = [tuple(one[i] for one in choices) for i in range(min(map(len, choices), default=1))]
    others = sorted(itertools.product(*(range(len(one)) for one in choices)), key=sum) if len(choices) < 4 else []
    yield from dict.fromkeys((*same, *(tuple(c[i] for c, i in zip(choices, at, strict=True)) for at in others)))


def numbers(entry: Entry, shape: tuple[int, ...], seed: int = 0, most: int = 2) -> Array:
    """Noise for an input: standard normal numbers, pixels for bytes, other whole numbers below `most`."""
    generator = np.random.default_rng(seed)
    if entry.kind.kind == "f":
        return generator.standard_normal(shape).astype(np.float32)
    high = 256 if entry.kind == np.uint8 else 2 if entry.kind == np.bool_ else most
    return generator.integers(0, high, shape).astype(entry.kind)


def from_user(example: Any, found: list[Entry]) -> dict[str, Array]:
    """The arrays of an `example`, by the file's names. Raises: `BadValue` where they do not fit the file."""
    if isinstance(example, Mapping):
        keys = {name: one for one in found for name in (one.key, one.name)}
        unknown = next((name for name in example if name not in keys), None)
        if unknown is not None:
            raise BadValue(f"example= names {unknown!r}; the file takes {', '.join(one.name for one in found)}.")
        return {keys[name].name: _as(keys[name], value) for name, value in example.items()}
    values = arguments(as_example(example))[0]
    if len(values) > len(found):
        raise BadValue(f"example= has {len(values)} inputs; the file takes {len(found)}.")
    return {one.name: _as(one, value) for one, value in zip(found, values, strict=False)}


def _as(entry: Entry, value: Any) -> Array:
    whole_shape = (
        isinstance(value, (tuple, list)) and len(value) == len(entry.axes) and all(type(o) is int for o in value)
    )
    if whole_shape and len(entry.axes) > 1:
        value = np.zeros(value)
    array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value).astype(entry.kind)
    wrong = len(array.shape) != len(entry.axes) or any(
        isinstance(axis, int) and axis != size for axis, size in zip(entry.axes, array.shape, strict=False)
    )
    if wrong:
        raise BadValue(f"example= has {entry.name} of shape {array.shape}; the file takes {list(entry.axes)}.")
    return array
