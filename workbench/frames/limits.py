"""Limits on the columns of a frame, as users type them: `accuracy >= 92 % and latency < 2 ms`.

A column goes by its name, without the unit in it, or as the screen calls it; a number in the frame's own unit, or
with one of those that the screen shows.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from workbench.errors import BadValue
from workbench.tasks import METRICS

if TYPE_CHECKING:
    import pandas as pd

COMPARISONS = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_ON_DEVICES = ("latency_ms on ", "speedup on ")  # and the device's name behind: see `workbench.devices.answered`
_BOUNDS = frozenset({"<=", ">=", "<", ">"})
_WRITTEN = {"≤": "<=", "≥": ">=", "=": "=="}  # other ways to write a comparison
_LIMIT = re.compile(
    r"\s*(?P<column>\w[\w ,-]*?)\s*(?P<comparison><=|>=|==|!=|<|>|=|≤|≥)\s*(?P<number>[-+−]?[\d.,]+(?:e[-+]?\d+)?)"
    r"\s*(?P<unit>[%×]|[a-zA-Zµμ]*)\s*",
    re.IGNORECASE,
)
_SHARES = frozenset(one.name for one in METRICS.values() if one.share)
#: Shares that may be more than 1.
_BEYOND = frozenset({"logit_error", "character_error_rate"})
_COUNTS = {"k": 1e3, "m": 1e6, "g": 1e9}
#: Units by how a column's name ends, in small letters.
_BY_SUFFIX: dict[str, dict[str, float]] = {
    "_bytes": {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9},
    "_ms": {"ms": 1.0, "µs": 1e-3, "us": 1e-3, "s": 1e3},
    "_uj": {"µj": 1.0, "uj": 1.0, "mj": 1e3},
    "macs": _COUNTS, "params": _COUNTS,
    "speedup": {"×": 1.0, "x": 1.0},
    "_change": {"points": 0.01, "%": 0.01},
    "divergence": {"nats": 1.0}, "psnr": {"db": 1.0},
}  # fmt: skip


def _plain(text: str) -> str:
    """In small letters, without hyphens and underscores."""
    return " ".join(text.replace("_", " ").replace("-", " ").casefold().split())


#: What a column is called beside its name, in small letters without hyphens: the words of the screen among them.
_NAMES = {
    "latency": "latency_ms", "energy": "energy_uj", "energy, estimated": "energy_uj", "energy estimated": "energy_uj",
    "file": "file_bytes", "file size": "file_bytes", "size": "file_bytes",
    "compressed": "compressed_bytes", "compressed size": "compressed_bytes",
    "huffman": "huffman_bytes", "bundle": "huffman_bytes", "bundle size": "huffman_bytes",
    "memory access": "memory_access_bytes", "peak activations": "peak_activation_bytes",
    "peak activation": "peak_activation_bytes", "memory while running": "run_memory_bytes",
    "run memory": "run_memory_bytes", "macs": "macs", "parameters": "params", "params": "params",
    "speed up": "speedup", "speedup": "speedup", "measured speed up": "speedup", "measured speedup": "speedup",
    "predicted speed up": "predicted_speedup", "predicted speedup": "predicted_speedup",
    "divergence from the original": "kl_divergence", "agreement": "agreement",
    **{_plain(word): one.name for one in METRICS.values() for word in (one.name, one.label)},
}  # fmt: skip
_CHANGE, _VALIDATION = "change of ", "validation "


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
        raise BadValue(f"Limits are a text such as 'latency < 2 ms', got {text!r:.200}.")
    if text is None or not text.strip():
        return ()
    return tuple(_read(part) for part in re.split(r"\s+and\s+|\s*&\s*", text.strip()))


def named(text: str) -> str:
    """The column that is meant: `latency` and `Latency` are `latency_ms`; other names stay as they are."""
    plain = _plain(text)
    if plain.startswith(_VALIDATION) and plain.removeprefix(_VALIDATION) in _NAMES:
        return f"validation_{_NAMES[plain.removeprefix(_VALIDATION)]}"
    if plain in _NAMES:
        return _NAMES[plain]
    figure, on, device = text.strip().partition(" on ")
    if on and f"{_NAMES.get(_plain(figure))} on " in _ON_DEVICES:
        return f"{_NAMES[_plain(figure)]} on {device}"
    if plain.startswith(_CHANGE):  # a paired difference, of a metric of the user's own too
        return f"{named(text.strip()[len(_CHANGE) :])}_change"
    return text.strip()


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
    match = _LIMIT.fullmatch(text)
    if not match:
        raise BadValue(
            f"The limit {text.strip()!r} cannot be read. Write a column, a comparison and a number: 'latency < 2 ms'."
        )
    column, comparison, number, unit = named(match["column"]), match["comparison"], match["number"], match["unit"]
    value = float(Decimal(repr(_number(text, number))) * Decimal(repr(_factor(text, column, unit))))  # 92 % is 0.92
    if column.removeprefix("validation_") in _SHARES - _BEYOND and not unit and 2 < value <= 100:
        raise BadValue(
            f"The limit {text.strip()!r} asks for a share of more than 1. For {value:g} % write {value:g} %."
        )
    return Limit(column, _WRITTEN.get(comparison, comparison), value)


def _number(text: str, number: str) -> float:
    try:
        value = float(number.replace(",", "").replace("−", "-"))
    except ValueError:  # such as 1.2.3
        value = math.nan
    if not math.isfinite(value):
        raise BadValue(f"The limit {text.strip()!r} cannot be read: {number!r} is no number.")
    return value


def _factor(text: str, column: str, unit: str) -> float:
    known = _units(column) | {"": 1.0}
    wanted = unit.lower().replace("\u03bc", "\u00b5")  # the Greek letter for the sign of a millionth
    if wanted not in known:
        takes = ", ".join(filter(None, known))
        raise BadValue(f"The limit {text.strip()!r} has the unit {unit!r}, which {column} has not. It takes {takes}.")
    return known[wanted]


def about(column: str) -> str:
    """What a column tells: of `latency_ms on Pixel 8` the latency, of any other itself."""
    return column.partition(" on ")[0] if column.startswith(_ON_DEVICES) else column


def _units(column: str) -> dict[str, float]:
    """What a number of this column may be followed by, and what it stands for in the frame's unit."""
    if column.removeprefix("validation_") in _SHARES:
        return {"%": 0.01}
    return next((units for end, units in _BY_SUFFIX.items() if about(column).endswith(end)), {"%": 0.01})
