"""`Data`: the named splits of one data set, read batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch

from workbench.data.matching import alike
from workbench.data.memory import bounded
from workbench.data.preprocess import PLAIN, Preprocess
from workbench.data.source import BATCH, Labelled, Labels, Source, check_lengths, leaves, rows
from workbench.errors import BadValue, shown, unknown
from workbench.interface.arguments import check_kinds
from workbench.interface.neutral import neutrally
from workbench.modules.calling import Inputs

if TYPE_CHECKING:
    from hashlib import _Hash

#: What each split is for. Choices are made on `validation`; `test` only reports.
SPLITS = ("train", "calibration", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs (N, ...), as the model expects them, and labels, which may be missing; read batch by batch.

    Inputs are one tensor, such as (N, C, H, W), or for a network of several a tuple or a dictionary of them. They are
    float32, or whole numbers (int64, bool) such as token ids (N, length) until `like` says otherwise.

    Every input of a labelled split has its label: inputs without one are left out where the data are loaded.

    Args:
        name: such as "test".
        source: what the inputs are read from.
        places: which inputs of the source these are, int64 (N,); None takes all, in order.
    """

    name: str
    source: Source = field(repr=False)
    places: torch.Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.source) if self.places is None else len(self.places)

    def batches(self, size: int = BATCH, places: Sequence[int] | torch.Tensor | None = None) -> Iterator[Any]:
        """(inputs, labels) in order, or at `places` (n,) in theirs, `size` at a time; the last batch may be smaller.

        Inputs are copies, which a network may write into; labels are None where there are none.
        Raises: `BadValue` for inputs that are NaN or infinite, `BadFile` for one that cannot be read.
        """
        chosen = _indices(len(self) if places is None else places)
        return bounded(self.read(chosen[start : start + size]) for start in range(0, len(chosen), size))

    @neutrally
    def read(self, places: Sequence[int] | torch.Tensor) -> tuple[Inputs, Any]:
        """The inputs at places (n,), in memory of their own, and their labels. Raises: as `batches`."""
        places = _indices(places)
        inputs = self.source.read(places if self.places is None else self.places[places])
        for _, one in leaves(inputs):
            if one.is_floating_point() and not bool(one.isfinite().all()):
                first = int(places[int((~one.flatten(1).isfinite()).any(1).nonzero()[0])])
                raise BadValue(
                    f"Split {self.name!r} holds NaN or infinite inputs, the first of them at index {first}. "
                    "Remove or repair them first."
                )
        return inputs, rows(self._labels, places) if self._labels is not None else None

    def take(self, places: Sequence[int] | torch.Tensor) -> Split:
        """The inputs at places (n,) as a split of their own; nothing is read."""
        chosen = _indices(places)
        return replace(self, places=chosen if self.places is None else self.places[chosen])

    def first(self, count: int) -> Split:
        """The first `count` inputs, or all where there are fewer; nothing is read."""
        return self if count >= len(self) else self.take(_indices(count))

    def with_labels(self, labels: Labels | None) -> Split:
        """The same inputs with these labels (N, ...), or with none. Raises: `BadValue` for another number of them."""
        check_lengths(self.name, len(self), len(self) if labels is None else len(labels))
        return Split(self.name, Labelled(self.source, labels, self.places))

    @cached_property
    def example(self) -> Inputs:
        """The first input, with a batch of 1: its shape and type are those of all."""
        return self.read(_indices(1))[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input without the batch, such as (C, H, W); of the first where there are several."""
        return tuple(next(leaves(self.example))[1].shape[1:])

    @property
    def pictures(self) -> bool:
        """Whether inputs are grey or coloured pictures (C, H, W), which can be drawn."""
        one = self.example
        return isinstance(one, torch.Tensor) and one.dim() == 4 and one.shape[1] in {1, 3}

    @cached_property
    def inputs(self) -> Any:
        """Every input at once, (N, C, H, W): loads all of them into memory, where `batches` takes a few at a time."""
        return self.read(_indices(len(self)))[0]

    @cached_property
    def _labels(self) -> Labels | None:
        known = self.source.labels
        return known if known is None or self.places is None else rows(known, self.places)

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self._labels is not None

    @property
    def labels(self) -> torch.Tensor:
        """Class numbers int64 (N,), or labels of another kind (N, ...). Raises: `BadValue` where there are none.

        Of objects in images they are a list of N dictionaries, of `boxes` (n, 4) and `labels` (n,).
        """
        if self._labels is None:
            raise BadValue(
                f"Split {self.name!r} has no labels, and this needs them. Give them with the inputs, or use what does "
                "without: agreement with the original is measured in any case."
            )
        return cast("torch.Tensor", self._labels)

    def like(self, example: Inputs) -> Split:
        """The same inputs as a network takes them; itself where they are so already.

        Numbers get the types of those in `example`, which is one input of the network; of named inputs those that
        it takes stay. Raises: `BadValue` where these are other inputs, or whole numbers are wanted and they are not.
        """
        if not isinstance(example, (torch.Tensor, tuple, Mapping)) or not list(leaves(example)):
            raise BadValue(f"{shown(example)} is no input of a network. Give model.example.")
        source = alike(self.name, self.source, self.example, example)
        if source is self.source:
            return self
        found = replace(self, source=source)
        for _ in found.batches() if source.held else [found.example]:  # what does not fit is told now
            pass
        return found

    def feed(self, digest: _Hash) -> None:
        """Add every input and label to a digest."""
        self.source.feed(digest, _indices(len(self)) if self.places is None else self.places)
        for part in [self._labels] if not isinstance(self._labels, list) else self._labels:
            for _, one in leaves(part if part is not None else ()):
                digest.update(one.numpy().tobytes())
        if self._labels is None:
            digest.update(b"no labels")


@dataclass(frozen=True, repr=False)
class Data:
    """Splits by name, the class names, and how pixels become inputs.

    `notes` say in one sentence each what was done to the data beyond that, such as inputs left out.

    >>> data = wb.data("fashion-mnist")
    >>> {name: len(data.get(name)) for name in ("train", "validation", "test")}
    {'train': 8000, 'validation': 2000, 'test': 10000}
    """

    name: str
    splits: Mapping[str, Split]
    classes: tuple[str, ...] = ()
    preprocess: Preprocess = PLAIN
    licence: str = ""
    notes: tuple[str, ...] = ()
    #: The `workbench.tasks.Task` of a network on these data, as a study has recognised it or was told. (Tasks know
    #: data, so that its type cannot be named here.)
    task: Any = None
    #: What `wb.data` opened: the place, and what it was told beside it; None for what was in memory. With it another
    #: process opens the same.
    opened: tuple[str, Any] | None = None

    def __repr__(self) -> str:
        """One line, as a notebook shows it: what is in it."""
        splits = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        labels = f"; {len(self.classes)} classes" if self.classes else ""
        return f"<Data {self.name!r}: {splits}{labels}>"

    @property
    def mean(self) -> tuple[float, ...]:
        """What is subtracted from each channel of pixels between 0 and 1; () where nothing is."""
        return self.preprocess.mean

    @property
    def std(self) -> tuple[float, ...]:
        """What each channel is divided by then; () where it is by nothing."""
        return self.preprocess.std

    @check_kinds
    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            raise unknown(f"split of {self.name}", split, self.splits)
        return self.splits[split]

    @check_kinds
    def get(self, split: str) -> Split | None:
        """The split, or None where this data set has none of that name."""
        return self.splits.get(split)

    def like(self, example: Inputs) -> Data:
        """The same data as inputs that a network takes, of which `example` is one. Raises: as `Split.like`."""
        splits = {name: split.like(example) for name, split in self.splits.items()}
        return self if all(splits[name] is one for name, one in self.splits.items()) else replace(self, splits=splits)

    @cached_property
    def hash(self) -> str:
        """A digest of every split's inputs and labels (16 hex digits); of files it is one of their content."""
        digest = hashlib.sha256()
        for name in sorted(self.splits):
            digest.update(name.encode())
            self.splits[name].feed(digest)
        return digest.hexdigest()[:16]


def _indices(places: Sequence[int] | torch.Tensor | int) -> torch.Tensor:
    if isinstance(places, int):
        return torch.arange(places, device="cpu")
    return torch.as_tensor(places, dtype=torch.int64, device="cpu")
