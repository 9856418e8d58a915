"""What tells whether a piece of a network still shows the fault: its outputs, its speed, its end."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import onnx

from workbench.errors import BadFile
from workbench.proof.check import interval, timed
from workbench.reduction.pieces import Array, Piece
from workbench.reduction.values import runner
from workbench.runtimes.apart import ending

#: The faults, in the order in which they are looked for.
ENDS, REFUSED, WRONG, SLOW = "ends the process", "refused", "wrong", "slow"
FAULTS = (ENDS, REFUSED, WRONG, SLOW)
#: Seconds of a block of runs in a quick timing, and the most runs of a block.
_BLOCK_S, _MOST = 0.003, 40


@dataclass(frozen=True)
class Twin:
    """What a piece is held against: the model that is right, and what its inputs and outputs are called there."""

    model: onnx.ModelProto
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]

    def given(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The piece's inputs, in the twin's names and types."""
        kinds = {one.name: onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
                 for one in self.model.graph.input}  # fmt: skip
        return {other: inputs[one].astype(kinds[other]) for one, other in self.inputs.items() if other in kinds}


#: The right model that belongs to a piece; None where it cannot be cut out.
Twins = Callable[[Piece], Twin | None]


class Oracle(ABC):
    """Says whether a piece shows the fault."""

    fault: ClassVar[str]
    level = "all"  # how much ONNX Runtime rewrites the piece

    @abstractmethod
    def shows(self, piece: Piece) -> bool:
        """Whether it does."""


@dataclass
class Wrong(Oracle):
    """Outputs that differ from the right ones by more than `tolerance`, relative to their largest number.

    `expected` are the right outputs of a piece; None where they are not known.
    """

    expected: Callable[[Piece], list[Array] | None]
    tolerance: float
    fault: ClassVar[str] = WRONG

    def shows(self, piece: Piece) -> bool:
        """Whether outputs differ by more."""
        return self.gap(piece) > self.tolerance

    def gap(self, piece: Piece) -> float:
        """The largest difference; 0 where the piece cannot be run, which is another fault."""
        try:
            right, found = self.expected(piece), runner(piece.model, self.level)(piece.inputs)
        except Exception:  # noqa: BLE001  # a runtime raises anything for a piece that is none
            return 0.0
        size = max(map(largest, piece.inputs.values()), default=0.0)
        return max((far(one, other, size) for one, other in zip(found, right or (), strict=bool(right))), default=0.0)


def far(found: Array, right: Array, size: float = 0.0) -> float:
    """How far an output is from the right one, relative to its largest number; infinite for another shape.

    What is as good as zero beside numbers of `size` that it is computed from counts as a thousandth of these, or the
    last digits of a difference of two equal numbers would be far off. A right output that holds NaN tells nothing.
    """
    if found.shape != right.shape:
        return float("inf")
    if right.dtype.kind != "f":
        return float(np.mean(found != right)) if right.size else 0.0
    if np.isnan(right).any():
        return 0.0
    with np.errstate(invalid="ignore"):  # of two that are infinite
        gap = np.where(found == right, 0.0, np.abs(found.astype(np.float64) - right.astype(np.float64)))
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0)) / max(largest(right), 1e-3 * size, 1e-12)


def largest(value: Array) -> float:
    """The largest of the numbers, by size."""
    return float(np.abs(value[np.isfinite(value)].astype(np.float64)).max(initial=0.0))


@dataclass
class Slow(Oracle):
    """Slower than its twin, with the interval of the ratio apart from 1.

    `twin_level` is how the twin is run. While `least` is above 0 a piece must also cost so many seconds more than its
    twin: that leads to where most of the time goes, not to any part that is a little slower.
    """

    twins: Twins
    twin_level: str
    least: float = 0.0
    rounds: int = 11
    fault: ClassVar[str] = SLOW

    def shows(self, piece: Piece) -> bool:
        """As a quick timing in this process says."""
        found = self.timing(piece)
        return found is not None and found[0] >= self.least and found[1] < 1

    def timing(self, piece: Piece) -> tuple[float, float] | None:
        """Seconds that a piece takes more than its twin, and the upper end of its speed relative to the twin's."""
        twin = self.twins(piece)
        if twin is None:
            return None
        try:
            right = partial(runner(twin.model, self.twin_level), twin.given(piece.inputs))
            return in_turns([right, partial(runner(piece.model, self.level), piece.inputs)], self.rounds)
        except Exception:  # noqa: BLE001  # a runtime raises anything for a piece that is none
            return None


def in_turns(runs: Sequence[Callable[[], Any]], rounds: int) -> tuple[float, float]:
    """Seconds that the second takes more than the first, and the upper end of the ratio of their speeds."""
    counts = [max(1, min(_MOST, round(_BLOCK_S / max(timed(run, 3), 1e-7)))) for run in runs]
    times = np.zeros((rounds, 2))
    for number in range(rounds):
        for index in (0, 1) if number % 2 else (1, 0):
            times[number, index] = timed(runs[index], counts[index])
    _, _, high = interval(np.sort(np.log(times[:, 0] / times[:, 1])))
    return float(np.median(times[:, 1] - times[:, 0])), high


@dataclass
class Ends(Oracle):
    """ONNX Runtime ends its process over it, which is a process apart."""

    fault: ClassVar[str] = ENDS

    def shows(self, piece: Piece) -> bool:
        """Whether the process apart ends."""
        return bool(ending(piece.model.SerializeToString(), self.level, piece.inputs))


@dataclass
class Refused(Oracle):
    """ONNX Runtime raises the same error for it as for the whole."""

    said: str
    fault: ClassVar[str] = REFUSED

    def shows(self, piece: Piece) -> bool:
        """Whether it is refused in the same words, but for names and numbers."""
        return bool(self.said) and refusal(piece.model, piece.inputs, self.level) == self.said


def refusal(model: onnx.ModelProto, inputs: Mapping[str, Array], level: str) -> str:
    """What ONNX Runtime says against a model or its inputs, without names and numbers; "" where it runs."""
    try:
        runner(model, level)(inputs)
    except BadFile:
        return ""  # it would end the process
    except Exception as error:  # noqa: BLE001  # a runtime raises anything
        line = str(error).strip().partition("\n")[0]
        return re.sub(r"['\"(\[{].*?['\")\]}]|/\S+|\S*\d\S*", "", line).partition("Name:")[0][:80].strip() or "refused"
    return ""
