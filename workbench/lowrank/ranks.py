"""Rank rules: what a user may write for a rank, parsed once.

A fraction of the full rank (0.5), an explicit rank (16, or one a mode: (16, 24)), a rule
("evbmf", "energy:0.9"), a budget for the whole network ("macs:0.5", "params:0.5"), or a mapping from
layer names or globs to any of these but a budget.
"""

from __future__ import annotations

import fnmatch
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workbench.errors import BadValue

BUDGETS = frozenset({"macs", "params"})
EXAMPLES = "a fraction such as 0.5, a whole number such as 16, (16, 24), 'evbmf', 'energy:0.9' or 'macs:0.5'"


class RankMap(dict[str, Any]):
    """A mapping from layer names or globs to ranks that does not change, so that a step can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]  # frozen by convention: only `freeze` makes one
        return hash(tuple(sorted(self.items(), key=lambda item: item[0])))


@dataclass(frozen=True)
class Rule:
    """A parsed rank: its kind, its number, its explicit ranks, or a rule for each layer pattern."""

    kind: str  # fraction, explicit, energy, evbmf, macs, params, each
    value: float = 0.0
    ranks: tuple[int | float, ...] = ()  # explicit: one number for all modes, or one a mode
    each: tuple[tuple[str, Rule], ...] = ()

    @property
    def is_budget(self) -> bool:
        """True for a rule that shares one budget out over all layers."""
        return self.kind in BUDGETS

    def of(self, layer: str) -> Rule | None:
        """The rule for one layer: an exact name before a glob; None where a mapping has none."""
        if self.kind != "each":
            return self
        named = dict(self.each)
        if layer in named:
            return named[layer]
        return next((rule for pattern, rule in self.each if fnmatch.fnmatchcase(layer, pattern)), None)


def freeze(value: Any) -> Any:
    """The value as plain, hashable data: lists become tuples, mappings `RankMap`s, NumPy numbers Python's."""
    if isinstance(value, Mapping):
        return RankMap({str(name): freeze(rank) for name, rank in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(one) for one in value)
    if isinstance(value, (bool, int, float, str)):
        return value
    try:
        return operator.index(value)
    except TypeError:
        return float(value) if hasattr(value, "__float__") else value


def thaw(value: Any) -> Any:
    """The value as JSON and YAML can write it: `RankMap`s become plain dicts."""
    return {name: thaw(rank) for name, rank in value.items()} if isinstance(value, RankMap) else value


def parse(value: Any) -> Rule:
    """Parse a rank setting. Raises: `BadValue` with the fix for anything else, such as percentages."""
    if isinstance(value, Mapping):
        if not value:
            raise _bad(value, "an empty mapping names no layer")
        return Rule("each", each=tuple((str(name), _single(name, rank)) for name, rank in value.items()))
    return _parse_plain(value, type(value).__name__)


@lru_cache(maxsize=1024)
def _parse_plain(value: Any, kind: str) -> Rule:  # `kind` keeps 1 and 1.0 apart in the cache
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, tuple):
        return _parse_modes(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _bad(value, f"it must be {EXAMPLES}")
    if isinstance(value, int):
        return Rule("explicit", ranks=(_explicit(value),))
    return Rule("fraction", _fraction(value, value))


def _parse_text(text: str) -> Rule:
    name, _, number = text.strip().partition(":")
    if name == "evbmf" and not number:
        return Rule("evbmf")
    if name in {"energy", *BUDGETS}:
        try:
            return Rule(name, _fraction(float(number), text))
        except ValueError:
            raise _bad(text, f"after '{name}:' comes a fraction, such as '{name}:0.5'") from None
    try:
        value = float(text.strip().removesuffix("%")) / (100 if "%" in text else 1)
    except ValueError:
        raise _bad(text, f"it must be {EXAMPLES}") from None
    raise _bad(text, f"it is text; write the number {value:g} without quotes")


def _parse_modes(value: tuple[Any, ...]) -> Rule:
    if not value or any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in value):
        raise _bad(value, "a tuple holds one number for each mode, such as (16, 24)")
    return Rule("explicit", ranks=tuple(_explicit(r) if isinstance(r, int) else _fraction(r, value) for r in value))


def _single(name: Any, value: Any) -> Rule:
    rule = parse(freeze(value))
    if rule.is_budget or rule.kind == "each":
        raise BadValue(
            f"rank for layer {name!r} is {value!r}: a budget is shared out over all layers, so it cannot "
            "stand for one. Write it as the whole rank, and choose the layers with `layers=`."
        )
    return rule


def _explicit(value: int) -> int:
    if value < 1:
        raise _bad(value, "a rank is at least 1; to drop a layer altogether prune it instead")
    return value


def _fraction(value: float, shown: Any) -> float:
    if math.isnan(value) or not 0 < value <= 1:
        fix = ""
        if 1 < value <= 100:
            fix = f"; for {value:g} % write {value / 100:g}"
            if isinstance(shown, float) and value == int(value):
                fix += f", for rank {value:g} write {int(value)}"
        raise _bad(shown, f"a fraction lies above 0 and is at most 1{fix}")
    return value


def _bad(value: Any, why: str) -> BadValue:
    return BadValue(f"rank={value!r}: {why}.")


def rounded(rank: float, full: int, multiple: int) -> int:
    """The nearest multiple of `multiple` in 1..full; the full rank itself stays."""
    if rank >= full:
        return full
    if multiple > 1:
        rank = max(1, round(rank / multiple)) * multiple
    return min(max(int(rank + 0.5), 1), full)
