"""Questions of a lab: what is right, how near an answer must be, and what the usual wrong answers come from.

What is right is computed from the question's own figures; no answer is judged by a clock.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

#: How far a number may be off, as a share.
CLOSE = 0.005


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is given often, and what it comes from."""

    answer: Any
    says: str


@dataclass(frozen=True)
class Question(ABC):
    """One graded question. `hints` are given one after the other, the plainer the more often it was tried."""

    name: str
    text: str
    hints: tuple[str, ...]
    points: int = 1

    @abstractmethod
    def judge(self, answer: Any) -> str | None:
        """None where the answer is right; else what is the matter with it, "" where nothing more is known."""


def answered(answer: Any) -> bool:
    """Whether there is an answer at all: not None, the dots that stand for it, or an empty text."""
    return not (answer is None or answer is Ellipsis or (isinstance(answer, str) and not answer.strip()))


@dataclass(frozen=True, kw_only=True)
class Number(Question):
    """A number, within a share of what is right; one that counts something must be exact."""

    right: float
    unit: str = ""
    exact: bool = False
    mistakes: tuple[Mistake, ...] = ()

    def judge(self, answer: Any) -> str | None:
        """As for every question."""
        value = _number(answer)
        if value is None:
            return f"The answer is one number{f', in {self.unit}' if self.unit else ''}, and this is {kind_of(answer)}."
        if self._same(value, self.right):
            return None
        known = (one.says for one in self.mistakes if self._same(value, one.answer))
        return next(known, self._size(value))

    def _same(self, value: float, other: float) -> bool:
        return value == other if self.exact else abs(value - other) <= CLOSE * abs(other)

    def _size(self, value: float) -> str:
        """What can be said of any number."""
        for power, word in ((3, "thousand"), (6, "million"), (-3, "thousandth"), (-6, "millionth")):
            if self._same(value, self.right / 10**power):
                return f"The digits are right: it is counted in {word}s{f' of {self.unit}' if self.unit else ''}."
        if self._same(value, -self.right):
            return "The sign is the other one."
        if self._same(value, 100 * self.right) or self._same(value, self.right / 100):
            return "A share and a percentage differ by a factor of 100."
        return ""


@dataclass(frozen=True, kw_only=True)
class Choice(Question):
    """One of several statements, by its letter; each wrong one says why it is wrong."""

    right: str
    options: Mapping[str, str]
    wrong: Mapping[str, str]

    def judge(self, answer: Any) -> str | None:
        """As for every question."""
        letter = answer.strip().lower().strip("().") if isinstance(answer, str) else ""
        if letter not in self.options:
            return f"The answer is one of the letters {', '.join(self.options)}, in quotes."
        return None if letter == self.right else self.wrong[letter]


@dataclass(frozen=True, kw_only=True)
class Function(Question):
    """A function, tried on several inputs beside one that is right, and beside ones that are wrong as often happens."""

    right: Callable[..., Any]
    cases: Callable[[], Sequence[tuple[Any, ...]]]
    mistakes: tuple[Mistake, ...] = ()  # whose answers are functions

    def judge(self, answer: Any) -> str | None:
        """As for every question."""
        if not callable(answer):
            return f"The answer is the function itself, without calling it, and this is {kind_of(answer)}."
        given = []
        for case in self.cases():
            try:
                given.append((case, answer(*map(_own, case))))
            except Exception as error:  # noqa: BLE001  # whatever a student's function raises is told
                return f"It raised {type(error).__name__}: {error}"
        if all(_alike(found, self.right(*case)) for case, found in given):
            return None
        for mistake in self.mistakes:
            if all(_alike(found, mistake.answer(*case)) for case, found in given):
                return mistake.says
        case, found = next((case, found) for case, found in given if not _alike(found, self.right(*case)))
        return f"Of {_brief(case)} it makes {_brief(found)}, and it should be {_brief(self.right(*case))}."


@dataclass(frozen=True)
class Verdict:
    """What came of an answer: shown as text in a terminal, and with its mark in a notebook."""

    name: str
    passed: bool
    text: str
    points: int

    def __str__(self) -> str:
        return f"{'right' if self.passed else 'not yet'}: {self.text}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour = "#1a7f4b" if self.passed else "#a04000"
        word, style = "Right." if self.passed else "Not yet.", f"border-left:4px solid {colour};padding-left:8px"
        return f'<p role="status" style="{style}"><b>{word}</b> {escape(self.text)}</p>'


def _number(answer: Any) -> float | None:
    """A single number of any kind; None where it is none."""
    if isinstance(answer, (bool, str)):
        return None
    if isinstance(answer, numbers.Real):
        return float(answer)
    try:
        array = np.asarray(answer, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return None
    return float(array.reshape(-1)[0]) if array.size == 1 else None


def kind_of(answer: Any) -> str:
    """What something is, for a sentence."""
    return f"a {type(answer).__name__}"


def _own(value: Any) -> Any:
    """A copy, so that a function that changes what it is given changes nothing of the next case."""
    return value.copy() if isinstance(value, np.ndarray) else value


def _alike(found: Any, right: Any) -> bool:
    try:
        one, other = np.asarray(found, dtype=float), np.asarray(right, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return False
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=CLOSE, atol=1e-6))


def _brief(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, tuple):
        return ", ".join(map(_brief, value))
    array = np.asarray(value, dtype=object)
    if array.size > 12:
        return f"an array of shape {array.shape}"
    number = _number(value)
    return f"{number:.5g}" if number is not None else np.array2string(array.astype(float), precision=4, separator=", ")
