"""Data against the inputs that a network takes: which these are, their shapes and their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch

from workbench.data.source import INPUT_KEYS, Labels, Source, keys, leaves
from workbench.errors import BadValue
from workbench.modules.calling import Inputs, shapes

if TYPE_CHECKING:
    from hashlib import _Hash

Tensor = torch.Tensor


def alike(split: str, source: Source, given: Inputs, example: Inputs) -> Source:
    """The inputs of a source, of which `given` is one, as a network takes them, of which `example` is one.

    The source itself where they are so already. `split` says whose inputs they are in errors.
    Raises: `BadValue` where these are other inputs, or whole numbers are wanted and they are not.
    """
    chosen = _chosen(split, given, example)
    kinds = [[one.dtype for _, one in leaves(inputs)] for inputs in (given, example)]
    if chosen == keys(given) and type(given) is type(example) and kinds[0] == kinds[1]:
        return source
    return Alike(split, source, example, chosen)


def _chosen(split: str, given: Inputs, example: Inputs) -> list[Any]:
    """Which of the inputs that data have the network takes, in its order."""
    have, want = keys(given), keys(example)
    if isinstance(given, Mapping) and isinstance(example, Mapping):
        missing = [name for name in want if name not in have]
        if not missing:
            return want
        raise BadValue(
            f"The network takes {_said(example)}, and split {split!r} has {_said(given)}: {', '.join(missing)} is "
            "missing. Give a dictionary of tensors with these names."
        )
    if isinstance(given, Mapping) and isinstance(example, Tensor) and sum(name in INPUT_KEYS for name in have) == 1:
        return [name for name in have if name in INPUT_KEYS]
    if len(have) == len(want) and not isinstance(given, Mapping) and not isinstance(example, Mapping):
        return have
    form = "a dictionary of tensors by these names" if isinstance(example, Mapping) else "a tuple of tensors"
    raise BadValue(
        f"The network takes {_said(example)}, and split {split!r} has {_said(given)}. Give wb.data "
        f"{'one tensor' if isinstance(example, Tensor) else form} for inputs, as in "
        f"{{'test': ({_form(example)}, labels)}}."
    )


def _said(inputs: Inputs) -> str:
    """How many inputs of which shapes, without the batch."""
    found = len(keys(inputs))
    return f"{'one input' if found == 1 else f'{found} inputs'} of shape {shapes(inputs)}"


def _form(example: Inputs) -> str:
    if isinstance(example, Tensor):
        return "inputs"
    names = keys(example)
    if isinstance(example, Mapping):
        return "{" + ", ".join(f"{name!r}: ..." for name in names) + "}"
    return "(" + ", ".join(f"input_{index + 1}" for index in names) + ")"


def misfit(given: Inputs, example: Inputs) -> str:
    """What shape does not fit, in words; "" where all do. Both have the same inputs."""
    for (name, have), (_, want) in zip(leaves(given), leaves(example), strict=True):
        if have.shape[1:] != want.shape[1:]:
            which = f" for input {name}" if name else ""
            return f" have shape {tuple(have.shape[1:])}{which}, the model takes {tuple(want.shape[1:])}"
    return ""


class Alike(Source):
    """The inputs of a source as a network takes them; see `alike`."""

    def __init__(self, split: str, source: Source, example: Inputs, chosen: list[Any]) -> None:
        self.split, self.source, self.example, self.chosen = split, source, example, chosen
        self.held = source.held

    def __len__(self) -> int:
        return len(self.source)

    @property
    def labels(self) -> Labels | None:
        """Those of the source."""
        return self.source.labels

    def read(self, places: Tensor) -> Inputs:
        """As `Source.read`. Raises: `BadValue` where whole numbers are wanted, and these are not."""
        given = self.source.read(places)
        parts = {key: given if isinstance(given, Tensor) else cast("Any", given)[key] for key in self.chosen}
        if isinstance(self.example, Tensor):
            return cast("Tensor", self._as_type(parts[self.chosen[0]], self.example, places))
        if isinstance(self.example, Mapping):
            return {key: self._as_type(parts[key], self.example[key], places) for key in self.chosen}
        return tuple(
            self._as_type(parts[key], want, places) for key, want in zip(self.chosen, self.example, strict=True)
        )

    def _as_type(self, given: Any, want: Any, places: Tensor) -> Any:
        """Tensors of the types that are wanted, within whatever containers these have."""
        if isinstance(given, Tensor) and isinstance(want, Tensor):
            return given if given.dtype == want.dtype else self._cast(given, want.dtype, places)
        if isinstance(given, Mapping) and isinstance(want, Mapping):
            return {key: self._as_type(given[key], want[key], places) for key in want}
        return tuple(self._as_type(one, other, places) for one, other in zip(given, want, strict=True))

    def _cast(self, given: Tensor, kind: torch.dtype, places: Tensor) -> Tensor:
        made = given.to(kind)
        if kind.is_floating_point:
            return made
        off = (made.to(given.dtype) != given).flatten(1).any(1)
        if bool(off.any()):
            index = int(off.nonzero()[0])
            value = float(given[index][made[index].to(given.dtype) != given[index]].flatten()[0])
            raise BadValue(
                f"The model takes whole numbers ({str(kind).removeprefix('torch.')}), and input {int(places[index])} "
                f"of split {self.split!r} holds {value:g}. "
                "Give it whole numbers, as int64: of pixels (uint8), wb.data makes numbers from 0 to 1."
            )
        return made

    def feed(self, digest: _Hash, places: Tensor) -> None:
        """That of the inputs as they are given to the network where they are in memory, else that of their files."""
        if self.held:
            super().feed(digest, places)
        else:
            self.source.feed(digest, places)
