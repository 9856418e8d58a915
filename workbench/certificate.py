"""`Certificate`: whether a variant loses at most so much, with which confidence, after how many inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Answer(Enum):
    """What a certificate says."""

    PASSES = "passes"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Certificate:
    """The answer of a paired, sequential test.

    `loss` is what was lost on the `inputs` that were looked at, in the unit of the metric (a share for shares);
    `at_least` and `at_most` are its bounds, each right with probability 1 - `alpha` however often one looked.
    `more` is about how many more inputs an undecided one needs; infinity where the loss is too near to the margin.
    With `class_name` they are about the class that fares worst, and `inputs` counts all classes.
    """

    variant: str
    metric: str
    share: bool
    unit: str
    split: str
    margin: float
    alpha: float
    answer: Answer
    loss: float
    at_least: float
    at_most: float
    inputs: int
    more: float = 0.0
    class_name: str = ""

    @property
    def passes(self) -> bool:
        """Whether it surely loses at most the margin."""
        return self.answer is Answer.PASSES

    @property
    def allowed(self) -> str:
        """The margin with its unit: `1 point`."""
        return self._text(self.margin)

    def __str__(self) -> str:
        seen = f"after {self.inputs:,} inputs of {self.split}"
        ends = f"at least {self._text(self.at_least)}, at most {self._text(self.at_most)}"
        found = f"{self._text(self.loss)} lost there ({ends})"
        sure = f"{100 * (1 - self.alpha):g} %"
        what = f"{self.allowed} of {self.metric}{self._where}"
        if self.answer is Answer.PASSES:
            return f"{self.variant} loses at most {what} ({sure}), {seen}: {found}."
        if self.answer is Answer.FAILS:
            return f"{self.variant} loses more than {what} ({sure}), {seen}: {found}."
        return f"Not known yet whether {self.variant} loses at most {what} ({sure}), {seen}: {found}. {self._needed}"

    @property
    def _where(self) -> str:
        return f" in any class, the worst being {self.class_name!r}" if self.class_name else ""

    @property
    def _needed(self) -> str:
        if math.isinf(self.more):
            return "It is so near to the margin that no number of inputs would tell."
        return f"About {_rounded(self.more):,} more inputs are needed."

    def _text(self, value: float) -> str:
        if not self.share:
            return f"{value:.3g} {self.unit}".rstrip()
        points = f"{100 * value:.2f}".rstrip("0").rstrip(".").replace("-", "−")
        return f"{'0' if points in {'−0', ''} else points} {'point' if points == '1' else 'points'}"


def _rounded(count: float) -> int:
    """To two digits, upwards: it is an estimate."""
    step: int = 10 ** max(len(str(int(count))) - 2, 1)
    return math.ceil(count / step) * step
