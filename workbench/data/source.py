"""`Source`: inputs with their labels that are read when they are asked for; those in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch

from workbench.data.pixels import as_inputs, check_scaled, resized
from workbench.data.preprocess import PLAIN, Preprocess
from workbench.errors import BadValue
from workbench.modules.calling import Inputs, arguments, flatten, tensors_map

if TYPE_CHECKING:
    from hashlib import _Hash

Tensor = torch.Tensor
#: One label an input: a tensor (N, ...), or a list of N dictionaries of tensors, such as the boxes of each image.
Labels = Tensor | list[dict[str, Tensor]]

#: What data sets of dictionaries call the input of a network that takes one.
INPUT_KEYS = (
    "image",
    "images",
    "img",
    "pixel_values",
    "input",
    "inputs",
    "input_values",
    "input_ids",
    "x",
    "data",
    "features",
)
#: Inputs that are read at a time where nobody says how many; part of the digest of several inputs.
BATCH = 100


class Source(ABC):
    """N inputs, each read when it is asked for, and their labels, which are small and stay in memory.

    A door for another kind of data is one subclass.
    """

    #: Whether all inputs are in memory, so that looking through them costs little.
    held = False

    @abstractmethod
    def __len__(self) -> int:
        """How many inputs there are."""

    @abstractmethod
    def read(self, places: Tensor) -> Inputs:
        """The inputs at places int64 (n,), (n, ...), as a network takes them; in memory of their own."""

    @property
    @abstractmethod
    def labels(self) -> Labels | None:
        """The label of every input; None where there are none."""

    def feed(self, digest: _Hash, places: Tensor) -> None:
        """Add the content at places to a digest: here what a network would be given."""
        for part in places.split(BATCH):
            for one in flatten(self.read(part)):
                digest.update(one.numpy().tobytes())


class Held(Source):
    """Inputs (N, ...) in memory, scaled and normalised batch by batch: one tensor, or a tuple or dictionary of them.

    Raises: `BadValue` for a split without inputs, or where their numbers and that of the labels differ.
    """

    held = True

    def __init__(self, split: str, inputs: Inputs, labels: Labels | None = None, form: Preprocess = PLAIN) -> None:
        self.split, self._labels = split, labels
        lengths = {len(one) for one in flatten(inputs)}
        if len(lengths) > 1:
            raise BadValue(f"The inputs of split {split!r} are {sorted(lengths)} in number. Give as many of each.")
        (self._count,) = lengths
        check_lengths(split, self._count, self._count if labels is None else len(labels))
        if isinstance(inputs, Tensor):
            inputs = resized(split, inputs, form)
            check_scaled(split, inputs, form)
        self.inputs, self.form = inputs, replace(form, size=None)

    def __len__(self) -> int:
        return self._count

    @property
    def labels(self) -> Labels | None:
        """As they were given."""
        return self._labels

    def read(self, places: Tensor) -> Inputs:
        """As `Source.read`. Of several inputs only the pixels (uint8) are scaled and normalised."""
        several = not isinstance(self.inputs, Tensor)

        def one(whole: Tensor) -> Tensor:
            form = self.form if not several or whole.dtype == torch.uint8 else PLAIN
            return as_inputs(self.split, whole[places], form)

        return cast("Inputs", tensors_map(one, self.inputs))


class Later(Source):
    """A source that is opened when it is first looked at."""

    def __init__(self, opened: Callable[[], Source]) -> None:
        self._open = opened

    @cached_property
    def source(self) -> Source:
        """What was opened."""
        return self._open()

    def __len__(self) -> int:
        return len(self.source)

    @property
    def labels(self) -> Labels | None:
        """Of what was opened."""
        return self.source.labels

    def read(self, places: Tensor) -> Inputs:
        """As `Source.read`."""
        return self.source.read(places)

    def feed(self, digest: _Hash, places: Tensor) -> None:
        """As `Source.feed`."""
        self.source.feed(digest, places)


class Labelled(Source):
    """Inputs of a source, all or those at `places` (N,), with labels of another kind, or none."""

    def __init__(self, source: Source, labels: Labels | None, places: Tensor | None = None) -> None:
        self.source, self._labels, self.held = source, labels, source.held
        self.places = torch.arange(len(source)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    @property
    def labels(self) -> Labels | None:
        """Those that it was given."""
        return self._labels

    def read(self, places: Tensor) -> Inputs:
        """As `Source.read`."""
        return self.source.read(self.places[places])

    def feed(self, digest: _Hash, places: Tensor) -> None:
        """As `Source.feed`."""
        self.source.feed(digest, self.places[places])


def check_lengths(split: str, inputs: int, labels: int) -> None:
    """Raises: `BadValue` for a split without inputs, or where their number is not that of the labels."""
    if inputs == 0:
        raise BadValue(f"Split {split!r} is empty. Give at least one input, or leave the split out.")
    if inputs != labels:
        raise BadValue(f"Split {split!r} has {inputs} inputs and {labels} labels. Each input needs exactly one label.")


def rows(labels: Labels, places: Tensor) -> Labels:
    """The labels at places int64 (n,); masks, which are kept as uint8, as int64."""
    if isinstance(labels, Tensor):
        return labels[places].long() if labels.dtype == torch.uint8 else labels[places]
    return [labels[index] for index in places.tolist()]


def keys(inputs: Inputs) -> list[Any]:
    """What each input is called: its name, or its place."""
    args, kwargs = arguments(inputs)
    return [*range(len(args)), *kwargs]


def leaves(inputs: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of inputs with what it is called in errors: "" where there is one alone."""
    if isinstance(inputs, Tensor):
        yield "", inputs
    elif isinstance(inputs, Mapping):
        for name, one in inputs.items():
            yield from ((f"{name}{below}", leaf) for below, leaf in leaves(one))
    elif isinstance(inputs, (tuple, list)):
        for index, one in enumerate(inputs):
            yield from ((f"{index + 1}{below}", leaf) for below, leaf in leaves(one))
