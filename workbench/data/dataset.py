"""`Data`: the named splits of one data set, loaded when first used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.data.batches import batches
from workbench.errors import BadValue, unknown
from workbench.interface.arguments import check_kinds

if TYPE_CHECKING:
    import torch

#: What each split is for. Choices are made on `validation`; `test` only reports.
SPLITS = ("train", "calibration", "validation", "test")


def check_lengths(split: str, inputs: int, labels: int) -> None:
    """Raises: `BadValue` for a split without inputs, or where their number is not that of the labels."""
    if inputs == 0:
        raise BadValue(f"Split {split!r} is empty. Give at least one input, or leave the split out.")
    if inputs != labels:
        raise BadValue(f"Split {split!r} has {inputs} inputs and {labels} labels. Each input needs exactly one label.")


@dataclass(frozen=True)
class Split:
    """Inputs (N, C, H, W), normalised as the model expects, and labels (N, ...), which may be missing.

    Inputs are float32, or whole numbers (int64, bool) such as token ids (N, length) until `of_type` says otherwise.

    Every input of a labelled split has its label: inputs without one are left out where the data are loaded.
    """

    name: str
    load: Callable[[], tuple[torch.Tensor, torch.Tensor | None]] = field(repr=False)

    @cached_property
    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        inputs, labels = self.load()
        check_lengths(self.name, len(inputs), len(inputs) if labels is None else len(labels))
        if not bool(inputs.isfinite().all()):
            first = int((~inputs.flatten(1).isfinite()).any(1).nonzero()[0])
            raise BadValue(
                f"Split {self.name!r} holds NaN or infinite inputs, the first of them at index {first}. "
                "Remove or repair them first."
            )
        return inputs, labels

    @property
    def inputs(self) -> torch.Tensor:
        """(N, C, H, W), normalised. To run a network on them take `batches`, which are copies."""
        return self._tensors[0]

    def of_type(self, kind: torch.dtype) -> Split:
        """The same inputs as the type that a network takes; itself where they have it already.

        Raises: `BadValue` where whole numbers are wanted, and these are not.
        """
        if self.inputs.dtype == kind:
            return self
        inputs = self.inputs.to(kind)
        off = (inputs.to(self.inputs.dtype) != self.inputs).flatten(1).any(1) if not kind.is_floating_point else None
        if off is not None and bool(off.any()):
            first = int(off.nonzero()[0])
            raise BadValue(
                f"The model takes whole numbers ({str(kind).removeprefix('torch.')}), and input {first} of split "
                f"{self.name!r} holds {float(self.inputs[first][inputs[first] != self.inputs[first]].flatten()[0]):g}. "
                "Give it whole numbers, as int64: of pixels (uint8), wb.data makes numbers from 0 to 1."
            )
        return Split(self.name, lambda: (inputs, self._tensors[1]))

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self._tensors[1] is not None

    @property
    def labels(self) -> torch.Tensor:
        """Class numbers int64 (N,), or labels of another kind (N, ...). Raises: `BadValue` where there are none."""
        labels = self._tensors[1]
        if labels is None:
            raise BadValue(
                f"Split {self.name!r} has no labels, and this needs them. Give them with the inputs, or use what does "
                "without: agreement with the original is measured in any case."
            )
        return labels

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, size: int = 100) -> Iterator[tuple[torch.Tensor, Any]]:
        """(inputs, labels) in order, `size` at a time; the last batch may be smaller. Inputs are copies.

        Labels are None where there are none.
        """
        inputs = batches(self.inputs, size)
        yield from zip(inputs, self.labels.split(size), strict=True) if self.labelled else ((x, None) for x in inputs)


@dataclass(frozen=True)
class Data:
    """Splits by name, the class names, and the normalisation: input = (pixel / 255 - mean) / std.

    `notes` say in one sentence each what was done to the data beyond that, such as inputs left out.
    """

    name: str
    splits: Mapping[str, Split]
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    licence: str = ""
    notes: tuple[str, ...] = ()
    #: The `workbench.tasks.Task` of a network on these data, as a study has recognised it or was told. (Tasks know
    #: data, so that its type cannot be named here.)
    task: Any = None

    @check_kinds
    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            raise unknown(f"split of {self.name}", split, self.splits)
        return self.splits[split]

    @check_kinds
    def get(self, split: str) -> Split | None:
        """The split, or None where this data set has none of that name."""
        return self.splits.get(split)

    @check_kinds
    def of_type(self, kind: torch.dtype) -> Data:
        """The same data with inputs of the type that a network takes. Raises: as `Split.of_type`."""
        splits = {name: split.of_type(kind) for name, split in self.splits.items()}
        return self if all(splits[name] is one for name, one in self.splits.items()) else replace(self, splits=splits)

    @cached_property
    def hash(self) -> str:
        """A digest of every split's inputs and labels (16 hex digits)."""
        digest = hashlib.sha256()
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(name.encode())
            digest.update(split.inputs.numpy().tobytes())
            digest.update(split.labels.numpy().tobytes() if split.labelled else b"no labels")
        return digest.hexdigest()[:16]
