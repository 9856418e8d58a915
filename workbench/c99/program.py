"""What the C program of a network is made of: maps in memory, and calls of kernels on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Map(NamedTuple):
    """Channels, rows and columns; in memory the channels of a pixel lie side by side, and rows follow each other."""

    channels: int
    height: int = 1
    width: int = 1

    @property
    def places(self) -> int:
        """Pixels."""
        return self.height * self.width

    @property
    def size(self) -> int:
        """Elements, which are bytes."""
        return prod(self)

    def __str__(self) -> str:
        return f"{self.channels} x {self.height} x {self.width}" if self.places > 1 else str(self.channels)


class Grid(NamedTuple):
    """What a byte stands for: `scale * (byte - zero)`. Signed bytes of an artefact are 128 higher here."""

    scale: np.float32
    zero: int

    def numbers(self) -> Array:
        """What each of the 256 bytes stands for, as a runtime computes it."""
        return (np.arange(256) - self.zero).astype(np.float32) * self.scale

    def bytes_of(self, numbers: Array) -> Array:
        """The bytes that stand for numbers: to the nearest, halves to even, the ends for what is beyond them."""
        steps = np.rint(numbers.astype(np.float32) / self.scale)
        found: Array = np.clip(steps + self.zero, 0, 255).astype(np.uint8)
        return found


class Block:
    """Bytes of the arena that some tensors share, one after the other or under other names."""

    def __init__(self, size: int, step: int = 1) -> None:
        self.size = size
        self.step = step  # it begins at a multiple of so many bytes


@dataclass(frozen=True, eq=False)
class Tensor:
    """A map of bytes between two layers. One that is `flat` is a vector to what reads it, in order of channels."""

    name: str  # in the artefact, of its bytes
    map: Map
    grid: Grid
    flat: bool
    block: Block

    @property
    def ordered(self) -> bool:
        """Whether the order in memory is that of the artefact's vector or map, too."""
        return not self.flat or self.map.places == 1 or self.map.channels == 1


@dataclass(frozen=True, eq=False)
class Floats:
    """A map of floats between two layers that are left in float."""

    map: Map
    block: Block


@dataclass(frozen=True, eq=False)
class Kept:
    """A map of bytes that does not follow from the input, and lies beside the weights."""

    map: Map
    grid: Grid
    flat: bool
    values: Array


class At(NamedTuple):
    """A place in a tensor, so many bytes behind its beginning."""

    tensor: Tensor | Floats
    offset: int = 0


class Text(NamedTuple):
    """A name or an expression in C."""

    text: str


class Constant(NamedTuple):
    """Numbers that the program holds, by a word for what they are."""

    word: str
    values: Array


class Struct(NamedTuple):
    """A value of a type of kernels.h."""

    type: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A kernel with what it is given, in order: `At`, `Text`, `Constant`, `Struct`, maps and numbers."""

    kernel: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """A layer: what it reads and writes, the calls that do it, and what is said of it."""

    layer: str
    said: str
    reads: tuple[Tensor | Floats, ...]
    writes: Tensor | Floats | None  # None for the answers, which lie where the caller wants them
    calls: tuple[Call, ...]
    macs: int = 0
    in_place: bool = False  # it may write over what it reads


@dataclass(frozen=True)
class Program:
    """A network as steps, in the order of the artefact."""

    input: Map
    answers: Map
    steps: Sequence[Step]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # of one input and its answers in the artefact, without the batch


@dataclass(frozen=True)
class Limits:
    """Between which numbers results are cut, as by a ReLU."""

    low: float = -np.inf
    high: float = np.inf

    def within(self, low: float, high: float) -> Limits:
        """These and others: what is cut again."""
        return Limits(min(max(self.low, low), high), max(min(self.high, high), low))

    def ends(self) -> tuple[np.float32, np.float32]:
        """As floats, the largest ones where nothing is cut."""
        most = float(np.finfo(np.float32).max)
        return np.float32(max(self.low, -most)), np.float32(min(self.high, most))

    def on(self, grid: Grid) -> tuple[int, int]:
        """The lowest and the highest byte."""
        ends = np.clip(np.array([self.low, self.high]), *(grid.numbers()[[0, -1]]))
        low, high = grid.bytes_of(ends).tolist()
        return low, high


#: What makes the step of a layer, told what it writes, a `Tensor`, `Floats` or None for answers, and where to cut.
Maker = Callable[[Any, Limits], Step]


@dataclass(frozen=True, eq=False)
class Result:
    """What an operator gives, before it is known on which grid it is stored, or that it is the network's answer."""

    name: str  # in the artefact
    layer: str
    operator: str
    map: Map
    flat: bool
    make: Maker
    limits: Limits = field(default_factory=Limits)
    moves: bool = False  # it only moves bytes, and has to be stored even where it is an answer
    own: Grid | None = None  # of what only moves bytes: the grid that they are on, where that is known
    floats: bool = False  # of what can be stored as floats
    root: Tensor | None = None  # of what is a function of single bytes: the tensor that these are of
    after: tuple[Call, ...] = ()  # what is done with answers


def cut(tensor: Tensor, grid: Grid, limits: Limits) -> tuple[Call, ...]:
    """What brings bytes of a grid that lie in a tensor onto its own grid, cut; nothing where they are so already."""
    low, high = limits.on(tensor.grid)
    table = np.clip(tensor.grid.bytes_of(grid.numbers()), low, high)
    if grid == tensor.grid and (low, high) == (0, 255):
        return ()
    return (Call("look_up", (tensor.map.size, Constant("table", table.astype(np.uint8)), At(tensor), At(tensor))),)
