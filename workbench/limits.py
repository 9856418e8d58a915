"""Limits on the columns of a frame, as users type them: `accuracy >= 0.92 and latency_ms < 2`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from workbench.errors import BadValue

if TYPE_CHECKING:
    import pandas as pd

COMPARISONS = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_BOUNDS = frozenset({"<=", ">=", "<", ">"})


@dataclass(frozen=True)
class Limit:
    """One comparison of a column with a number; `str` gives it as it is typed."""

    column: str
    comparison: str
    value: float

    @property
    def is_bound(self) -> bool:
        """True for what cuts a scale in two: a rule in a chart can stand for it."""
        return self.comparison in _BOUNDS

    def met(self, values: pd.Series[Any]) -> pd.Series[bool]:
        """Which values meet it; a missing one meets none but `!=`."""
        found: pd.Series[bool] = COMPARISONS[self.comparison](values, self.value)
        return found

    def __str__(self) -> str:
        number = format(Decimal(repr(float(self.value))), "f").removesuffix(".0")
        return f"{self.column} {self.comparison} {number}"


def read_limits(text: str | None) -> tuple[Limit, ...]:
    """Every limit of a text, joined by `and` or `&`; none for an empty one.

    Our own tiny language, not pandas' query, which could run code that a visitor typed.
    Raises: `BadValue` for what cannot be read.
    """
    if text is not None and not isinstance(text, str):
        raise BadValue(f"Limits are a text such as 'accuracy >= 0.92', got {text!r:.200}.")
    if text is None or not text.strip():
        return ()
    return tuple(_read(part) for part in re.split(r"\s+and\s+|\s*&\s*", text.strip()))


def write_limits(limits: Sequence[Limit]) -> str:
    """The text that `read_limits` reads."""
    return " and ".join(map(str, limits))


def bound_on(limits: Sequence[Limit], column: str) -> Limit | None:
    """The limit that cuts a column's scale in two; the last one where there are several."""
    found = [one for one in limits if one.column == column and one.is_bound]
    return found[-1] if found else None


def with_bound(limits: Sequence[Limit], bound: Limit, value: float | None) -> tuple[Limit, ...]:
    """With `bound` at another value, at its place or at the end; without it for None."""
    moved = () if value is None else (Limit(bound.column, bound.comparison, value),)
    if bound not in limits:
        return (*limits, *moved)
    place = tuple(limits).index(bound)
    return (*limits[:place], *moved, *limits[place + 1 :])


def _read(text: str) -> Limit:
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*([-+.\deE]+)\s*", text)
    try:
        value = float(match.group(3)) if match else math.nan
    except ValueError:  # such as 1.2.3
        value = math.nan
    if match and math.isfinite(value):
        return Limit(match.group(1), match.group(2), value)
    raise BadValue(f"The limit {text!r} cannot be read. Write a column, a comparison and a number: 'accuracy >= 0.92'.")
