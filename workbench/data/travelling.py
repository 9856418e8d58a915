"""A data set for another process: opened again where it is a file, or as numbers in files that are mapped into memory.

Nothing of it is pickled into a file: what a network would be given is written as arrays, and so are the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from workbench.data.dataset import Data, Split
from workbench.data.preprocess import Preprocess
from workbench.data.source import Labels, Source, leaves
from workbench.data.sources import Options, load
from workbench.errors import BadValue, WorkbenchError
from workbench.modules.calling import Inputs

Array = npt.NDArray[Any]
#: The most bytes of a data set that travels as numbers.
MOST = 8 << 30


class Mapped(Source):
    """Inputs in `.npy` files, one a tensor, in the containers that a network takes; read where they are asked for."""

    def __init__(self, arrays: Any, labels: Labels | None) -> None:
        self.arrays, self._labels = arrays, labels

    def __len__(self) -> int:
        return len(tree_flatten(self.arrays)[0][0])

    @property
    def labels(self) -> Labels | None:
        """As they were packed."""
        return self._labels

    def read(self, places: torch.Tensor) -> Inputs:
        """As `Source.read`."""
        rows = places.numpy()
        return cast("Inputs", tree_map(lambda array: torch.from_numpy(np.asarray(array)[rows]), self.arrays))


@dataclass(frozen=True)
class PackedSplit:
    """The files of a split by their names: of inputs in their containers, and of labels, "" where there are none."""

    inputs: Any
    labels: str
    listed: bool  # labels are a list of one dictionary an input

    @property
    def files(self) -> list[str]:
        """All of them."""
        return [*tree_flatten(self.inputs)[0], *filter(None, [self.labels])]


@dataclass(frozen=True)
class Packed:
    """What there is to know of a data set beside the numbers, which are in files."""

    name: str
    splits: Mapping[str, PackedSplit]
    classes: tuple[str, ...]
    preprocess: Preprocess

    @property
    def files(self) -> list[str]:
        """The names of all files."""
        return [name for split in self.splits.values() for name in split.files]

    def renamed(self, names: Mapping[str, str]) -> Packed:
        """The same with other names of the files."""
        splits = {
            split: replace(one, inputs=tree_map(names.__getitem__, one.inputs), labels=names.get(one.labels, ""))
            for split, one in self.splits.items()
        }
        return replace(self, splits=splits)


def reopened(opened: tuple[str, Any] | None, example: Inputs, content: str) -> Data | None:
    """What `Data.opened` names, as a network takes it, where it is there with this content (`Data.hash`)."""
    if opened is None:
        return None
    place, how = opened
    try:
        found = load(place, how if how is not None else Options()).like(example)
        return found if found.hash == content else None
    except (WorkbenchError, OSError):
        return None


def pack(data: Data, folder: Path) -> Packed:
    """Write what a network would be given of a data set, and the labels, to files in `folder`.

    Raises: `BadValue` for more than `MOST` bytes; what reading an input raises.
    """
    size = sum(len(split) * sum(one.nbytes for _, one in leaves(split.example)) for split in data.splits.values())
    if size > MOST:
        raise BadValue(
            f"The data {data.name} are {size / 1e9:,.1f} GB as a network takes them, more than the {MOST / 1e9:.1f} GB "
            "that are sent to workers. Put them where every worker finds them under the same path, as a folder or a "
            "table of pictures or an .npz, and load them from there: wb.data(path). Then only the path is sent."
        )
    splits = {name: _pack(split, name, folder) for name, split in data.splits.items()}
    return Packed(data.name, splits, data.classes, data.preprocess)


def unpack(packed: Packed, folder: Path) -> Data:
    """The data set of files in `folder`, which are mapped into memory."""
    splits = {name: Split(name, _unpack(one, folder)) for name, one in packed.splits.items()}
    return Data(packed.name, splits, packed.classes, packed.preprocess)


def _pack(split: Split, name: str, folder: Path) -> PackedSplit:
    examples, form = tree_flatten(split.example)
    files = [f"{name}-{index}.npy" for index in range(len(examples))]
    arrays = [
        np.lib.format.open_memmap(folder / file, "w+", one.numpy().dtype, (len(split), *one.shape[1:]))
        for file, one in zip(files, examples, strict=True)
    ]
    done = 0
    for inputs, _ in split.batches():
        parts = tree_flatten(inputs)[0]
        for array, part in zip(arrays, parts, strict=True):
            array[done : done + len(part)] = part.numpy()
        done += len(parts[0])
    for array in arrays:
        array.flush()
    labels = f"{name}-labels.npz" if split.labelled else ""
    if labels:
        np.savez(folder / labels, **_as_arrays(split.labels))  # type: ignore[arg-type]  # its stub
    return PackedSplit(tree_unflatten(files, form), labels, split.labelled and isinstance(split.labels, list))


def _as_arrays(labels: Any) -> dict[str, Array]:
    """Labels by names: one array, or of a list of dictionaries one for each entry."""
    if not isinstance(labels, list):
        return {"labels": labels.numpy()}
    return {f"{index} {key}": one.numpy() for index, entry in enumerate(labels) for key, one in entry.items()}


def _unpack(packed: PackedSplit, folder: Path) -> Mapped:
    arrays = tree_map(lambda name: np.load(folder / name, mmap_mode="r", allow_pickle=False), packed.inputs)
    mapped = Mapped(arrays, None)
    if not packed.labels:
        return mapped
    with np.load(folder / packed.labels, allow_pickle=False) as found:
        held = {name: torch.from_numpy(found[name]) for name in found.files}
    if not packed.listed:
        return Mapped(arrays, held["labels"])
    entries: list[dict[str, torch.Tensor]] = [{} for _ in range(len(mapped))]
    for name, one in held.items():
        index, _, key = name.partition(" ")
        entries[int(index)][key] = one
    return Mapped(arrays, entries)
